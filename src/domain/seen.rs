//! What was found in the account before anything is decided.

use serde_json::Value;

use crate::domain::ica::Versioning;
use crate::domain::spec::Tag;

/// Something looked at, or the permission that was missing to look.
pub type Fact<T> = Result<T, Unseen>;

/// A look that was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The IAM action, as granted.
    pub action: &'static str,
    /// What the service said.
    pub message: String,
}

/// The bucket and the key of a connection.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Region of the bucket, empty if S3 did not say; `None` if there is no such bucket.
    pub region: Fact<Option<String>>,
    /// Its versioning.
    pub versioning: Fact<Versioning>,
    /// Its default encryption.
    pub encryption: Fact<Option<Encryption>>,
    /// Its Object Ownership, such as `BucketOwnerEnforced`; `None` if never set.
    pub ownership: Fact<Option<String>>,
    /// The switches of Block Public Access that are off.
    pub public_access_off: Fact<Vec<&'static str>>,
    /// Prefixes its event notifications are filtered by, empty where there is no filter.
    pub notifications: Fact<Vec<String>>,
    /// The object at the prefix.
    pub folder: Fact<Option<Folder>>,
    /// The key.
    pub key: Fact<KeyFound>,
    /// The key's policy; `None` if there is no key to read it from.
    pub key_policy: Fact<Option<String>>,
    /// The bucket's policy, if it has one.
    pub bucket_policy: Fact<Option<String>>,
    /// The bucket's CORS rules.
    pub cors: Fact<Vec<Value>>,
}

/// Default encryption of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: String,
    /// The key in any of its forms; `None` is the AWS managed key `aws/s3`.
    pub key: Option<String>,
    /// Whether an S3 Bucket Key is used.
    pub bucket_key: bool,
}

/// The object that makes a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Metadata `ica-storage-owner`.
    pub mark: Option<String>,
    /// Its server-side encryption.
    pub algorithm: Option<String>,
    /// ARN of the key it is encrypted with.
    pub key: Option<String>,
    /// Its version, in a bucket that has versions.
    pub version: Option<String>,
}

/// What became of the name of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFound {
    /// No property and no default encryption names one.
    Unnamed,
    /// Nothing has that name.
    Missing(String),
    /// The key.
    Found(Key),
}

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its ARN: the key's, never an alias'.
    pub arn: String,
    /// `Enabled`, `Disabled`, `PendingDeletion`, …
    pub state: String,
    /// Whether AWS manages it.
    pub aws_managed: bool,
    /// `SYMMETRIC_DEFAULT`, …
    pub spec: String,
    /// `ENCRYPT_DECRYPT`, …
    pub usage: String,
}

/// The IAM policy of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its default version.
    pub version: String,
    /// Its tags.
    pub tags: Vec<Tag>,
}
