//! Verify says what the next Update would do, and does nothing itself.

use ica_storage::domain::ica::Versioning;
use ica_storage::domain::identity::Home;
use ica_storage::domain::report::{Connection, Report, Status};
use ica_storage::domain::spec::Tag;
use ica_storage::engine::Context;
use ica_storage::engine::verify::{self, Filter};
use ica_storage::ports::CallErrorKind;
use serde_json::{Value, json};

use crate::support::account::{ACCOUNT, Account};
use crate::support::lab::{self, BUCKET, KEY, OTHER_BUCKET, OTHER_KEY, OTHER_ROLE, folder, with};
use crate::support::session::{Mishap, Session, Weather};
use crate::support::stack::{Stack, context};
use crate::support::state::State;

fn home() -> Home {
    Home { partition: "aws".into(), region: "us-east-1".into(), account: ACCOUNT.into() }
}

/// Verifies, and holds it to its first promise: it writes nothing.
async fn verify_in(account: &Account, weather: Weather, filter: &Filter) -> Report {
    let (calls, before) = (account.calls().len(), account.state());
    let session = Session::new(account, weather);
    let report = verify::verify(&session, &home(), filter, &context()).await.unwrap();
    assert_eq!(account.writes_since(calls), []);
    assert_eq!(account.state(), before);
    report
}

async fn verify(account: &Account) -> Report {
    verify_in(account, Weather::fair(), &Filter::default()).await
}

/// The one connection there is.
async fn verify_one(account: &Account) -> Connection {
    let [connection] = verify(account).await.connections.try_into().unwrap();
    connection
}

/// What is told to be wrong.
fn told(connection: &Connection) -> Vec<&str> {
    connection.findings.iter().map(|finding| finding.what.as_str()).collect()
}

/// An Update that changes nothing but how long it may take; whether it wrote anything.
async fn update(account: &Account, stack: &mut Stack<'_>, properties: &Value) -> bool {
    let calls = account.calls().len();
    let patient = with(properties.clone(), &[("ServiceTimeout", "600".into())]);
    assert!(stack.deploy(&patient).await);
    !account.writes_since(calls).is_empty()
}

