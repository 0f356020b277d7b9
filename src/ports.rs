//! What the engine needs from the world, and how the world says no.

use std::fmt;
use std::future::Future;

use serde_json::Value;

use crate::domain::ica::Versioning;
use crate::domain::refusal::Code;
use crate::domain::register::Entry;
use crate::domain::seen::{Encryption, Folder, Key, Policy};
use crate::domain::spec::Tag;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} on `{resource}`: {}", .message.trim_end_matches('.'))]
pub struct CallError {
    /// The IAM action it needs, as granted.
    pub action: &'static str,
    /// What it was made on.
    pub resource: String,
    /// What the engine can do about it.
    pub kind: CallErrorKind,
    /// The service's error code, empty if there was no answer.
    pub code: String,
    /// The service's message.
    pub message: String,
    /// The service's request id, empty if there was no answer.
    pub request_id: String,
}

impl CallError {
    /// Whether the service does one thing after the other and asks to be asked again: S3 for two
    /// changes of one bucket at once, IAM for two of one policy.
    pub fn is_contention(&self) -> bool {
        self.kind == CallErrorKind::Conflict
    }
}

/// The distinctions the engine acts on, or the reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallErrorKind {
    /// It is not there.
    NotFound,
    /// It is there already.
    Exists,
    /// A permission is missing.
    Denied,
    /// Something else is changing or using it.
    Conflict,
    /// The service refuses the key's policy for a principal that does not exist (any more).
    InvalidPrincipal,
    /// The service refuses the policy: it would lock its writers out.
    Lockout,
    /// Over a size or a count.
    Limit,
    /// Too many calls, even after the SDK's retries.
    Throttled,
    /// The service failed, even after the SDK's retries.
    Unavailable,
    /// No answer.
    Network,
    /// The key is in a state that forbids it.
    InvalidState,
    /// Anything else.
    Other,
}

impl CallErrorKind {
    /// Whether what the call was made on is not there, or about to go.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::NotFound | Self::InvalidState)
    }

    /// Whether the same call may succeed a moment later: also after a permission was granted,
    /// which IAM takes some seconds to see.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Denied | Self::Conflict | Self::Throttled | Self::Unavailable | Self::Network
        )
    }

    /// Its word in the outside's vocabulary.
    pub fn code(self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Exists => Code::AlreadyExists,
            Self::Denied => Code::AccessDenied,
            Self::Conflict => Code::ResourceConflict,
            Self::InvalidPrincipal | Self::Lockout | Self::InvalidState => Code::InvalidRequest,
            Self::Limit => Code::ServiceLimitExceeded,
            Self::Throttled => Code::Throttling,
            Self::Unavailable => Code::ServiceInternalError,
            Self::Network => Code::NetworkFailure,
            Self::Other => Code::GeneralServiceException,
        }
    }
}

/// A bucket and the account that has to own it: every call says so to S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket<'a> {
    /// Its name.
    pub name: &'a str,
    /// The account, twelve digits.
    pub owner: &'a str,
}

/// Who uses a policy, which has to end before the policy can be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// An IAM user.
    User(String),
    /// An IAM group.
    Group(String),
    /// An IAM role.
    Role(String),
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user `{name}`"),
            Self::Group(name) => write!(f, "group `{name}`"),
            Self::Role(name) => write!(f, "role `{name}`"),
        }
    }
}

/// A version of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `v1`, `v2`, …
    pub id: String,
    /// Whether it is the one in force.
    pub is_default: bool,
}

/// The answer to a call.
pub type Call<T> = Result<T, CallError>;

