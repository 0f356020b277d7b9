//! Every call of a request goes wrong once, before it takes effect and after it.

use ica_storage::domain::spec::Place;
use ica_storage::ports::CallErrorKind;
use serde_json::{Value, json};

use crate::support::account::{Account, LoggedCall};
use crate::support::broken::Broken;
use crate::support::lab::{self, BUCKET, OTHER_BUCKET, OTHER_KEY, OTHER_ROLE, folder, with};
use crate::support::session::{FOLDER, Mishap, Weather};
use crate::support::stack::{Stack, after};
use crate::support::state::{State, difference};

/// Everything that goes wrong with a call, and makes a difference.
const MISHAPS: [Mishap; 5] = [
    Mishap::Before(CallErrorKind::Unavailable),
    Mishap::After(CallErrorKind::Network),
    Mishap::HangAfter,
    Mishap::Hang,
    Mishap::Before(CallErrorKind::Denied),
];

/// What goes wrong with a call: with a write, before it takes effect and after it.
fn mishaps(call: &LoggedCall) -> &'static [Mishap] {
    if call.is_write { &MISHAPS[..3] } else { &MISHAPS[..1] }
}

/// The calls that a request makes when nothing goes wrong, counted from one.
async fn calls(
    state: &State,
    before: Option<&Value>,
    properties: &Value,
) -> Vec<(usize, LoggedCall)> {
    let account = Account::new(state.clone());
    let mut stack = Stack::new(&account, "lab", "Connection");
    if let Some(before) = before {
        assert!(stack.deploy(before).await);
    }
    let already = account.calls().len();
    let received = stack.standing.as_ref().map(|standing| standing.physical_id.as_str());
    let kind = if before.is_some() { "Update" } else { "Create" };
    let request = stack.request(kind, received, properties, before);
    stack.starts(kind);
    assert!(stack.send(Weather::fair(), &request).await.success);
    (1..).zip(account.calls().split_off(already)).collect()
}

/// A Delete that fails over one document leaves nothing of ours in the others.
#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_settled_keeps_no_other_from_it() {
    for action in ["kms:PutKeyPolicy", "kms:GetKeyPolicy"] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        let id = stack.standing.clone().unwrap().physical_id;
        let delete = stack.request("Delete", Some(&id), &folder("project-a"), None);
        let refused = Weather::on(action, Mishap::Before(CallErrorKind::InvalidPrincipal));
        assert!(!stack.send(refused, &delete).await.success, "{action}");
        assert_eq!(account.state().buckets, account.without_us().buckets, "{action}");
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None, "{action}");
    }
}

/// A Create meets this weather, then CloudFormation does what it does.
async fn create(state: &State, weather: Weather, history: &str, broken: &mut Broken) {
    let properties = folder("project-a");
    let expected = after(state, &[&properties]).await.essence();
    let account = Account::new(state.clone());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let answer = stack.deploy_in(weather.clone(), &properties).await;
    if !answer.success {
        broken.note("a failed Create leaves no trace", history, account.trace());
        assert!(stack.deploy(&properties).await);
    }
    let wrong = difference(&account.state().essence(), &expected);
    broken.note("it can be repeated", history, wrong);
    stack.delete_in(weather.sparing(&FOLDER)).await;
    broken.note("a Delete leaves no trace", history, account.trace());
    broken.note("CloudFormation", history, stack.complaint());
}

#[tokio::test(start_paused = true)]
async fn a_create_that_fails_anywhere_leaves_no_trace_and_can_be_repeated() {
    let mut broken = Broken::default();
    for (name, state) in lab::all() {
        for (call, made) in calls(&state, None, &folder("project-a")).await {
            let mishaps = if name == "lived in" { &MISHAPS } else { mishaps(&made) };
            for mishap in mishaps {
                let history = format!("{name}, call {call} {mishap:?}");
                create(&state, Weather::at(call, *mishap), &history, &mut broken).await;
            }
        }
    }
    broken.assert_none();
}

