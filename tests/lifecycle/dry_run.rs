//! A dry run tells what would be written, and changes nothing: neither the account nor the id.

use ica_storage::domain::ica::{cors_rule, key_policy_statement};
use ica_storage::domain::identity::{Home, Owner};
use ica_storage::domain::report::Proposal;
use ica_storage::engine::plan::{self, Question};
use ica_storage::ports::CallErrorKind;
use serde_json::{Value, json};

use crate::support::account::{Account, add_foreign};
use crate::support::lab::{self, BUCKET, KEY, OTHER_BUCKET, OTHER_KEY, OTHER_ROLE, folder, with};
use crate::support::session::{Mishap, Session, Weather};
use crate::support::stack::{Answer, Stack, after, context};
use crate::support::state::{State, difference};

fn dry(properties: &Value) -> Value {
    with(properties.clone(), &[("DryRun", "true".into())])
}

/// Deploys without deploying, and holds it to its promise.
async fn dry_run(account: &Account, stack: &mut Stack<'_>, properties: &Value) -> Answer {
    let (calls, before) = (account.calls().len(), account.state());
    let received = stack.standing.as_ref().map(|standing| standing.physical_id.clone());
    let answer = stack.deploy_in(Weather::fair(), &dry(properties)).await;
    assert!(answer.success, "{}", answer.reason);
    assert_eq!(account.writes_since(calls), []);
    assert_eq!(account.state(), before);
    if let Some(received) = received {
        assert_eq!(answer.physical_id, received, "a dry run is no replacement");
    }
    answer
}

fn changes(answer: &Answer) -> &str {
    answer.data["Changes"].as_str().unwrap()
}

/// Changes of a connection to a folder, and to elsewhere.
fn targets() -> Vec<Value> {
    let plain = || folder("project-a");
    let one = |name, value: Value| with(plain(), &[(name, value)]);
    vec![
        plain(),
        one("KmsKeyId", OTHER_KEY.into()),
        one("AssumeRoleArn", OTHER_ROLE.into()),
        one("CrossAccountAccess", "false".into()),
        one("ConfigureCors", "false".into()),
        one("Tags", json!([{"Key": "lab", "Value": "A"}])),
        folder("project-b"),
        one("BucketName", OTHER_BUCKET.into()),
        one("PolicyName", "ica".into()),
        with(plain(), &[("KeyPrefix", "".into()), ("AllowBucketRoot", "true".into())]),
    ]
}

async fn propose(stack: &Stack<'_>, properties: &Value) -> Proposal {
    let owner = Owner { stack_id: stack.id.clone(), logical_id: stack.logical_id.clone() };
    let home = Home::of(&stack.id).unwrap();
    let question = Question { properties, owner: Some(owner), home: &home };
    let (calls, session) =
        (stack.account.calls().len(), Session::new(stack.account, Weather::fair()));
    let proposal = plan::plan(&session, &question, &context()).await.unwrap();
    assert_eq!(stack.account.writes_since(calls), []);
    proposal
}

/// What stands in the account where a plan said something would stand.
fn standing(state: &State, what: &str, of: &str) -> Option<Value> {
    let parse = |text: &str| serde_json::from_str(text).unwrap();
    match what {
        "IAM policy" => {
            let policy = state.policies.get(of)?;
            policy.document(&format!("v{}", policy.default)).cloned()
        }
        "tags of the IAM policy" => {
            let mut tags = state.policies.get(of)?.tags.clone();
            tags.sort();
            Some(tags.into_iter().map(|tag| (tag.key, Value::from(tag.value))).collect())
        }
        "key policy" => Some(parse(&state.keys[of].policy)),
        "bucket policy" => state.buckets[of].policy.as_deref().map(parse),
        "CORS configuration" => {
            let rules = &state.buckets[of].cors;
            (!rules.is_empty()).then(|| rules.clone().into())
        }
        "folder" => {
            let (bucket, key) = of.strip_prefix("s3://").unwrap().split_once('/').unwrap();
            let folder = state.buckets[bucket].folder(key)?;
            Some(json!({
                "Key": key,
                "ServerSideEncryption": folder.algorithm,
                "SSEKMSKeyId": folder.key,
            }))
        }
        other => panic!("`{other}` is not known"),
    }
}

