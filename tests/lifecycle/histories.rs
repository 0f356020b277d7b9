//! Laws over random histories of one stack: what others wrote survives, nothing of ours is left.

use ica_storage::domain::ica::Versioning;
use ica_storage::ports::{Attachment, CallErrorKind};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::support::account::{Account, add_foreign, remove_foreign};
use crate::support::lab::{self, BUCKET, KEY, OTHER_BUCKET, OTHER_KEY, OTHER_ROLE, folder, with};
use crate::support::session::{FOLDER, Mishap, Weather};
use crate::support::stack::Stack;
use crate::support::state::difference;

/// What a template's author, CloudFormation, the weather and other people do.
#[derive(Clone, Debug)]
enum Event {
    Deploy(Value),
    DeployInvalid,
    /// Only what would be written.
    DryRun(Value),
    DeployWhile(Value, usize, Mishap),
    /// The resource is updated, another one of the stack fails.
    DeployInVain(Value),
    Delete,
    DeleteWhile(usize, Mishap),
    /// Somebody adds a statement to a policy, or takes it out again.
    Foreign(&'static str, bool),
    Versioning(Versioning),
    /// Somebody attaches our policy to a user.
    Attach,
    /// CloudFormation is slow to show what it does.
    SlowStatuses,
}

fn optional(
    name: &'static str,
    values: Vec<Value>,
) -> impl Strategy<Value = Option<(&'static str, Value)>> {
    prop_oneof![2 => Just(None), 1 => prop::sample::select(values).prop_map(move |value| Some((name, value)))]
}

fn properties() -> impl Strategy<Value = Value> {
    let off = || vec!["false".into()];
    let tags = vec![json!([{"Key": "a", "Value": "1"}]), json!([{"Key": "A", "Value": "2"}])];
    (
        prop::sample::select(vec!["project-a", "project-b/", "team/x"]),
        optional("BucketName", vec![OTHER_BUCKET.into()]),
        optional("KmsKeyId", vec![KEY.into(), OTHER_KEY.into()]),
        optional("AssumeRoleArn", vec![OTHER_ROLE.into()]),
        optional("CrossAccountAccess", off()),
        optional("ConfigureKeyPolicy", off()),
        optional("ConfigureBucketPolicy", off()),
        optional("ConfigureCors", off()),
        optional("PolicyName", vec!["ica".into(), "ICA-2".into()]),
        optional("Tags", tags),
    )
        .prop_map(
            |(prefix, bucket, key, role, access, key_policy, policy, cors, name, tags)| {
                let others = [bucket, key, role, access, key_policy, policy, cors, name, tags];
                with(folder(prefix), &others.into_iter().flatten().collect::<Vec<_>>())
            },
        )
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop::sample::select(vec![
        Mishap::Before(CallErrorKind::Throttled),
        Mishap::Before(CallErrorKind::Denied),
        Mishap::After(CallErrorKind::Network),
        Mishap::Hang,
        Mishap::HangAfter,
    ])
}

fn event() -> impl Strategy<Value = Event> {
    let versionings = vec![Versioning::Enabled, Versioning::Suspended];
    let documents = vec![KEY, OTHER_KEY, BUCKET];
    prop_oneof![
        4 => properties().prop_map(Event::Deploy),
        1 => Just(Event::DeployInvalid),
        1 => properties().prop_map(Event::DryRun),
        4 => (properties(), 1..45_usize, mishap())
            .prop_map(|(properties, call, mishap)| Event::DeployWhile(properties, call, mishap)),
        2 => properties().prop_map(Event::DeployInVain),
        1 => Just(Event::Delete),
        1 => (1..35_usize, mishap()).prop_map(|(call, mishap)| Event::DeleteWhile(call, mishap)),
        2 => (prop::sample::select(documents), any::<bool>())
            .prop_map(|(document, adds)| Event::Foreign(document, adds)),
        1 => prop::sample::select(versionings).prop_map(Event::Versioning),
        1 => Just(Event::Attach),
        1 => Just(Event::SlowStatuses),
    ]
}

/// The name of an account that a history may begin in.
fn account() -> impl Strategy<Value = &'static str> {
    prop::sample::select(lab::all().into_iter().map(|(name, _)| name).collect::<Vec<_>>())
}

fn unadopted() -> impl Strategy<Value = &'static str> {
    account()
        .prop_filter("somebody made by hand what we would make", |name| *name != "made by hand")
}

fn history() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..7)
}