/// Connections of every kind.
fn kinds() -> Vec<Value> {
    let plain = || folder("project-a");
    let one = |name, value: Value| with(plain(), &[(name, value)]);
    let root = with(plain(), &[("KeyPrefix", "".into()), ("AllowBucketRoot", "true".into())]);
    vec![
        plain(),
        root,
        one("KeyPrefix", "run:1/a+b@c=d".into()),
        one("KmsKeyId", KEY.into()),
        one("KmsKeyId", OTHER_KEY.into()),
        one("PolicyName", "ica".into()),
        one("AssumeRoleArn", OTHER_ROLE.into()),
        one("AssumeRoleArn", lab::ROLE.into()),
        one("CrossAccountAccess", "false".into()),
        one("ConfigureKeyPolicy", "false".into()),
        one("ConfigureBucketPolicy", "false".into()),
        one("ConfigureCors", "false".into()),
        one("Tags", json!([{"Key": "lab", "Value": "A"}])),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_update_would_write_nothing_is_healthy() {
    for (name, state) in lab::all() {
        for properties in kinds() {
            let account = Account::new(state.clone());
            let mut stack = Stack::new(&account, "lab", "Connection");
            assert!(stack.deploy(&properties).await);
            let connection = verify_one(&account).await;
            assert_eq!(connection.status, Status::Healthy, "{name}: {properties}: {connection:#?}");
            assert_eq!(connection.findings, []);
            assert_eq!(connection.stack_id.as_ref(), Some(&stack.id));
            assert_eq!(connection.logical_resource_id.as_deref(), Some("Connection"));
            assert!(!update(&account, &mut stack, &properties).await, "{name}: {properties}");
            // It is another hand's, and none of the connection's business.
            account.foreign(lab::add_unrelated);
            assert_eq!(verify_one(&account).await.status, Status::Healthy);
            assert!(stack.delete().await);
            let report = verify(&account).await;
            assert_eq!((report.status, report.counts.connections), (Status::Healthy, 0));
        }
    }
}

type Change = fn(&mut State);

fn without_ours(policy: &str) -> String {
    let mut document: Value = serde_json::from_str(policy).unwrap();
    let statements = document["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| statement["Sid"] != "AllowCrossAccountAccess");
    document.to_string()
}

fn edited(policy: &str) -> String {
    policy.replace("kms:ReEncrypt*", "kms:Sign").replace("s3:AbortMultipartUpload", "s3:ListBucket")
}

fn set_tag(state: &mut State, key: &str, value: &str) {
    let tag = Tag { key: key.to_owned(), value: value.to_owned() };
    state.policies.values_mut().for_each(|policy| policy.tag(std::slice::from_ref(&tag)));
}

fn take_tag(state: &mut State, key: &str) {
    state.policies.values_mut().for_each(|policy| policy.untag(&[key.to_owned()]));
}

/// What somebody does, what is then told, and whether the next Update restores what was there.
fn drifts() -> Vec<(&'static str, &'static [&'static str], bool, Change)> {
    const TAGS: &[&str] = &["tags of the IAM policy"];
    const ANOTHER_KEY: &[&str] =
        &["IAM policy", "tags of the IAM policy", "key policy", "key policy"];
    vec![
        ("the statement of the key policy is gone", &["key policy"], true, |state| {
            let key = state.key(KEY);
            key.policy = without_ours(&key.policy);
        }),
        ("the statement of the key policy is edited", &["key policy"], true, |state| {
            let key = state.key(KEY);
            key.policy = edited(&key.policy);
        }),
        ("the statement of the bucket policy is gone", &["bucket policy"], true, |state| {
            let bucket = state.bucket(BUCKET);
            bucket.policy = bucket.policy.as_deref().map(without_ours);
        }),
        ("the statement of the bucket policy is edited", &["bucket policy"], true, |state| {
            let bucket = state.bucket(BUCKET);
            bucket.policy = bucket.policy.as_deref().map(edited);
        }),
        ("the CORS rule is gone", &["CORS configuration"], true, |state| {
            state.bucket(BUCKET).cors.retain(|rule| rule["ID"] != "ica-storage");
        }),
        ("the CORS rule is edited", &["CORS configuration"], true, |state| {
            let rules = &mut state.bucket(BUCKET).cors;
            for rule in rules.iter_mut().filter(|rule| rule["ID"] == "ica-storage") {
                rule["AllowedOrigins"] = json!(["*"]);
            }
        }),
        ("the IAM policy is edited", &["IAM policy"], true, |state| {
            let nothing = json!({"Version": "2012-10-17", "Statement": []});
            for policy in state.policies.values_mut() {
                policy.add_version(&nothing).unwrap();
            }
        }),
        ("versioning is switched", &["IAM policy", "bucket policy"], false, |state| {
            state.bucket(BUCKET).versioning = Versioning::Enabled;
        }),
        ("the default encryption changes", ANOTHER_KEY, false, |state| {
            let bucket = state.bucket(BUCKET);
            bucket.encryption.as_mut().unwrap().key = Some(OTHER_KEY.to_owned());
        }),
        ("the folder is deleted", &["folder"], false, |state| {
            state.bucket(BUCKET).delete("project-a/", None, 1000);
        }),
        ("the key is taken off the record", TAGS, true, |state| {
            take_tag(state, "ica-storage:kms-key");
        }),
        ("the source of the key is edited", ANOTHER_KEY, true, |state| {
            set_tag(state, "ica-storage:kms-key-source", OTHER_KEY);
        }),
        ("the state is edited", TAGS, true, |state| {
            set_tag(state, "ICA-storage:state", "odd");
        }),
        ("the claim on the key policy is taken off the record", TAGS, true, |state| {
            take_tag(state, "ica-storage:key-policy");
        }),
        ("the claim on the bucket policy is edited", TAGS, true, |state| {
            set_tag(state, "ica-storage:bucket-policy", "mine");
        }),
        ("the claim on the CORS rule is taken off the record", TAGS, true, |state| {
            take_tag(state, "ica-storage:cors");
        }),
        ("the role is another", &["key policy", "bucket policy"], true, |state| {
            set_tag(state, "ica-storage:assume-role", OTHER_ROLE);
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_drift_is_told_and_healed_by_the_next_update() {
    for lab in ["lived in", "versioned", "suspended"] {
        for (drift, expected, is_restored, change) in drifts() {
            let account = Account::new(lab::named(lab));
            let has_versions =
                account.state().buckets[BUCKET].versioning != Versioning::Unversioned;
            if has_versions && drift == "versioning is switched" {
                continue;
            }
            let mut stack = Stack::new(&account, "lab", "Connection");
            let properties = folder("project-a");
            assert!(stack.deploy(&properties).await);
            let before = account.state().essence();
            account.foreign(change);
            let connection = verify_one(&account).await;
            assert_eq!(connection.status, Status::Drifted, "{lab}: {drift}");
            assert_eq!(told(&connection), expected, "{lab}: {drift}: {connection:#?}");
            for finding in &connection.findings {
                assert_ne!(finding.expected, finding.found, "{drift}");
                assert!(finding.remedy.contains("update stack `lab` "), "{}", finding.remedy);
            }
            assert!(update(&account, &mut stack, &properties).await, "{lab}: {drift}");
            let connection = verify_one(&account).await;
            assert_eq!(connection.status, Status::Healthy, "{lab}: {drift}: {connection:#?}");
            if is_restored {
                let found = account.state().essence();
                assert_eq!(crate::support::state::difference(&found, &before), None, "{drift}");
            }
            assert!(stack.delete().await);
            // A folder that somebody else deleted is a version of an object by then.
            assert!(has_versions || account.trace().is_none(), "{lab}: {drift}");
        }
    }
}

/// What stands and what should is told of the entry, not of the whole document.
#[tokio::test(start_paused = true)]
async fn a_drift_is_told_with_what_stands_and_what_should() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("project-a")).await);
    account.foreign(|state| {
        let key = state.key(KEY);
        key.policy = edited(&key.policy);
        state.bucket(BUCKET).delete("project-a/", None, 1000);
        set_tag(state, "ica-storage:state", "odd");
    });
    let connection = verify_one(&account).await;
    insta::with_settings!({snapshot_path => "../snapshots"}, {
        insta::assert_json_snapshot!(connection.findings);
    });
}

/// Several connections share what drifted; one Update heals it for all.
#[tokio::test(start_paused = true)]
async fn what_connections_share_is_told_of_each_and_the_register_is_read_once() {
    let account = Account::new(lab::lived_in());
    let names: Vec<String> = (0..25).map(|number| format!("project-{number:02}")).collect();
    let mut stacks: Vec<Stack<'_>> =
        names.iter().map(|name| Stack::new(&account, name, "Connection")).collect();
    for (stack, name) in stacks.iter_mut().zip(&names) {
        assert!(stack.deploy(&folder(name)).await);
    }
    account.foreign(|state| {
        let key = state.key(KEY);
        key.policy = without_ours(&key.policy);
    });
    let calls = account.calls().len();
    let report = verify(&account).await;
    let made = account.calls().split_off(calls);
    assert_eq!((report.counts.connections, report.counts.drifted), (25, 25));
    assert!(report.connections.iter().all(|connection| told(connection) == ["key policy"]));
    assert_eq!(made.iter().filter(|call| call.action == "iam:ListPolicies").count(), 1);
    assert!(made.len() < 25 * 18, "{} calls", made.len());
    assert!(update(&account, &mut stacks[7], &folder(&names[7])).await);
    assert_eq!(verify(&account).await.status, Status::Healthy);
}

#[tokio::test(start_paused = true)]
async fn another_default_encryption_is_a_warning_where_the_template_names_the_key() {
    for name in [KEY, "11111111-1111-1111-1111-111111111111", "alias/lab"] {
        let account = Account::new(lab::lived_in());
        account.foreign(|state| state.key(KEY).alias = Some("alias/lab".to_owned()));
        let mut stack = Stack::new(&account, "lab", "Connection");
        let properties = with(folder("project-a"), &[("KmsKeyId", name.into())]);
        assert!(stack.deploy(&properties).await);
        account.foreign(|state| {
            let encryption = &mut state.bucket(BUCKET).encryption;
            encryption.as_mut().unwrap().key = Some(OTHER_KEY.to_owned());
        });
        let connection = verify_one(&account).await;
        assert_eq!(connection.status, Status::Healthy, "{name}: {connection:#?}");
        let [warning] = connection.warnings.as_slice() else { panic!("{:?}", connection.warnings) };
        assert!(warning.contains("default encryption"), "{warning}");
        assert!(!update(&account, &mut stack, &properties).await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_came_to_name_another_key_is_a_drift() {
    let account = Account::new(lab::lived_in());
    account.foreign(|state| state.key(KEY).alias = Some("alias/lab".to_owned()));
    let mut stack = Stack::new(&account, "lab", "Connection");
    let properties = with(folder("project-a"), &[("KmsKeyId", "alias/lab".into())]);
    assert!(stack.deploy(&properties).await);
    account.foreign(|state| {
        state.key(KEY).alias = None;
        state.key(OTHER_KEY).alias = Some("alias/lab".to_owned());
    });
    let connection = verify_one(&account).await;
    assert_eq!(connection.status, Status::Drifted);
    assert!(update(&account, &mut stack, &properties).await);
    assert_eq!(verify_one(&account).await.status, Status::Healthy);
}

/// An older version did not record where the key comes from.
#[tokio::test(start_paused = true)]
async fn a_connection_of_an_older_version_is_healthy_with_a_warning_until_it_is_updated() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("project-a")).await);
    account.foreign(|state| take_tag(state, "ica-storage:kms-key-source"));
    let connection = verify_one(&account).await;
    assert_eq!(connection.status, Status::Healthy, "{connection:#?}");
    let [warning] = connection.warnings.as_slice() else { panic!("{:?}", connection.warnings) };
    assert!(warning.starts_with("not recorded "), "{warning}");
    assert!(update(&account, &mut stack, &folder("project-a")).await);
    assert_eq!(verify_one(&account).await.warnings, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_update_would_be_refused_is_broken_with_the_sentence() {
    let cases: [(Change, &str, &str); 6] = [
        (|state| "Disabled".clone_into(&mut state.key(KEY).state), "`KmsKeyId`", "is disabled"),
        (|state| drop(state.buckets.remove(BUCKET)), "`BucketName`", "does not exist"),
        (|state| state.bucket(BUCKET).encryption = None, "`KmsKeyId`", "is missing"),
        (
            |state| state.bucket(BUCKET).policy = Some("{".into()),
            "`ConfigureBucketPolicy`",
            "is no policy document",
        ),
        (
            |state| set_tag(state, "ica-storage:assume-role", "nobody"),
            "`AssumeRoleArn`",
            "is not the ARN of an IAM role",
        ),
        (|state| set_tag(state, "ica-storage:kms-key-source", "odd"), "`KmsKeyId`", "is not a key"),
    ];
    for (change, property, problem) in cases {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        account.foreign(change);
        let connection = verify_one(&account).await;
        assert_eq!(connection.status, Status::Broken, "{problem}");
        let [finding] = connection.findings.as_slice() else { panic!("{connection:#?}") };
        assert!(finding.what.contains(property), "{finding:?}");
        assert!(finding.found.as_str().unwrap().contains(problem), "{finding:?}");
        assert!(!finding.remedy.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_delete_and_a_record_that_is_no_longer_one_are_told() {
    let cases: [(Change, &str); 4] = [
        (|state| set_tag(state, "ica-storage:state", "deleting"), "an unfinished Delete"),
        (|state| state.policies.values_mut().for_each(|policy| policy.tags.clear()), "no readable"),
        (|state| set_tag(state, "ica-storage:stack-id", "nonsense"), "no readable record"),
        (|state| set_tag(state, "ica-storage:logical-id", "Other"), "name another connection"),
    ];
    for (change, expected) in cases {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        account.foreign(change);
        let connection = verify_one(&account).await;
        assert_eq!(connection.status, Status::Broken, "{expected}");
        let [finding] = connection.findings.as_slice() else { panic!("{connection:#?}") };
        assert!(finding.found.as_str().unwrap().contains(expected), "{finding:?}");
        assert_eq!(finding.r#where, connection.policy_arn);
    }
}

/// A Delete that was interrupted anywhere leaves nothing, or what Verify tells.
#[tokio::test(start_paused = true)]
async fn what_an_interrupted_delete_leaves_is_not_called_healthy() {
    for call in 1.. {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        let before = account.state();
        let id = stack.standing.clone().unwrap().physical_id;
        let delete = stack.request("Delete", Some(&id), &folder("project-a"), None);
        let answer = stack.send(Weather::at(call, Mishap::Hang), &delete).await;
        if answer.success {
            return;
        }
        let has_begun = account.state() != before;
        let report = verify(&account).await;
        assert_eq!(report.status != Status::Healthy, has_begun, "call {call}: {report:#?}");
    }
}

/// An Update that was interrupted anywhere is finished by the next, and until then it is a drift.
#[tokio::test(start_paused = true)]
async fn an_interrupted_update_is_a_drift_until_the_next() {
    let moved = with(
        folder("project-a"),
        &[("KmsKeyId", OTHER_KEY.into()), ("ConfigureCors", "false".into())],
    );
    for call in 1.. {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        let standing = stack.standing.clone().unwrap();
        let update = stack.request(
            "Update",
            Some(&standing.physical_id),
            &moved,
            Some(&standing.properties),
        );
        stack.starts("Update");
        if stack.send(Weather::at(call, Mishap::Hang), &update).await.success {
            assert!(call > 20, "an Update makes {call} calls");
            return;
        }
        let status = verify(&account).await.status;
        let calls = account.calls().len();
        assert!(stack.send(Weather::fair(), &update).await.success);
        let is_of_moved = account.state().policies.values().any(|policy| {
            policy.tags.iter().any(|tag| tag.key == "ica-storage:kms-key" && tag.value == OTHER_KEY)
        });
        assert!(is_of_moved);
        // Before its first write the connection is what it was.
        let wrote = !account.writes_since(calls).is_empty();
        assert!(wrote || status == Status::Healthy, "call {call}: {status:?}");
        assert_eq!(verify(&account).await.status, Status::Healthy, "call {call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_looked_at_is_told_and_hides_no_other() {
    let account = Account::new(lab::lived_in());
    let mut one = Stack::new(&account, "one", "Connection");
    let mut two = Stack::new(&account, "two", "Connection");
    assert!(one.deploy(&folder("one")).await);
    assert!(two.deploy(&with(folder("two"), &[("BucketName", OTHER_BUCKET.into())])).await);
    for (action, kind) in [
        ("s3:GetBucketVersioning", CallErrorKind::Denied),
        ("s3:GetBucketCORS", CallErrorKind::Throttled),
    ] {
        let weather = Weather::on(action, Mishap::Before(kind));
        let report = verify_in(&account, weather, &Filter::default()).await;
        assert_eq!((report.status, report.counts.broken), (Status::Broken, 2));
        for connection in &report.connections {
            let found = connection.findings[0].found.as_str().unwrap();
            assert!(found.contains(action), "{found}");
        }
    }
    let failing = Session::new(&account, Weather::on("iam:ListPolicies", Mishap::Hang));
    let failure = verify::verify(&failing, &home(), &Filter::default(), &context()).await;
    assert!(failure.unwrap_err().to_string().starts_with("not finished after "));
}

#[tokio::test(start_paused = true)]
async fn only_the_connections_that_are_asked_for_are_looked_at() {
    let account = Account::new(lab::lived_in());
    let mut one = Stack::new(&account, "one", "First");
    let mut two = Stack::new(&account, "two", "Second");
    assert!(one.deploy(&folder("one")).await);
    assert!(two.deploy(&with(folder("two"), &[("BucketName", OTHER_BUCKET.into())])).await);
    let some = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    let nothing: &[&str] = &[];
    for (filter, expected) in [
        (none(), &["one/", "two/"] as &[&str]),
        (Filter { stack: some("one"), ..none() }, &["one/"]),
        (Filter { stack: some(&two.id), ..none() }, &["two/"]),
        (Filter { logical_id: some("Second"), ..none() }, &["two/"]),
        (Filter { bucket: some(BUCKET), ..none() }, &["one/"]),
        (Filter { stack: some("one"), bucket: some(OTHER_BUCKET), ..none() }, nothing),
    ] {
        let report = verify_in(&account, Weather::fair(), &filter).await;
        let mut prefixes: Vec<&str> =
            report.connections.iter().map(|connection| connection.key_prefix.as_str()).collect();
        prefixes.sort_unstable();
        assert_eq!(prefixes, expected, "{filter:?}");
    }
    // IAM has one register for all regions, S3 and KMS are asked in their own.
    let session = Session::new(&account, Weather::fair());
    let elsewhere = Home { region: "eu-west-2".into(), ..home() };
    let report = verify::verify(&session, &elsewhere, &none(), &context()).await.unwrap();
    assert_eq!((report.counts.connections, report.counts.elsewhere), (0, 2));
    // Another provider looks after the buckets that this one does not reach.
    let narrow = Context { bucket_name_pattern: "lab-d*".to_owned(), ..context() };
    let report = verify::verify(&session, &home(), &none(), &narrow).await.unwrap();
    assert_eq!((report.counts.connections, report.counts.elsewhere), (1, 1));
}
