//! Policy documents as text that others wrote: parsed to look at, edited without touching a byte
//! that is not ours.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A policy document: its text, and where in it the statements stand.
#[derive(Clone, Debug)]
pub struct PolicyDocument {
    text: String,
    /// `Statement` itself.
    list: Range<usize>,
    /// A lone statement may stand without brackets.
    single: bool,
    spans: Vec<Range<usize>>,
    statements: Vec<Value>,
}

/// One change to a list of statements or rules.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Put this behind the last.
    Append(Value),
    /// Put this in the place of the one at the index.
    Replace(usize, Value),
    /// Take the one at the index out.
    Remove(usize),
}

/// Only what has to be found: everything else stays text.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow, rename = "Statement")]
    statement: &'a RawValue,
}

impl PolicyDocument {
    /// A document that holds just this statement.
    pub fn of(statement: &Value) -> Option<Self> {
        Self::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#)).ok()
    }

    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with the JSON, or that it has no `Statement`.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let outline: Outline<'_> = serde_json::from_str(text)?;
        let list = outline.statement.get();
        let single = !list.starts_with('[');
        let raw: Vec<&RawValue> =
            if single { vec![outline.statement] } else { serde_json::from_str(list)? };
        Ok(Self {
            list: span(text, list),
            single,
            spans: raw.iter().map(|statement| span(text, statement.get())).collect(),
            statements: raw
                .iter()
                .map(|statement| serde_json::from_str(statement.get()))
                .collect::<Result<_, _>>()?,
            text: text.to_owned(),
        })
    }

    /// The statements in their order.
    pub fn statements(&self) -> &[Value] {
        &self.statements
    }

    /// The document as it is to be written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The document after the edits, each of which counts on the one before.
    ///
    /// # Guarantees
    /// Every statement that no edit names keeps its bytes and its place, and so does everything
    /// around the statements (`foreign_bytes_survive`); taking out what was appended restores the
    /// document (`without_undoes_with`), but for the brackets a lone statement is given.
    ///
    /// # Errors
    /// None for edits within the list; an index beyond it changes nothing.
    pub fn edited(&self, edits: &[Edit]) -> Result<Self, serde_json::Error> {
        let Some((first, others)) = edits.split_first() else { return Ok(self.clone()) };
        let once = Self::parse(&self.after(first))?;
        others.iter().try_fold(once, |document, edit| Self::parse(&document.after(edit)))
    }

    fn after(&self, edit: &Edit) -> String {
        let around = |range: Range<usize>, new: &str| {
            let before = self.text.get(..range.start).unwrap_or_default();
            let behind = self.text.get(range.end..).unwrap_or_default();
            format!("{before}{new}{behind}")
        };
        let unchanged = || self.text.clone();
        match edit {
            Edit::Append(statement) if self.single => {
                let lone = self.text.get(self.list.clone()).unwrap_or_default();
                around(self.list.clone(), &format!("[{lone},{statement}]"))
            }
            Edit::Append(statement) => match self.spans.last() {
                Some(last) => around(last.end..last.end, &format!(",{statement}")),
                None => around(self.list.start + 1..self.list.start + 1, &statement.to_string()),
            },
            Edit::Replace(index, statement) => match self.spans.get(*index) {
                Some(span) => around(span.clone(), &statement.to_string()),
                None => unchanged(),
            },
            Edit::Remove(0) if self.single => around(self.list.clone(), "[]"),
            Edit::Remove(index) => {
                let before = index.checked_sub(1).and_then(|before| self.spans.get(before));
                match (before, self.spans.get(*index), self.spans.get(index + 1)) {
                    (Some(before), Some(span), _) => around(before.end..span.end, ""),
                    (None, Some(span), Some(behind)) => around(span.start..behind.start, ""),
                    (None, Some(span), None) => around(span.clone(), ""),
                    (_, None, _) => unchanged(),
                }
            }
        }
    }

    /// Whether the account's own IAM policies have any effect on the key: the statement of AWS's
    /// default key policy, or one that says as much for what ICA's policy grants.
    ///
    /// SOURCE: KMS developer guide, *Default key policy*.
    pub fn delegates_to_iam(&self, account: &str, actions: &[&str]) -> bool {
        actions.iter().all(|action| {
            self.statements.iter().any(|statement| {
                grants(statement, action)
                    && strings(statement.pointer("/Principal/AWS").or(statement.get("Principal")))
                        .iter()
                        .any(|principal| {
                            *principal == "*" || account_of(principal) == Some(account)
                        })
            })
        })
    }
}

