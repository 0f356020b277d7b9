//! The ports, on the account in memory.

use ica_storage::domain::ica::Versioning;
use ica_storage::domain::register::Entry;
use ica_storage::domain::seen::{Encryption, Folder, Key, Policy};
use ica_storage::domain::spec::Tag;
use ica_storage::ports::{
    Attachment, Bucket, Buckets, Call, CallErrorKind, Keys, Policies, StackResource, Stacks,
    Version,
};
use serde_json::Value;

use crate::support::account::ACCOUNT;
use crate::support::session::Session;
use crate::support::state::{BucketState, KeyState, No, Object, PolicyState, State, locks_out};

const GONE: No = (CallErrorKind::NotFound, "does not exist");

fn bucket<'a>(state: &'a State, bucket: Bucket<'_>) -> Result<&'a BucketState, No> {
    let found = state.buckets.get(bucket.name).ok_or(GONE)?;
    let is_owner = found.owner == bucket.owner;
    is_owner.then_some(found).ok_or((CallErrorKind::Denied, "Access Denied"))
}

fn bucket_mut<'a>(state: &'a mut State, asked: Bucket<'_>) -> Result<&'a mut BucketState, No> {
    bucket(state, asked)?;
    state.buckets.get_mut(asked.name).ok_or(GONE)
}

fn key<'a>(state: &'a State, name: &str) -> Option<(&'a str, &'a KeyState)> {
    let arn = state.find_key(name)?;
    Some((arn, &state.keys[arn]))
}

fn policy<'a>(state: &'a mut State, arn: &str) -> Result<&'a mut PolicyState, No> {
    state.policies.get_mut(arn).ok_or(GONE)
}

impl Buckets for Session<'_> {
    async fn region(&self, asked: Bucket<'_>) -> Call<Option<String>> {
        let look = |state: &State| match bucket(state, asked) {
            Ok(found) => Ok(Some(found.region.clone())),
            Err(GONE) => Ok(None),
            Err(no) => Err(no),
        };
        self.read("s3:ListBucket", asked.name, look).await
    }

    async fn versioning(&self, asked: Bucket<'_>) -> Call<Versioning> {
        let look = |state: &State| Ok(bucket(state, asked)?.versioning);
        self.read("s3:GetBucketVersioning", asked.name, look).await
    }

    async fn encryption(&self, asked: Bucket<'_>) -> Call<Option<Encryption>> {
        let look = |state: &State| Ok(bucket(state, asked)?.encryption.clone());
        self.read("s3:GetEncryptionConfiguration", asked.name, look).await
    }

    async fn ownership(&self, asked: Bucket<'_>) -> Call<Option<String>> {
        let look =
            |state: &State| bucket(state, asked).map(|_| Some("BucketOwnerEnforced".to_owned()));
        self.read("s3:GetBucketOwnershipControls", asked.name, look).await
    }

    async fn public_access_off(&self, asked: Bucket<'_>) -> Call<Vec<&'static str>> {
        let look = |state: &State| bucket(state, asked).map(|_| vec![]);
        self.read("s3:GetBucketPublicAccessBlock", asked.name, look).await
    }

    async fn notifications(&self, asked: Bucket<'_>) -> Call<Vec<String>> {
        let look = |state: &State| bucket(state, asked).map(|_| vec![]);
        self.read("s3:GetBucketNotification", asked.name, look).await
    }

    async fn read_policy(&self, asked: Bucket<'_>) -> Call<Option<String>> {
        let look = |state: &State| Ok(bucket(state, asked)?.policy.clone());
        self.read_late("s3:GetBucketPolicy", asked.name, look).await
    }

    async fn write_policy(&self, asked: Bucket<'_>, text: Option<&str>) -> Call<()> {
        let change = |state: &mut State, _| {
            let sound = text.is_none_or(|text| serde_json::from_str::<Value>(text).is_ok());
            if !sound {
                return Err((CallErrorKind::Other, "MalformedPolicy"));
            }
            bucket_mut(state, asked)?.policy = text.map(str::to_owned);
            Ok(())
        };
        self.write("s3:PutBucketPolicy", asked.name, change).await
    }

    async fn read_cors(&self, asked: Bucket<'_>) -> Call<Vec<Value>> {
        let look = |state: &State| Ok(bucket(state, asked)?.cors.clone());
        self.read_late("s3:GetBucketCORS", asked.name, look).await
    }

    async fn write_cors(&self, asked: Bucket<'_>, rules: &[Value]) -> Call<()> {
        let change = |state: &mut State, _| {
            bucket_mut(state, asked)?.cors = rules.to_vec();
            Ok(())
        };
        self.write("s3:PutBucketCORS", asked.name, change).await
    }

    async fn read_folder(&self, asked: Bucket<'_>, prefix: &str) -> Call<Option<Folder>> {
        let look = |state: &State| Ok(bucket(state, asked)?.folder(prefix));
        self.read("s3:GetObject", asked.name, look).await
    }

    async fn write_folder(
        &self,
        asked: Bucket<'_>,
        prefix: &str,
        key_arn: &str,
        mark: &str,
    ) -> Call<()> {
        let change = |state: &mut State, serial| {
            let bucket = bucket_mut(state, asked)?;
            if bucket.current(prefix).is_none() {
                let object = Object { mark: Some(mark.to_owned()), key: Some(key_arn.to_owned()) };
                bucket.put(prefix, Some(object), serial);
            }
            Ok(())
        };
        self.write("s3:PutObject", asked.name, change).await
    }

    async fn remove_folder(
        &self,
        asked: Bucket<'_>,
        prefix: &str,
        version: Option<&str>,
    ) -> Call<()> {
        let change = |state: &mut State, serial| {
            bucket_mut(state, asked)?.delete(prefix, version, serial);
            Ok(())
        };
        self.write("s3:DeleteObject", asked.name, change).await
    }

    async fn contents(&self, asked: Bucket<'_>, prefix: &str, limit: i32) -> Call<Vec<String>> {
        let limit = usize::try_from(limit).unwrap();
        let look = |state: &State| {
            let bucket = bucket(state, asked)?;
            let keys = bucket.objects.keys().filter(|key| key.starts_with(prefix));
            let current = keys.filter(|key| bucket.current(key).is_some());
            Ok(current.take(limit).cloned().collect())
        };
        self.read("s3:ListBucket", asked.name, look).await
    }
}

