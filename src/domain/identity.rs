//! Who a connection is: its physical id, and everything named after it. Pure and repeatable.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::domain::field::Arn;
use crate::domain::spec::Place;

/// IAM path under which every connection of an account is registered.
pub const REGISTER_PATH: &str = "/ica-storage/";

/// Largest physical id CloudFormation takes, in bytes (crpg-ref-responses).
const PHYSICAL_ID_MAX: usize = 1024;

/// A resource of a stack: what CloudFormation calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// ARN of the stack.
    pub stack_id: String,
    /// Name of the resource in its template.
    pub logical_id: String,
}

impl Owner {
    /// Metadata of the folder: the same for a resource and its successor at the same path.
    pub fn mark(&self) -> String {
        digest(&[&self.stack_id, &self.logical_id])
    }

    /// The name of the stack, for messages.
    pub fn stack_name(&self) -> &str {
        let resource = Arn::parse(&self.stack_id).map(|arn| arn.resource);
        resource.and_then(|path| path.split('/').nth(1)).unwrap_or(&self.stack_id)
    }
}

/// A resource at a place: one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub owner: Owner,
    /// Where it is.
    pub place: Place,
}

impl Identity {
    /// The 16 hexadecimal digits everything owned carries.
    pub fn digest(&self) -> String {
        let Place { bucket, prefix, policy_name } = &self.place;
        let name = policy_name.as_deref().unwrap_or_default();
        digest(&[&self.owner.stack_id, &self.owner.logical_id, bucket, prefix, name])
    }

    /// What `Ref` returns.
    pub fn physical_id(&self) -> PhysicalId {
        let Place { bucket, prefix, .. } = &self.place;
        PhysicalId(format!("s3://{bucket}/{prefix}#{}", self.digest()))
    }

    /// Name of the IAM policy. A bucket has at most 63 characters, so the default one is within
    /// the 128 of IAM.
    pub fn policy_name(&self) -> String {
        let default = || format!("ica-storage-{}-{}", self.place.bucket, self.digest());
        self.place.policy_name.clone().unwrap_or_else(default)
    }

    /// Path of the IAM policy: it registers the bucket and the prefix. A path takes no colon, and
    /// a prefix no comma (IAM API reference, `CreatePolicy`): one stands for the other.
    pub fn policy_path(&self) -> String {
        format!("{REGISTER_PATH}{}/{}", self.place.bucket, self.place.prefix.replace(':', ","))
    }

    /// ARN of the IAM policy.
    pub fn policy_arn(&self, partition: &str, account: &str) -> String {
        let (path, name) = (self.policy_path(), self.policy_name());
        format!("arn:{partition}:iam::{account}:policy{path}{name}")
    }
}

/// The first 16 hexadecimal digits of SHA-256 over the parts, a zero byte between them.
fn digest(parts: &[&str]) -> String {
    let hash = Sha256::digest(parts.join("\0"));
    let start = hash.iter().take(8).fold(0_u64, |start, byte| start << 8 | u64::from(*byte));
    format!("{start:016x}")
}

/// The id CloudFormation knows the resource by. Never empty, at most 1,024 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct PhysicalId(String);

impl PhysicalId {
    /// An id that CloudFormation sent: echoed as it is. `None` if it cannot be answered with.
    pub fn received(id: &str) -> Option<Self> {
        (!id.is_empty() && id.len() <= PHYSICAL_ID_MAX).then(|| Self(id.to_owned()))
    }

    /// The id of a resource whose place cannot be read: a Create that failed over its properties
    /// made nothing, but has to be answered with some id, the same each time.
    pub fn nowhere(owner: &Owner) -> Self {
        Self(format!("ica-storage#{}", owner.mark()))
    }

    /// The digest at its end, if it is an id of ours.
    pub fn digest(&self) -> Option<&str> {
        let (address, digest) = self.0.rsplit_once('#')?;
        let hex = digest.len() == 16 && digest.chars().all(|c| c.is_ascii_hexdigit());
        (hex && address.starts_with("s3://")).then_some(digest)
    }

