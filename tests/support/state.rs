//! What stands in the account: buckets, keys and policies, and how AWS changes them.

use std::collections::BTreeMap;

use ica_storage::domain::ica::Versioning;
use ica_storage::domain::seen::{Encryption, Folder};
use ica_storage::domain::spec::Tag;
use ica_storage::ports::{Attachment, CallErrorKind};
use serde_json::Value;

/// How a service says no: what kind, in which words.
pub(crate) type No = (CallErrorKind, &'static str);

/// Everything that a connection could leave a trace in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, BucketState>,
    /// By ARN.
    pub(crate) keys: BTreeMap<String, KeyState>,
    /// By ARN.
    pub(crate) policies: BTreeMap<String, PolicyState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketState {
    pub(crate) region: String,
    pub(crate) owner: String,
    pub(crate) versioning: Versioning,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) policy: Option<String>,
    pub(crate) cors: Vec<Value>,
    /// By key, each with its versions, the oldest first.
    pub(crate) objects: BTreeMap<String, Vec<ObjectVersion>>,
}

/// A version of an object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectVersion {
    /// `null` where the bucket gave none.
    pub(crate) id: String,
    pub(crate) object: Option<Object>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) mark: Option<String>,
    pub(crate) key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyState {
    /// `Enabled`, …
    pub(crate) state: String,
    pub(crate) policy: String,
    pub(crate) alias: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyState {
    pub(crate) name: String,
    pub(crate) path: String,
    /// In whole seconds, as IAM tells them; in milliseconds since 1970.
    pub(crate) created: i64,
    /// The oldest first.
    pub(crate) versions: Vec<(u32, Value)>,
    pub(crate) default: u32,
    pub(crate) tags: Vec<Tag>,
    pub(crate) attachments: Vec<Attachment>,
}

impl State {
    pub(crate) fn bucket(&mut self, name: &str) -> &mut BucketState {
        self.buckets.get_mut(name).expect("the bucket is there")
    }

    pub(crate) fn key(&mut self, arn: &str) -> &mut KeyState {
        self.keys.get_mut(arn).expect("the key is there")
    }

    /// The ARN of a key by any of its names.
    pub(crate) fn find_key(&self, name: &str) -> Option<&str> {
        let found = self.keys.iter().find(|(arn, key)| {
            *arn == name
                || arn.rsplit('/').next() == Some(name)
                || key.alias.as_deref() == Some(name)
        });
        found.map(|(arn, _)| arn.as_str())
    }

    /// Without what tells how it came about: numbers of versions and objects, dates, old versions.
    pub(crate) fn essence(&self) -> Self {
        let mut state = self.clone();
        for policy in state.policies.values_mut() {
            policy.created = 0;
            policy.tags.sort();
            let default = policy.default;
            policy.versions.retain(|(number, _)| *number == default);
            policy.versions[0].0 = 1;
            policy.default = 1;
        }
        let versions = state.buckets.values_mut().flat_map(|bucket| bucket.objects.values_mut());
        versions.flatten().for_each(|version| version.id.clear());
        state
    }

    /// What it comes to: the essence, whatever the order of statements and rules.
    pub(crate) fn meaning(&self) -> Self {
        let mut state = self.essence();
        let sort = |policy: &mut String| {
            let mut document: Value = serde_json::from_str(policy).unwrap();
            let statements = document["Statement"].as_array_mut().unwrap();
            statements.sort_by_key(Value::to_string);
            *policy = document.to_string();
        };
        for bucket in state.buckets.values_mut() {
            bucket.cors.sort_by_key(Value::to_string);
            bucket.policy.iter_mut().for_each(sort);
        }
        state.keys.values_mut().for_each(|key| sort(&mut key.policy));
        state
    }

    /// A folder keeps the key it was written with.
    pub(crate) fn without_folder_keys(mut self) -> Self {
        let versions = self.buckets.values_mut().flat_map(|bucket| bucket.objects.values_mut());
        let objects = versions.flatten().filter_map(|version| version.object.as_mut());
        objects.for_each(|object| object.key = None);
        self
    }

    /// Without dates, which a policy made again cannot have back.
    pub(crate) fn undated(&self) -> Self {
        let mut state = self.clone();
        for policy in state.policies.values_mut() {
            policy.created = 0;
            policy.tags.sort();
        }
        state
    }
}

/// What one account has and the other has not, line by line; `None` if they are the same.
pub(crate) fn difference(found: &State, expected: &State) -> Option<String> {
    if found == expected {
        return None;
    }
    let lines = |state: &State| -> Vec<String> {
        format!("{state:#?}").lines().map(|line| line.trim().to_owned()).collect()
    };
    let (found_lines, expected_lines) = (lines(found), lines(expected));
    let only = |these: &[String], those: &[String], sign: &str| -> Vec<String> {
        let mut rest = those.to_vec();
        let lines = these.iter().filter(|line| {
            let same = rest.iter().position(|other| other == *line);
            same.map(|index| rest.swap_remove(index)).is_none()
        });
        lines.map(|line| format!("    {sign} {line}")).collect()
    };
    let mut difference = only(&found_lines, &expected_lines, "found   ");
    difference.extend(only(&expected_lines, &found_lines, "expected"));
    Some(difference.join("\n"))
}

impl BucketState {
    pub(crate) fn current(&self, key: &str) -> Option<&ObjectVersion> {
        self.objects.get(key)?.last().filter(|version| version.object.is_some())
    }

    pub(crate) fn folder(&self, key: &str) -> Option<Folder> {
        let version = self.current(key)?;
        let object = version.object.as_ref()?;
        let has_versions = self.versioning != Versioning::Unversioned;
        Some(Folder {
            mark: object.mark.clone(),
            algorithm: Some("aws:kms".to_owned()),
            key: object.key.clone(),
            version: has_versions.then(|| version.id.clone()),
        })
    }

    pub(crate) fn put(&mut self, key: &str, object: Option<Object>, serial: u64) {
        let versions = self.objects.entry(key.to_owned()).or_default();
        let id = match self.versioning {
            Versioning::Enabled => format!("version-{serial}"),
            Versioning::Unversioned | Versioning::Suspended => "null".to_owned(),
        };
        versions.retain(|version| version.id != id);
        versions.push(ObjectVersion { id, object });
    }

    pub(crate) fn delete(&mut self, key: &str, version: Option<&str>, serial: u64) {
        match version {
            None if self.versioning != Versioning::Unversioned => self.put(key, None, serial),
            version => {
                let gone = version.unwrap_or("null");
                let versions = self.objects.entry(key.to_owned()).or_default();
                versions.retain(|version| version.id != gone);
            }
        }
        self.objects.retain(|_, versions| !versions.is_empty());
    }
}

/// KMS takes no policy that would leave nobody to change it.
pub(crate) fn locks_out(policy: &str) -> Result<(), No> {
    let document: Value = serde_json::from_str(policy)
        .map_err(|_| (CallErrorKind::Other, "MalformedPolicyDocument"))?;
    let statements = document["Statement"].as_array().cloned().unwrap_or_default();
    let keeps = |statement: &Value| {
        let action = &statement["Action"];
        statement["Effect"] == "Allow" && (action == "kms:*" || action == "kms:PutKeyPolicy")
    };
    if statements.iter().any(keeps) {
        return Ok(());
    }
    Err((CallErrorKind::Lockout, "will not allow you to update the key policy in the future"))
}

impl PolicyState {
    pub(crate) fn document(&self, version: &str) -> Option<&Value> {
        let is_asked = |(number, _): &&(u32, Value)| format!("v{number}") == version;
        self.versions.iter().find(is_asked).map(|(_, document)| document)
    }

    /// IAM keeps five versions.
    pub(crate) fn add_version(&mut self, document: &Value) -> Result<(), No> {
        if self.versions.len() >= 5 {
            return Err((CallErrorKind::Limit, "more than 5 versions"));
        }
        let number = self.versions.iter().map(|(number, _)| *number).max().unwrap_or_default() + 1;
        self.versions.push((number, document.clone()));
        self.default = number;
        Ok(())
    }

    pub(crate) fn remove_version(&mut self, version: &str) -> Result<(), No> {
        if version == format!("v{}", self.default) {
            return Err((CallErrorKind::Conflict, "the default version"));
        }
        self.versions.retain(|(number, _)| format!("v{number}") != version);
        Ok(())
    }

    /// Keys of tags are one whatever their case.
    pub(crate) fn tag(&mut self, tags: &[Tag]) {
        for tag in tags {
            self.untag(std::slice::from_ref(&tag.key));
            self.tags.push(tag.clone());
        }
    }

    pub(crate) fn untag(&mut self, keys: &[String]) {
        self.tags.retain(|tag| !keys.iter().any(|key| key.eq_ignore_ascii_case(&tag.key)));
    }
}
