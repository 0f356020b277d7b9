//! How long a policy takes that is as long as AWS allows: read, looked at, and brought to what a
//! connection wants.

#![expect(clippy::expect_used, reason = "a measurement that cannot be set up should panic")]

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ica_storage::domain::document::Document;
use ica_storage::domain::ica;
use ica_storage::domain::policy::{Edit, PolicyDocument};
use ica_storage::domain::shared::{Claim, Shared};
use serde_json::{Value, json};

/// Longest key policy, in bytes (KMS API reference, `PutKeyPolicy`).
const LIMIT: usize = 32_768;

fn ours() -> Value {
    ica::key_policy_statement(&["arn:aws:iam::079623148045:role/ica_use1_crossacct".to_owned()])
}

/// Statements as administrators write them, as many as fit beside ours.
fn crowded() -> String {
    let statement = |number: usize| {
        // Every other one has no condition, and so the same members as ours.
        let condition = json!({"StringEquals": {"kms:ViaService": ["s3.us-east-1.amazonaws.com"]}});
        json!({
            "Sid": format!("Team{number}"),
            "Effect": "Allow",
            "Principal": {"AWS": [
                format!("arn:aws:iam::{:012}:root", 100_000_000_000 + number),
                format!("arn:aws:iam::123456789012:role/sequencing/team-{number}"),
            ]},
            "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
            "Resource": "*",
            "Condition": if number.is_multiple_of(2) { condition } else { json!({}) },
        })
    };
    let policy = |count: usize| {
        let statements: Vec<Value> = (0..count).map(statement).collect();
        format!(
            "{:#}",
            json!({"Version": "2012-10-17", "Id": "key-default-1", "Statement": statements})
        )
    };
    let room = LIMIT - ours().to_string().len() - 1;
    let count =
        (1..LIMIT).take_while(|count| policy(*count).len() <= room).last().unwrap_or_default();
    let text = policy(count);
    assert!(text.len() > LIMIT - 2_000, "{} bytes", text.len());
    text
}

fn policies(criterion: &mut Criterion) {
    let (text, wanted, none) = (crowded(), ours(), BTreeSet::new());
    let managed = BTreeSet::from([ica::SID.to_owned()]);
    let parse = |text: &str| PolicyDocument::parse(text).expect("it is a policy");
    let document = parse(&text);
    let with = document.edited(&[Edit::Append(wanted.clone())]).expect("it is a policy");
    let settle = |text: &str, wanted: Option<&Value>, managed: &BTreeSet<String>| {
        let document = Document::policy(Some(text)).expect("it is a policy");
        document.settle(Shared::KeyPolicy, wanted, managed).expect("it is a policy")
    };
    // What is measured is what was meant.
    assert!(settle(&text, Some(&wanted), &none).document.is_some());
    assert!(settle(with.text(), None, &managed).document.is_some());
    let right = settle(with.text(), Some(&wanted), &managed);
    assert!(right.document.is_none() && right.claim == Claim::Managed(ica::SID.to_owned()));

    let mut group = criterion.benchmark_group("policy");
    group.bench_function("parse", |run| run.iter(|| parse(black_box(&text))));
    group.bench_function("merge", |run| {
        run.iter(|| settle(black_box(&text), Some(&wanted), &none));
    });
    group.bench_function("take out", |run| {
        run.iter(|| settle(black_box(with.text()), None, &managed));
    });
    group.bench_function("confirm", |run| {
        run.iter(|| settle(black_box(with.text()), Some(&wanted), &managed));
    });
    group.finish();
}

criterion_group!(benches, policies);
criterion_main!(benches);
