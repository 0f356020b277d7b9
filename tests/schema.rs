//! The JSON Schema, the parser and the README's tables say the same.

use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use ica_storage::domain::attributes;
use ica_storage::domain::schema::schema;
use ica_storage::domain::spec::{PROPERTIES, Spec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const FILE: &str = "docs/Custom-IcaStorage.schema.json";
const README: &str = include_str!("../README.md");

/// The schema as a validator reads it.
struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new(schema: Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("schema.json", schema).unwrap();
        let index = compiler.compile("schema.json", &mut schemas).unwrap();
        Self(schemas, index)
    }

    fn accepts(&self, value: &Value) -> bool {
        self.0.validate(value, self.1).is_ok()
    }
}

/// Properties that are sound but for these.
fn with(changes: &Value) -> Value {
    let mut properties = json!({"ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:f", "BucketName": "my-bucket", "KeyPrefix": "project-a/"});
    for (name, value) in changes.as_object().unwrap() {
        properties[name] = value.clone();
    }
    properties
}

#[test]
fn the_committed_schema_is_what_the_code_says() {
    let generated = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if fs::read_to_string(FILE).is_ok_and(|committed| committed == generated) {
        return;
    }
    let renewed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema.json");
    fs::write(&renewed, generated).unwrap();
    panic!("{FILE} is of an earlier day; look at the changes of: cp {} {FILE}", renewed.display());
}

/// Values at the edges of what each property takes.
#[test]
fn the_schema_takes_and_refuses_what_the_parser_does_at_every_edge() {
    let validator = Validator::new(schema());
    let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let tag = |key: &str, value: &str| json!({"Tags": [{"Key": key, "Value": value}]});
    let text = |name: &'static str, values: &[&str]| -> Vec<Value> {
        values.iter().map(|value| json!({name: value})).collect()
    };
    let cases = [
        text("BucketName", &["abc", "a.b-c", "", "ab", "A-b", "-ab", "ab-", "a..b", "1.2.3.4", "1.2.3.4.5", "arn:aws:s3:::abc", "s3://abc", &"a".repeat(63), &"a".repeat(64)]),
        text("KeyPrefix", &["a", "a/b/", "A_b-c.d=e+f@g:h", "", "/", "/a", "a//", "a//b", ".", "..", "./a", "a/..", "a/../b", "...", ".a/b..", "a*", "a b", "\u{e4}", &"a".repeat(255), &"a".repeat(256), &("a".repeat(255) + "/"), &("a".repeat(256) + "/")]),
        text("KmsKeyId", &["", id, &id.to_uppercase(), &format!("arn:aws:kms:us-east-1:123456789012:key/{id}"), &format!("key/{id}"), "mrk-1234abcd12ab34cd56ef1234567890ab", "mrk-1", "alias/lab/data", "alias/", "alias/aws/s3", "alias/aws", "arn:aws:kms:us-east-1:123456789012:alias/aws/s3", "arn:aws:kms:us-east-1:123456789012:alias/lab", "arn:aws:s3:::b", "arn:aws:kms:us-east-1:123456789012:", "lab"]),
        text("AssumeRoleArn", &["", "arn:aws:iam::079623148045:role/r", "arn:aws-cn:iam::079623148045:role/a/b", "arn:aws:iam::079623148045:role/a/", "arn:aws:iam::079623148045:role/", "arn:aws:iam::079623148045:role//", "arn:aws:iam::079623148045:role/a,b", "arn:aws:iam::0:role/r", "arn:aws:iam:us-east-1:079623148045:role/r", "*", &format!("arn:aws:iam::079623148045:role/{}", "r".repeat(225)), &format!("arn:aws:iam::079623148045:role/{}", "r".repeat(226))]),
        text("PolicyName", &["", "a_b+c=d,e.f@g-h", "a b", "a/b", &"a".repeat(128), &"a".repeat(129)]),
        text("ConfigureCors", &["", "true", "FALSE", "yes", "1"]),
        [json!(true), json!(false), json!(1), json!([]), json!({})].map(|value| json!({"ConfigureCors": value})).to_vec(),
        [json!(7), json!(true), json!([]), json!({})].map(|value| json!({"PolicyName": value})).to_vec(),
        [json!(""), json!([]), json!("x"), json!({}), json!(["x"]), json!([{}]), json!([{"Key": "a"}]), json!([{"Key": 1, "Value": "b"}]), json!([{"Key": "a", "Value": "b", "Kez": ""}])].map(|value| json!({"Tags": value})).to_vec(),
        vec![tag("a", ""), tag("", ""), tag("ICA-storage:x", ""), tag("aws:x", ""), tag("awsx", ""), tag("a,b", ""), tag("\u{e4} \u{5d0}", "\u{663}"), tag("\u{2014}", ""), tag("a", "b\n"), tag(&"k".repeat(128), &"v".repeat(256)), tag(&"k".repeat(129), ""), tag("k", &"v".repeat(257))],
        [40, 41].map(|count: usize| json!({"Tags": (0..count).map(|n| json!({"Key": n.to_string(), "Value": ""})).collect::<Vec<_>>()})).to_vec(),
        vec![json!({"BucketNme": "x"}), json!({"AllowBucketRoot": "True"}), json!({"AllowBucketRoot": true, "KeyPrefix": ""}), json!({"AllowBucketRoot": "", "KeyPrefix": "a"}), json!({"AllowBucketRoot": "false", "KeyPrefix": ""}), json!({"ServiceTimeout": 360}), json!({"ServiceTimeout": "360"})],
    ]
    .concat();
    let mut taken = 0;
    for changes in &cases {
        let properties = with(changes);
        let parsed = Spec::parse(&properties);
        taken += usize::from(parsed.is_ok());
        assert_eq!(validator.accepts(&properties), parsed.is_ok(), "{changes}: {parsed:?}");
    }
    assert!(taken > 30 && cases.len() - taken > 30, "{taken} of {} are taken", cases.len());
}

