//! `ResourceProperties` → [`Spec`]: every problem at once, each with its way out.

use serde_json::{Map, Value};

use crate::domain::field::{BucketName, KeyId, KeyPrefix, PolicyName, RoleArn};
use crate::domain::reader::Reader;
use crate::domain::refusal::Refusal;

/// The properties of `Custom::IcaStorage`.
pub const PROPERTIES: [&str; 12] = [
    "BucketName",
    "KeyPrefix",
    "AllowBucketRoot",
    "KmsKeyId",
    "CrossAccountAccess",
    "AssumeRoleArn",
    "ConfigureKeyPolicy",
    "ConfigureBucketPolicy",
    "ConfigureCors",
    "PolicyName",
    "Tags",
    "DryRun",
];

/// What CloudFormation puts beside them.
pub(super) const OF_CLOUDFORMATION: [&str; 2] = ["ServiceToken", "ServiceTimeout"];

/// Namespace of the tags that record a connection (case-insensitive, as IAM's keys are).
pub const RESERVED_TAG_PREFIX: &str = "ica-storage:";

/// Most tags a template may give: IAM holds 50 on a policy (IAM quotas), the record takes ten.
pub(super) const TAGS_MAX: usize = 40;

/// Longest key and value of a tag, in characters (IAM user guide, *Rules for tagging in IAM and
/// AWS STS*).
pub(super) const TAG_MAX: (usize, usize) = (128, 256);

/// What a tag may have besides letters and digits of any script (same place).
pub(super) const OF_TAG: &str = " _.:/=+-@";

/// A connection as its template describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The bucket to connect.
    pub bucket: BucketName,
    /// The folder ICA gets.
    pub prefix: KeyPrefix,
    /// The key, if it is not the one of the bucket's default encryption.
    pub kms_key_id: Option<KeyId>,
    /// Whether ICA may copy and move data across accounts.
    pub cross_account_access: bool,
    /// Illumina's role, if it is not the one of the bucket's region.
    pub assume_role_arn: Option<RoleArn>,
    /// Which shared documents are written.
    pub configure: Configure,
    /// Name of the IAM policy, if it is not the default one.
    pub policy_name: Option<PolicyName>,
    /// Tags of the IAM policy.
    pub tags: Vec<Tag>,
    /// Whether it is only told what would be written.
    pub dry_run: bool,
}

/// Which documents that others share are written; what is not is only returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configure {
    /// The key's policy.
    pub key_policy: bool,
    /// The bucket's policy.
    pub bucket_policy: bool,
    /// The bucket's CORS rules.
    pub cors: bool,
}

/// A tag on an IAM policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// 1 to 128 characters, unique without regard to case.
    pub key: String,
    /// 0 to 256 characters.
    pub value: String,
}

impl Spec {
    /// Reads the properties of a Create or an Update.
    ///
    /// # Errors
    /// Every property that is unknown, missing or unusable, in the order they stand in.
    pub fn parse(properties: &Value) -> Result<Self, Vec<Refusal>> {
        let empty = Map::new();
        let mut reader = Reader::new(properties.as_object().unwrap_or(&empty));
        reader.refuse_unknown();
        let bucket = reader.required("BucketName", BucketName::parse);
        let prefix = reader.prefix();
        let spec = (
            reader.optional("KmsKeyId", KeyId::parse),
            reader.switch("CrossAccountAccess", true),
            reader.optional("AssumeRoleArn", RoleArn::parse),
            Configure {
                key_policy: reader.switch("ConfigureKeyPolicy", true),
                bucket_policy: reader.switch("ConfigureBucketPolicy", true),
                cors: reader.switch("ConfigureCors", true),
            },
            reader.optional("PolicyName", PolicyName::parse),
            reader.tags(),
            reader.switch("DryRun", false),
        );
        let (Some(bucket), Some(prefix), true) = (bucket, prefix, reader.refusals.is_empty())
        else {
            return Err(reader.refusals);
        };
        let (
            kms_key_id,
            cross_account_access,
            assume_role_arn,
            configure,
            policy_name,
            tags,
            dry_run,
        ) = spec;
        Ok(Self {
            bucket,
            prefix,
            kms_key_id,
            cross_account_access,
            assume_role_arn,
            configure,
            policy_name,
            tags,
            dry_run,
        })
    }
}

/// The properties whose change is a replacement: they decide what everything owned is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The prefix with its slash, empty for the root.
    pub prefix: String,
    /// The explicit name of the policy.
    pub policy_name: Option<String>,
}

impl Place {
    /// Where a connection with these properties stands. Never refuses: a Delete has to find what
    /// an earlier version, or a failed Create, may have made. `None` if nothing can have been.
    pub fn of(properties: &Value) -> Option<Self> {
        let text = |name| properties.get(name).and_then(Value::as_str);
        let prefix = match text("KeyPrefix").filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => KeyPrefix::parse(prefix).ok()?,
            None => KeyPrefix::root(),
        };
        Some(Self {
            bucket: BucketName::parse(text("BucketName")?).ok()?.as_str().to_owned(),
            prefix: prefix.as_str().to_owned(),
            // A name that no policy can have was never given to one.
            policy_name: text("PolicyName")
                .filter(|name| PolicyName::parse(name).is_ok())
                .map(str::to_owned),
        })
    }
}

