//! One thing that would be written: what, where, what stands there and what would.

use std::fmt;

use serde_json::{Map, Value};
use similar::TextDiff;

use crate::domain::register::Target;
use crate::domain::shared::Shared;

/// Lines of a document shown around what differs.
const CONTEXT: usize = 3;

/// What would be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The document of the connection's IAM policy.
    Policy,
    /// The tags of that policy: the register, and those of the template.
    Tags,
    /// A document that others share.
    Shared(Shared),
    /// The object that makes the folder.
    Folder,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => f.write_str("IAM policy"),
            Self::Tags => f.write_str("tags of the IAM policy"),
            Self::Shared(shared) => shared.fmt(f),
            Self::Folder => f.write_str("folder"),
        }
    }
}

/// What stands, and what would stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What.
    pub part: Part,
    /// ARN, name or address of what has it.
    pub of: String,
    /// What stands there.
    pub before: Option<Value>,
    /// What would.
    pub after: Option<Value>,
}

impl Change {
    /// Of a document that others share.
    pub fn of_shared(target: &Target, before: Option<Value>, after: Option<Value>) -> Self {
        Self { part: Part::Shared(target.shared), of: target.of.clone(), before, after }
    }

    /// The change as a unified diff of the documents, one member a line.
    pub fn diff(&self) -> String {
        let text = |value: &Option<Value>| match value {
            Some(value) => format!("{value:#}\n"),
            None => String::new(),
        };
        let (before, after) = (text(&self.before), text(&self.after));
        let name = format!("{} of {}", self.part, self.of);
        let name = if self.part == Part::Folder { self.of.clone() } else { name };
        let header = |value: &Option<Value>| match value {
            Some(_) => name.clone(),
            None => "/dev/null".to_owned(),
        };
        let diff = TextDiff::from_lines(&before, &after);
        let (from, to) = (header(&self.before), header(&self.after));
        diff.unified_diff().context_radius(CONTEXT).header(&from, &to).to_string()
    }

    /// What stands there and would not: the entries of a list, the members of a map.
    pub fn found(&self) -> Value {
        only(self.before.as_ref(), self.after.as_ref())
    }

    /// What would stand there and does not.
    pub fn expected(&self) -> Value {
        only(self.after.as_ref(), self.before.as_ref())
    }
}

/// All changes as one diff.
pub fn diff(changes: &[Change]) -> String {
    changes.iter().map(Change::diff).collect()
}

/// What one document has and the other has not.
fn only(one: Option<&Value>, other: Option<&Value>) -> Value {
    let Some(one) = one else { return Value::Null };
    let entries = |value: &Value| {
        let list = value.get("Statement").unwrap_or(value).as_array().cloned();
        // A lone statement may stand without brackets.
        list.or_else(|| value.get("Statement").map(|lone| vec![lone.clone()]))
    };
    match (entries(one), one) {
        (Some(list), _) => {
            let others = other.and_then(entries).unwrap_or_default();
            let mut rest: Vec<Value> =
                list.into_iter().filter(|entry| !others.contains(entry)).collect();
            if rest.len() > 1 { rest.into() } else { rest.pop().unwrap_or_default() }
        }
        (None, Value::Object(members)) => {
            let differs = |(name, value): &(&String, &Value)| {
                other.and_then(|other| other.get(name.as_str())) != Some(value)
            };
            let rest = members.iter().filter(differs);
            let rest: Map<_, _> = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
            if rest.is_empty() { Value::Null } else { rest.into() }
        }
        (None, scalar) => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(before: Option<Value>, after: Option<Value>) -> Change {
        Change { part: Part::Shared(Shared::KeyPolicy), of: "key".into(), before, after }
    }

    #[test]
    fn a_change_is_shown_as_a_diff() {
        let policy = |statements: Value| Some(json!({"Version": "1", "Statement": statements}));
        let change =
            change(policy(json!([{"Sid": "a"}])), policy(json!([{"Sid": "a"}, {"Sid": "b"}])));
        insta::assert_snapshot!(change.diff());
        assert_eq!((change.found(), change.expected()), (Value::Null, json!({"Sid": "b"})));
    }

    #[test]
    fn what_is_new_or_goes_stands_against_nothing() {
        let made = change(None, Some(json!(["rule"])));
        insta::assert_snapshot!(made.diff());
        assert_eq!((made.found(), made.expected()), (Value::Null, json!("rule")));
        let gone = change(made.after, None);
        insta::assert_snapshot!(gone.diff());
        assert_eq!((gone.found(), gone.expected()), (json!("rule"), Value::Null));
    }

    #[test]
    fn of_a_map_only_the_members_that_differ_are_told() {
        let change = change(Some(json!({"a": "1", "b": "2"})), Some(json!({"a": "1", "c": "3"})));
        assert_eq!((change.found(), change.expected()), (json!({"b": "2"}), json!({"c": "3"})));
    }
}
