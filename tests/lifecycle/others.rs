//! What is not ours: statements and rules of others, and the successor of what is cleaned up.

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::support::account::{ACCOUNT, Account};
use crate::support::lab::{self, BUCKET, KEY, OTHER_BUCKET, OTHER_KEY, folder, with};
use crate::support::session::{Mishap, Weather};
use crate::support::stack::{Stack, after};
use crate::support::state::{Object, PolicyState, State, difference};

/// A statement as others write them: odd, doubled, orphaned, under our names, almost ours.
fn statement() -> impl Strategy<Value = Value> {
    let sid = prop::sample::select(vec![
        "",
        "audit",
        "with blanks ",
        "AllowCrossAccountAccess",
        "AllowCrossAccountAccessIca",
    ]);
    let principal = prop::sample::select(vec![
        json!("*"),
        json!({"AWS": "AROAEXAMPLEEXAMPLE"}),
        json!({"AWS": ["123456789012", "arn:aws:iam::123456789012:root"]}),
        json!({"Service": "logs.amazonaws.com"}),
        json!({"AWS": lab::ROLE}),
    ]);
    let action = prop::sample::select(vec![
        json!("kms:Decrypt"),
        json!([
            "kms:Encrypt",
            "kms:Decrypt",
            "kms:ReEncrypt*",
            "kms:GenerateDataKey*",
            "kms:DescribeKey"
        ]),
        json!([]),
    ]);
    let odd = prop::sample::select(vec![
        json!({}),
        json!({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
        json!({"Unknown": null}),
    ]);
    (sid, principal, action, odd).prop_map(|(sid, principal, action, odd)| {
        let mut statement =
            json!({"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"});
        if !sid.is_empty() {
            statement["Sid"] = sid.into();
        }
        statement.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
        statement
    })
}

/// A document with these statements, written in one line or many.
fn document(text: &str, statements: &[Value], is_pretty: bool) -> String {
    let mut document: Value = serde_json::from_str(text).unwrap();
    document["Statement"].as_array_mut().unwrap().extend(statements.iter().cloned());
    if is_pretty { format!("{document:#}\n") } else { document.to_string() }
}

fn populated(key: &[Value], bucket: &[Value], is_pretty: bool) -> State {
    let mut state = lab::lived_in();
    let with = |text: &str, statements| document(text, statements, is_pretty);
    let policy = with(&state.keys[KEY].policy, key);
    state.key(KEY).policy = policy;
    let policy = with(state.buckets[BUCKET].policy.as_deref().unwrap(), bucket);
    state.bucket(BUCKET).policy = Some(policy);
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn foreign_statements_survive_everything(
        key in prop::collection::vec(statement(), 0..4),
        bucket in prop::collection::vec(statement(), 0..4),
        is_pretty in any::<bool>(),
        overwrites in 0..3_usize,
        call in 1..40_usize,
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            // A writer that parses and prints does not keep white space, so it has none to keep.
            let is_pretty = is_pretty && overwrites == 0;
            let account = Account::new(populated(&key, &bucket, is_pretty));
            let mut stack = Stack::new(&account, "lab", "Connection");
            let stormy = Weather { overwrites, intrudes: true, ..Weather::fair() };
            let moved = with(folder("project-b"), &[("KmsKeyId", OTHER_KEY.into())]);
            for properties in [folder("project-a"), moved, folder("project-b")] {
                stack.deploy_in(stormy.clone(), &properties).await;
                prop_assert_eq!(account.harm(), None);
                let failing = Weather::at(call, Mishap::HangAfter);
                stack.deploy_in(failing, &folder("project-c")).await;
                prop_assert_eq!(account.harm(), None);
                prop_assert_eq!(stack.complaint(), None);
            }
            prop_assert!(stack.delete_in(stormy).await.success);
            prop_assert_eq!(account.trace(), None);
            Ok(())
        })?;
    }
}

