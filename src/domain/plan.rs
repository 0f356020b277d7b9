//! (Goal, what stands) → what is written to the register and the folder: the tables.

use serde_json::Value;

use crate::domain::ica::Versioning;
use crate::domain::preflight::Goal;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::register::Record;
use crate::domain::seen::{Folder, Policy};
use crate::domain::spec::Tag;

/// Largest managed policy, in characters without white space (IAM quotas).
const POLICY_MAX: usize = 6_144;

/// What is written to a connection's policy, which is its entry in the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// There is none: make it.
    Create,
    /// There is one: write what differs, which may be nothing.
    Change {
        /// A new default version with the document.
        document: bool,
        /// Tags to set.
        set: Vec<Tag>,
        /// Keys of tags to take off.
        unset: Vec<String>,
    },
}

impl Registration {
    /// Whether nothing is written.
    pub fn is_nothing(&self) -> bool {
        let nothing = Self::Change { document: false, set: vec![], unset: vec![] };
        *self == nothing
    }
}

/// The tags of a goal: those of the template, and the record.
pub fn tags(goal: &Goal, record: &Record) -> Vec<Tag> {
    goal.spec.tags.iter().cloned().chain(record.tags()).collect()
}

/// Decides what the register needs. Of the tags that stand there only those of the record and of
/// the template before this one (`former_tags`) are taken off; others' stay.
pub fn registration(
    goal: &Goal,
    record: &Record,
    policy: Option<(&Policy, &Value)>,
    former_tags: &[String],
) -> Registration {
    let Some((policy, document)) = policy else { return Registration::Create };
    let wanted = tags(goal, record);
    let has = |tags: &[Tag], key: &str| tags.iter().any(|tag| tag.key.eq_ignore_ascii_case(key));
    let record_keys = Record::KEYS.iter().map(|key| (*key).to_owned());
    Registration::Change {
        document: *document != goal.storage().policy(),
        set: wanted.iter().filter(|tag| !policy.tags.contains(tag)).cloned().collect(),
        unset: former_tags
            .iter()
            .cloned()
            .chain(record_keys)
            .filter(|key| has(&policy.tags, key) && !has(&wanted, key))
            .collect(),
    }
}

/// Whether the folder is to be written: never over one that is there, and not for the root.
pub fn writes_folder(goal: &Goal, folder: Option<&Folder>) -> bool {
    !goal.spec.prefix.is_root() && folder.is_none()
}

/// Whether the folder goes with a connection: only if it is marked as its own, no successor
/// stands at the path, and there is nothing in it but folders of other connections.
pub fn removes_folder(
    mark: &str,
    folder: &Folder,
    has_successor: bool,
    mut contents: impl Iterator<Item = bool>,
) -> bool {
    folder.mark.as_deref() == Some(mark) && !has_successor && contents.all(|is_folder| is_folder)
}

/// The version of the folder to delete, so that no delete marker hides anything. What was written
/// while the bucket had no versions is its version `null` (S3 user guide, *Deleting object versions*).
pub fn folder_version(folder: &Folder, versioning: Versioning) -> Option<&str> {
    let unnamed = match versioning {
        Versioning::Unversioned => None,
        Versioning::Enabled | Versioning::Suspended => Some("null"),
    };
    folder.version.as_deref().or(unnamed)
}

/// Refuses a policy IAM would not take.
///
/// # Errors
/// It is too long.
pub fn policy_fits(goal: &Goal) -> Result<(), Refusal> {
    let length = goal.storage().policy().to_string().chars().filter(|c| !c.is_whitespace()).count();
    if length <= POLICY_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ServiceLimitExceeded,
        "KeyPrefix",
        format!("the IAM policy would have {length} characters of at most {POLICY_MAX}"),
        "shorten the prefix",
    ))
}
