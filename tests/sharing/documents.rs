//! One statement per document, whoever shares it: what is ours comes and goes, the rest stays.

use ica_storage::ports::CallErrorKind;
use serde_json::{Value, json};

use crate::support::account::{Account, add_foreign, add_foreign_rule};
use crate::support::lab::{
    self, BUCKET, KEY, OTHER_BUCKET, OTHER_KEY, OTHER_ROLE, ROLE, folder, with,
};
use crate::support::session::{Mishap, Weather};
use crate::support::stack::{Stack, Standing};
use crate::support::state::State;
use crate::support::turns::{ALL, Turns, both};

/// Statements of a policy with this Sid.
fn statements(policy: Option<&str>, sid: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(policy.unwrap_or("{}")).unwrap();
    let all = document["Statement"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|statement| statement["Sid"] == sid).collect()
}

fn of_key(state: &State, key: &str, sid: &str) -> Vec<Value> {
    statements(Some(&state.keys[key].policy), sid)
}

fn of_bucket(state: &State, sid: &str) -> Vec<Value> {
    statements(state.buckets[BUCKET].policy.as_deref(), sid)
}

/// Two connections of one bucket.
fn two(account: &Account) -> [Stack<'_>; 2] {
    ["One", "Two"].map(|name| Stack::new(account, "lab", name))
}

const SID: &str = "AllowCrossAccountAccess";

#[tokio::test(start_paused = true)]
async fn the_statement_stands_while_one_connection_wants_it() {
    for last in [0, 1] {
        let account = Account::new(lab::lived_in());
        let mut stacks = two(&account);
        assert!(stacks[0].deploy(&folder("one")).await);
        assert!(stacks[1].deploy(&folder("two")).await);
        assert!(stacks[1 - last].delete().await);
        let state = account.state();
        assert_eq!(of_key(&state, KEY, SID).len(), 1);
        assert_eq!(of_bucket(&state, SID).len(), 1);
        assert_eq!(state.buckets[BUCKET].cors.len(), 3);
        assert!(stacks[last].delete().await);
        assert_eq!(account.trace(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_made_by_hand_is_used_and_never_removed() {
    let account = Account::new(lab::made_by_hand());
    let mut stacks = two(&account);
    for (stack, prefix) in stacks.iter_mut().zip(["one", "two"]) {
        assert!(stack.deploy(&folder(prefix)).await);
    }
    let state = account.state();
    assert_eq!(state.keys, account.without_us().keys);
    assert_eq!(state.buckets[BUCKET].cors, account.without_us().buckets[BUCKET].cors);
    for stack in &mut stacks {
        assert!(stack.delete().await);
    }
    assert_eq!(account.trace(), None);
}

#[tokio::test(start_paused = true)]
async fn a_name_taken_by_another_meaning_is_left_to_it() {
    let account = Account::new(lab::with_taken_names());
    let mut stacks = two(&account);
    for (stack, prefix) in stacks.iter_mut().zip(["one", "two"]) {
        assert!(stack.deploy(&folder(prefix)).await);
    }
    let state = account.state();
    assert_eq!(of_key(&state, KEY, SID), of_key(&account.without_us(), KEY, SID));
    assert_eq!(of_key(&state, KEY, "AllowCrossAccountAccessIca").len(), 1);
    assert_eq!(of_bucket(&state, "AllowCrossAccountAccessIca").len(), 1);
    for stack in &mut stacks {
        assert!(stack.delete().await);
    }
    assert_eq!(account.trace(), None);
}

/// A policy in which somebody changed our statement.
fn edited(policy: &str, member: &str, value: &Value) -> String {
    let mut document: Value = serde_json::from_str(policy).unwrap();
    for statement in document["Statement"].as_array_mut().unwrap() {
        if statement["Sid"] == SID {
            statement[member] = value.clone();
        }
    }
    document.to_string()
}

/// KMS shows a principal that was deleted by its id; somebody else wrote the rest.
fn edit(state: &mut State) {
    let edited = |policy: &str| edited(policy, "Principal", &json!({"AWS": "AROAEXAMPLEEXAMPLE"}));
    let key = state.key(KEY);
    key.policy = edited(&key.policy);
    let bucket = state.bucket(BUCKET);
    bucket.policy = bucket.policy.as_deref().map(edited);
    for rule in bucket.cors.iter_mut().filter(|rule| rule["ID"] == "ica-storage") {
        rule["AllowedMethods"] = json!(["GET"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_edited_is_put_right_by_an_update_and_goes_with_a_delete() {
    for is_updated in [true, false] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("one")).await);
        let before = account.state().essence();
        account.foreign(edit);
        assert_ne!(account.state().essence(), before);
        if is_updated {
            assert!(stack.deploy(&folder("one")).await);
            assert_eq!(account.state().essence(), before);
        }
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None);
    }
}

/// Somebody wrote it into our statement, so it is neither put right nor taken out until it is moved.
#[tokio::test(start_paused = true)]
async fn nobody_loses_the_right_to_edit_the_key_policy() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("one")).await);
    let allow = |action: &str| {
        account.foreign(|state| {
            let key = state.key(KEY);
            key.policy = edited(&key.policy, "Action", &action.into());
        });
    };
    allow("kms:Put*");
    let before = account.state().keys;
    let id = stack.standing.clone().unwrap().physical_id;
    for (kind, old) in [("Update", Some(&folder("one"))), ("Delete", None)] {
        let request = stack.request(kind, Some(&id), &folder("one"), old);
        stack.starts(kind);
        let answer = stack.send(Weather::fair(), &request).await;
        assert!(answer.reason.starts_with("InvalidRequest: "), "{kind}: {}", answer.reason);
        assert!(answer.reason.contains("`kms:PutKeyPolicy`"), "{kind}: {}", answer.reason);
        assert_eq!(account.state().keys, before, "{kind}");
    }
    allow("kms:Decrypt");
    assert!(stack.delete().await);
    assert_eq!(account.trace(), None);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_policy_was_deleted_by_hand_is_registered_again() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("one")).await);
    let before = account.state().essence();
    account.foreign(|state| state.policies.clear());
    assert!(stack.deploy(&folder("one")).await);
    assert_eq!(account.state().essence(), before);
    // Nothing at all is left of it.
    account.foreign(|state| *state = lab::lived_in());
    assert!(stack.deploy(&folder("one")).await);
    assert_eq!(account.state().essence(), before);
    assert!(stack.delete().await);
    assert_eq!(account.trace(), None);
}