async fn play(stack: &mut Stack<'_>, event: &Event) {
    let account = stack.account;
    let stands = stack.standing.is_some();
    match event {
        Event::Deploy(properties) => drop(stack.deploy(properties).await),
        Event::DeployInvalid => {
            let invalid = with(folder("project-a"), &[("KeyPrefixx", "*".into())]);
            assert!(!stack.deploy(&invalid).await);
        }
        Event::DryRun(properties) => {
            // Tags that it does not know of stay on the policy.
            let tags = stack.standing.as_ref().map(|standing| standing.properties["Tags"].clone());
            let others = [("DryRun", "true".into()), ("Tags", tags.unwrap_or_default())];
            let before = account.state();
            stack.deploy(&with(properties.clone(), &others)).await;
            assert_eq!(account.state(), before);
        }
        Event::DeployWhile(properties, call, mishap) => {
            stack.deploy_in(Weather::at(*call, *mishap), properties).await;
        }
        Event::DeployInVain(properties) if stands => stack.update_in_vain(properties).await,
        Event::Delete if stands => drop(stack.delete().await),
        Event::DeleteWhile(call, mishap) if stands => {
            stack.delete_in(Weather::at(*call, *mishap).sparing(&FOLDER)).await;
        }
        Event::DeployInVain(_) | Event::Delete | Event::DeleteWhile(..) => {}
        Event::Foreign(document, true) => {
            account.foreign(|state| add_foreign(state, document, "by-hand"));
        }
        Event::Foreign(document, false) => {
            account.foreign(|state| remove_foreign(state, document, "by-hand"));
        }
        Event::Versioning(versioning) => {
            account.foreign(|state| state.bucket(BUCKET).versioning = *versioning);
        }
        Event::Attach => account.foreign(|state| {
            let analyst = Attachment::User("analyst".to_owned());
            state
                .policies
                .values_mut()
                .for_each(|policy| policy.attachments = vec![analyst.clone()]);
        }),
        Event::SlowStatuses => account.lag_statuses(2),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Plays a history and holds it to a law that looks at the stack afterwards.
fn hold(name: &str, history: &[Event], law: &impl AsyncFn(&mut Stack<'_>)) {
    runtime().block_on(async {
        let account = Account::new(lab::named(name));
        let mut stack = Stack::new(&account, "lab", "Connection");
        for event in history {
            play(&mut stack, event).await;
            assert_eq!(stack.complaint(), None);
            assert_eq!(account.harm(), None, "after {event:?}");
        }
        law(&mut stack).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_deleted_stack_leaves_no_trace(name in account(), history in history()) {
        hold(name, &history, &async |stack: &mut Stack<'_>| {
            if stack.standing.is_some() {
                assert!(stack.delete().await);
            }
            assert_eq!(stack.account.trace(), None);
        });
    }

    #[test]
    fn deploying_twice_is_deploying_once(name in account(), history in history(), properties in properties()) {
        hold(name, &history, &async |stack: &mut Stack<'_>| {
            let first = stack.deploy_in(Weather::fair(), &properties).await;
            if !first.success {
                return;
            }
            let (once, calls) = (stack.account.state(), stack.account.calls().len());
            let second = stack.deploy_in(Weather::fair(), &properties).await;
            assert_eq!(second, first);
            assert_eq!(stack.account.writes_since(calls), []);
            assert_eq!(difference(&stack.account.state(), &once), None);
        });
    }

    #[test]
    // But for this: a statement of ours stays ours where a new connection would use another's.
    fn a_history_makes_no_difference_to_what_is_deployed(name in unadopted(), history in history(), properties in properties()) {
        hold(name, &history, &async |stack: &mut Stack<'_>| {
            if !stack.deploy(&properties).await {
                return;
            }
            let found = stack.account.state().meaning().without_folder_keys();
            let fresh = Account::new(stack.account.without_us());
            assert!(Stack::new(&fresh, "lab", "Connection").deploy(&properties).await);
            let mut expected = fresh.state().meaning().without_folder_keys();
            for (arn, policy) in &mut expected.policies {
                policy.attachments = found.policies[arn].attachments.clone();
            }
            assert_eq!(difference(&found, &expected), None);
        });
    }

    #[test]
    fn a_failed_deploy_can_be_repeated(
        name in account(), history in history(), properties in properties(), call in 1..45_usize, mishap in mishap(),
    ) {
        hold(name, &history, &async |stack: &mut Stack<'_>| {
            let first = stack.deploy_in(Weather::at(call, mishap), &properties).await;
            let second = stack.deploy_in(Weather::fair(), &properties).await;
            // What is refused is refused again, for the same reason.
            assert!(second.success || !first.success, "{}", second.reason);
            let refused = second.reason.contains("property `");
            assert!(second.success || refused, "{}", second.reason);
        });
    }
}
