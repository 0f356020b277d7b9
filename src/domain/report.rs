//! What a look at connections found, as it is answered: members in the style of AWS.

use serde::Serialize;
use serde_json::Value;

use crate::domain::change::Change;
use crate::domain::identity::Owner;
use crate::domain::refusal::Refusal;
use crate::domain::register::Entry;

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The next Update would write nothing.
    Healthy,
    /// The next Update would write something, and so heal it.
    Drifted,
    /// The next Update would be refused, or is not what is needed.
    Broken,
}

/// Every connection of the register.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// That of the worst.
    pub status: Status,
    /// How many are how.
    pub counts: Counts,
    /// Each connection, in the order of the register.
    pub connections: Vec<Connection>,
}

/// How many connections are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Counts {
    /// All that were looked at.
    pub connections: usize,
    /// Those with nothing to do.
    pub healthy: usize,
    /// Those that an Update would heal.
    pub drifted: usize,
    /// Those that somebody has to look after.
    pub broken: usize,
    /// Those of stacks in other regions, or of buckets that this provider does not reach, which were
    /// not looked at: IAM has one register for all.
    pub elsewhere: usize,
}

/// A connection as it was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Connection {
    /// ARN of its stack; none if its record cannot be read.
    pub stack_id: Option<String>,
    /// Its name in the template.
    pub logical_resource_id: Option<String>,
    /// Its bucket.
    pub bucket_name: String,
    /// Its prefix, empty for the root.
    pub key_prefix: String,
    /// ARN of its policy.
    pub policy_arn: String,
    /// How it stands.
    pub status: Status,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// What works but should be looked at.
    pub warnings: Vec<String>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// What.
    pub what: String,
    /// ARN, name or address of what has it.
    pub r#where: String,
    /// What should stand there.
    pub expected: Value,
    /// What stands there, or the problem in words.
    pub found: Value,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// Something that the next Update writes.
    pub fn drift(change: &Change, owner: &Owner) -> Self {
        Self {
            what: change.part.to_string(),
            r#where: change.of.clone(),
            expected: change.expected(),
            found: change.found(),
            remedy: format!(
                "update stack `{}` with any change, such as another `ServiceTimeout` of `{}`",
                owner.stack_name(),
                owner.logical_id
            ),
        }
    }

    /// Something over which the next Update would be refused.
    pub fn refusal(refusal: &Refusal, entry: &Entry) -> Self {
        Self {
            what: format!("property `{}`", refusal.property),
            r#where: entry.address(),
            expected: Value::Null,
            found: refusal.problem.clone().into(),
            remedy: refusal.remedy.clone(),
        }
    }
}

impl Connection {
    /// One of which nothing is wrong so far.
    pub fn new(entry: &Entry, owner: Option<&Owner>) -> Self {
        Self {
            stack_id: owner.map(|owner| owner.stack_id.clone()),
            logical_resource_id: owner.map(|owner| owner.logical_id.clone()),
            bucket_name: entry.bucket.clone(),
            key_prefix: entry.prefix.clone(),
            policy_arn: entry.arn.clone(),
            status: Status::Healthy,
            findings: vec![],
            warnings: vec![],
        }
    }

    /// The same with these findings, if there are any.
    #[must_use]
    pub fn with(mut self, status: Status, findings: Vec<Finding>) -> Self {
        if !findings.is_empty() {
            self.status = status;
        }
        Self { findings, ..self }
    }
}

impl Report {
    /// Counts.
    pub fn of(connections: Vec<Connection>, elsewhere: usize) -> Self {
        let count =
            |status| connections.iter().filter(|connection| connection.status == status).count();
        let counts = Counts {
            connections: connections.len(),
            healthy: count(Status::Healthy),
            drifted: count(Status::Drifted),
            broken: count(Status::Broken),
            elsewhere,
        };
        let statuses = connections.iter().map(|connection| connection.status);
        Self { status: statuses.max().unwrap_or(Status::Healthy), counts, connections }
    }
}

/// What an Update with certain properties would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Proposal {
    /// The connection these properties would be an Update of, if there is one.
    pub policy_arn: Option<String>,
    /// Every reason why it would be refused.
    pub refusals: Vec<Objection>,
    /// What would be written.
    pub changes: Vec<Difference>,
    /// What works but should be looked at.
    pub warnings: Vec<String>,
}

/// A reason why something would be refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Objection {
    /// Its class.
    pub code: String,
    /// The property that brings it about.
    pub property: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// A document that would be written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Difference {
    /// What.
    pub what: String,
    /// ARN, name or address of what has it.
    pub r#where: String,
    /// What stands there; null if nothing does.
    pub found: Option<Value>,
    /// What would.
    pub planned: Option<Value>,
    /// Both as a unified diff.
    pub diff: String,
}

impl From<&Refusal> for Objection {
    fn from(refusal: &Refusal) -> Self {
        Self {
            code: refusal.code.to_string(),
            property: refusal.property.clone(),
            problem: refusal.problem.clone(),
            remedy: refusal.remedy.clone(),
        }
    }
}

impl From<Change> for Difference {
    fn from(change: Change) -> Self {
        Self {
            diff: change.diff(),
            what: change.part.to_string(),
            r#where: change.of,
            found: change.before,
            planned: change.after,
        }
    }
}
