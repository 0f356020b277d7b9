//! The values a property may have: each type can only hold what AWS and IAM take literally.

use std::ops::RangeInclusive;

/// Longest key prefix with its trailing slash, in characters: with the bucket it has to fit an
/// IAM path of 512 (IAM API reference, `CreatePolicy`), and it is what a tag value may hold.
pub(super) const KEY_PREFIX_MAX: usize = 256;

/// What a key prefix may have besides ASCII letters and digits: nothing that IAM reads as a
/// wildcard or a variable.
pub(super) const OF_KEY_PREFIX: &str = "/_-.=+@:";

/// Longest ARN of a role, in characters: it is kept in a tag value (IAM, tag value limit).
pub(super) const ROLE_ARN_MAX: usize = 256;

/// What path and name of a role may have besides ASCII letters and digits. No comma, which a
/// role's name may have and a tag that records it may not.
pub(super) const OF_ROLE: &str = "/_+=.@-";

/// Longest name of a managed policy, in characters (IAM quotas).
pub(super) const POLICY_NAME_MAX: usize = 128;

/// What the name of a policy may have besides ASCII letters and digits (IAM API reference).
pub(super) const OF_POLICY_NAME: &str = "_+=,.@-";

/// Shortest and longest name of a bucket, in characters (S3 user guide, *General purpose bucket
/// naming rules*).
pub(super) const BUCKET_NAME: RangeInclusive<usize> = 3..=63;

/// What the name of an alias may have besides ASCII letters and digits (KMS API reference).
pub(super) const OF_ALIAS: &str = "/_-";

/// What is wrong with a value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The problem, without the value.
    pub problem: String,
    /// The way out.
    pub remedy: String,
}

fn wrong<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), remedy: remedy.into() })
}

/// Name of an S3 general purpose bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketName(String);

impl BucketName {
    /// Takes what S3 takes (S3 user guide, *General purpose bucket naming rules*).
    ///
    /// # Errors
    /// An ARN, an address, or a name no bucket can have.
    pub fn parse(value: &str) -> Result<Self, Wrong> {
        if let Some(name) = value.strip_prefix("arn:").and_then(|arn| arn.rsplit(':').next()) {
            return wrong("is an ARN", format!("write the bucket's name, `{name}`"));
        }
        if let Some(name) = value.strip_prefix("s3://") {
            let name = name.split('/').next().unwrap_or_default();
            return wrong("is an address", format!("write the bucket's name, `{name}`"));
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let number = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        let is_address = value.split('.').count() == 4 && value.split('.').all(number);
        let fits = BUCKET_NAME.contains(&value.len())
            && value.chars().all(allowed)
            && edge(value.chars().next())
            && edge(value.chars().last())
            && !value.contains("..")
            && !is_address;
        if !fits {
            return wrong(
                "is not a bucket's name",
                "write 3 to 63 of `a-z 0-9 . -`, a letter or digit at each end",
            );
        }
        Ok(Self(value.to_owned()))
    }

    /// The name as S3 knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The folder ICA gets: ends with a slash, or is empty for the whole bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The whole bucket.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Takes a folder, with or without its trailing slash.
    ///
    /// Only characters that an IAM policy reads literally are let through: `*` and `?` are its
    /// wildcards and `$` begins its variables, so a prefix can never widen a policy.
    ///
    /// # Errors
    /// Any other character, an empty, `.` or `..` segment, a leading slash, too great a length.
    pub fn parse(value: &str) -> Result<Self, Wrong> {
        let folder = value.strip_suffix('/').unwrap_or(value);
        if let Some(c) = value.chars().find(|c| !Self::allows(*c)) {
            let why = if "*?$".contains(c) { ", which IAM would not read literally" } else { "" };
            return wrong(
                format!("has the character `{}`{why}", c.escape_default()),
                "use only `A-Z a-z 0-9 / _ - . = + @ :`",
            );
        }
        let tidy: Vec<&str> =
            folder.split('/').filter(|segment| !matches!(*segment, "" | "." | "..")).collect();
        let suggestion = match tidy.as_slice() {
            [] => "write the name of a folder, such as `project-a/`".to_owned(),
            segments => format!("write `{}/`", segments.join("/")),
        };
        if value.starts_with('/') {
            return wrong("begins with a slash", suggestion);
        }
        for segment in folder.split('/') {
            match segment {
                "" => return wrong("has an empty segment", suggestion),
                "." | ".." => return wrong(format!("has a segment `{segment}`"), suggestion),
                _ => {}
            }
        }
        let length = folder.chars().count() + 1;
        if length > KEY_PREFIX_MAX {
            return wrong(
                format!("has {length} characters with its trailing slash"),
                format!("use at most {KEY_PREFIX_MAX}"),
            );
        }
        Ok(Self(format!("{folder}/")))
    }

    fn allows(c: char) -> bool {
        c.is_ascii_alphanumeric() || OF_KEY_PREFIX.contains(c)
    }

    /// The prefix with its slash, empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the whole bucket.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// How a template names a KMS key: key id, key ARN, alias name or alias ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

impl KeyId {
    /// Takes the four forms of `DescribeKey` (KMS API reference).
    ///
    /// # Errors
    /// Anything else, and the aliases of AWS managed keys.
    pub fn parse(value: &str) -> Result<Self, Wrong> {
        let resource = match Arn::parse(value) {
            Some(arn) if arn.service == "kms" => arn.resource,
            Some(_) => return wrong("is not the ARN of a KMS key", FORMS_OF_A_KEY),
            None => value,
        };
        let is_arn = resource.len() < value.len();
        let alias = resource.strip_prefix("alias/");
        if alias.is_some_and(|name| name.starts_with("aws/")) {
            return wrong(
                "is an AWS managed key, whose policy nobody can edit",
                "name a customer managed key",
            );
        }
        let id = if is_arn { resource.strip_prefix("key/") } else { Some(resource) };
        let named = alias.is_some_and(|name| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || OF_ALIAS.contains(c))
        });
        if !(named || id.is_some_and(Self::is_key_id)) {
            return wrong("is not a key", FORMS_OF_A_KEY);
        }
        Ok(Self(value.to_owned()))
    }

