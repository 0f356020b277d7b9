//! Requests of one resource that run at once: a Create and the Delete that overtakes it, an Update
//! and its rollback, the same request twice. In every order of their calls, up to three changes.

use std::iter;

use serde_json::Value;

use crate::support::account::Account;
use crate::support::broken::Broken;
use crate::support::chance::Chance;
use crate::support::lab::{self, KEY, OTHER_KEY, folder, with};
use crate::support::session::{Session, Weather};
use crate::support::stack::{Answer, Stack, after, answer};
use crate::support::state::difference;
use crate::support::turns::{ALL, Turns, both};

fn fair() -> [Weather; 2] {
    [Weather::fair(), Weather::fair()]
}

/// Orders in which some calls of the first are followed by some of the second, then the rest.
fn orders(
    first: impl Iterator<Item = usize>,
    second: impl Iterator<Item = usize> + Clone,
) -> impl Iterator<Item = (String, Turns)> {
    let pairs = first.flat_map(move |a| second.clone().map(move |b| (a, b)));
    pairs.map(|(a, b)| {
        let turns = [(0, a), (1, b), (0, ALL), (1, ALL)];
        (format!("{a} calls, then {b} of the other, then the rest"), Turns::new(&turns))
    })
}

/// A Create whose stack has given up on it, with the Delete at its heels.
async fn overtaken_create(
    turns: &Turns,
    weathers: [Weather; 2],
    id: Option<&str>,
) -> (Account, [Answer; 2]) {
    let account = Account::new(lab::lived_in());
    let stack = Stack::new(&account, "lab", "Connection");
    stack.status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
    let properties = folder("project-a");
    let create = stack.request("Create", None, &properties, None);
    let own = ica_storage::engine::id_of_failure(&create);
    let id = id.unwrap_or(own.as_str());
    let delete = stack.request("Delete", Some(id), &properties, None);
    let turned = || stack.status("DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS");
    let answers = both(&account, turns, weathers, [&create, &delete], turned).await;
    (account, answers)
}

#[tokio::test(start_paused = true)]
async fn a_create_that_its_delete_overtakes_leaves_no_trace() {
    let mut broken = Broken::default();
    // A Create only reads at first: 14 calls, among which no order makes a difference.
    for (history, turns) in orders(14..=30, 0..=32) {
        let (account, [_, delete]) = overtaken_create(&turns, fair(), None).await;
        let failed = (!delete.success).then(|| delete.reason.clone());
        broken.note("the Delete succeeds", &history, failed);
        broken.note("no trace", &history, account.trace());
    }
    for (history, turns) in orders(0..=30, iter::once(ALL)) {
        let id = Some("lab-Connection-1ABCDEF");
        let (account, _) = overtaken_create(&turns, fair(), id).await;
        broken.note("no trace with an id of CloudFormation's own", &history, account.trace());
    }
    broken.assert_none();
}

#[tokio::test(start_paused = true)]
async fn a_create_that_its_delete_overtakes_at_any_pace_leaves_no_trace() {
    let mut broken = Broken::default();
    for seed in 0..150 {
        let mut chance = Chance::new(seed);
        let first = usize::try_from(chance.below(30)).unwrap();
        let turns = Turns::new(&[(0, first), (1, 1)]);
        let weathers = [Weather::paced(&mut chance), Weather::paced(&mut chance)];
        let (account, [_, delete]) = overtaken_create(&turns, weathers, None).await;
        let history = format!("seed {seed}");
        let failed = (!delete.success).then(|| delete.reason.clone());
        broken.note("the Delete succeeds", &history, failed);
        broken.note("no trace", &history, account.trace());
    }
    broken.assert_none();
}

#[tokio::test(start_paused = true)]
async fn a_create_that_comes_after_its_delete_makes_nothing() {
    let turns = Turns::new(&[(1, ALL), (0, ALL)]);
    let (account, [create, delete]) = overtaken_create(&turns, fair(), None).await;
    assert!(delete.success, "{}", delete.reason);
    assert!(create.reason.starts_with("ResourceConflict"), "{}", create.reason);
    assert_eq!(account.writes_since(0), []);
}

