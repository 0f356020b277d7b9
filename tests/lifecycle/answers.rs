//! One answer to every request, in time, with an id that a Delete can be sent to, within its limit.

use std::collections::BTreeSet;
use std::time::Duration;

use ica_storage::domain::ica::Versioning;
use ica_storage::engine;
use ica_storage::ports::CallErrorKind;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::account::{ACCOUNT, Account};
use crate::support::lab::{self, BUCKET, KEY, OTHER_KEY, folder, with};
use crate::support::session::{Mishap, Weather};
use crate::support::stack::Stack;
use crate::support::state::BucketState;

/// The requests in a connection's life: type, and the properties before and after.
fn requests() -> Vec<(&'static str, Option<Value>, Value)> {
    let plain = || folder("project-a");
    vec![
        ("Create", None, plain()),
        ("Update", Some(plain()), with(plain(), &[("KmsKeyId", OTHER_KEY.into())])),
        ("Update", Some(plain()), folder("project-b")),
        ("Delete", Some(plain()), plain()),
    ]
}

/// A request whose call of this number hangs; false if it makes fewer.
async fn hang(kind: &str, before: Option<&Value>, properties: &Value, call: usize) -> bool {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    if let Some(before) = before {
        assert!(stack.deploy(before).await);
    }
    let received = stack.standing.as_ref().map(|standing| standing.physical_id.clone());
    let request = stack.request(kind, received.as_deref(), properties, before);
    let untouched = account.state();
    stack.starts(kind);
    let answer = stack.send(Weather::at(call, Mishap::HangAfter), &request).await;
    if answer.success {
        return false;
    }
    assert!(answer.reason.starts_with("NotStabilized: "), "{}", answer.reason);
    let create = stack.request("Create", None, properties, None);
    let own = engine::id_of_failure(&create).as_str().to_owned();
    let is_made = account.state().policies.keys().any(|arn| !untouched.policies.contains_key(arn));
    let expected = match kind {
        "Create" => own,
        "Update" if is_made => own,
        _ => received.unwrap(),
    };
    // Before its first write a request may also claim an id under which nothing stands yet.
    assert_eq!(answer.physical_id, expected, "{kind}, call {call}");
    true
}

