//! A connection's entry in the register → the properties it stands for, as an Update would get them.

use serde_json::{Value, json};

use crate::domain::ica::RegionRole;
use crate::domain::identity::{Home, Identity};
use crate::domain::refusal::Refusal;
use crate::domain::register::{Entry, KeySource, Record};
use crate::domain::seen::Policy;
use crate::domain::shared::Shared;
use crate::domain::spec::{Place, Spec};

/// The properties with which the next Update of a connection would come, as far as they are
/// recorded: all but the tags of its template.
pub fn properties(entry: &Entry, record: &Record, policy: &Policy, home: &Home) -> Value {
    let configures = |shared| {
        let is_claimed = record.claim(shared).is_wanted();
        // Of a claim that somebody took off it is not known, and the default is that it is wanted.
        is_claimed || Record::lacks_claim(&policy.tags, shared)
    };
    let key = match &record.key_source {
        Some(KeySource::Property(name)) => Some(name),
        Some(KeySource::DefaultEncryption) => None,
        None => Some(&record.key_arn),
    };
    let default_role = RegionRole::of(&home.region).map(RegionRole::arn);
    let named_role = record.role.as_ref().filter(|role| Some(*role) != default_role.as_ref());
    let named_policy = (default_name(entry, record) != entry.name).then_some(&entry.name);
    json!({
        "BucketName": entry.bucket,
        "KeyPrefix": entry.prefix,
        "AllowBucketRoot": entry.prefix.is_empty(),
        "KmsKeyId": key,
        "CrossAccountAccess": record.role.is_some(),
        "AssumeRoleArn": named_role,
        "ConfigureKeyPolicy": configures(Shared::KeyPolicy),
        "ConfigureBucketPolicy": configures(Shared::BucketPolicy),
        "ConfigureCors": configures(Shared::Cors),
        "PolicyName": named_policy,
    })
}

/// The connection that a record speaks of.
///
/// # Errors
/// A record that somebody edited into what no template could say.
pub fn connection(
    entry: &Entry,
    record: &Record,
    policy: &Policy,
    home: &Home,
) -> Result<(Spec, Identity), Vec<Refusal>> {
    let spec = Spec::parse(&properties(entry, record, policy, home))?;
    let identity = Identity { owner: record.owner.clone(), place: Place::from(&spec) };
    Ok((spec, identity))
}

/// Who a connection of the register is, whatever name its policy was given.
pub fn identity(entry: &Entry, record: &Record) -> Identity {
    let (bucket, prefix) = (entry.bucket.clone(), entry.prefix.clone());
    let named = default_name(entry, record) != entry.name;
    let policy_name = named.then(|| entry.name.clone());
    Identity { owner: record.owner.clone(), place: Place { bucket, prefix, policy_name } }
}

/// Whether a policy has a name that this program gave to another connection than its tags say:
/// somebody edited who it belongs to.
pub fn names_another(entry: &Entry, record: &Record) -> bool {
    let default = default_name(entry, record);
    let stem = |name: &str| name.rsplit_once('-').map(|(stem, _)| stem.to_owned());
    let is_digest = |name: &str| {
        name.rsplit('-')
            .next()
            .is_some_and(|end| end.len() == 16 && end.chars().all(|c| c.is_ascii_hexdigit()))
    };
    entry.name != default && is_digest(&entry.name) && stem(&entry.name) == stem(&default)
}

fn default_name(entry: &Entry, record: &Record) -> String {
    let (bucket, prefix) = (entry.bucket.clone(), entry.prefix.clone());
    let place = Place { bucket, prefix, policy_name: None };
    Identity { owner: record.owner.clone(), place }.policy_name()
}