impl Keys for Session<'_> {
    async fn describe(&self, name: &str) -> Call<Option<Key>> {
        let look = |state: &State| {
            Ok(key(state, name).map(|(arn, found)| Key {
                arn: arn.to_owned(),
                state: found.state.clone(),
                aws_managed: false,
                spec: "SYMMETRIC_DEFAULT".to_owned(),
                usage: "ENCRYPT_DECRYPT".to_owned(),
            }))
        };
        self.read("kms:DescribeKey", name, look).await
    }

    async fn read_key_policy(&self, name: &str) -> Call<Option<String>> {
        let look = |state: &State| match name {
            "" => Err((CallErrorKind::Other, "ValidationException")),
            name => Ok(key(state, name).map(|(_, found)| found.policy.clone())),
        };
        self.read_late("kms:GetKeyPolicy", name, look).await
    }

    async fn write_key_policy(&self, name: &str, text: &str) -> Call<()> {
        let change = |state: &mut State, _| {
            let key = state.keys.get_mut(name).ok_or(GONE)?;
            locks_out(text)?;
            if key.state == "PendingDeletion" {
                return Err((CallErrorKind::InvalidState, "is pending deletion"));
            }
            text.clone_into(&mut key.policy);
            Ok(())
        };
        self.write("kms:PutKeyPolicy", name, change).await
    }
}