/// From some call on nothing works any more, neither the work nor its undoing.
#[tokio::test(start_paused = true)]
async fn an_outage_that_begins_anywhere_leaves_no_trace_in_the_end() {
    let mut broken = Broken::default();
    let state = lab::lived_in();
    for (call, _) in calls(&state, None, &folder("project-a")).await {
        for mishap in &MISHAPS[..2] {
            let history = format!("from call {call} on {mishap:?}");
            create(&state, Weather::from(call, *mishap), &history, &mut broken).await;
        }
    }
    broken.assert_none();
}

/// The answer never comes, and CloudFormation makes up an id for the Delete.
#[tokio::test(start_paused = true)]
async fn a_create_that_dies_anywhere_leaves_nothing_its_delete_does_not_find() {
    let mut broken = Broken::default();
    for policy_name in ["", "ica"] {
        let properties = with(folder("project-a"), &[("PolicyName", policy_name.into())]);
        for (call, _) in calls(&lab::lived_in(), None, &properties).await {
            let history = format!("call {call}, policy name `{policy_name}`");
            let account = Account::new(lab::lived_in());
            let mut stack = Stack::new(&account, "lab", "Connection");
            stack.status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
            let create = stack.request("Create", None, &properties, None);
            stack.send(Weather::at(call, Mishap::HangAfter), &create).await;
            stack.status("DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS");
            let id = Some("lab-Connection-1ABCDEF");
            let delete = stack.request("Delete", id, &properties, None);
            assert!(stack.send(Weather::fair(), &delete).await.success);
            broken.note("no trace", &history, account.trace());
        }
    }
    broken.assert_none();
}

/// A change of a template: its name, and the properties before and after.
fn changes() -> Vec<(&'static str, Value, Value)> {
    let plain = || folder("project-a");
    let to = |others: &[(&str, Value)]| with(plain(), others);
    let off = || Value::from("false");
    let tags = |tags: &[(&str, &str)]| {
        let tag = |(key, value): &(&str, &str)| json!({"Key": key, "Value": value});
        to(&[("Tags", tags.iter().map(tag).collect())])
    };
    vec![
        ("another key", plain(), to(&[("KmsKeyId", OTHER_KEY.into())])),
        ("another role", plain(), to(&[("AssumeRoleArn", OTHER_ROLE.into())])),
        ("access off", plain(), to(&[("CrossAccountAccess", off())])),
        ("access on", to(&[("CrossAccountAccess", off())]), plain()),
        (
            "switches off",
            plain(),
            to(&[
                ("ConfigureKeyPolicy", off()),
                ("ConfigureBucketPolicy", off()),
                ("ConfigureCors", off()),
            ]),
        ),
        ("tags", tags(&[("a", "1"), ("b", "2")]), tags(&[("a", "3")])),
        ("another folder", plain(), folder("project-b")),
        ("another bucket", plain(), to(&[("BucketName", OTHER_BUCKET.into())])),
        ("another name", plain(), to(&[("PolicyName", "ica".into())])),
        (
            "another name and key",
            plain(),
            to(&[("PolicyName", "ica".into()), ("KmsKeyId", OTHER_KEY.into())]),
        ),
    ]
}