/// It waited in Lambda's queue while its stack was deleted.
#[tokio::test(start_paused = true)]
async fn an_update_that_comes_after_the_deletion_of_its_stack_makes_nothing() {
    for status in ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        let before = folder("project-a");
        assert!(stack.deploy(&before).await);
        let id = stack.standing.clone().unwrap().physical_id;
        let update = stack.request("Update", Some(&id), &folder("project-b"), Some(&before));
        assert!(stack.delete().await);
        stack.status("DELETE_COMPLETE", status);
        let calls = account.calls().len();
        let answer = stack.send(Weather::fair(), &update).await;
        assert!(answer.reason.starts_with("ResourceConflict"), "{}", answer.reason);
        assert_eq!(account.writes_since(calls), [], "{status}");
    }
}

/// Lambda delivers an event at least once, and may take its time: by then the stack may have been
/// changed again, or rolled back.
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_when_its_stack_is_at_rest_changes_nothing() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let (before, after) = (folder("project-a"), folder("project-b"));
    let create = stack.request("Create", None, &before, None);
    assert!(stack.deploy(&before).await);
    let id = stack.standing.clone().unwrap().physical_id;
    let update = stack.request("Update", Some(&id), &after, Some(&before));
    assert!(stack.deploy(&with(before, &[("ConfigureCors", "false".into())])).await);
    let calls = account.calls().len();
    for late in [create, update] {
        let answer = stack.send(Weather::fair(), &late).await;
        assert!(answer.reason.starts_with("ResourceConflict"), "{}", answer.reason);
    }
    assert_eq!(account.writes_since(calls), []);
}

/// An Update that CloudFormation gave up on, and the rollback that runs beside it.
async fn overtaken_update(
    name: &str,
    properties: &Value,
    expected: impl Fn(&Account) -> Option<String>,
    broken: &mut Broken,
) {
    let before = folder("project-a");
    for (history, turns) in orders((2..=34).step_by(2), (0..=34).step_by(4)) {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&before).await);
        let id = stack.standing.clone().unwrap().physical_id;
        stack.status("UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS");
        let forth = stack.request("Update", Some(&id), properties, Some(&before));
        let back = stack.request("Update", Some(&id), &before, Some(properties));
        let turned = || stack.status("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS");
        let [_, back] = both(&account, &turns, fair(), [&forth, &back], turned).await;
        let failed = (!back.success).then_some(back.reason);
        broken.note(&format!("{name}: the rollback succeeds"), &history, failed);
        broken.note(&format!("{name}: rolled back"), &history, expected(&account));
        assert!(stack.deploy(&before).await);
        assert!(stack.delete().await);
        broken.note(&format!("{name}: no trace"), &history, account.trace());
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_its_rollback_overtakes_leaves_the_state_before() {
    let mut broken = Broken::default();
    let before = after(&lab::lived_in(), &[&folder("project-a")]).await.essence();
    let expected = |account: &Account| difference(&account.state().essence(), &before);
    overtaken_update("folder", &folder("project-b"), expected, &mut broken).await;
    broken.assert_none();
}

/// Which of the two is last cannot be helped; what is left, the next Update and the Delete find.
#[tokio::test(start_paused = true)]
async fn a_change_in_place_that_its_rollback_overtakes_leaves_no_trace_in_the_end() {
    let mut broken = Broken::default();
    let to = |name, value| with(folder("project-a"), &[(name, value)]);
    let key = to("KmsKeyId", OTHER_KEY.into());
    let off = to("CrossAccountAccess", "false".into());
    overtaken_update("key", &key, |_| None, &mut broken).await;
    overtaken_update("access", &off, |_| None, &mut broken).await;
    broken.assert_none();
}

