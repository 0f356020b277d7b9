//! May this connection be made, and of what? Spec and account → [`Goal`], or every refusal.

use serde_json::Value;

use crate::domain::attributes::Attributes;
use crate::domain::document::Document;
use crate::domain::field::Arn;
use crate::domain::ica::{self, ILLUMINA_ACCOUNT, RegionRole, Storage, Versioning};
use crate::domain::identity::{Home, Identity};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::seen::{Fact, Key, KeyFound, Seen, Unseen};
use crate::domain::shared::Shared;
use crate::domain::spec::Spec;
use crate::domain::warning::warnings;

/// A connection with nothing left open.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What its template says.
    pub spec: Spec,
    /// Who it is.
    pub identity: Identity,
    /// Where its stack is.
    pub home: Home,
    /// ARN of the key.
    pub key_arn: String,
    /// Versioning of the bucket, which decides the variants.
    pub versioning: Versioning,
    /// Illumina's role, if it may copy across accounts.
    pub role: Option<String>,
    /// What works but should be looked at.
    pub warnings: Vec<String>,
}

impl Goal {
    /// What the documents speak of.
    pub fn storage(&self) -> Storage<'_> {
        Storage {
            partition: &self.home.partition,
            bucket: self.spec.bucket.as_str(),
            prefix: self.spec.prefix.as_str(),
            key_arn: &self.key_arn,
            versioning: self.versioning,
        }
    }

    /// ARN of the IAM policy.
    pub fn policy_arn(&self) -> String {
        self.identity.policy_arn(&self.home.partition, &self.home.account)
    }

    /// What the resource returns.
    pub fn attributes(&self) -> Attributes {
        Attributes::of(self)
    }
}

/// The request's side of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What the template says.
    pub spec: &'a Spec,
    /// Who asks.
    pub identity: &'a Identity,
    /// From where.
    pub home: &'a Home,
    /// Accounts whose roles may be let in; Illumina's if empty.
    pub principal_accounts: &'a [String],
}

/// Decides.
///
/// # Errors
/// Every reason not to begin, the bucket's first.
pub fn goal(ask: Ask<'_>, seen: &Seen) -> Result<Goal, Vec<Refusal>> {
    let mut refusals = vec![];
    let mut keep = |refusal: Refusal| refusals.push(refusal);
    let Ask { spec, identity, home, .. } = ask;
    let has_bucket = bucket(ask, seen).map_err(&mut keep).is_ok();
    let role = role(ask).map_err(&mut keep).ok();
    // Without the bucket only a key with a name of its own can be judged.
    let key = if has_bucket || spec.kms_key_id.is_some() {
        key(ask, seen).map_err(&mut keep).ok()
    } else {
        None
    };
    let versioning = if has_bucket {
        if !spec.prefix.is_root() {
            needed(&seen.folder, "KeyPrefix", spec.prefix.as_str()).map_err(&mut keep).ok();
        }
        needed(&seen.versioning, "BucketName", spec.bucket.as_str()).map_err(&mut keep).ok()
    } else {
        None
    };
    let (Some(versioning), Some(key), Some(role), true) =
        (versioning, key, role, refusals.is_empty())
    else {
        return Err(refusals);
    };
    Ok(Goal {
        spec: spec.clone(),
        identity: identity.clone(),
        home: home.clone(),
        key_arn: key.arn.clone(),
        versioning: *versioning,
        role,
        warnings: warnings(ask, seen, key),
    })
}

