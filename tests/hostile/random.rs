//! Random input for the checks; `make fuzz` looks for it longer and with more cunning.

use std::fs;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::check::{self, SECRET};

/// Texts that have tripped programs up, and those that mean something here.
fn text() -> impl Strategy<Value = String> {
    let telling = select(vec![
        "",
        "*",
        "?",
        "${aws:username}",
        "a/*",
        "project-a/",
        "..",
        "a//b",
        "/",
        "arn:",
        "s3://x/y",
        "arn:aws:iam::079623148045:role/r",
        "arn:*:iam::079623148045:role/r",
        "alias/aws/s3",
        "arn:*:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111",
        "lab-data",
        "\u{1b}[2J\r\nERROR forged",
        "\0",
        "\u{202e}",
        "\u{feff}",
        "true",
        "TRUE",
        "-1",
        "\"}",
        "é".repeat(300).leak(),
    ]);
    prop_oneof![
        4 => telling.prop_map(str::to_owned),
        2 => "\\PC{0,40}",
        2 => "[a-z*?$\\{\\}/:.@+=,-]{0,80}",
        1 => "[\u{0}-\u{1f}\u{7f}-\u{9f}]{0,20}",
        1 => ("\\PC", 0_usize..5_000).prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

/// Any JSON.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
        (1_usize..100).prop_map(nested),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("x"), |inner, _| json!([inner]))
}

/// Properties: sound ones, some of them changed, some taken away, some that do not exist.
fn properties() -> impl Strategy<Value = Value> {
    let known = select(ica_storage::domain::spec::PROPERTIES.to_vec()).prop_map(str::to_owned);
    let name = prop_oneof![6 => known, 1 => text()];
    let change = (name, prop_oneof![3 => text().prop_map(Value::from), 1 => json_value()]);
    let folder = prop_oneof![Just("project-a/".to_owned()), text()];
    (folder, prop::collection::vec(change, 0..4)).prop_map(|(folder, changes)| {
        let mut properties = json!({"BucketName": "lab-data", "KeyPrefix": folder});
        for (name, value) in changes {
            properties[name] = value;
        }
        properties
    })
}

/// An event of `events/`, or one of ours.
fn sound() -> impl Strategy<Value = Value> {
    let files: Vec<_> = fs::read_dir("events").unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 20, "the events were not found");
    prop_oneof![
        select(files).prop_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let mut event: Value = serde_json::from_str(&text).unwrap();
            event["ResponseURL"] = format!("https://example.com/?X-Amz-Signature={SECRET}").into();
            event
        }),
        (select(vec!["Create", "Update", "Delete"]), properties())
            .prop_map(|(request_type, properties)| check::request(request_type, &properties)),
    ]
}

/// The same with other members, and with JSON in it that no value can hold.
fn event() -> impl Strategy<Value = String> {
    let members = [
        "RequestType",
        "ResponseURL",
        "StackId",
        "RequestId",
        "LogicalResourceId",
        "ResourceType",
        "PhysicalResourceId",
        "ResourceProperties",
        "OldResourceProperties",
        "Other",
    ];
    let change = (select(members.to_vec()), prop::option::of(json_value()));
    let raw = select(vec!["", "1e999", r#""\ud800""#, "[DEEP]"]);
    (sound(), prop::collection::vec(change, 0..3), raw).prop_map(|(mut event, changes, raw)| {
        for (member, value) in changes {
            match value {
                Some(value) => event[member] = value,
                None => drop(event.as_object_mut().unwrap().remove(member)),
            }
        }
        if !raw.is_empty() {
            event["ResourceProperties"] = json!({"KeyPrefix": "RAW"});
        }
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        event.to_string().replace("\"RAW\"", &raw.replace("[DEEP]", &deep))
    })
}

/// A text in which some bytes are others.
fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, any::<prop::sample::Index>(), 0_usize..9, "\\PC{0,4}").prop_map(
        |(text, at, gone, new)| {
            let mut characters: Vec<char> = text.chars().collect();
            let start = at.index(characters.len() + 1);
            let end = (start + gone).min(characters.len());
            characters.splice(start..end, new.chars());
            characters.into_iter().collect()
        },
    )
}

/// A policy as somebody may have written it.
fn policy() -> impl Strategy<Value = String> {
    let statement = prop_oneof![
        json_value(),
        text().prop_map(|sid| json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": sid}})),
        Just(ica_storage::domain::ica::key_policy_statement(&[])),
    ];
    let statements = prop::collection::vec(statement, 0..5);
    (statements, json_value(), any::<bool>(), any::<bool>()).prop_map(|(list, id, pretty, lone)| {
        let statements = match list.as_slice() {
            [one] if lone && !one.is_array() => one.clone(),
            _ => Value::from(list),
        };
        let document = json!({"Id": id, "Statement": statements, "More": {"Statement": [1]}});
        if pretty { format!(" {document:#}\n") } else { document.to_string() }
    })
}

proptest! {
    #[test]
    fn any_event_is_answered_if_it_can_be_and_gives_nothing_away(text in event()) {
        check::event(&text);
    }

    #[test]
    fn any_damage_to_an_event_is_survived(text in damaged(event())) {
        check::event(&text);
    }

    #[test]
    fn any_policy_keeps_what_is_not_ours(text in policy()) {
        check::policy(&text);
    }

    #[test]
    fn any_damage_to_a_policy_is_survived(text in damaged(policy())) {
        check::policy(&text);
    }
}

// Each of these is dozens of requests.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_properties_are_refused_or_stay_within_their_folder(given in properties()) {
        check::properties(&given);
    }

    #[test]
    fn any_text_as_a_property_is_refused_or_stays_within_its_folder(given in text()) {
        check::value(&given);
    }
}
