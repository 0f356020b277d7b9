//! `ResourceProperties` → [`Spec`]: every problem at once, each with its way out.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::domain::field::{BucketName, KeyId, KeyPrefix, PolicyName, RoleArn, Wrong};
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
const OF_CLOUDFORMATION: [&str; 2] = ["ServiceToken", "ServiceTimeout"];

/// Namespace of the tags that record a connection (case-insensitive, as IAM's keys are).
pub const RESERVED_TAG_PREFIX: &str = "ica-storage:";

/// Most tags a template may give: IAM holds 50 on a policy (IAM quotas), the record takes ten.
const TAGS_MAX: usize = 40;

/// How alike a misspelt name has to be for a suggestion, 0 to 1 (Jaro–Winkler).
const ALIKE: f64 = 0.8;

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
        let mut reader =
            Reader { properties: properties.as_object().unwrap_or(&empty), refusals: vec![] };
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

/// Reads property after property and keeps every refusal.
struct Reader<'a> {
    properties: &'a Map<String, Value>,
    refusals: Vec<Refusal>,
}

impl Reader<'_> {
    fn refuse(
        &mut self,
        path: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.refusals.push(Refusal::invalid(path, problem, remedy));
    }

    fn refuse_unknown(&mut self) {
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

    fn optional<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let text = self.text(name)?;
        parse(&text)
            .map_err(|wrong| {
                self.refuse(name, format!("{} {}", shown(&text), wrong.problem), wrong.remedy);
            })
            .ok()
    }

    fn required<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let before = self.refusals.len();
        let value = self.optional(name, parse);
        if value.is_none() && self.refusals.len() == before {
            self.refuse(name, "is required and missing", format!("add `{name}`"));
        }
        value
    }

    fn switch(&mut self, name: &str, default: bool) -> bool {
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

    fn prefix(&mut self) -> Option<KeyPrefix> {
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

    fn tags(&mut self) -> Vec<Tag> {
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
        // SOURCE: IAM user guide, *Rules for tagging in IAM and AWS STS*.
        let allowed = |text: &str| {
            text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c))
        };
        let lower = key.to_lowercase();
        let problem = if lower.starts_with(RESERVED_TAG_PREFIX) {
            Some((
                "Key",
                key,
                format!("begins `{RESERVED_TAG_PREFIX}`, where the connection is recorded"),
            ))
        } else if lower.starts_with("aws:") {
            Some(("Key", key, "begins `aws:`, which AWS keeps for itself".to_owned()))
        } else if key.is_empty() || key.chars().count() > 128 || !allowed(key) {
            Some(("Key", key, "is not a tag key".to_owned()))
        } else if value.chars().count() > 256 || !allowed(value) {
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