impl PolicyDocument {
    /// Principals that no longer exist, each with its statement: AWS shows a deleted role or user
    /// by its unique id, and takes the policy only without it.
    ///
    /// SOURCE: IAM user guide, *Unique identifiers*.
    pub fn orphans(&self) -> Vec<String> {
        let is_id = |principal: &&str| {
            principal.starts_with("AROA")
                || principal.starts_with("AIDA")
                || principal.starts_with("AGPA")
        };
        let of = |statement: &Value| {
            let sid = statement.get("Sid").and_then(Value::as_str).unwrap_or_default().to_owned();
            let ids = strings(statement.pointer("/Principal/AWS"));
            let ids: Vec<String> = ids.into_iter().filter(is_id).map(str::to_owned).collect();
            ids.into_iter().map(move |id| format!("`{id}` in statement `{sid}`"))
        };
        self.statements.iter().flat_map(of).collect()
    }
}

/// Where a part of a text stands in it.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
}

/// Whether a statement allows an action to anybody.
pub fn grants(statement: &Value, action: &str) -> bool {
    let effect = statement.get("Effect").and_then(Value::as_str);
    let patterns = strings(statement.get("Action"));
    effect.is_some_and(|effect| effect.eq_ignore_ascii_case("Allow"))
        && patterns.iter().any(|pattern| covers(pattern, action))
}

/// Whether an action pattern covers an action: no wildcard but a final `*`, as key policies are written.
fn covers(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_lowercase(), action.to_lowercase());
    pattern.strip_suffix('*').map_or(pattern == action, |stem| action.starts_with(stem))
}

/// The account of `123456789012` or `arn:aws:iam::123456789012:root`.
fn account_of(principal: &str) -> Option<&str> {
    let is_account = |text: &&str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    let of_root = || principal.strip_suffix(":root")?.rsplit(':').next();
    Some(principal).filter(is_account).or_else(|| of_root().filter(is_account))
}

/// A string, or a list of them.
fn strings(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

/// Whether two statements mean the same, whatever their `Sid`.
///
/// A string is a list of one, order does not count, an account id is its root's ARN, booleans and
/// numbers may be quoted, an effect and an action may be in any case. Lists are compared as
/// multisets: `[A, A, B]` is not `[A, B, B]`.
pub fn same(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return false };
    let (a, b) = (members(a), members(b));
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|(a, b)| a.0 == b.0 && (a.1 == b.1 || meaning(a.0, a.1) == meaning(b.0, b.1)))
}

/// What of a statement counts, sorted by name.
fn members(statement: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let counts = |(name, value): &(&str, &Value)| {
        *name != "Sid" && !(*name == "Condition" && is_empty(value))
    };
    let members = statement.iter().map(|(name, value)| (name.as_str(), value));
    let mut members: Vec<_> = members.filter(counts).collect();
    members.sort_by_key(|(name, _)| *name);
    members
}