    /// The bucket and the prefix it names, if it is an id of ours.
    pub fn address(&self) -> Option<(&str, &str)> {
        self.digest()?;
        let (address, _) = self.0.rsplit_once('#')?;
        address.strip_prefix("s3://")?.split_once('/')
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhysicalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Partition, region and account of a stack or a function, from its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `aws`, …
    pub partition: String,
    /// Region of the stack and so of its provider.
    pub region: String,
    /// Account, twelve digits.
    pub account: String,
}

impl Home {
    /// Reads the ARN of a stack.
    pub fn of(stack_id: &str) -> Option<Self> {
        Self::in_service(stack_id, "cloudformation")
    }

    /// Reads the ARN of a function.
    pub fn of_function(arn: &str) -> Option<Self> {
        Self::in_service(arn, "lambda")
    }

    fn in_service(arn: &str, service: &str) -> Option<Self> {
        let arn = Arn::parse(arn).filter(|arn| arn.service == service)?;
        let account = arn.account;
        let plain = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let digits = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
        (digits && plain(arn.partition) && plain(arn.region)).then(|| Self {
            partition: arn.partition.to_owned(),
            region: arn.region.to_owned(),
            account: account.to_owned(),
        })
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account } = self;
        write!(f, "in {region} of account {account} (partition {partition})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/lab/11111111-2222-3333-4444-555555555555";

    fn identity(prefix: &str, policy_name: Option<&str>) -> Identity {
        Identity {
            owner: Owner { stack_id: STACK.into(), logical_id: "Connection".into() },
            place: Place {
                bucket: "my-bucket".into(),
                prefix: prefix.into(),
                policy_name: policy_name.map(Into::into),
            },
        }
    }

    #[test]
    fn the_id_is_pinned() {
        let id = identity("project-a/", None).physical_id();
        assert_eq!(id.as_str(), "s3://my-bucket/project-a/#4a9c328c1f34141a");
        assert_eq!(id.address(), Some(("my-bucket", "project-a/")));
    }

    #[test]
    fn another_place_or_name_is_another_id() {
        let ids = [
            identity("a/", None),
            identity("b/", None),
            identity("", None),
            identity("a/", Some("p")),
        ]
        .map(|identity| identity.physical_id());
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id));
        }
    }

    #[test]
    fn everything_owned_follows_from_the_identity() {
        let identity = identity("a/b/", None);
        let name = format!("ica-storage-my-bucket-{}", identity.digest());
        assert_eq!(
            identity.policy_arn("aws", "123456789012"),
            format!("arn:aws:iam::123456789012:policy/ica-storage/my-bucket/a/b/{name}"),
        );
        assert_eq!(identity.owner.stack_name(), "lab");
        let colon = super::tests::identity("run:1/", None);
        assert_eq!(colon.policy_path(), "/ica-storage/my-bucket/run,1/");
    }

    #[test]
    fn a_hash_in_a_foreign_id_does_not_make_it_ours() {
        for id in [
            "lab-Connection-1ABC",
            "x#0123456789abcdef",
            "s3://b/p/#xyz",
            "ica-storage#0123456789abcdef",
        ] {
            assert_eq!(PhysicalId::received(id).unwrap().address(), None, "{id}");
        }
        assert_eq!(PhysicalId::received(""), None);
        assert_eq!(PhysicalId::received(&"x".repeat(1025)), None);
    }

    #[test]
    fn a_home_is_read_from_the_stack() {
        let home = Home::of(STACK).unwrap();
        assert_eq!(
            (&*home.partition, &*home.region, &*home.account),
            ("aws", "us-east-1", "123456789012")
        );
        assert_eq!(Home::of("arn:aws:s3:::x"), None);
        let function = "arn:aws:lambda:us-east-1:123456789012:function:f:live";
        assert_eq!((Home::of(function), Home::of_function(function)), (None, Some(home)));
        assert_eq!(Home::of_function(STACK), None);
        assert_eq!(Home::of("arn:aws:cloudformation:us-east-1:*:stack/x/y"), None);
    }
}
