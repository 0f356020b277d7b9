//! What `Fn::GetAtt` returns: always the same keys, always strings.

use serde_json::{Map, Value, json};

use crate::domain::ica;
use crate::domain::preflight::Goal;
use crate::domain::refusal::{Code, Refusal};

/// Names of the attributes, in the order they are documented.
pub const NAMES: [&str; 13] = [
    "BucketName",
    "KeyPrefix",
    "Region",
    "Algorithm",
    "KeyName",
    "BucketVersioning",
    "PolicyArn",
    "PolicyName",
    "AssumeRoleArn",
    "StorageConfiguration",
    "KeyPolicyStatement",
    "BucketPolicyStatement",
    "Warnings",
];

/// The attributes of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes(Map<String, Value>);

impl Attributes {
    /// Those of a goal: nothing in them depends on how it is reached.
    pub fn of(goal: &Goal) -> Self {
        let (bucket, prefix) = (goal.spec.bucket.as_str(), goal.spec.prefix.as_str());
        let configuration = json!({
            "type": "AWS_S3",
            "awsDetails": {
                "bucketName": bucket,
                "keyPrefix": prefix,
                "serverSideEncryptionAlgorithm": ica::ALGORITHM,
                "serverSideEncryptionKey": goal.key_arn,
            },
        });
        let roles: Vec<String> = goal.role.iter().cloned().collect();
        let statement = |statement: Value| match goal.role {
            Some(_) => statement.to_string(),
            None => String::new(),
        };
        let values = [
            bucket.to_owned(),
            prefix.to_owned(),
            goal.home.region.clone(),
            ica::ALGORITHM.to_owned(),
            goal.key_arn.clone(),
            goal.versioning.as_str().to_owned(),
            goal.policy_arn(),
            goal.identity.policy_name(),
            goal.role.clone().unwrap_or_default(),
            configuration.to_string(),
            statement(ica::key_policy_statement(&roles)),
            statement(goal.storage().bucket_policy_statement(&roles)),
            goal.warnings.join("\n"),
        ];
        Self(
            NAMES
                .iter()
                .zip(values)
                .map(|(name, value)| ((*name).to_owned(), value.into()))
                .collect(),
        )
    }

    /// The same, with as many warnings as there is room for and how many were left out.
    #[must_use]
    pub fn with_warnings(mut self, warnings: &[String], left_out: usize) -> Self {
        let more = (left_out > 0).then(|| format!("{left_out} more in the function's log"));
        let lines: Vec<String> = warnings.iter().cloned().chain(more).collect();
        self.0.insert("Warnings".to_owned(), lines.join("\n").into());
        self
    }

    /// Refuses a connection whose attributes do not fit an answer even without warnings.
    pub fn too_long() -> Refusal {
        Refusal::new(
            Code::ServiceLimitExceeded,
            "KeyPrefix",
            "the attributes would be more than the 4,096 bytes CloudFormation takes",
            "shorten the prefix or the name of the policy",
        )
    }

    /// As `Data` of the answer.
    pub fn into_data(self) -> Map<String, Value> {
        self.0
    }
}
