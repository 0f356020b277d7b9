//! The account the histories begin in, and the properties they deploy.

use ica_storage::domain::ica::{Versioning, cors_rule, key_policy_statement};
use ica_storage::domain::seen::Encryption;
use serde_json::{Value, json};

use crate::support::account::{ACCOUNT, add_foreign, add_foreign_rule};
use crate::support::state::{BucketState, KeyState, Object, State};

pub(crate) const BUCKET: &str = "lab-data";

pub(crate) const OTHER_BUCKET: &str = "lab-archive";

pub(crate) const KEY: &str =
    "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111";

pub(crate) const OTHER_KEY: &str =
    "arn:aws:kms:us-east-1:123456789012:key/22222222-2222-2222-2222-222222222222";

/// Illumina's role for the region of the lab.
pub(crate) const ROLE: &str = "arn:aws:iam::079623148045:role/ica_use1_crossacct";

/// A role of Illumina's elsewhere.
pub(crate) const OTHER_ROLE: &str = "arn:aws:iam::079623148045:role/ica_euc1_crossacct";

fn bucket(key: &str) -> BucketState {
    BucketState {
        region: "us-east-1".to_owned(),
        owner: ACCOUNT.to_owned(),
        versioning: Versioning::Unversioned,
        encryption: Some(Encryption {
            algorithm: "aws:kms".to_owned(),
            key: Some(key.to_owned()),
            bucket_key: true,
        }),
        policy: None,
        cors: vec![],
        objects: std::collections::BTreeMap::new(),
    }
}

fn key() -> KeyState {
    let root = json!({
        "Sid": "Enable IAM User Permissions", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        "Action": "kms:*", "Resource": "*",
    });
    let policy = json!({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [root]});
    KeyState { state: "Enabled".to_owned(), policy: policy.to_string(), alias: None }
}

/// Two buckets and two keys that nobody else has touched.
pub(crate) fn bare() -> State {
    let mut state = State::default();
    for (name, arn) in [(BUCKET, KEY), (OTHER_BUCKET, OTHER_KEY)] {
        state.buckets.insert(name.to_owned(), bucket(arn));
        state.keys.insert(arn.to_owned(), key());
    }
    state
}

/// The same with documents and objects of other people.
pub(crate) fn lived_in() -> State {
    let mut state = bare();
    for resource in [BUCKET, KEY, OTHER_KEY] {
        add_foreign(&mut state, resource, "audit");
        add_foreign(&mut state, resource, "audit");
    }
    let rule = json!({"ID": "portal", "AllowedMethods": ["GET"], "AllowedOrigins": ["*"]});
    let bucket = state.bucket(BUCKET);
    bucket.cors = vec![rule, json!({"AllowedMethods": ["HEAD"], "AllowedOrigins": ["*"]})];
    bucket.put("results/2024.csv", Some(Object::default()), 0);
    state
}

/// What others go on to write beside a connection.
pub(crate) fn add_unrelated(state: &mut State) {
    for resource in [BUCKET, KEY, OTHER_KEY] {
        add_foreign(state, resource, "later");
    }
    add_foreign_rule(state, BUCKET, "later");
}

/// The same with our names taken by other meanings.
pub(crate) fn with_taken_names() -> State {
    let mut state = lived_in();
    for resource in [BUCKET, KEY, OTHER_KEY] {
        add_foreign(&mut state, resource, "AllowCrossAccountAccess");
    }
    let rule = json!({"ID": "ica-storage", "AllowedMethods": ["GET"], "AllowedOrigins": ["*"]});
    state.bucket(BUCKET).cors.push(rule);
    state
}

/// The same with what a connection needs already there, made by hand.
pub(crate) fn made_by_hand() -> State {
    let mut state = lived_in();
    for key in state.keys.values_mut() {
        let mut policy: Value = serde_json::from_str(&key.policy).unwrap();
        let mut statement = key_policy_statement(&[ROLE.to_owned()]);
        statement["Sid"] = "made by hand".into();
        policy["Statement"].as_array_mut().unwrap().push(statement);
        key.policy = policy.to_string();
    }
    let mut rule = cors_rule();
    rule["ID"] = "made by hand".into();
    state.bucket(BUCKET).cors.push(rule);
    state
}

pub(crate) fn versioned(mut state: State, versioning: Versioning) -> State {
    state.bucket(BUCKET).versioning = versioning;
    state
}

/// Every account a history may begin in, by name.
pub(crate) fn all() -> Vec<(&'static str, State)> {
    vec![
        ("bare", bare()),
        ("lived in", lived_in()),
        ("names taken", with_taken_names()),
        ("made by hand", made_by_hand()),
        ("versioned", versioned(lived_in(), Versioning::Enabled)),
        ("suspended", versioned(lived_in(), Versioning::Suspended)),
    ]
}

pub(crate) fn named(name: &str) -> State {
    let found = all().into_iter().find(|(other, _)| *other == name);
    found.expect("an account of that name").1
}

/// What a template says that connects a folder of the lab's bucket.
pub(crate) fn folder(prefix: &str) -> Value {
    json!({
        "ServiceToken": format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:ica-storage"),
        "ServiceTimeout": "360",
        "BucketName": BUCKET,
        "KeyPrefix": prefix,
    })
}

/// The same with other properties.
pub(crate) fn with(mut properties: Value, others: &[(&str, Value)]) -> Value {
    for (name, value) in others {
        properties[*name] = value.clone();
    }
    properties
}