impl Policies for Session<'_> {
    async fn list(&self) -> Call<Vec<Entry>> {
        let look = |state: &State| {
            let entries = state.policies.iter().filter_map(|(arn, policy)| {
                Entry::new(arn, &policy.name, &policy.path, policy.created)
            });
            Ok(entries.collect())
        };
        self.read_late("iam:ListPolicies", "/ica-storage/", look).await
    }

    async fn read(&self, arn: &str) -> Call<Option<Policy>> {
        let look = |state: &State| {
            Ok(state.policies.get(arn).map(|policy| Policy {
                version: format!("v{}", policy.default),
                tags: policy.tags.clone(),
            }))
        };
        self.read_late("iam:GetPolicy", arn, look).await
    }

    async fn document(&self, arn: &str, version: &str) -> Call<Value> {
        let look = |state: &State| {
            let policy = state.policies.get(arn).ok_or(GONE)?;
            policy.document(version).cloned().ok_or(GONE)
        };
        Session::read(self, "iam:GetPolicyVersion", arn, look).await
    }

    async fn create(&self, path: &str, name: &str, document: &Value, tags: &[Tag]) -> Call<()> {
        let created = self.account.date();
        let change = |state: &mut State, _| {
            if state.policies.values().any(|other| other.name.eq_ignore_ascii_case(name)) {
                return Err((CallErrorKind::Exists, "A policy of that name exists"));
            }
            let policy = PolicyState {
                name: name.to_owned(),
                path: path.to_owned(),
                created,
                versions: vec![(1, document.clone())],
                default: 1,
                tags: tags.to_vec(),
                attachments: vec![],
            };
            state.policies.insert(format!("arn:aws:iam::{ACCOUNT}:policy{path}{name}"), policy);
            Ok(())
        };
        self.write("iam:CreatePolicy", name, change).await
    }

    async fn versions(&self, arn: &str) -> Call<Vec<Version>> {
        let look = |state: &State| {
            let policy = state.policies.get(arn).ok_or(GONE)?;
            let version = |(number, _): &(u32, Value)| Version {
                id: format!("v{number}"),
                is_default: *number == policy.default,
            };
            Ok(policy.versions.iter().map(version).collect())
        };
        Session::read(self, "iam:ListPolicyVersions", arn, look).await
    }

    async fn add_version(&self, arn: &str, document: &Value) -> Call<()> {
        let change = |state: &mut State, _| policy(state, arn)?.add_version(document);
        self.write("iam:CreatePolicyVersion", arn, change).await
    }

    async fn remove_version(&self, arn: &str, version: &str) -> Call<()> {
        let change = |state: &mut State, _| match state.policies.get_mut(arn) {
            Some(policy) => policy.remove_version(version),
            None => Ok(()),
        };
        self.write("iam:DeletePolicyVersion", arn, change).await
    }

    async fn tag(&self, arn: &str, tags: &[Tag]) -> Call<()> {
        let change = |state: &mut State, _| policy(state, arn).map(|policy| policy.tag(tags));
        self.write("iam:TagPolicy", arn, change).await
    }

    async fn untag(&self, arn: &str, keys: &[String]) -> Call<()> {
        let change = |state: &mut State, _| policy(state, arn).map(|policy| policy.untag(keys));
        self.write("iam:UntagPolicy", arn, change).await
    }

    async fn attachments(&self, arn: &str) -> Call<Vec<Attachment>> {
        let look = |state: &State| {
            state.policies.get(arn).map(|found| found.attachments.clone()).ok_or(GONE)
        };
        Session::read(self, "iam:ListEntitiesForPolicy", arn, look).await
    }

    async fn detach(&self, arn: &str, from: &Attachment) -> Call<()> {
        let change = |state: &mut State, _| {
            if let Some(policy) = state.policies.get_mut(arn) {
                policy.attachments.retain(|attachment| attachment != from);
            }
            Ok(())
        };
        self.write("iam:DetachUserPolicy", arn, change).await
    }

    async fn remove(&self, arn: &str) -> Call<()> {
        let change = |state: &mut State, _| {
            let policy = policy(state, arn)?;
            if !policy.attachments.is_empty() || policy.versions.len() > 1 {
                return Err((CallErrorKind::Conflict, "DeleteConflict"));
            }
            state.policies.remove(arn);
            Ok(())
        };
        self.write("iam:DeletePolicy", arn, change).await
    }
}

impl Stacks for Session<'_> {
    async fn resource(&self, stack_id: &str, logical_id: &str) -> Call<Option<StackResource>> {
        let look = || Ok(self.account.resource(stack_id, logical_id));
        self.call("cloudformation:DescribeStackResource", stack_id, false, look).await
    }

    async fn stack_status(&self, stack_id: &str) -> Call<Option<String>> {
        let look = || Ok(self.account.stack_status(stack_id));
        self.call("cloudformation:DescribeStacks", stack_id, false, look).await
    }
}