/// The shared documents that are to be written, as they stand.
///
/// # Errors
/// One that cannot be read, or that is no document at all.
pub fn document(goal: &Goal, shared: Shared, seen: &Seen) -> Result<Document, Refusal> {
    let property = shared.property();
    let of = match shared {
        Shared::KeyPolicy => goal.key_arn.as_str(),
        Shared::BucketPolicy | Shared::Cors => goal.spec.bucket.as_str(),
    };
    let text = match shared {
        Shared::KeyPolicy => needed(&seen.key_policy, property, of)?,
        Shared::BucketPolicy => needed(&seen.bucket_policy, property, of)?,
        Shared::Cors => {
            return needed(&seen.cors, property, of).map(|rules| Document::Rules(rules.clone()));
        }
    };
    Document::policy(text.as_deref()).map_err(|error| {
        let entry = entry(shared, goal.storage(), goal.role.as_slice());
        Refusal::invalid(
            property,
            format!("the {shared} of `{of}` is no policy document: {error}"),
            format!("correct it, or set `{property}: false` and add this by hand: {entry}"),
        )
    })
}

/// The entry of a shared document for these roles.
pub fn entry(shared: Shared, storage: Storage<'_>, roles: &[String]) -> Value {
    match shared {
        Shared::KeyPolicy => ica::key_policy_statement(roles),
        Shared::BucketPolicy => storage.bucket_policy_statement(roles),
        Shared::Cors => ica::cors_rule(),
    }
}

impl Goal {
    /// Whether this connection asks for the entry of a shared document.
    pub fn wants(&self, shared: Shared) -> bool {
        match shared {
            Shared::KeyPolicy => self.role.is_some() && self.spec.configure.key_policy,
            Shared::BucketPolicy => self.role.is_some() && self.spec.configure.bucket_policy,
            Shared::Cors => self.spec.configure.cors,
        }
    }
}

fn bucket(ask: Ask<'_>, seen: &Seen) -> Result<(), Refusal> {
    let (bucket, region) = (ask.spec.bucket.as_str(), &ask.home.region);
    let refuse = |code, problem: String, remedy: String| {
        Err(Refusal::new(code, "BucketName", format!("bucket `{bucket}` {problem}"), remedy))
    };
    match &seen.region {
        Ok(Some(there)) if there.is_empty() || there == region => Ok(()),
        Ok(Some(there)) => refuse(
            Code::InvalidRequest,
            format!("is in {there}, this stack in {region}"),
            format!("deploy this stack in {there}"),
        ),
        Ok(None) => refuse(
            Code::NotFound,
            "does not exist".to_owned(),
            "create it first, or correct the name".to_owned(),
        ),
        Err(Unseen { action, .. }) => refuse(
            Code::AccessDenied,
            format!("belongs to another account than {}, or denies `{action}`", ask.home.account),
            format!(
                "deploy this stack in the bucket's account, and let the function's role do `{action}` on it"
            ),
        ),
    }
}

fn needed<'a, T>(fact: &'a Fact<T>, property: &str, value: &str) -> Result<&'a T, Refusal> {
    fact.as_ref().map_err(|Unseen { action, message }| {
        Refusal::new(
            Code::AccessDenied,
            property,
            format!("`{action}` on `{value}` is denied: {message}"),
            format!("grant `{action}` to the function's role"),
        )
    })
}