/// To the byte, for a Create and for an Update in place; nothing is left out.
#[tokio::test(start_paused = true)]
async fn what_is_planned_is_what_then_stands() {
    for (name, state) in lab::all() {
        for is_update in [false, true] {
            for properties in targets() {
                let account = Account::new(state.clone());
                let mut stack = Stack::new(&account, "lab", "Connection");
                if is_update {
                    assert!(stack.deploy(&folder("project-a")).await);
                }
                let received = stack.standing.clone().map(|standing| standing.physical_id);
                let before = account.state();
                let proposal = propose(&stack, &properties).await;
                assert_eq!(proposal.refusals, []);
                let calls = account.calls().len();
                assert!(stack.deploy(&properties).await);
                if is_update
                    && stack.standing.clone().map(|standing| standing.physical_id) != received
                {
                    continue;
                }
                let history = format!("{name}, {properties}: {proposal:#?}");
                let found = account.state();
                for change in &proposal.changes {
                    let then = standing(&found, &change.what, &change.r#where);
                    assert_eq!(change.planned, then, "{history}");
                    let now = standing(&before, &change.what, &change.r#where);
                    assert_eq!(change.found, now, "{history}");
                }
                let told = |what: &str, of: &str| {
                    proposal
                        .changes
                        .iter()
                        .any(|change| change.what == what && change.r#where == of)
                };
                for of in before.keys.keys() {
                    let differs = before.keys[of] != found.keys[of];
                    assert_eq!(told("key policy", of), differs, "{history}");
                }
                for (of, bucket) in &before.buckets {
                    let now = &found.buckets[of];
                    assert_eq!(told("bucket policy", of), bucket.policy != now.policy, "{history}");
                    assert_eq!(
                        told("CORS configuration", of),
                        bucket.cors != now.cors,
                        "{history}"
                    );
                }
                for (arn, policy) in &found.policies {
                    let was = before.policies.get(arn);
                    let differs = was.is_none_or(|was| was.versions != policy.versions);
                    assert_eq!(told("IAM policy", arn), differs, "{history}");
                }
                for (of, bucket) in &found.buckets {
                    for key in bucket.objects.keys().filter(|key| key.ends_with('/')) {
                        let is_new = !before.buckets[of].objects.contains_key(key);
                        assert_eq!(
                            told("folder", &format!("s3://{of}/{key}")),
                            is_new,
                            "{history}"
                        );
                    }
                }
                let is_nothing = account.writes_since(calls).is_empty();
                assert_eq!(proposal.changes.is_empty(), is_nothing, "{history}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_what_the_deployment_then_returns() {
    for (name, state) in lab::all() {
        for properties in targets() {
            let account = Account::new(state.clone());
            let mut stack = Stack::new(&account, "lab", "Connection");
            let mut told = dry_run(&account, &mut stack, &properties).await;
            assert!(changes(&told).contains("+++ IAM policy of arn:"), "{}", changes(&told));
            let done = stack.deploy_in(Weather::fair(), &properties).await;
            told.data["Changes"] = "".into();
            assert_eq!(told, done, "{name}: {properties}");
            let expected = after(&state, &[&properties]).await.essence();
            assert_eq!(difference(&account.state().essence(), &expected), None, "{properties}");
            let nothing = dry_run(&account, &mut stack, &properties).await;
            assert_eq!(changes(&nothing), "nothing would be written");
            assert!(stack.delete().await);
            assert_eq!(account.trace(), None, "{name}: {properties}");
        }
    }
}

/// Or CloudFormation would delete what stands.
#[tokio::test(start_paused = true)]
async fn a_dry_run_is_never_a_replacement_and_the_deployment_after_it_is() {
    for properties in targets() {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        let received = stack.standing.clone().unwrap().physical_id;
        let told = dry_run(&account, &mut stack, &properties).await;
        let done = stack.deploy_in(Weather::fair(), &properties).await;
        assert!(done.success, "{}", done.reason);
        let is_replacement = changes(&told).starts_with("replacement: ");
        assert_eq!(is_replacement, done.physical_id != received, "{properties}");
        let expected = after(&lab::lived_in(), &[&properties]).await;
        let left = difference(
            &account.state().meaning().without_folder_keys(),
            &expected.meaning().without_folder_keys(),
        );
        assert_eq!(left, None, "{properties}");
        assert_eq!(stack.complaint(), None);
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None, "{properties}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_create_makes_nothing_and_its_delete_finds_nothing() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    dry_run(&account, &mut stack, &folder("project-a")).await;
    dry_run(&account, &mut stack, &folder("project-b")).await;
    let calls = account.calls().len();
    assert!(stack.delete().await);
    assert_eq!(account.writes_since(calls), []);
    assert_eq!(account.trace(), None);
}

/// Whatever the last dry run was about.
#[tokio::test(start_paused = true)]
async fn a_delete_ignores_the_dry_run_and_removes_what_stands() {
    for first in [folder("project-a"), with(folder("project-a"), &[("PolicyName", "ica".into())])] {
        for properties in targets() {
            let account = Account::new(lab::lived_in());
            let mut stack = Stack::new(&account, "lab", "Connection");
            assert!(stack.deploy(&first).await);
            dry_run_or_refusal(&account, &mut stack, &properties).await;
            assert!(stack.delete().await);
            assert_eq!(account.trace(), None, "{properties}");
        }
    }
}

/// A name of one's own cannot stay with another place, dry or not.
async fn dry_run_or_refusal(account: &Account, stack: &mut Stack<'_>, properties: &Value) {
    let before = account.state();
    stack.deploy(&dry(properties)).await;
    assert_eq!(account.state(), before);
    assert_eq!(stack.complaint(), None);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_that_is_refused_or_rolled_back_changes_nothing() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("project-a")).await);
    let (before, standing) = (account.state(), stack.standing.clone());
    for properties in targets() {
        stack.update_in_vain(&dry(&properties)).await;
        assert_eq!((account.state(), stack.standing.clone()), (before.clone(), standing.clone()));
    }
    let missing = dry(&with(folder("project-a"), &[("BucketName", "no-such-bucket".into())]));
    let refused = stack.deploy_in(Weather::fair(), &missing).await;
    assert!(refused.reason.starts_with("NotFound: "), "{}", refused.reason);
    assert_eq!((account.state(), stack.standing.clone()), (before, standing));
    assert_eq!(stack.complaint(), None);
}

/// Its rollback is to a dry run, which takes nothing back: the Update does so itself.
#[tokio::test(start_paused = true)]
async fn an_update_after_a_dry_create_that_fails_anywhere_leaves_no_trace() {
    let mishaps = [Mishap::Before(CallErrorKind::Denied), Mishap::After(CallErrorKind::Network)];
    for mishap in mishaps {
        for place in ["project-a", "project-b"] {
            let mut failures = 0;
            for call in 1..60 {
                let account = Account::new(lab::lived_in());
                let mut stack = Stack::new(&account, "lab", "Connection");
                dry_run(&account, &mut stack, &folder("project-a")).await;
                let answer = stack.deploy_in(Weather::at(call, mishap), &folder(place)).await;
                assert_eq!(stack.complaint(), None);
                if !answer.success {
                    failures += 1;
                    assert_eq!(account.trace(), None, "{place}, call {call} {mishap:?}");
                }
                assert!(stack.delete().await);
                assert_eq!(account.trace(), None, "{place}, call {call} {mishap:?}");
            }
            assert!(failures > 15, "{failures} calls fail an Update");
        }
    }
}

/// The rollback is an Update to the dry run, and the id it received is that of the replacement.
#[tokio::test(start_paused = true)]
async fn a_replacement_that_is_rolled_back_to_a_dry_run_leaves_what_stood() {
    for first in [folder("project-a"), with(folder("project-a"), &[("PolicyName", "ica".into())])] {
        for properties in
            [folder("project-b"), with(folder("project-a"), &[("PolicyName", "ica-2".into())])]
        {
            let account = Account::new(lab::lived_in());
            let mut stack = Stack::new(&account, "lab", "Connection");
            assert!(stack.deploy(&first).await);
            let (before, id) = (account.state(), stack.standing.clone().unwrap().physical_id);
            dry_run(&account, &mut stack, &properties).await;
            stack.update_in_vain(&properties).await;
            assert_eq!(stack.complaint(), None);
            assert_eq!(
                difference(&account.state().essence(), &before.essence()),
                None,
                "{properties}"
            );
            assert_eq!(stack.standing.clone().unwrap().physical_id, id);
            assert!(stack.delete().await);
            assert_eq!(account.trace(), None);
        }
    }
    // One that stood under a name of its own is no reason for its rollback to be refused.
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let named = |prefix| with(folder(prefix), &[("PolicyName", "ica".into())]);
    dry_run(&account, &mut stack, &named("project-a")).await;
    stack.update_in_vain(&named("project-b")).await;
    assert_eq!(stack.complaint(), None);
    assert!(stack.delete().await);
    assert_eq!(account.trace(), None);
}

/// CloudFormation says the connection stands, but it was never made: what is there is not its own.
#[tokio::test(start_paused = true)]
async fn what_was_made_by_hand_under_our_names_stays_after_a_dry_run() {
    let mut state = lab::bare();
    for key in state.keys.values_mut() {
        let mut policy: Value = serde_json::from_str(&key.policy).unwrap();
        let ours = key_policy_statement(&[lab::ROLE.to_owned()]);
        policy["Statement"].as_array_mut().unwrap().push(ours);
        key.policy = policy.to_string();
    }
    state.bucket(BUCKET).cors.push(cors_rule());
    let account = Account::new(state);
    let mut stack = Stack::new(&account, "lab", "Connection");
    dry_run(&account, &mut stack, &folder("project-a")).await;
    assert!(stack.deploy(&folder("project-a")).await);
    assert!(stack.delete().await);
    assert_eq!(account.trace(), None);
}

/// The answer has 4,096 bytes for everything; the log has the whole.
#[tokio::test(start_paused = true)]
async fn changes_that_do_not_fit_the_answer_are_cut_and_it_says_so() {
    let account = Account::new(lab::lived_in());
    for number in 0..4 {
        account.foreign(|state| {
            for of in [KEY, BUCKET] {
                add_foreign(state, of, &format!("\u{e9}\"\\-{number}-{}", "x".repeat(800)));
            }
        });
        let mut stack = Stack::new(&account, "lab", "Connection");
        let told = dry_run(&account, &mut stack, &folder("project-a")).await;
        let last = changes(&told).lines().last().unwrap();
        assert!(last.ends_with(" more lines in the function's log"), "{}", changes(&told));
        assert!(changes(&told).lines().count() > 5, "{}", changes(&told));
        stack.standing = None;
    }
}