    /// A UUID, or `mrk-` and 32 hexadecimal digits for a multi-Region key.
    fn is_key_id(id: &str) -> bool {
        let hex = |part: &str, length: usize| {
            part.len() == length && part.chars().all(|c| c.is_ascii_hexdigit())
        };
        if let Some(digits) = id.strip_prefix("mrk-") {
            hex(digits, 32)
        } else {
            let parts: Vec<&str> = id.split('-').collect();
            let lengths = [8, 4, 4, 4, 12];
            parts.len() == lengths.len()
                && parts.iter().zip(lengths).all(|(part, length)| hex(part, length))
        }
    }

    /// A key as AWS itself names it, in a bucket's default encryption: taken as it is.
    pub fn of_bucket(value: String) -> Self {
        Self(value)
    }

    /// The key as the template names it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ARN, when the key is named by one.
    pub fn arn(&self) -> Option<Arn<'_>> {
        Arn::parse(&self.0)
    }

    /// Whether this names the key itself, which is what `kms:GetKeyPolicy` takes: an alias has
    /// to be resolved first.
    pub fn names_the_key(&self) -> bool {
        !self.0.contains("alias/")
    }
}

const FORMS_OF_A_KEY: &str = "write a key id, a key ARN, an alias name (`alias/…`) or an alias ARN";

/// ARN of an IAM role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn(String);

impl RoleArn {
    /// Takes `arn:<partition>:iam::<account>:role/<path and name>`.
    ///
    /// # Errors
    /// Anything else: another principal, a wildcard, a variable, too great a length.
    pub fn parse(value: &str) -> Result<Self, Wrong> {
        let remedy = "write `arn:aws:iam::<account>:role/<name>`, from Illumina's Role ARN table";
        if value.chars().count() > ROLE_ARN_MAX {
            return wrong(format!("is longer than {ROLE_ARN_MAX} characters"), remedy);
        }
        let name_char = |c: char| c.is_ascii_alphanumeric() || OF_ROLE.contains(c);
        let is_role = Arn::parse(value).is_some_and(|arn| {
            arn.service == "iam"
                && arn.region.is_empty()
                && arn.account.len() == 12
                && arn.account.chars().all(|c| c.is_ascii_digit())
                && arn.resource.strip_prefix("role/").is_some_and(|name| {
                    !name.is_empty() && !name.ends_with('/') && name.chars().all(name_char)
                })
        });
        if !is_role {
            return wrong("is not the ARN of an IAM role", remedy);
        }
        Ok(Self(value.to_owned()))
    }

