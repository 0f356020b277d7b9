//! What works but should be looked at: never a failure.

use crate::domain::ica::{self, RegionRole};
use crate::domain::policy::PolicyDocument;
use crate::domain::preflight::Ask;
use crate::domain::seen::{Encryption, Key, Seen, Unseen};

/// What ICA's policy grants on the key.
const KEY_ACTIONS: [&str; 3] = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"];

/// One sentence each, in the order a reader would check them.
pub(super) fn warnings(ask: Ask<'_>, seen: &Seen, key: &Key) -> Vec<String> {
    let (spec, bucket) = (ask.spec, ask.spec.bucket.as_str());
    let mut warnings = vec![];
    let mut warn = |sentence: String| warnings.push(sentence);
    let unchecked = |Unseen { action, .. }: &Unseen| {
        format!("not checked for lack of a permission: grant `{action}` to the function's role")
    };
    // Without the property the key *is* that of the default encryption, under whatever name.
    let is_default = |encryption: &Encryption| {
        let named = encryption.key.as_deref();
        spec.kms_key_id.is_none() || named.is_some_and(|name| names(ask, name, key))
    };
    match &seen.encryption {
        Ok(Some(encryption)) if is_default(encryption) => {
            if !encryption.bucket_key {
                warn(format!(
                    "S3 Bucket Key is off on `{bucket}`: every object costs a request to KMS"
                ));
            }
        }
        Ok(_) => warn(format!(
            "default encryption of `{bucket}` is not this key: what names no key gets another"
        )),
        Err(unseen) => warn(unchecked(unseen)),
    }
    match &seen.key_policy {
        Ok(Some(text)) => {
            let delegates = PolicyDocument::parse(text)
                .is_ok_and(|policy| policy.delegates_to_iam(&ask.home.account, &KEY_ACTIONS));
            if !delegates {
                warn("the key policy does not delegate to IAM: the IAM policy has no effect on the key".to_owned());
            }
        }
        Ok(None) => {}
        Err(unseen) => warn(unchecked(unseen)),
    }
    match &seen.ownership {
        Ok(Some(ownership)) if ownership == "BucketOwnerEnforced" => {}
        Ok(_) => warn(format!(
            "Object Ownership of `{bucket}` is not BucketOwnerEnforced: what ICA copies in may stay Illumina's"
        )),
        Err(unseen) => warn(unchecked(unseen)),
    }
    match &seen.public_access_off {
        Ok(off) if off.is_empty() => {}
        Ok(off) => warn(format!("Block Public Access of `{bucket}` is off: {}", off.join(", "))),
        Err(unseen) => warn(unchecked(unseen)),
    }
    match &seen.notifications {
        Ok(prefixes) => {
            let ours = spec.prefix.as_str();
            if prefixes.iter().any(|theirs| theirs.starts_with(ours) || ours.starts_with(theirs)) {
                warn(format!(
                    "`{bucket}` has event notifications that overlap the prefix: S3 may refuse those ICA sets"
                ));
            }
        }
        Err(unseen) => warn(unchecked(unseen)),
    }
    if let Ok(Some(folder)) = &seen.folder
        && (folder.algorithm.as_deref() != Some(ica::ALGORITHM)
            || !folder.key.as_deref().is_some_and(|name| names(ask, name, key)))
    {
        warn(format!(
            "the folder `{}` was there and is not encrypted with this key",
            spec.prefix.as_str()
        ));
    }
    if spec.prefix.is_root() {
        warn(format!(
            "the prefix is the root of `{bucket}`: the bucket can serve no other project"
        ));
    }
    let guessed = RegionRole::of(&ask.home.region).filter(|role| !role.seen_in_use);
    if let (true, None, Some(role)) = (spec.cross_account_access, &spec.assume_role_arn, guessed) {
        warn(format!(
            "the role `{}` follows Illumina's naming but was not seen in use: compare it with the Role ARN table",
            role.role
        ));
    }
    warnings
}

/// Whether a name in any form is this key, as far as can be told without asking.
fn names(ask: Ask<'_>, name: &str, key: &Key) -> bool {
    let of_key = key.arn.rsplit('/').next();
    let given = ask.spec.kms_key_id.as_ref().map(super::field::KeyId::as_str);
    name == key.arn || Some(name) == of_key || Some(name) == given
}