#[tokio::test(start_paused = true)]
async fn a_create_that_comes_twice_at_once_is_one_create() {
    let mut broken = Broken::default();
    let (state, properties) = (lab::lived_in(), folder("project-a"));
    let expected = after(&state, &[&properties]).await.essence();
    for (history, turns) in orders(14..=26, (0..=26).step_by(2)) {
        let account = Account::new(state.clone());
        let stack = Stack::new(&account, "lab", "Connection");
        stack.status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
        let create = stack.request("Create", None, &properties, None);
        let answers = both(&account, &turns, fair(), [&create, &create], || ()).await;
        let differ = answers[0] != answers[1];
        broken.note("the same answer", &history, differ.then(|| format!("{answers:#?}")));
        let failed = answers.into_iter().find(|answer| !answer.success);
        broken.note("success", &history, failed.map(|answer| answer.reason));
        let wrong = difference(&account.state().essence(), &expected);
        broken.note("made once", &history, wrong);
    }
    broken.assert_none();
}

/// Lambda delivers a request twice, and CloudFormation goes on as soon as one is answered: the
/// other has no reason to undo what is wanted.
#[tokio::test(start_paused = true)]
async fn a_request_whose_twin_is_answered_first_undoes_nothing() {
    let mut broken = Broken::default();
    let before = folder("project-a");
    let changed = with(before.clone(), &[("KmsKeyId", OTHER_KEY.into())]);
    for (kind, properties) in
        [("Create", before.clone()), ("Update", changed), ("Update", folder("project-b"))]
    {
        for (history, turns) in orders((16..=26).step_by(2), (2..=36).step_by(2)) {
            let account = Account::new(lab::lived_in());
            let mut stack = Stack::new(&account, "lab", "Connection");
            if kind == "Update" {
                assert!(stack.deploy(&before).await);
            }
            let id = stack.standing.as_ref().map(|standing| standing.physical_id.clone());
            let old = id.as_ref().map(|_| &before);
            let request = stack.request(kind, id.as_deref(), &properties, old);
            let run = async |who: usize| {
                let session = Session::new(&account, Weather::fair()).in_turns(&turns, who);
                turns.wait(who).await;
                let answered = answer(&session, &request).await;
                turns.leave(who);
                let status = format!("{}_COMPLETE", kind.to_uppercase());
                stack.status(&status, &status);
                answered
            };
            stack.starts(kind);
            let (one, two) = futures::join!(run(0), run(1));
            let success = [&one, &two].into_iter().any(|answer| answer.success);
            broken.note("one succeeds", &history, (!success).then(|| one.reason.clone()));
            let policies = account.state().policies;
            let place = format!("/{}", properties["KeyPrefix"].as_str().unwrap());
            let stands = policies.keys().any(|arn| arn.contains(&place));
            let key = properties.get("KmsKeyId").and_then(Value::as_str).unwrap_or(KEY);
            let is_new = policies.values().any(|policy| {
                policy.tags.iter().any(|tag| tag.key == "ica-storage:kms-key" && tag.value == key)
            });
            let lost = (!(stands && is_new)).then(|| format!("{policies:#?}"));
            broken.note(&format!("{kind} stands"), &history, lost);
        }
    }
    broken.assert_none();
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_comes_twice_at_once_is_one_delete() {
    let mut broken = Broken::default();
    for (history, turns) in orders(0..=16, (0..=32).step_by(2)) {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        let properties = folder("project-a");
        assert!(stack.deploy(&properties).await);
        let id = stack.standing.clone().unwrap().physical_id;
        let delete = stack.request("Delete", Some(&id), &properties, None);
        let answers = both(&account, &turns, fair(), [&delete, &delete], || ()).await;
        let failed = answers.into_iter().find(|answer| !answer.success);
        broken.note("success", &history, failed.map(|answer| answer.reason));
        broken.note("no trace", &history, account.trace());
    }
    broken.assert_none();
}