    /// The account the role belongs to.
    pub fn account(&self) -> &str {
        Arn::parse(&self.0).map_or("", |arn| arn.account)
    }

    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of an IAM managed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyName(String);

impl PolicyName {
    /// Takes what `CreatePolicy` takes (IAM API reference).
    ///
    /// # Errors
    /// Another character, or too great a length.
    pub fn parse(value: &str) -> Result<Self, Wrong> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || OF_POLICY_NAME.contains(c);
        if value.is_empty() || value.len() > POLICY_NAME_MAX || !value.chars().all(allowed) {
            return wrong(
                "is not the name of an IAM policy",
                format!("write 1 to {POLICY_NAME_MAX} of `A-Z a-z 0-9 _ + = , . @ -`"),
            );
        }
        Ok(Self(value.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An Amazon Resource Name, split at its colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'a str,
    /// `iam`, `kms`, …
    pub service: &'a str,
    /// Empty for global services.
    pub region: &'a str,
    /// Twelve digits, or empty.
    pub account: &'a str,
    /// The rest, colons included.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits an ARN; `None` if it is not one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next()? != "arn" {
            return None;
        }
        Some(Self {
            partition: parts.next().filter(|part| Self::is_partition(part))?,
            service: parts.next().filter(|part| !part.is_empty())?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next().filter(|part| !part.is_empty())?,
        })
    }

    /// A name, so that no wildcard can stand for it in a policy.
    fn is_partition(part: &str) -> bool {
        part.starts_with("aws") && part.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_stored_with_its_slash() {
        for value in ["project-a", "project-a/", "a/b/c", "A_b-c.d=e+f@g:h/"] {
            let prefix = KeyPrefix::parse(value).unwrap();
            assert_eq!(prefix.as_str(), format!("{}/", value.trim_end_matches('/')));
        }
    }

    #[test]
    fn a_prefix_that_would_widen_a_policy_is_refused() {
        for value in ["a/*", "a?", "${aws:username}", "*", "a b", "ä", "a\nb", "a\\b", "a\"b"] {
            let wrong = KeyPrefix::parse(value).unwrap_err();
            assert!(wrong.problem.contains("has the character"), "{value}: {wrong:?}");
        }
    }

    #[test]
    fn a_prefix_with_an_odd_segment_is_refused_with_the_tidy_one() {
        for (value, remedy) in [
            ("/run", "write `run/`"),
            ("./run", "write `run/`"),
            ("a//b", "write `a/b/`"),
            ("a/../b/", "write `a/b/`"),
            ("", "write the name of a folder, such as `project-a/`"),
            ("/", "write the name of a folder, such as `project-a/`"),
            ("..", "write the name of a folder, such as `project-a/`"),
        ] {
            assert_eq!(KeyPrefix::parse(value).unwrap_err().remedy, remedy, "{value}");
        }
    }

    #[test]
    fn a_prefix_has_at_most_256_characters_with_its_slash() {
        assert!(KeyPrefix::parse(&"a".repeat(255)).is_ok());
        assert!(KeyPrefix::parse(&format!("{}/", "a".repeat(255))).is_ok());
        assert!(KeyPrefix::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn a_bucket_is_named_as_s3_names_it() {
        for name in ["abc", "my-bucket.data1", &"a".repeat(63)] {
            assert_eq!(BucketName::parse(name).unwrap().as_str(), name);
        }
        for name in
            ["", "ab", "My-Bucket", "-abc", "abc-", "a..b", "a_b", "*", "1.2.3.4", &"a".repeat(64)]
        {
            assert!(BucketName::parse(name).is_err(), "{name}");
        }
        let wrong = BucketName::parse("arn:aws:s3:::my-bucket").unwrap_err();
        assert_eq!(wrong.remedy, "write the bucket's name, `my-bucket`");
        let wrong = BucketName::parse("s3://my-bucket/a").unwrap_err();
        assert_eq!(wrong.remedy, "write the bucket's name, `my-bucket`");
    }

    #[test]
    fn a_key_has_four_forms() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        for key in [
            id,
            &format!("arn:aws:kms:us-east-1:123456789012:key/{id}"),
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/lab/data",
            "arn:aws:kms:us-east-1:123456789012:alias/lab",
        ] {
            assert!(KeyId::parse(key).is_ok(), "{key}");
        }
        for key in
            ["", "lab", "alias/", "arn:aws:iam::123456789012:role/x", "alias/aws/s3", "key/x"]
        {
            assert!(KeyId::parse(key).is_err(), "{key}");
        }
    }

    #[test]
    fn a_role_is_exactly_one_role() {
        assert!(RoleArn::parse("arn:aws:iam::079623148045:role/ica_use1_crossacct").is_ok());
        for arn in [
            "*",
            "079623148045",
            "arn:aws:iam::079623148045:root",
            "arn:aws:iam::079623148045:role/*",
            "arn:aws:iam::*:role/x",
            "arn:*:iam::079623148045:role/x",
            "arn:aws:iam::079623148045:role/",
            "arn:aws:iam::079623148045:user/x",
            "arn:aws:sts::079623148045:assumed-role/x/y",
        ] {
            assert!(RoleArn::parse(arn).is_err(), "{arn}");
        }
    }
}
