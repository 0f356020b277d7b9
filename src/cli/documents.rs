//! The documents of a connection, from its properties alone.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::attributes::storage_configuration;
use crate::domain::field::Arn;
use crate::domain::ica::{self, RegionRole, Storage, Versioning};
use crate::domain::refusal::Refusal;
use crate::domain::spec::Spec;

/// What is pasted where.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Documents {
    /// The IAM policy for ICA's credential.
    pub(super) policy: Value,
    /// One statement of the key's policy.
    pub(super) key_policy_statement: Option<Value>,
    /// One statement of the bucket's policy.
    pub(super) bucket_policy_statement: Option<Value>,
    /// One CORS rule of the bucket.
    pub(super) cors_rule: Value,
    /// The values of ICA's form.
    pub(super) storage_configuration: Value,
}

/// Renders them.
///
/// # Errors
/// The first property that cannot be used.
pub(super) fn render(given: &Map<String, Value>) -> Result<Documents, Refusal> {
    let mut properties = given.clone();
    let versioning = properties.shift_remove("versioning");
    let versioning = match versioning.as_ref().and_then(Value::as_str) {
        None => Versioning::Unversioned,
        Some(name) => versioning_of(name)?,
    };
    let spec = Spec::parse(&Value::Object(properties));
    let spec = spec.map_err(|refusals| {
        refusals.into_iter().next().unwrap_or_else(|| needs_arn("is unusable"))
    })?;
    let key = spec.kms_key_id.as_ref().ok_or_else(|| needs_arn("is required and missing"))?;
    let arn = key.arn().filter(|_| key.names_the_key());
    let arn = arn.ok_or_else(|| needs_arn(&format!("`{}` is no key ARN", key.as_str())))?;
    let role = spec.cross_account_access.then(|| role(&spec, arn)).transpose()?;
    let storage = Storage {
        partition: arn.partition,
        bucket: spec.bucket.as_str(),
        prefix: spec.prefix.as_str(),
        key_arn: key.as_str(),
        versioning,
    };
    let roles = role.as_slice();
    Ok(Documents {
        policy: storage.policy(),
        key_policy_statement: role.is_some().then(|| ica::key_policy_statement(roles)),
        bucket_policy_statement: role.is_some().then(|| storage.bucket_policy_statement(roles)),
        cors_rule: ica::cors_rule(),
        storage_configuration: storage_configuration(storage),
    })
}

fn versioning_of(name: &str) -> Result<Versioning, Refusal> {
    let all = [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended];
    let found = all.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let problem = format!("`{name}` is no state of versioning");
        Refusal::invalid("versioning", problem, "write `Unversioned`, `Enabled` or `Suspended`")
    })
}

fn role(spec: &Spec, key: Arn<'_>) -> Result<String, Refusal> {
    if let Some(role) = &spec.assume_role_arn {
        return Ok(role.as_str().to_owned());
    }
    RegionRole::of(key.region).map(RegionRole::arn).ok_or_else(|| {
        let problem = format!("no role of Illumina's is known for {}", key.region);
        let remedy = "write `--role-arn` from Illumina's Role ARN table, or `--no-cross-account`";
        Refusal::invalid("AssumeRoleArn", problem, remedy)
    })
}

fn needs_arn(problem: &str) -> Refusal {
    Refusal::invalid("KmsKeyId", problem, "write the key ARN, as AWS is not asked")
}
