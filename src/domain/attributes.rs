//! What `Fn::GetAtt` returns: always the same keys, always strings.

use serde_json::{Map, Value, json};

use crate::domain::ica::{self, Storage};
use crate::domain::preflight::Goal;
use crate::domain::refusal::{Code, Refusal};

/// Names of the attributes, in the order they are documented.
pub const NAMES: [&str; 14] = [
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
    "Changes",
];

/// The attributes of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes(Map<String, Value>);

impl Attributes {
    /// Those of a goal: nothing in them depends on how it is reached.
    pub fn of(goal: &Goal) -> Self {
        let (bucket, prefix) = (goal.spec.bucket.as_str(), goal.spec.prefix.as_str());
        let configuration = storage_configuration(goal.storage());
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
            String::new(),
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

    /// The same, with what would be written, as far as there is room for: `room` bytes of JSON.
    #[must_use]
    pub fn with_changes(mut self, changes: &str, room: usize) -> Self {
        self.0.insert("Changes".to_owned(), cut(changes, room).into());
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

/// What ICA's API takes as a storage configuration.
pub fn storage_configuration(storage: Storage<'_>) -> Value {
    json!({
        "type": "AWS_S3",
        "awsDetails": {
            "bucketName": storage.bucket,
            "keyPrefix": storage.prefix,
            "serverSideEncryptionAlgorithm": ica::ALGORITHM,
            "serverSideEncryptionKey": storage.key_arn,
        },
    })
}

/// Bytes for the line that says how much is left out.
pub const FOR_THE_REST: usize = 50;

/// As many lines of a text as there is room for in a JSON string, and how many are left out.
fn cut(text: &str, room: usize) -> String {
    /// What JSON makes of the end of a line.
    const LINE_END: usize = r"\n".len();
    let size = |line: &str| Value::from(line).to_string().len() - r#""""#.len() + LINE_END;
    let lines: Vec<&str> = text.lines().collect();
    if lines.iter().map(|line| size(line)).sum::<usize>() <= room {
        return text.trim_end().to_owned();
    }
    let Some(mut left) = room.checked_sub(FOR_THE_REST) else { return String::new() };
    let fits = |line: &&&str| {
        let rest = left.checked_sub(size(line));
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    let shown: Vec<&str> = lines.iter().take_while(fits).copied().collect();
    let rest = format!("{} more lines in the function's log", lines.len() - shown.len());
    shown.into_iter().map(str::to_owned).chain([rest]).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_never_takes_more_room_than_there_is() {
        let long = "a \"line\"\n".repeat(2_000);
        for text in ["nothing would be written", "one\ntwo\n", &long] {
            for room in 0..200 {
                let told = Value::from(cut(text, room)).to_string();
                // The last line needs no end.
                assert!(told.len() - r#""""#.len() <= room, "{room}: {told}");
            }
        }
        assert_eq!(cut("one\ntwo\n", 200), "one\ntwo");
        assert_eq!(cut(&long, 80).lines().count(), 3);
    }
}