/// An Update meets a mishap at each of its calls, whatever CloudFormation believes of the answer.
async fn change(name: &str, before: &Value, properties: &Value, broken: &mut Broken) {
    let state = lab::lived_in();
    let old = after(&state, &[before]).await.essence();
    let new = after(&state, &[before, properties]).await.essence();
    let is_replacement = Place::of(before) != Place::of(properties);
    // What a lost answer said cannot be believed.
    let beliefs = |mishap: Mishap| match mishap {
        Mishap::HangAfter if is_replacement => vec![true, false],
        _ => vec![true],
    };
    let calls = calls(&state, Some(before), properties).await;
    let mishaps = calls.iter().flat_map(|(call, made)| mishaps(made).iter().map(|it| (*call, *it)));
    for ((call, mishap), believes) in mishaps
        .flat_map(|(call, mishap)| beliefs(mishap).into_iter().map(move |it| ((call, mishap), it)))
    {
        let history = format!("{name}, call {call} {mishap:?}, id believed: {believes}");
        let account = Account::new(state.clone());
        let mut stack = Stack::new(&account, "lab", "Connection");
        stack.believes_failures = believes;
        assert!(stack.deploy(before).await);
        let answer = stack.deploy_in(Weather::at(call, mishap), properties).await;
        if !answer.success {
            let left = difference(&account.state().essence(), &old);
            broken.note(&format!("{name}: rolled back"), &history, left);
            assert!(stack.deploy(properties).await);
        }
        let wrong = difference(&account.state().essence(), &new);
        broken.note(&format!("{name}: can be repeated"), &history, wrong);
        stack.delete().await;
        broken.note(&format!("{name}: no trace"), &history, account.trace());
        broken.note(&format!("{name}: CloudFormation"), &history, stack.complaint());
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_anywhere_is_rolled_back_and_can_be_repeated() {
    let mut broken = Broken::default();
    for (name, before, properties) in changes() {
        change(name, &before, &properties, &mut broken).await;
    }
    broken.assert_none();
}

#[tokio::test(start_paused = true)]
async fn a_move_into_a_folder_or_out_of_it_leaves_no_folder_behind() {
    let mut broken = Broken::default();
    let (outer, inner) = (folder("project-a"), folder("project-a/sub"));
    change("into", &outer, &inner, &mut broken).await;
    change("out of", &inner, &outer, &mut broken).await;
    broken.assert_none();
}

/// A Delete meets this weather; the calls it made.
async fn delete(
    state: &State,
    weather: Weather,
    history: &str,
    broken: &mut Broken,
) -> Vec<(usize, LoggedCall)> {
    let account = Account::new(state.clone());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("project-a")).await);
    let already = account.calls().len();
    stack.delete_in(weather).await;
    broken.note("a Delete leaves no trace", history, account.trace());
    broken.note("CloudFormation", history, stack.complaint());
    (1..).zip(account.calls().split_off(already)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_fails_anywhere_is_repeated_until_no_trace_is_left() {
    let mut broken = Broken::default();
    for (name, state) in lab::all() {
        for (call, made) in delete(&state, Weather::fair(), name, &mut broken).await {
            for mishap in mishaps(&made) {
                let weather = Weather::at(call, *mishap).sparing(&FOLDER);
                let history = format!("{name}, call {call} {mishap:?}");
                delete(&state, weather, &history, &mut broken).await;
            }
        }
    }
    broken.assert_none();
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_looked_at_or_deleted_is_left_and_nothing_else() {
    for action in FOLDER {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        let denied = Weather::on(action, Mishap::Before(CallErrorKind::Denied));
        let already = account.calls().len();
        assert!(stack.delete_in(denied).await.success);
        assert!(account.calls()[already..].iter().any(|call| call.action == action));
        account.foreign(|state| drop(state.bucket(BUCKET).objects.remove("project-a/")));
        assert_eq!(account.trace(), None, "{action}");
    }
}

/// S3 does one change of a bucket after the other, IAM one of a policy, and both say so.
#[tokio::test(start_paused = true)]
async fn a_write_that_meets_another_is_repeated() {
    let (state, properties) = (lab::lived_in(), folder("project-a"));
    for (call, made) in calls(&state, None, &properties).await {
        // To make a policy that is there already is another matter.
        if !made.is_write || made.action == "iam:CreatePolicy" {
            continue;
        }
        let account = Account::new(state.clone());
        let mut stack = Stack::new(&account, "lab", "Connection");
        let beside = Weather::at(call, Mishap::Before(CallErrorKind::Conflict));
        let answer = stack.deploy_in(beside, &properties).await;
        assert!(answer.success, "{}: {}", made.action, answer.reason);
    }
}