impl From<&Spec> for Place {
    fn from(spec: &Spec) -> Self {
        Self {
            bucket: spec.bucket.as_str().to_owned(),
            prefix: spec.prefix.as_str().to_owned(),
            policy_name: spec.policy_name.as_ref().map(|name| name.as_str().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sentences(properties: &Value) -> Vec<String> {
        Spec::parse(properties).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_properties_are_enough() {
        let spec = Spec::parse(&json!({
            "ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "ServiceTimeout": "360",
            "BucketName": "my-bucket",
            "KeyPrefix": "project-a",
        }))
        .unwrap();
        assert_eq!(spec.prefix.as_str(), "project-a/");
        assert!(spec.cross_account_access && spec.configure.key_policy);
        assert!(spec.configure.bucket_policy && spec.configure.cors);
        assert_eq!((spec.kms_key_id, spec.assume_role_arn, spec.policy_name), (None, None, None));
    }

    #[test]
    fn scalars_arrive_as_strings_or_booleans_and_empty_ones_are_absent() {
        for off in [json!("false"), json!("False"), json!(false)] {
            let properties = json!({
                "BucketName": "my-bucket", "KeyPrefix": "a/", "CrossAccountAccess": off,
                "KmsKeyId": "", "PolicyName": "", "Tags": "", "AllowBucketRoot": "",
            });
            assert!(!Spec::parse(&properties).unwrap().cross_account_access);
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        insta::assert_json_snapshot!(sentences(&json!({
            "BucketNme": "my-bucket",
            "Nonsense": "1",
            "KeyPrefix": "a/*",
            "KmsKeyId": "my key",
            "CrossAccountAccess": "yes",
            "AssumeRoleArn": "*",
            "PolicyName": "a b",
            "ConfigureCors": {"a": 1},
            "Tags": [
                {"Key": "Ica-Storage:state", "Value": "active"},
                {"Key": "aws:x", "Value": "1"},
                {"Key": "Team", "Value": "a"},
                {"Key": "team", "Value": "b"},
                {"Key": "k", "Valeu": "b"},
                "x",
            ],
        })), @r#"
        [
          "property `BucketNme`: is unknown; did you mean `BucketName`?",
          "property `Nonsense`: is unknown; remove it; the properties are BucketName, KeyPrefix, AllowBucketRoot, KmsKeyId, CrossAccountAccess, AssumeRoleArn, ConfigureKeyPolicy, ConfigureBucketPolicy, ConfigureCors, PolicyName, Tags, DryRun",
          "property `BucketName`: is required and missing; add `BucketName`",
          "property `KeyPrefix`: `a/*` has the character `*`, which IAM would not read literally; use only `A-Z a-z 0-9 / _ - . = + @ :`",
          "property `KmsKeyId`: `my key` is not a key; write a key id, a key ARN, an alias name (`alias/…`) or an alias ARN",
          "property `CrossAccountAccess`: `yes` is not a boolean; write `true` or `false`",
          "property `AssumeRoleArn`: `*` is not the ARN of an IAM role; write `arn:aws:iam::<account>:role/<name>`, from Illumina's Role ARN table",
          "property `ConfigureCors`: `{\"a\":1}` is not a boolean; write `true` or `false`",
          "property `PolicyName`: `a b` is not the name of an IAM policy; write 1 to 128 of `A-Z a-z 0-9 _ + = , . @ -`",
          "property `Tags[0].Key`: `Ica-Storage:state` begins `ica-storage:`, where the connection is recorded; write 1 to 128 letters, digits, spaces or `_ . : / = + - @`, in a namespace of your own",
          "property `Tags[1].Key`: `aws:x` begins `aws:`, which AWS keeps for itself; write 1 to 128 letters, digits, spaces or `_ . : / = + - @`, in a namespace of your own",
          "property `Tags[3].Key`: `team` is there twice (IAM ignores case); keep one of them",
          "property `Tags[4].Valeu`: is unknown; did you mean `Value`?",
          "property `Tags[4]`: lacks `Key` or `Value` as a string; write `{Key, Value}`",
          "property `Tags[5]`: `\"x\"` is a string; write `{Key, Value}`"
        ]
        "#);
    }

    #[test]
    fn the_root_is_connected_only_on_purpose() {
        let root = json!({"BucketName": "my-bucket", "AllowBucketRoot": "true", "KeyPrefix": ""});
        assert!(Spec::parse(&root).unwrap().prefix.is_root());
        insta::assert_json_snapshot!(sentences(&json!({"BucketName": "my-bucket"})), @r#"
        [
          "property `KeyPrefix`: is required and missing; name the folder ICA gets, such as `project-a/` (`AllowBucketRoot: true` connects the whole bucket, which Illumina advises against)"
        ]
        "#);
        insta::assert_json_snapshot!(
            sentences(&json!({"BucketName": "my-bucket", "AllowBucketRoot": true, "KeyPrefix": "a"})),
            @r#"
        [
          "property `KeyPrefix`: `a` is given together with `AllowBucketRoot: true`; remove one of the two"
        ]
        "#
        );
    }

    #[test]
    fn what_is_no_map_lacks_everything() {
        for properties in [json!(null), json!([]), json!("x"), json!({})] {
            assert_eq!(Spec::parse(&properties).unwrap_err().len(), 2);
        }
    }

    #[test]
    fn a_place_is_read_from_whatever_names_one() {
        let place = Place::of(&json!({"BucketName": "my-bucket", "KeyPrefix": "a", "Old": [1]}));
        let expected = Place { bucket: "my-bucket".into(), prefix: "a/".into(), policy_name: None };
        assert_eq!(place, Some(expected));
        for garbage in
            [json!(null), json!({"BucketName": 7}), json!({"BucketName": "abc", "KeyPrefix": "*"})]
        {
            assert_eq!(Place::of(&garbage), None);
        }
    }
}