/// Replacements, by what is replaced.
fn replacements() -> Vec<(Value, Value)> {
    let plain = || folder("project-a");
    let to = |name, value: &str| with(plain(), &[(name, value.into())]);
    let root = with(plain(), &[("KeyPrefix", "".into()), ("AllowBucketRoot", "true".into())]);
    vec![
        (plain(), folder("project-b")),
        (plain(), to("PolicyName", "ica")),
        (to("PolicyName", "ica"), to("PolicyName", "ica-2")),
        (plain(), to("BucketName", OTHER_BUCKET)),
        (plain(), with(to("BucketName", OTHER_BUCKET), &[("KmsKeyId", KEY.into())])),
        (plain(), with(folder("project-b"), &[("KmsKeyId", OTHER_KEY.into())])),
        (plain(), root.clone()),
        (root, plain()),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_replaced_resource_keeps_its_successor() {
    for (name, state) in lab::all() {
        for (before, properties) in replacements() {
            let account = Account::new(state.clone());
            let mut stack = Stack::new(&account, "lab", "Connection");
            assert!(stack.deploy(&before).await);
            let old = stack.standing.clone().unwrap().physical_id;
            assert!(stack.deploy(&properties).await);
            assert_ne!(stack.standing.clone().unwrap().physical_id, old);
            let expected = after(&state, &[&properties]).await.meaning();
            let left = difference(&account.state().meaning(), &expected);
            assert_eq!(left, None, "{name}: {before} to {properties}");
            stack.update_in_vain(&before).await;
            assert_eq!(stack.complaint(), None);
            let left = difference(&account.state().meaning(), &expected);
            assert_eq!(left, None, "{name}: {before} to {properties} and back in vain");
            assert!(stack.delete().await);
            assert_eq!(account.trace(), None, "{name}: {before} to {properties}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_nothing_differs() {
    for (name, state) in lab::all() {
        for (properties, _) in replacements() {
            let account = Account::new(state.clone());
            let mut stack = Stack::new(&account, "lab", "Connection");
            let first = stack.deploy_in(Weather::fair(), &properties).await;
            let calls = account.calls().len();
            let patient = with(properties.clone(), &[("ServiceTimeout", "600".into())]);
            let update = stack.deploy_in(Weather::fair(), &patient).await;
            assert_eq!(update, first);
            let create = stack.request("Create", None, &properties, None);
            stack.status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
            let again = stack.send(Weather::fair(), &create).await;
            assert_eq!(again, first, "a Create that comes twice");
            assert_eq!(account.writes_since(calls), [], "{name}: {properties}");
            let standing = stack.standing.clone();
            assert!(stack.delete().await);
            let calls = account.calls().len();
            stack.standing = standing;
            assert!(stack.delete().await);
            assert_eq!(account.writes_since(calls), [], "a Delete that comes twice");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_changes_back_and_forth_without_end() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let moved = with(folder("project-a"), &[("KmsKeyId", OTHER_KEY.into())]);
    for _ in 0..4 {
        assert!(stack.deploy(&folder("project-a")).await);
        stack.update_in_vain(&moved).await;
        assert!(stack.deploy(&moved).await);
    }
    assert_eq!(stack.complaint(), None);
    assert!(stack.delete().await);
    assert_eq!(account.trace(), None);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_somebody_elses_policy_has_is_left_to_it() {
    let exactly = format!("/ica-storage/{BUCKET}/project-a/");
    for (path, name) in
        [("/", "ica"), ("/", "ICA"), ("/ica-storage/lab-archive/", "ica"), (&*exactly, "ica")]
    {
        let account = Account::new(lab::lived_in());
        account.foreign(|state| {
            let theirs = PolicyState {
                name: name.to_owned(),
                path: path.to_owned(),
                created: 0,
                versions: vec![(1, json!({"Version": "2012-10-17", "Statement": []}))],
                default: 1,
                tags: vec![],
                attachments: vec![],
            };
            state.policies.insert(format!("arn:aws:iam::{ACCOUNT}:policy{path}{name}"), theirs);
        });
        let mut stack = Stack::new(&account, "lab", "Connection");
        let named = with(folder("project-a"), &[("PolicyName", "ica".into())]);
        // The Delete that follows is told the same name.
        let answer = stack.deploy_in(Weather::fair(), &named).await;
        assert!(answer.reason.starts_with("AlreadyExists: "), "{}", answer.reason);
        assert_eq!(stack.complaint(), None);
        assert_eq!(account.trace(), None, "{path}{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn data_is_never_deleted_nor_hidden() {
    for (name, state) in lab::all() {
        let account = Account::new(state);
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        account.foreign(|state| {
            state.bucket(BUCKET).put("project-a/run.bam", Some(Object::default()), 0);
        });
        assert!(stack.delete().await);
        let (state, others) = (account.state(), account.without_us());
        let (mut found, theirs) =
            (state.buckets[BUCKET].objects.clone(), &others.buckets[BUCKET].objects);
        assert!(found.remove("project-a/").is_some(), "a folder with data in it stays");
        assert_eq!(found, *theirs, "{name}");
    }
}