/// What somebody does to the account.
type Change = fn(&mut State);

#[tokio::test(start_paused = true)]
async fn a_document_that_has_no_room_or_is_none_is_refused_with_the_entry_to_add_by_hand() {
    let changes: [(&str, &str, Change); 4] = [
        ("ConfigureKeyPolicy", "ServiceLimitExceeded: ", |state| {
            add_foreign(state, KEY, &"x".repeat(16_000));
        }),
        ("ConfigureBucketPolicy", "ServiceLimitExceeded: ", |state| {
            add_foreign(state, BUCKET, &"x".repeat(10_000));
        }),
        ("ConfigureCors", "ServiceLimitExceeded: ", |state| {
            (0..98).for_each(|number| add_foreign_rule(state, BUCKET, &number.to_string()));
        }),
        ("ConfigureBucketPolicy", "InvalidRequest: ", |state| {
            state.bucket(BUCKET).policy = Some("{".to_owned());
        }),
    ];
    for (switch, code, change) in changes {
        let account = Account::new(lab::lived_in());
        account.foreign(change);
        let mut stack = Stack::new(&account, "lab", "Connection");
        let refused = stack.deploy_in(Weather::fair(), &folder("one")).await;
        assert!(refused.reason.starts_with(code), "{}", refused.reason);
        let remedy = format!("set `{switch}: false` and add this by hand: {{");
        assert!(refused.reason.contains(&remedy), "{}", refused.reason);
        assert_eq!(account.writes_since(0), [], "{switch}");
        let without = with(folder("one"), &[(switch, "false".into())]);
        assert!(stack.deploy(&without).await);
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None, "{switch}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_roles_share_one_statement() {
    let account = Account::new(lab::lived_in());
    let [mut one, mut two] = two(&account);
    let other = with(folder("two"), &[("AssumeRoleArn", OTHER_ROLE.into())]);
    assert!(one.deploy(&folder("one")).await);
    assert!(two.deploy(&other).await);
    let principal = |account: &Account| {
        let state = account.state();
        let [of_key] = of_key(&state, KEY, SID).try_into().unwrap();
        let [of_bucket] = of_bucket(&state, SID).try_into().unwrap();
        assert_eq!(of_key["Principal"], of_bucket["Principal"]);
        of_key["Principal"]["AWS"].clone()
    };
    assert_eq!(principal(&account), json!([OTHER_ROLE, ROLE]));
    assert!(one.delete().await);
    assert_eq!(principal(&account), OTHER_ROLE);
    assert!(two.delete().await);
    assert_eq!(account.trace(), None);
}

/// Each has looked at the register before the other was in it.
#[tokio::test(start_paused = true)]
async fn two_roles_that_come_at_once_are_both_let_in() {
    for turns in [[(0, 15), (1, 15), (0, ALL), (1, ALL)], [(0, 15), (1, ALL), (0, ALL), (1, ALL)]] {
        let account = Account::new(lab::lived_in());
        let [mut one, mut two] = two(&account);
        let other = with(folder("two"), &[("AssumeRoleArn", OTHER_ROLE.into())]);
        one.status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
        two.status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
        let requests = [
            &one.request("Create", None, &folder("one"), None),
            &two.request("Create", None, &other, None),
        ];
        let fair = [Weather::fair(), Weather::fair()];
        let answers = both(&account, &Turns::new(&turns), fair, requests, || ()).await;
        let state = account.state();
        for statement in of_key(&state, KEY, SID).iter().chain(&of_bucket(&state, SID)) {
            assert_eq!(statement["Principal"]["AWS"], json!([OTHER_ROLE, ROLE]));
        }
        for ((stack, properties), answer) in
            [&mut one, &mut two].into_iter().zip([folder("one"), other]).zip(answers)
        {
            assert!(answer.success, "{}", answer.reason);
            stack.standing = Some(Standing { physical_id: answer.physical_id, properties });
            assert!(stack.delete().await);
        }
        assert_eq!(account.trace(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn another_key_takes_the_statement_along_unless_somebody_still_needs_it() {
    let account = Account::new(lab::lived_in());
    let [mut one, mut two] = two(&account);
    let moved = |prefix| with(folder(prefix), &[("KmsKeyId", OTHER_KEY.into())]);
    let counts = |account: &Account| {
        let state = account.state();
        [KEY, OTHER_KEY].map(|key| of_key(&state, key, SID).len())
    };
    assert!(one.deploy(&folder("one")).await);
    assert!(two.deploy(&folder("two")).await);
    assert_eq!(counts(&account), [1, 0]);
    assert!(one.deploy(&moved("one")).await);
    assert_eq!(counts(&account), [1, 1]);
    assert!(two.deploy(&moved("two")).await);
    assert_eq!(counts(&account), [0, 1]);
    assert!(one.deploy(&folder("one")).await);
    assert_eq!(counts(&account), [1, 1]);
    assert!(one.delete().await);
    assert!(two.delete().await);
    assert_eq!(account.trace(), None);
}

#[tokio::test(start_paused = true)]
async fn a_move_to_another_key_that_fails_half_way_takes_the_statement_back() {
    for action in
        ["kms:PutKeyPolicy", "iam:CreatePolicyVersion", "iam:TagPolicy", "iam:UntagPolicy"]
    {
        for mishap in [
            Mishap::Before(CallErrorKind::Throttled),
            Mishap::After(CallErrorKind::Network),
            Mishap::HangAfter,
        ] {
            let account = Account::new(lab::lived_in());
            let [mut one, mut two] = two(&account);
            assert!(one.deploy(&folder("one")).await);
            assert!(two.deploy(&folder("two")).await);
            let before = account.state().essence();
            let moved = with(folder("one"), &[("KmsKeyId", OTHER_KEY.into())]);
            let answer = one.deploy_in(Weather::on(action, mishap), &moved).await;
            if !answer.success {
                assert_eq!(account.state().essence(), before, "{action} {mishap:?}");
            }
            assert!(one.delete().await && two.delete().await);
            assert_eq!(account.trace(), None, "{action} {mishap:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_turned_off_lets_go_and_turned_on_comes_back() {
    let account = Account::new(lab::lived_in());
    let [mut one, mut two] = two(&account);
    let off = |prefix: &str| with(folder(prefix), &[("CrossAccountAccess", "false".into())]);
    let no_cors = |prefix: &str| with(folder(prefix), &[("ConfigureCors", "false".into())]);
    assert!(one.deploy(&folder("one")).await);
    assert!(two.deploy(&folder("two")).await);
    let both = account.state().essence();
    for change in [&off as &dyn Fn(&str) -> Value, &no_cors] {
        assert!(one.deploy(&change("one")).await);
        let state = account.state();
        assert_eq!(of_key(&state, KEY, SID).len(), 1, "the other still wants it");
        assert_eq!(state.buckets[BUCKET].cors.len(), 3, "the other still wants it");
        assert!(two.deploy(&change("two")).await);
        let bare = account.state();
        let wanted = of_key(&bare, KEY, SID).len() + bare.buckets[BUCKET].cors.len();
        assert_eq!(wanted, 3, "one of the two is gone");
        assert!(two.deploy(&folder("two")).await);
        assert!(one.deploy(&folder("one")).await);
        assert_eq!(account.state().meaning(), both.meaning());
    }
    assert!(one.delete().await && two.delete().await);
    assert_eq!(account.trace(), None);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_or_a_key_that_is_gone_is_no_reason_to_keep_a_stack() {
    for gone in ["bucket", "key", "pending"] {
        let account = Account::new(lab::lived_in());
        let [mut one, mut two] = two(&account);
        assert!(one.deploy(&folder("one")).await);
        assert!(two.deploy(&folder("two")).await);
        account.foreign(|state| match gone {
            "bucket" => drop(state.buckets.remove(BUCKET)),
            "key" => drop(state.keys.remove(KEY)),
            _ => "PendingDeletion".clone_into(&mut state.key(KEY).state),
        });
        for stack in [&mut one, &mut two] {
            let answer = stack.delete_in(Weather::fair()).await;
            assert!(answer.success, "{gone}: {}", answer.reason);
        }
        assert_eq!(account.state().policies.len(), 0, "{gone}");
        if gone != "pending" {
            assert_eq!(account.trace(), None, "{gone}");
        }
        assert_eq!(
            account.state().buckets.get(OTHER_BUCKET),
            lab::lived_in().buckets.get(OTHER_BUCKET)
        );
    }
}