/// Anything a template might hold, mostly close to what is right.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-z0-9.-]{0,64}".prop_map(Value::from),
        "[A-Za-z0-9/_.=+@:*-]{0,12}".prop_map(Value::from),
        "(arn:aws:(kms|iam):[a-z0-9-]{0,9}:[0-9]{0,13}:)?(alias|key|role)/[a-z/*]{0,5}"
            .prop_map(Value::from),
        "(?i)(true|false)".prop_map(Value::from),
        "\\PC{0,5}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
    ]
}

fn tags() -> impl Strategy<Value = Value> {
    let tag = ("\\PC{0,3}|[a-z: ]{0,5}", "\\PC{0,3}").prop_map(|(key, value)| (key, value));
    prop::collection::vec(tag, 0..3).prop_map(|tags| {
        let mut seen = vec![];
        let unique = tags.into_iter().filter(|(key, _)| {
            let lower = key.to_lowercase();
            let is_new = !seen.contains(&lower);
            seen.push(lower);
            is_new
        });
        unique.map(|(key, value)| json!({"Key": key, "Value": value})).collect()
    })
}

proptest! {
    #[test]
    fn the_schema_takes_and_refuses_what_the_parser_does(
        changes in prop::collection::hash_map(select(PROPERTIES.to_vec()), scalar(), 0..3),
        tags in prop::option::of(tags()),
        has_prefix in any::<bool>(),
    ) {
        thread_local!(static VALIDATOR: Validator = Validator::new(schema()));
        let mut properties = with(&json!(changes));
        if let Some(tags) = tags {
            properties["Tags"] = tags;
        }
        if !has_prefix {
            properties.as_object_mut().unwrap().remove("KeyPrefix");
        }
        let parsed = Spec::parse(&properties);
        let accepted = VALIDATOR.with(|validator| validator.accepts(&properties));
        prop_assert_eq!(accepted, parsed.is_ok(), "{}: {:?}", properties, parsed);
    }
}

/// What is left out is what the schema says it is.
#[test]
fn the_defaults_are_those_of_the_parser() {
    let schema = schema();
    let plain = Spec::parse(&with(&json!({}))).unwrap();
    let mut defaults = 0;
    for name in PROPERTIES {
        let Some(default) = schema["properties"][name].get("default") else { continue };
        defaults += 1;
        assert_eq!(Spec::parse(&with(&json!({name: default}))).unwrap(), plain, "{name}");
        let other = json!({name: !default.as_bool().unwrap()});
        assert_ne!(Spec::parse(&with(&other)).ok().as_ref(), Some(&plain), "{name}");
    }
    assert!(defaults >= 5, "{defaults}");
}

/// The cells of the rows of a table of the README, by the heading above it.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let section = README.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_table_of_properties_says_what_the_schema_says() {
    let schema = schema();
    let rows = table("Properties");
    let names: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(names, PROPERTIES);
    for (name, row) in names.iter().zip(&rows) {
        let shape = &schema["properties"][name];
        let required = match (*name, shape.get("default")) {
            ("BucketName", _) => "yes".to_owned(),
            ("KeyPrefix", _) => "unless `AllowBucketRoot`".to_owned(),
            (_, Some(default)) => format!("no, `{default}`"),
            (_, None) => "no".to_owned(),
        };
        assert_eq!(row[1], required, "{name}");
        let create_only = schema["createOnlyProperties"].as_array().unwrap();
        let replaces = create_only.contains(&json!(format!("/properties/{name}")));
        assert_eq!(row[3], if replaces { "a replacement" } else { "in place" }, "{name}");
    }
    let meaning = |name: &str| rows[names.iter().position(|other| *other == name).unwrap()][2];
    assert!(meaning("KeyPrefix").contains("1–256 characters"));
    for (name, limit) in [("AssumeRoleArn", "maxLength"), ("Tags", "maxItems")] {
        let number = schema["properties"][name][limit].to_string();
        assert!(meaning(name).contains(&number), "{name}: {number}");
    }
}

#[test]
fn the_table_of_attributes_has_all_of_them() {
    let names: Vec<&str> = table("Attributes").iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(names, attributes::NAMES);
}
