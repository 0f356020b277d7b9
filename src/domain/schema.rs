//! The properties and attributes as a JSON Schema, for editors and linters: the parser's rules in
//! a form that other programs read. `docs/Custom-IcaStorage.schema.json` is what this says.

use serde_json::{Map, Value, json};

use crate::domain::attributes;
use crate::domain::field::{
    BUCKET_NAME, KEY_PREFIX_MAX, OF_ALIAS, OF_KEY_PREFIX, OF_POLICY_NAME, OF_ROLE, POLICY_NAME_MAX,
    ROLE_ARN_MAX,
};
use crate::domain::spec::{OF_TAG, RESERVED_TAG_PREFIX, TAG_MAX, TAGS_MAX};

/// A property: its name, whether a change of it is a replacement, what it takes, what it is for.
type Property = (&'static str, bool, fn() -> Value, &'static str);

/// In the order of `spec::PROPERTIES`.
const PROPERTIES: &[Property] = &[
    (
        "BucketName",
        true,
        bucket_name,
        "The bucket to connect; of the function's account and region",
    ),
    ("KeyPrefix", true, key_prefix, "The folder ICA gets; its trailing slash is optional"),
    ("AllowBucketRoot", true, off, "Connect the whole bucket, which Illumina advises against"),
    (
        "KmsKeyId",
        false,
        kms_key_id,
        "Key id, key ARN, alias name or alias ARN. Default: the key of the bucket's default encryption",
    ),
    ("CrossAccountAccess", false, on, "Let ICA copy and move data across accounts"),
    ("AssumeRoleArn", false, role_arn, "Illumina's role. Default: that of the bucket's region"),
    (
        "ConfigureKeyPolicy",
        false,
        on,
        "Keep the statement in the key policy; false only returns it",
    ),
    (
        "ConfigureBucketPolicy",
        false,
        on,
        "Keep the statement in the bucket policy; false only returns it",
    ),
    ("ConfigureCors", false, on, "Keep ICA's CORS rule on the bucket, for uploads in a browser"),
    (
        "PolicyName",
        true,
        policy_name,
        "Name of the IAM policy. Default: made from the bucket's name",
    ),
    (
        "Tags",
        false,
        tags,
        "Tags of the IAM policy. No two keys may differ in case only, which a schema cannot say",
    ),
    ("DryRun", false, off, "Only tell what would be written, in the attribute Changes"),
];

/// The schema of `Properties` of a `Custom::IcaStorage`, with that of its attributes beside it.
///
/// # Guarantees
/// Refuses exactly what `Spec::parse` refuses, but for `null`, which CloudFormation never sends,
/// and tag keys that differ in case only.
pub fn schema() -> Value {
    let described = |&(name, _, shape, what): &Property| {
        let mut shape = shape();
        if let Value::Object(members) = &mut shape {
            members.insert("description".to_owned(), what.into());
        }
        (name.to_owned(), shape)
    };
    let mut properties: Map<String, Value> = PROPERTIES.iter().map(described).collect();
    properties
        .insert("ServiceToken".into(), json!({"type": "string", "description": "The provider"}));
    properties.insert(
        "ServiceTimeout".into(),
        json!({"type": ["integer", "string"], "description": "Seconds that CloudFormation waits for an answer"}),
    );
    let create_only = PROPERTIES.iter().filter(|(_, replaces, ..)| *replaces);
    let create_only: Vec<String> =
        create_only.map(|(name, ..)| format!("/properties/{name}")).collect();
    let attribute = |name: &&str| ((*name).to_owned(), json!({"type": "string"}));
    let attributes: Map<String, Value> = attributes::NAMES.iter().map(attribute).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Custom::IcaStorage",
        "description": "The properties as CloudFormation sends them, functions such as Ref resolved; an empty string counts as absent",
        "type": "object",
        "properties": properties,
        "required": ["ServiceToken", "BucketName"],
        "additionalProperties": false,
        "if": {
            "properties": {"AllowBucketRoot": {"anyOf": [
                {"const": true},
                {"type": "string", "pattern": format!("^{}$", in_any_case("true"))},
            ]}},
            "required": ["AllowBucketRoot"],
        },
        "then": {"properties": {"KeyPrefix": {"maxLength": 0}}},
        "else": {"properties": {"KeyPrefix": {"minLength": 1}}, "required": ["KeyPrefix"]},
        "createOnlyProperties": create_only,
        "$defs": {"attributes": {
            "description": "What Fn::GetAtt returns, all of it on every Create and Update",
            "type": "object",
            "properties": attributes,
            "required": attributes::NAMES,
            "additionalProperties": false,
        }},
    })
}