/// A member in one of the many ways to write it.
fn meaning(name: &str, value: &Value) -> Value {
    let lower = |text: &str| text.to_lowercase();
    match name {
        "Effect" => value.as_str().map_or_else(|| value.clone(), |text| lower(text).into()),
        "Action" | "NotAction" => list(value, &lower),
        "Resource" | "NotResource" => list(value, &str::to_owned),
        "Principal" | "NotPrincipal" => principals(value),
        "Condition" => conditions(value),
        _ => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// A value or a list of them as a sorted list; what is quoted and what is not is alike.
fn list(value: &Value, each: &dyn Fn(&str) -> String) -> Value {
    let scalar = |value: &Value| match value {
        Value::String(text) => Value::String(each(text)),
        Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
        other => other.clone(),
    };
    let mut items: Vec<Value> = match value {
        Value::Array(items) => items.iter().map(scalar).collect(),
        one => vec![scalar(one)],
    };
    items.sort_by_cached_key(Value::to_string);
    Value::Array(items)
}

fn principals(value: &Value) -> Value {
    let account = |text: &str| account_of(text).unwrap_or(text).to_owned();
    match value {
        // A bare `*` is everybody, as `{"AWS": "*"}` is.
        Value::String(everybody) => principals(&serde_json::json!({"AWS": everybody})),
        Value::Object(kinds) => sorted(kinds, |principals| list(principals, &account)),
        other => other.clone(),
    }
}

fn conditions(value: &Value) -> Value {
    let tests = |tests: &Value| match tests {
        Value::Object(keys) => sorted(keys, |values| list(values, &str::to_owned)),
        other => other.clone(),
    };
    value.as_object().map_or_else(|| value.clone(), |operators| sorted(operators, tests))
}

fn sorted(members: &Map<String, Value>, each: impl Fn(&Value) -> Value) -> Value {
    let mut members: Vec<(String, Value)> =
        members.iter().map(|(name, value)| (name.clone(), each(value))).collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(members.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ours() -> Value {
        crate::domain::ica::key_policy_statement(&["arn:aws:iam::079623148045:role/r".into()])
    }

    #[test]
    fn the_same_meaning_has_many_spellings() {
        let spellings = [
            json!({"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "kms:Decrypt", "Resource": "*"}),
            json!({"Effect": "allow", "Principal": {"AWS": ["123456789012"]}, "Action": ["kms:Decrypt"], "Resource": ["*"]}),
            json!({"Sid": "x", "Resource": "*", "Action": "KMS:decrypt", "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Condition": {}}),
        ];
        for a in &spellings {
            for b in &spellings {
                assert!(same(a, b), "{a} {b}");
            }
        }
    }

    #[test]
    fn another_meaning_is_told_apart() {
        let base = json!({"Effect": "Allow", "Principal": {"AWS": ["a", "a", "b"]}, "Action": ["x", "y"], "Resource": "*"});
        let with = |name: &str, value: Value| {
            let mut other = base.clone();
            other[name] = value;
            other
        };
        let all_but = json!({"Effect": "Allow", "NotPrincipal": {"AWS": ["a", "a", "b"]}, "Action": ["x", "y"], "Resource": "*"});
        for other in [
            all_but,
            with("Effect", json!("Deny")),
            with("Principal", json!({"AWS": ["a", "b", "b"]})),
            with("Principal", json!({"AWS": ["a", "b"]})),
            with("Principal", json!({"Federated": ["a", "a", "b"]})),
            with("Principal", json!("*")),
            with("Action", json!(["x"])),
            with("Action", json!(["x", "y", "z"])),
            with("Resource", json!("arn:aws:s3:::b")),
            with("Condition", json!({"Bool": {"aws:SecureTransport": "true"}})),
            with("Unknown", json!(1)),
            json!("text"),
        ] {
            assert!(!same(&base, &other), "{other}");
        }
    }

    #[test]
    fn conditions_are_compared_by_value() {
        let with = |condition: Value| json!({"Effect": "Allow", "Condition": condition});
        assert!(same(
            &with(json!({"Bool": {"a": "true"}, "NumericLessThan": {"n": [1, 2]}})),
            &with(json!({"NumericLessThan": {"n": ["2", "1"]}, "Bool": {"a": [true]}})),
        ));
        assert!(!same(
            &with(json!({"Bool": {"a": "true"}})),
            &with(json!({"Bool": {"a": "false"}}))
        ));
    }

    #[test]
    fn a_lone_statement_is_given_brackets() {
        let document =
            PolicyDocument::parse(r#"{ "Statement" : {"Sid":"a b"} , "Id":1 }"#).unwrap();
        let with = document.edited(&[Edit::Append(json!({"Sid": "x"}))]).unwrap();
        assert_eq!(with.text(), r#"{ "Statement" : [{"Sid":"a b"},{"Sid":"x"}] , "Id":1 }"#);
        let without = with.edited(&[Edit::Remove(1)]).unwrap();
        assert_eq!(without.text(), r#"{ "Statement" : [{"Sid":"a b"}] , "Id":1 }"#);
        assert!(document.edited(&[Edit::Remove(0)]).unwrap().statements().is_empty());
        assert_eq!(document.edited(&[Edit::Remove(1)]).unwrap().text(), document.text());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in ["", "{", "[]", "{}", r#"{"Statement":[}"#, r#"{"Statement":[{"a":1]}"#] {
            assert!(PolicyDocument::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_orphan_is_named_with_its_statement() {
        let statement = json!({"Sid": "audit", "Principal": {"AWS": ["AROAEXAMPLE", "arn:aws:iam::1:role/AROA"]}});
        let document = PolicyDocument::of(&statement).unwrap();
        assert_eq!(document.orphans(), ["`AROAEXAMPLE` in statement `audit`"]);
    }

    #[test]
    fn delegation_is_the_accounts_root_with_enough_actions() {
        let delegates = |statement: Value| {
            PolicyDocument::of(&statement)
                .unwrap()
                .delegates_to_iam("123456789012", &["kms:Decrypt", "kms:Encrypt"])
        };
        let root = "arn:aws:iam::123456789012:root";
        assert!(delegates(
            json!({"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*"})
        ));
        assert!(delegates(
            json!({"Effect": "Allow", "Principal": "*", "Action": ["kms:*crypt", "kms:Enc*", "kms:Decrypt"]})
        ));
        assert!(!delegates(
            json!({"Effect": "Deny", "Principal": {"AWS": root}, "Action": "kms:*"})
        ));
        assert!(!delegates(
            json!({"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:Decrypt"})
        ));
        assert!(!delegates(
            json!({"Effect": "Allow", "Principal": {"AWS": format!("{root}x")}, "Action": "kms:*"})
        ));
    }

    /// Any JSON, with the texts that policies are made of more often than chance would have them.
    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~äé\\PC]{0,12}".prop_map(Value::from),
            Just(Value::from("AllowCrossAccountAccess")),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[A-Za-z\"\\\\ ]{0,8}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// A document as somebody may have written it, compact or pretty.
    fn document() -> impl Strategy<Value = String> {
        (prop::collection::vec(json_value(), 0..5), json_value(), any::<bool>()).prop_map(
            |(statements, id, pretty)| {
                let document = json!({"Version": "2012-10-17", "Id": id, "Statement": statements, "Zusatz": {"Statement": [1]}});
                if pretty { format!("{document:#}") } else { document.to_string() }
            },
        )
    }

    proptest! {
        #[test]
        fn without_undoes_with(text in document()) {
            let document = PolicyDocument::parse(&text).unwrap();
            let count = document.statements().len();
            let with = document.edited(&[Edit::Append(ours())]).unwrap();
            prop_assert_eq!(with.statements().last(), Some(&ours()));
            let without = with.edited(&[Edit::Remove(count)]).unwrap();
            prop_assert_eq!(without.text(), text);
        }

        #[test]
        fn foreign_bytes_survive(text in document(), index in 0_usize..5, remove in any::<bool>()) {
            let document = PolicyDocument::parse(&text).unwrap();
            let edit = if remove { Edit::Remove(index) } else { Edit::Replace(index, ours()) };
            let after = document.edited(&[edit]).unwrap();
            let raw = |document: &PolicyDocument| -> Vec<String> {
                document.spans.iter().map(|span| document.text.get(span.clone()).unwrap().to_owned()).collect()
            };
            let mut expected = raw(&document);
            if index < expected.len() {
                if remove { expected.remove(index); } else { expected[index] = ours().to_string(); }
            } else {
                prop_assert_eq!(after.text(), &*text);
            }
            prop_assert_eq!(raw(&after), expected);
            let outside = |document: &PolicyDocument| {
                (document.text.get(..document.list.start).unwrap().to_owned(), document.text.get(document.list.end..).unwrap().to_owned())
            };
            prop_assert_eq!(outside(&after), outside(&document));
        }

        #[test]
        fn meaning_is_reflexive_and_ignores_the_sid(statement in json_value()) {
            if let Value::Object(members) = &statement {
                let mut other = members.clone();
                other.insert("Sid".into(), "another".into());
                prop_assert!(same(&statement, &Value::Object(other)));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,64}") {
            let _ = PolicyDocument::parse(&text);
        }
    }
}
