//! The properties one by one, with every refusal at once.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::domain::field::{KeyPrefix, Wrong};
use crate::domain::refusal::Refusal;
use crate::domain::spec::{
    OF_CLOUDFORMATION, OF_TAG, PROPERTIES, RESERVED_TAG_PREFIX, TAG_MAX, TAGS_MAX, Tag,
};

/// How alike a misspelt name has to be for a suggestion, 0 to 1 (Jaro–Winkler).
const ALIKE: f64 = 0.8;

/// Reads property after property and keeps every refusal.
pub(super) struct Reader<'a> {
    properties: &'a Map<String, Value>,
    /// In the order of the properties that were read.
    pub(super) refusals: Vec<Refusal>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(properties: &'a Map<String, Value>) -> Self {
        Self { properties, refusals: vec![] }
    }

    fn refuse(
        &mut self,
        path: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.refusals.push(Refusal::invalid(path, problem, remedy));
    }

    pub(super) fn refuse_unknown(&mut self) {
        for name in self.properties.keys() {
            let known = PROPERTIES.iter().chain(&OF_CLOUDFORMATION);
            if !known.clone().any(|property| property == name) {
                self.refuse(shown_bare(name), "is unknown", suggestion(name, &PROPERTIES));
            }
        }
    }

    /// The text of a scalar; an empty one counts as absent, as templates pass on empty parameters.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.properties.get(name)? {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => {
                self.refuse(name, format!("{} is {}", shown(other), kind(other)), "write a string");
                None
            }
        }
    }

    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text(name)?;
        parse(&text)
            .map_err(|wrong| {
                self.refuse(name, format!("{} {}", shown(&text), wrong.problem), wrong.remedy);
            })
            .ok()
    }

    pub(super) fn required<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let before = self.refusals.len();
        let value = self.optional(name, parse);
        if value.is_none() && self.refusals.len() == before {
            self.refuse(name, "is required and missing", format!("add `{name}`"));
        }
        value
    }

    pub(super) fn switch(&mut self, name: &str, default: bool) -> bool {
        let value = match self.properties.get(name) {
            None | Some(Value::Null) => return default,
            Some(Value::Bool(on)) => return *on,
            Some(value) => value,
        };
        match value.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("") => default,
            Some("true") => true,
            Some("false") => false,
            Some(_) | None => {
                let given = value.as_str().map_or_else(|| shown(value), shown);
                self.refuse(name, format!("{given} is not a boolean"), "write `true` or `false`");
                default
            }
        }
    }

    pub(super) fn prefix(&mut self) -> Option<KeyPrefix> {
        if !self.switch("AllowBucketRoot", false) {
            let before = self.refusals.len();
            let prefix = self.optional("KeyPrefix", KeyPrefix::parse);
            if prefix.is_none() && self.refusals.len() == before {
                self.refuse(
                    "KeyPrefix",
                    "is required and missing",
                    "name the folder ICA gets, such as `project-a/` (`AllowBucketRoot: true` connects the whole bucket, which Illumina advises against)",
                );
            }
            return prefix;
        }
        if let Some(prefix) = self.text("KeyPrefix") {
            self.refuse(
                "KeyPrefix",
                format!("{} is given together with `AllowBucketRoot: true`", shown(&prefix)),
                "remove one of the two",
            );
        }
        Some(KeyPrefix::root())
    }

    pub(super) fn tags(&mut self) -> Vec<Tag> {
        let list = match self.properties.get("Tags") {
            None | Some(Value::Null) => return vec![],
            Some(Value::String(text)) if text.is_empty() => return vec![],
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.refuse(
                    "Tags",
                    format!("{} is {}", shown(other), kind(other)),
                    "write a list of `{Key, Value}`",
                );
                return vec![];
            }
        };
        if list.len() > TAGS_MAX {
            self.refuse(
                "Tags",
                format!("has {} tags", list.len()),
                format!("keep at most {TAGS_MAX}"),
            );
            return vec![];
        }
        let mut tags: Vec<Tag> = vec![];
        for (index, value) in list.iter().enumerate() {
            let Some(tag) = self.tag(&format!("Tags[{index}]"), value) else { continue };
            if tags.iter().any(|other| other.key.to_lowercase() == tag.key.to_lowercase()) {
                let problem = format!("{} is there twice (IAM ignores case)", shown(&tag.key));
                self.refuse(format!("Tags[{index}].Key"), problem, "keep one of them");
            } else {
                tags.push(tag);
            }
        }
        tags
    }

    fn tag(&mut self, path: &str, value: &Value) -> Option<Tag> {
        let Some(members) = value.as_object() else {
            self.refuse(
                path,
                format!("{} is {}", shown(value), kind(value)),
                "write `{Key, Value}`",
            );
            return None;
        };
        let mut sound = true;
        for name in members.keys().filter(|name| !["Key", "Value"].contains(&name.as_str())) {
            self.refuse(
                format!("{path}.{}", shown_bare(name)),
                "is unknown",
                suggestion(name, &["Key", "Value"]),
            );
            sound = false;
        }
        let text = |name| members.get(name).and_then(Value::as_str);
        let (Some(key), Some(value)) = (text("Key"), text("Value")) else {
            self.refuse(path, "lacks `Key` or `Value` as a string", "write `{Key, Value}`");
            return None;
        };
        let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || OF_TAG.contains(c));
        let (key_max, value_max) = TAG_MAX;
        let lower = key.to_lowercase();
        let problem = if lower.starts_with(RESERVED_TAG_PREFIX) {
            Some((
                "Key",
                key,
                format!("begins `{RESERVED_TAG_PREFIX}`, where the connection is recorded"),
            ))
        } else if lower.starts_with("aws:") {
            Some(("Key", key, "begins `aws:`, which AWS keeps for itself".to_owned()))
        } else if key.is_empty() || key.chars().count() > key_max || !allowed(key) {
            Some(("Key", key, "is not a tag key".to_owned()))
        } else if value.chars().count() > value_max || !allowed(value) {
            Some(("Value", value, "is not a tag value".to_owned()))
        } else {
            None
        };
        if let Some((member, given, problem)) = problem {
            let remedy = match member {
                "Key" => {
                    "write 1 to 128 letters, digits, spaces or `_ . : / = + - @`, in a namespace of your own"
                }
                _ => "write at most 256 letters, digits, spaces or `_ . : / = + - @`",
            };
            self.refuse(format!("{path}.{member}"), format!("{} {problem}", shown(given)), remedy);
            return None;
        }
        sound.then(|| Tag { key: key.to_owned(), value: value.to_owned() })
    }
}

/// A value as a message quotes it: in backticks, cut where it would drown the sentence.
fn shown(value: impl Display) -> String {
    format!("`{}`", shown_bare(value))
}

fn shown_bare(value: impl Display) -> String {
    const SHOWN_MAX: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn suggestion(name: &str, known: &[&str]) -> String {
    let lower = name.to_lowercase();
    let likeness = |candidate: &&&str| strsim::jaro_winkler(&lower, &candidate.to_lowercase());
    known
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|best| likeness(best) >= ALIKE)
        .map_or_else(
            || format!("remove it; the properties are {}", known.join(", ")),
            |best| format!("did you mean `{best}`?"),
        )
}
