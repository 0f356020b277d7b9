//! Illumina's recipe: the documents of its pages, filled in. Nothing here is our invention.
//!
//! SOURCE: help.ica.illumina.com, *SSE-KMS Encryption* (the policies and the key policy
//! statement) and *Connect AWS S3 bucket* (CORS, bucket policy, regions). The golden tests
//! compare every document with Illumina's own in `tests/golden/`.

use serde_json::{Value, json};

/// Illumina's AWS account, which the roles for cross-account access belong to.
pub const ILLUMINA_ACCOUNT: &str = "079623148045";

/// Server side encryption as S3 and ICA's form spell it.
pub const ALGORITHM: &str = "aws:kms";

/// Sid of the statement on Illumina's pages.
pub const SID: &str = "AllowCrossAccountAccess";

/// Versioning of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// Never switched on.
    Unversioned,
    /// On.
    Enabled,
    /// Switched off again; old versions are kept.
    Suspended,
}

impl Versioning {
    /// As the attribute `BucketVersioning` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unversioned => "Unversioned",
            Self::Enabled => "Enabled",
            Self::Suspended => "Suspended",
        }
    }

    /// Whether Illumina's *Versioned or Suspended* variant is due.
    fn has_versions(self) -> bool {
        match self {
            Self::Unversioned => false,
            Self::Enabled | Self::Suspended => true,
        }
    }
}

/// What the policies speak of.
#[derive(Clone, Copy, Debug)]
pub struct Storage<'a> {
    /// Partition of the account, such as `aws`.
    pub partition: &'a str,
    /// Name of the bucket.
    pub bucket: &'a str,
    /// Prefix with its slash, empty for the root.
    pub prefix: &'a str,
    /// ARN of the key.
    pub key_arn: &'a str,
    /// Decides the variant.
    pub versioning: Versioning,
}

impl Storage<'_> {
    fn bucket_arn(&self) -> String {
        format!("arn:{}:s3:::{}", self.partition, self.bucket)
    }

    /// The IAM policy ICA's credential needs.
    pub fn policy(&self) -> Value {
        let versioned = self.versioning.has_versions();
        let mut on_bucket = vec![
            "kms:Decrypt",
            "kms:Encrypt",
            "kms:GenerateDataKey",
            "s3:PutBucketNotification",
            "s3:ListBucket",
            "s3:GetBucketNotification",
            "s3:GetBucketLocation",
        ];
        if versioned {
            on_bucket.extend(["s3:ListBucketVersions", "s3:GetBucketVersioning"]);
        }
        let on_objects = if versioned {
            vec![
                "s3:PutObject",
                "s3:GetObject",
                "s3:RestoreObject",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:GetObjectVersion",
                "s3:GetObjectTagging",
                "s3:PutObjectTagging",
                "s3:GetObjectVersionTagging",
                "s3:PutObjectVersionTagging",
            ]
        } else {
            vec![
                "s3:PutObject",
                "s3:GetObject",
                "s3:RestoreObject",
                "s3:DeleteObject",
                "s3:GetObjectTagging",
                "s3:PutObjectTagging",
            ]
        };
        json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": on_bucket,
                    "Resource": [self.key_arn, self.bucket_arn()],
                },
                {
                    "Effect": "Allow",
                    "Action": on_objects,
                    "Resource": format!("{}/{}*", self.bucket_arn(), self.prefix),
                },
                {
                    "Effect": "Allow",
                    "Action": ["sts:GetFederationToken"],
                    "Resource": ["*"],
                },
            ],
        })
    }

    /// The bucket policy statement that lets these roles copy and move data.
    pub fn bucket_policy_statement(&self, roles: &[String]) -> Value {
        let actions = if self.versioning.has_versions() {
            vec![
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:ListMultipartUploadParts",
                "s3:AbortMultipartUpload",
                "s3:GetObject",
                "s3:GetObjectVersion",
                "s3:DeleteObjectVersion",
                "s3:GetObjectTagging",
                "s3:PutObjectTagging",
                "s3:GetObjectVersionTagging",
                "s3:PutObjectVersionTagging",
            ]
        } else {
            vec![
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:ListMultipartUploadParts",
                "s3:AbortMultipartUpload",
                "s3:GetObject",
                "s3:GetObjectTagging",
                "s3:PutObjectTagging",
            ]
        };
        json!({
            "Sid": SID,
            "Effect": "Allow",
            "Principal": {"AWS": principal(roles)},
            "Action": actions,
            "Resource": [self.bucket_arn(), format!("{}/*", self.bucket_arn())],
        })
    }
}

/// The key policy statement that lets these roles use the key.
pub fn key_policy_statement(roles: &[String]) -> Value {
    json!({
        "Sid": SID,
        "Effect": "Allow",
        "Principal": {"AWS": principal(roles)},
        "Action": [
            "kms:Encrypt",
            "kms:Decrypt",
            "kms:ReEncrypt*",
            "kms:GenerateDataKey*",
            "kms:DescribeKey",
        ],
        "Resource": "*",
    })
}

/// One role as Illumina writes it, several as a list.
fn principal(roles: &[String]) -> Value {
    match roles {
        [one] => json!(one),
        several => json!(several),
    }
}

/// The CORS rule for uploads from ICA's page in a browser.
pub fn cors_rule() -> Value {
    json!({
        "ID": "ica-storage",
        "AllowedHeaders": ["*"],
        "AllowedMethods": ["HEAD", "GET", "PUT", "POST", "DELETE"],
        "AllowedOrigins": ["https://ica.illumina.com"],
        "ExposeHeaders": ["ETag", "x-amz-meta-custom-header"],
    })
}