fn on() -> Value {
    switch(true)
}

fn off() -> Value {
    switch(false)
}

/// JSON booleans, and the strings that templates and parameters make of them.
fn switch(default: bool) -> Value {
    let (yes, no) = (in_any_case("true"), in_any_case("false"));
    json!({"type": ["boolean", "string"], "pattern": format!("^({yes}|{no})?$"), "default": default})
}

fn bucket_name() -> Value {
    json!({
        "type": "string",
        "minLength": BUCKET_NAME.start(),
        "maxLength": BUCKET_NAME.end(),
        "pattern": "^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
        "not": {"pattern": r"\.\.|^[0-9]+(\.[0-9]+){3}$"},
    })
}

fn key_prefix() -> Value {
    let (allowed, longest) = (class(OF_KEY_PREFIX), KEY_PREFIX_MAX - 1);
    json!({
        "type": "string",
        "pattern": format!("^({allowed}{{1,{longest}}}/?)?$"),
        "not": {"pattern": r"^/|//|(^|/)\.{1,2}(/|$)"},
    })
}

fn kms_key_id() -> Value {
    let (arn, hex, alias) = ("arn:[^:]+:kms:[^:]*:[^:]*:", "[0-9A-Fa-f]", class(OF_ALIAS));
    let uuid = format!("{hex}{{8}}-({hex}{{4}}-){{3}}{hex}{{12}}");
    let id = format!("({uuid}|mrk-{hex}{{32}})");
    json!({
        "type": "string",
        "pattern": format!("^(|({arn}key/)?{id}|({arn})?alias/{alias}+)$"),
        "not": {"pattern": "(^|:)alias/aws/"},
    })
}

fn role_arn() -> Value {
    let (allowed, last) = (class(OF_ROLE), class(&OF_ROLE.replace('/', "")));
    json!({
        "type": "string",
        "maxLength": ROLE_ARN_MAX,
        "pattern": format!("^(|arn:[^:]+:iam::[0-9]{{12}}:role/{allowed}*{last})$"),
    })
}

fn policy_name() -> Value {
    let allowed = class(OF_POLICY_NAME);
    json!({"type": "string", "pattern": format!("^{allowed}{{0,{POLICY_NAME_MAX}}}$")})
}

fn tags() -> Value {
    let (key_max, value_max) = TAG_MAX;
    let allowed = format!(r"^[\p{{Alphabetic}}\p{{N}}{}]*$", escaped(OF_TAG));
    let (ours, of_aws) = (in_any_case(RESERVED_TAG_PREFIX), in_any_case("aws:"));
    json!({
        "type": ["array", "string"],
        "maxItems": TAGS_MAX,
        "maxLength": 0,
        "items": {
            "type": "object",
            "properties": {
                "Key": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": key_max,
                    "pattern": allowed,
                    "not": {"pattern": format!("^({ours}|{of_aws})")},
                },
                "Value": {"type": "string", "maxLength": value_max, "pattern": allowed},
            },
            "required": ["Key", "Value"],
            "additionalProperties": false,
        },
    })
}

/// ASCII letters, digits and these, as a regular expression.
fn class(besides: &str) -> String {
    format!("[A-Za-z0-9{}]", escaped(besides))
}

/// Characters as they stand in a class: a hyphen would make a range, but for the last place.
fn escaped(characters: &str) -> String {
    let (hyphens, others): (String, String) = characters.chars().partition(|c| *c == '-');
    others + &hyphens
}

/// A word in upper or lower case: JSON Schema has no flags.
fn in_any_case(word: &str) -> String {
    let one = |c: char| match c {
        c if c.is_ascii_alphabetic() => {
            format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase())
        }
        c => c.to_string(),
    };
    word.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec;

    #[test]
    fn every_property_is_in_the_schema() {
        assert!(PROPERTIES.iter().map(|(name, ..)| *name).eq(spec::PROPERTIES));
        let schema = schema();
        for name in spec::PROPERTIES.iter().chain(&spec::OF_CLOUDFORMATION) {
            assert!(schema["properties"][name].is_object(), "{name}");
        }
    }
}