fn key<'a>(ask: Ask<'_>, seen: &'a Seen) -> Result<&'a Key, Refusal> {
    let named = ask.spec.kms_key_id.as_ref().map(super::field::KeyId::as_str);
    let bucket = ask.spec.bucket.as_str();
    let refuse =
        |code, problem: String, remedy: &str| Err(Refusal::new(code, "KmsKeyId", problem, remedy));
    // Whose key it is that the template did not name.
    let whose = match named {
        Some(_) => String::new(),
        None => format!(" of the default encryption of `{bucket}`"),
    };
    if named.is_none() {
        needed(&seen.encryption, "KmsKeyId", bucket)?;
    }
    if let Some(arn) = ask.spec.kms_key_id.as_ref().and_then(super::field::KeyId::arn) {
        elsewhere(ask, arn)?;
    }
    let key = match needed(&seen.key, "KmsKeyId", named.unwrap_or(bucket))? {
        KeyFound::Found(key) => key,
        KeyFound::Missing(name) => {
            return refuse(
                Code::NotFound,
                format!("key `{name}`{whose} does not exist in {}", ask.home.region),
                "create it first, or correct the name",
            );
        }
        KeyFound::Unnamed => {
            return refuse(
                Code::InvalidRequest,
                format!(
                    "is missing, and the default encryption of `{bucket}` names no customer managed key"
                ),
                "write the key ARN, or set the bucket's default encryption to SSE-KMS with that key",
            );
        }
    };
    if let Some(arn) = Arn::parse(&key.arn) {
        elsewhere(ask, arn)?;
    }
    let unusable = |problem: &str, remedy| {
        refuse(Code::InvalidRequest, format!("key `{}`{whose} {problem}", key.arn), remedy)
    };
    if key.aws_managed {
        return unusable(
            "is AWS managed: nobody can edit its policy",
            "name a customer managed key",
        );
    }
    match key.state.as_str() {
        "Enabled" => {}
        "PendingDeletion" => {
            return unusable("is pending deletion", "cancel the deletion, or name another key");
        }
        "Disabled" => return unusable("is disabled", "enable it, or name another key"),
        state => {
            return unusable(
                &format!("is in state {state}"),
                "wait until it is Enabled, or name another key",
            );
        }
    }
    if key.spec != "SYMMETRIC_DEFAULT" || key.usage != "ENCRYPT_DECRYPT" {
        let problem = format!("is {} for {}", key.spec, key.usage);
        return unusable(&problem, "S3 needs a symmetric encryption key (SYMMETRIC_DEFAULT)");
    }
    Ok(key)
}

fn elsewhere(ask: Ask<'_>, key: Arn<'_>) -> Result<(), Refusal> {
    let Home { region, account, .. } = ask.home;
    let name = format!("arn:{}:kms:{}:{}:{}", key.partition, key.region, key.account, key.resource);
    if key.region != region {
        return Err(Refusal::invalid(
            "KmsKeyId",
            format!("key `{name}` is in {}, this stack in {region}", key.region),
            "name a key of the bucket's region",
        ));
    }
    if key.account != account && ask.spec.configure.key_policy {
        return Err(Refusal::new(
            Code::AccessDenied,
            "KmsKeyId",
            format!("key `{name}` belongs to account {}, this stack to {account}", key.account),
            "set `ConfigureKeyPolicy: false` and have the key's owner add the attribute `KeyPolicyStatement` to its policy",
        ));
    }
    Ok(())
}

/// Illumina's role, or none when nothing is shared across accounts.
fn role(ask: Ask<'_>) -> Result<Option<String>, Refusal> {
    if !ask.spec.cross_account_access {
        return Ok(None);
    }
    let Some(role) = &ask.spec.assume_role_arn else {
        let region = &ask.home.region;
        let known = RegionRole::of(region).filter(|_| ask.home.partition == "aws");
        return known.map(|role| Some(role.arn())).ok_or_else(|| {
            Refusal::invalid(
                "AssumeRoleArn",
                format!("is missing, and no role of Illumina's is known for {region}"),
                "write the ARN from Illumina's Role ARN table, or set `CrossAccountAccess: false`",
            )
        });
    };
    let accounts = ask.principal_accounts;
    let allowed = if accounts.is_empty() {
        role.account() == ILLUMINA_ACCOUNT
    } else {
        accounts.iter().any(|account| account == role.account())
    };
    if !allowed {
        let accounts =
            if accounts.is_empty() { ILLUMINA_ACCOUNT.to_owned() } else { accounts.join(", ") };
        return Err(Refusal::invalid(
            "AssumeRoleArn",
            format!(
                "`{}` is of account {}, and only {accounts} is let in",
                role.as_str(),
                role.account()
            ),
            "name a role of Illumina's, or add the account to the provider's `AllowedPrincipalAccounts`",
        ));
    }
    Ok(Some(role.as_str().to_owned()))
}