#[tokio::test(start_paused = true)]
async fn every_request_gets_exactly_one_answer() {
    for (kind, before, properties) in requests() {
        let mut call = 1;
        while hang(kind, before.as_ref(), &properties, call).await {
            call += 1;
        }
        assert!(call > 20, "{kind} makes {call} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_before_cloudformation_stops_waiting() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let impatient = with(folder("project-a"), &[("ServiceTimeout", "60".into())]);
    let request = stack.request("Create", None, &impatient, None);
    let started = Instant::now();
    assert!(!stack.send(Weather::at(3, Mishap::Hang), &request).await.success);
    assert!(started.elapsed() < Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_carried_out_whatever_its_properties_have_become() {
    for properties in ["null", "{}", r#"{"BucketName":7}"#, r#"{"KeyPrefix":"*","Bogus":[]}"#] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        let named = with(folder("project-a"), &[("PolicyName", "ica".into())]);
        assert!(stack.deploy(&named).await);
        let id = stack.standing.clone().unwrap().physical_id;
        let properties = serde_json::from_str(properties).unwrap();
        let delete = stack.request("Delete", Some(&id), &properties, None);
        assert!(stack.send(Weather::fair(), &delete).await.success);
        assert_eq!(account.trace(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_of_what_is_not_ours_changes_nothing() {
    let account = Account::new(lab::lived_in());
    let mut ours = Stack::new(&account, "lab", "Connection");
    let properties = folder("project-a");
    assert!(ours.deploy(&properties).await);
    let (id, calls) = (ours.standing.clone().unwrap().physical_id, account.calls().len());
    let mut stranger = Stack::new(&account, "other", "Connection");
    for id in [None, Some(""), Some(id.as_str()), Some("s3://no/such/#0123456789abcdef")] {
        let delete = stranger.request("Delete", id, &properties, None);
        assert!(stranger.send(Weather::fair(), &delete).await.success);
    }
    assert_eq!(account.writes_since(calls), []);
}

/// Nothing is remembered by the id of a request, which CloudFormation uses again.
#[tokio::test(start_paused = true)]
async fn a_request_that_failed_is_carried_out_when_it_is_sent_again() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let create = stack.request("Create", None, &folder("project-a"), None);
    for _ in 0..2 {
        let denied = Weather::on("kms:PutKeyPolicy", Mishap::Before(CallErrorKind::Denied));
        let failed = stack.send(denied, &create).await;
        assert!(failed.reason.starts_with("AccessDenied: "), "{}", failed.reason);
        let made = stack.send(Weather::fair(), &create).await;
        assert!(made.success, "{}", made.reason);
        assert_eq!(made.physical_id, failed.physical_id);
        let delete = stack.request("Delete", Some(&made.physical_id), &folder("project-a"), None);
        assert!(stack.send(Weather::fair(), &delete).await.success);
        assert_eq!(account.trace(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_cannot_take_back_a_grant_fails_and_names_it() {
    let statement =
        |document: &str| format!("statement `AllowCrossAccountAccess` of the {document}");
    let policy = format!("policy `arn:aws:iam::{ACCOUNT}:policy/ica-storage/{BUCKET}/project-a/");
    for (action, kind, named) in [
        ("kms:PutKeyPolicy", CallErrorKind::Denied, statement(&format!("key policy of `{KEY}`"))),
        ("s3:PutBucketPolicy", CallErrorKind::Denied, statement("bucket policy of `lab-data`")),
        ("iam:DeletePolicy", CallErrorKind::Denied, policy.clone()),
        ("iam:DeletePolicy", CallErrorKind::Conflict, "it is the permissions boundary".to_owned()),
    ] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        let id = stack.standing.clone().unwrap().physical_id;
        let delete = stack.request("Delete", Some(&id), &folder("project-a"), None);
        let answer = stack.send(Weather::on(action, Mishap::Before(kind)), &delete).await;
        assert!(!answer.success, "{action}");
        for part in [action, &named, &policy, "`--deletion-mode FORCE_DELETE_STACK`"] {
            assert!(answer.reason.contains(part), "{part}: {}", answer.reason);
        }
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None, "{action}");
    }
}

/// A Delete that is denied tries again while it can, and says so when it no longer can.
#[tokio::test(start_paused = true)]
async fn a_delete_whose_time_ends_names_what_stood_in_its_way() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("project-a")).await);
    let id = stack.standing.clone().unwrap().physical_id;
    let hurried = with(folder("project-a"), &[("ServiceTimeout", "12".into())]);
    let delete = stack.request("Delete", Some(&id), &hurried, None);
    let denied = Weather::on("kms:PutKeyPolicy", Mishap::Before(CallErrorKind::Denied));
    let answer = stack.send(denied, &delete).await;
    assert!(answer.reason.starts_with("AccessDenied: kms:PutKeyPolicy on "), "{}", answer.reason);
    assert!(stack.delete().await);
    assert_eq!(account.trace(), None);
}

/// Everything as long as it may be, and everything that can be warned of.
#[tokio::test(start_paused = true)]
async fn no_answer_exceeds_4096_bytes() {
    let words = "\"\\\u{1}\u{1f4a5}é ".repeat(2_000).leak();
    let long = "x".repeat(120);
    let properties = with(
        folder(&format!("{long}/{long}/")),
        &[("PolicyName", "p".repeat(128).into()), ("KmsKeyId", "not a key".repeat(500).into())],
    );
    let logical_id = "C".repeat(255);
    for (action, kind) in [
        ("iam:CreatePolicy", CallErrorKind::Limit),
        ("s3:GetEncryptionConfiguration", CallErrorKind::Denied),
        ("iam:ListPolicies", CallErrorKind::Other),
        ("iam:TagPolicy", CallErrorKind::Other),
    ] {
        for properties in [&properties, &folder(&format!("{long}/{long}/"))] {
            let account = Account::new(lab::lived_in());
            let mut stack = Stack::new(&account, &"s".repeat(128), &logical_id);
            let words = Some(&*words);
            let weather = Weather { words, ..Weather::on(action, Mishap::Before(kind)) };
            stack.deploy_in(weather.clone(), properties).await;
            if stack.standing.is_some() {
                stack.delete_in(weather).await;
            }
            assert_eq!(account.trace(), None, "{action}");
        }
    }
}

/// Whatever may be looked at is denied: a warning each, and still an answer that fits.
/// Of the default encryption by an alias it is known which key that is.
#[tokio::test(start_paused = true)]
async fn another_name_of_the_same_key_is_no_warning() {
    for (key, is_quiet) in [(KEY, true), (OTHER_KEY, false)] {
        let mut state = lab::lived_in();
        state.key(key).alias = Some("alias/data".to_owned());
        let encryption = state.bucket(BUCKET).encryption.as_mut().unwrap();
        encryption.key = Some("alias/data".to_owned());
        let account = Account::new(state);
        let mut stack = Stack::new(&account, "lab", "Connection");
        let properties = with(folder("project-a"), &[("KmsKeyId", KEY.into())]);
        let answer = stack.deploy_in(Weather::fair(), &properties).await;
        assert_eq!(answer.data["Warnings"] == "", is_quiet, "{}", answer.data["Warnings"]);
    }
}

#[tokio::test(start_paused = true)]
async fn warnings_never_keep_an_answer_from_fitting() {
    for actions in [
        "s3:GetBucketOwnershipControls",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketNotification",
        "cloudformation:DescribeStackResource",
    ] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        let denied = Weather::on(actions, Mishap::Before(CallErrorKind::Denied));
        let answer = stack.deploy_in(denied, &folder("project-a")).await;
        assert!(answer.success, "{}", answer.reason);
        let warnings = answer.data["Warnings"].as_str().unwrap();
        assert!(warnings.contains(actions), "{warnings}");
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None);
    }
}

/// The longest names, every warning at once, and a prefix that grows.
#[tokio::test(start_paused = true)]
async fn warnings_are_left_out_before_a_connection_too_long_for_its_answer_is_refused() {
    let mut state = lab::versioned(lab::lived_in(), Versioning::Enabled);
    let (bucket, name) = (state.buckets[BUCKET].clone(), "b".repeat(63));
    state.buckets.insert(name.clone(), BucketState { encryption: None, ..bucket });
    let mut weather = Weather::fair();
    for action in [
        "s3:GetBucketOwnershipControls",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketNotification",
        "cloudformation:DescribeStackResource",
    ] {
        weather.faults.extend(Weather::on(action, Mishap::Before(CallErrorKind::Denied)).faults);
    }
    let role = format!("arn:aws:iam::079623148045:role/{}", "r".repeat(225));
    let mut endings = BTreeSet::new();
    for length in (5..=255).step_by(10) {
        let properties = with(
            folder(&"p".repeat(length)),
            &[
                ("BucketName", name.as_str().into()),
                ("KmsKeyId", KEY.into()),
                ("PolicyName", "n".repeat(128).into()),
                ("AssumeRoleArn", role.as_str().into()),
            ],
        );
        let account = Account::new(state.clone());
        let mut stack = Stack::new(&account, &"s".repeat(128), &"C".repeat(255));
        let answer = stack.deploy_in(weather.clone(), &properties).await;
        endings.insert(if answer.success {
            let warnings = answer.data["Warnings"].as_str().unwrap();
            assert!(stack.delete().await);
            assert_eq!(account.trace(), None, "{length}");
            if warnings.ends_with(" more in the function's log") { "some" } else { "all" }
        } else {
            assert!(answer.reason.starts_with("ServiceLimitExceeded: "), "{}", answer.reason);
            assert!(answer.reason.contains("4,096 bytes"), "{}", answer.reason);
            assert_eq!(account.writes_since(0), [], "{length}");
            "refused"
        });
    }
    assert_eq!(endings, BTreeSet::from(["all", "some", "refused"]));
}