/// Illumina's role for the storage of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionRole {
    /// AWS region.
    pub region: &'static str,
    /// Name of the role in [`ILLUMINA_ACCOUNT`].
    pub role: &'static str,
    /// Whether the role was seen in use; otherwise its name follows the pattern of those that were.
    pub seen_in_use: bool,
}

/// The regions of ICA projects. The code in a role's name cannot be derived from the region's.
pub const REGIONS: [RegionRole; 12] = [
    RegionRole { region: "us-east-1", role: "ica_use1_crossacct", seen_in_use: true },
    RegionRole { region: "ap-southeast-2", role: "ica_aps2_crossacct", seen_in_use: true },
    RegionRole { region: "ca-central-1", role: "ica_cac1_crossacct", seen_in_use: false },
    RegionRole { region: "eu-central-1", role: "ica_euc1_crossacct", seen_in_use: false },
    RegionRole { region: "eu-west-2", role: "ica_euw2_crossacct", seen_in_use: false },
    RegionRole { region: "ap-southeast-1", role: "ica_aps1_crossacct", seen_in_use: false },
    RegionRole { region: "ap-south-1", role: "ica_aps3_crossacct", seen_in_use: false },
    RegionRole { region: "ap-southeast-3", role: "ica_aps4_crossacct", seen_in_use: false },
    RegionRole { region: "ap-northeast-1", role: "ica_apn1_crossacct", seen_in_use: false },
    RegionRole { region: "ap-northeast-2", role: "ica_apn2_crossacct", seen_in_use: false },
    RegionRole { region: "il-central-1", role: "ica_ilc1_crossacct", seen_in_use: false },
    RegionRole { region: "me-central-1", role: "ica_mec1_crossacct", seen_in_use: false },
];

impl RegionRole {
    /// The role for a region, if ICA has projects there.
    pub fn of(region: &str) -> Option<Self> {
        REGIONS.iter().copied().find(|row| row.region == region)
    }

    /// Its ARN. Illumina has no region outside the partition `aws`.
    pub fn arn(self) -> String {
        format!("arn:aws:iam::{ILLUMINA_ACCOUNT}:role/{}", self.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:xxx";
    const ROLE: &str = "ASSUME_ROLE_ARN";

    fn storage(versioning: Versioning) -> Storage<'static> {
        Storage {
            partition: "aws",
            bucket: "YOUR_BUCKET_NAME",
            prefix: "YOUR_FOLDER_NAME/",
            key_arn: KEY,
            versioning,
        }
    }

    /// Order included: both are compared as text.
    fn assert_golden(ours: &Value, golden: &str) {
        let golden: Value = serde_json::from_str(golden).unwrap();
        let pretty = |value| serde_json::to_string_pretty(value).unwrap();
        assert_eq!(pretty(ours), pretty(&golden));
    }

    #[test]
    fn the_policies_are_illuminas_to_the_letter() {
        assert_golden(
            &storage(Versioning::Unversioned).policy(),
            include_str!("../../tests/golden/policy-unversioned.json"),
        );
        for versioning in [Versioning::Enabled, Versioning::Suspended] {
            assert_golden(
                &storage(versioning).policy(),
                include_str!("../../tests/golden/policy-versioned.json"),
            );
        }
    }

    #[test]
    fn the_statements_are_illuminas_to_the_letter() {
        let roles = [ROLE.to_owned()];
        assert_golden(
            &key_policy_statement(&roles),
            include_str!("../../tests/golden/key-policy-statement.json"),
        );
        assert_golden(
            &storage(Versioning::Unversioned).bucket_policy_statement(&roles),
            include_str!("../../tests/golden/bucket-policy-statement-unversioned.json"),
        );
        assert_golden(
            &storage(Versioning::Suspended).bucket_policy_statement(&roles),
            include_str!("../../tests/golden/bucket-policy-statement-versioned.json"),
        );
    }

    #[test]
    fn the_cors_rule_is_illuminas_with_our_id() {
        let mut rule = cors_rule();
        assert_eq!(rule.as_object_mut().unwrap().shift_remove("ID"), Some(json!("ica-storage")));
        assert_golden(&json!([rule]), include_str!("../../tests/golden/cors.json"));
    }

    #[test]
    fn the_regions_are_illuminas() {
        let golden = include_str!("../../tests/golden/regions.json");
        let golden: Vec<Value> = serde_json::from_str(golden).unwrap();
        let ours: Vec<Value> = REGIONS
            .iter()
            .map(|row| json!({"awsRegion": row.region, "assumeRoleArn": row.arn(), "seenInUse": row.seen_in_use}))
            .collect();
        let theirs: Vec<Value> = golden
            .into_iter()
            .map(|mut row| {
                row.as_object_mut().unwrap().shift_remove("icaRegion");
                row
            })
            .collect();
        assert_eq!(ours, theirs);
        assert_eq!(RegionRole::of("eu-north-1"), None);
    }

    #[test]
    fn several_roles_are_a_list() {
        let statement = key_policy_statement(&["a".into(), "b".into()]);
        assert_eq!(statement["Principal"]["AWS"], json!(["a", "b"]));
    }

    #[test]
    fn the_root_covers_the_bucket() {
        let root = Storage { prefix: "", ..storage(Versioning::Unversioned) };
        assert_eq!(root.policy()["Statement"][1]["Resource"], "arn:aws:s3:::YOUR_BUCKET_NAME/*");
    }
}