/// S3. A bucket that is gone is `NotFound`, what a bucket does not have is `None` or empty.
pub trait Buckets: Sync {
    /// Its region, empty if S3 does not say; `None` if there is no such bucket.
    fn region(&self, bucket: Bucket<'_>) -> impl Future<Output = Call<Option<String>>> + Send;
    /// Its versioning.
    fn versioning(&self, bucket: Bucket<'_>) -> impl Future<Output = Call<Versioning>> + Send;
    /// Its default encryption.
    fn encryption(
        &self,
        bucket: Bucket<'_>,
    ) -> impl Future<Output = Call<Option<Encryption>>> + Send;
    /// Its Object Ownership.
    fn ownership(&self, bucket: Bucket<'_>) -> impl Future<Output = Call<Option<String>>> + Send;
    /// The switches of Block Public Access that are off.
    fn public_access_off(
        &self,
        bucket: Bucket<'_>,
    ) -> impl Future<Output = Call<Vec<&'static str>>> + Send;
    /// The prefixes its notifications are filtered by.
    fn notifications(&self, bucket: Bucket<'_>) -> impl Future<Output = Call<Vec<String>>> + Send;
    /// Its policy.
    fn read_policy(&self, bucket: Bucket<'_>) -> impl Future<Output = Call<Option<String>>> + Send;
    /// Puts its policy, or deletes it.
    fn write_policy(
        &self,
        bucket: Bucket<'_>,
        policy: Option<&str>,
    ) -> impl Future<Output = Call<()>> + Send;
    /// Its CORS rules.
    fn read_cors(&self, bucket: Bucket<'_>) -> impl Future<Output = Call<Vec<Value>>> + Send;
    /// Puts its CORS rules, or deletes them when there are none.
    fn write_cors(
        &self,
        bucket: Bucket<'_>,
        rules: &[Value],
    ) -> impl Future<Output = Call<()>> + Send;
    /// The object that makes a folder.
    fn read_folder(
        &self,
        bucket: Bucket<'_>,
        prefix: &str,
    ) -> impl Future<Output = Call<Option<Folder>>> + Send;
    /// Puts a folder, unless there is an object already.
    fn write_folder(
        &self,
        bucket: Bucket<'_>,
        prefix: &str,
        key_arn: &str,
        mark: &str,
    ) -> impl Future<Output = Call<()>> + Send;
    /// Deletes a folder; in a bucket with versions exactly this one.
    fn remove_folder(
        &self,
        bucket: Bucket<'_>,
        prefix: &str,
        version: Option<&str>,
    ) -> impl Future<Output = Call<()>> + Send;
    /// The first keys under a prefix, its folder's among them: at most so many, up to 1,000.
    fn contents(
        &self,
        bucket: Bucket<'_>,
        prefix: &str,
        limit: i32,
    ) -> impl Future<Output = Call<Vec<String>>> + Send;
}

/// KMS.
pub trait Keys: Sync {
    /// A key by any of its names.
    fn describe(&self, key: &str) -> impl Future<Output = Call<Option<Key>>> + Send;
    /// The policy of a key, by its id or ARN; `None` if there is no such key.
    fn read_key_policy(&self, key: &str) -> impl Future<Output = Call<Option<String>>> + Send;
    /// Puts the policy of a key.
    fn write_key_policy(&self, key: &str, policy: &str) -> impl Future<Output = Call<()>> + Send;
}

/// IAM's customer managed policies.
pub trait Policies: Sync {
    /// All under the register's path.
    fn list(&self) -> impl Future<Output = Call<Vec<Entry>>> + Send;
    /// One, by its ARN.
    fn read(&self, arn: &str) -> impl Future<Output = Call<Option<Policy>>> + Send;
    /// The document of a version.
    fn document(&self, arn: &str, version: &str) -> impl Future<Output = Call<Value>> + Send;
    /// Makes one.
    fn create(
        &self,
        path: &str,
        name: &str,
        document: &Value,
        tags: &[Tag],
    ) -> impl Future<Output = Call<()>> + Send;
    /// Its versions, the oldest first.
    fn versions(&self, arn: &str) -> impl Future<Output = Call<Vec<Version>>> + Send;
    /// Adds a version and puts it in force.
    fn add_version(&self, arn: &str, document: &Value) -> impl Future<Output = Call<()>> + Send;
    /// Deletes a version that is not in force.
    fn remove_version(&self, arn: &str, version: &str) -> impl Future<Output = Call<()>> + Send;
    /// Sets tags.
    fn tag(&self, arn: &str, tags: &[Tag]) -> impl Future<Output = Call<()>> + Send;
    /// Takes tags off.
    fn untag(&self, arn: &str, keys: &[String]) -> impl Future<Output = Call<()>> + Send;
    /// Who uses it as a permissions policy.
    fn attachments(&self, arn: &str) -> impl Future<Output = Call<Vec<Attachment>>> + Send;
    /// Ends one use of it.
    fn detach(&self, arn: &str, from: &Attachment) -> impl Future<Output = Call<()>> + Send;
    /// Deletes it.
    fn remove(&self, arn: &str) -> impl Future<Output = Call<()>> + Send;
}

/// A resource as CloudFormation sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackResource {
    /// Such as `CREATE_IN_PROGRESS`.
    pub status: String,
    /// Empty as long as CloudFormation has none.
    pub physical_id: String,
}

/// CloudFormation's own view of a stack.
pub trait Stacks: Sync {
    /// A resource; `None` if the stack has no such resource.
    fn resource(
        &self,
        stack_id: &str,
        logical_id: &str,
    ) -> impl Future<Output = Call<Option<StackResource>>> + Send;
    /// Status of the stack, such as `UPDATE_ROLLBACK_IN_PROGRESS`.
    fn stack_status(&self, stack_id: &str) -> impl Future<Output = Call<Option<String>>> + Send;
}

/// Everything.
pub trait World: Buckets + Keys + Policies + Stacks {}

impl<T: Buckets + Keys + Policies + Stacks> World for T {}
