//! Is this request still wanted? CloudFormation may have moved on while it was on its way.

use backon::Retryable;
use futures::join;

use crate::cloudformation::request::{Kind, Request};
use crate::domain::identity::{Owner, PhysicalId};
use crate::domain::register::{Entry, Record};
use crate::engine::failure::Failure;
use crate::engine::release::second_looks;
use crate::ports::{CallError, CallErrorKind, World};

/// What CloudFormation said when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    resource: Option<String>,
    stack: Option<String>,
    /// The permission that was missing to ask.
    pub(super) warning: Option<String>,
}

impl Standing {
    /// Whether the stack goes back to where it was.
    pub(super) fn rolls_back(&self) -> bool {
        self.stack.as_deref().is_some_and(|status| status.contains("ROLLBACK"))
    }
}

/// Asks CloudFormation whether it still waits for this Create or Update.
///
/// # Caveats
/// Where it cannot be asked, the answer is yes with a warning. A resource keeps the status of
/// the operation before for a moment, and an Update looks like its rollback: those only tell where
/// they turned since they were asked `before`. A stack at rest waits for nothing, so a request that
/// finds it so was delivered twice, or late; one that finds it so at its end may have been answered
/// by its twin, whose work is not to be undone.
///
/// # Errors
/// `Overtaken` if it does not.
pub(super) async fn check<W: World>(
    world: &W,
    request: &Request,
    before: Option<&Standing>,
) -> Result<Standing, Failure> {
    let owner = &request.envelope.owner;
    let (resource, stack) = join!(
        world.resource(&owner.stack_id, &owner.logical_id),
        world.stack_status(&owner.stack_id),
    );
    let warning = resource.as_ref().err().or(stack.as_ref().err()).map(unasked);
    let resource = resource.ok().flatten().map(|resource| resource.status);
    let standing = Standing { resource, stack: stack.ok().flatten(), warning };
    match moved_on(&request.kind, before, &standing) {
        Some(status) => Err(Failure::Overtaken(status.to_owned())),
        None => Ok(standing),
    }
}

/// The same at the start of a request. That it is not wanted is looked at again, as CloudFormation
/// may be late to show that it is.
pub(super) async fn check_first<W: World>(
    world: &W,
    request: &Request,
) -> Result<Standing, Failure> {
    let check = || check(world, request, None);
    let is_overtaken = |failure: &Failure| matches!(failure, Failure::Overtaken(_));
    check.retry(second_looks()).when(is_overtaken).await
}

/// Whether a connection will stay for now: CloudFormation knows it under its id, and is not working
/// on its stack. Not to be able to ask is no.
pub(super) async fn is_at_rest<W: World>(world: &W, entry: &Entry, record: &Record) -> bool {
    let Owner { stack_id, logical_id } = &record.owner;
    let (resource, stack) =
        join!(world.resource(stack_id, logical_id), world.stack_status(stack_id));
    let (Ok(Some(resource)), Ok(Some(stack))) = (resource, stack) else { return false };
    rests(&resource.status)
        && rests(&stack)
        && is_current(&resource.physical_id, entry, &record.owner)
}

fn rests(status: &str) -> bool {
    status.ends_with("_COMPLETE") && status != "DELETE_COMPLETE"
}

/// Whether the id is that of the connection, and not of one that took its place.
fn is_current(physical_id: &str, entry: &Entry, owner: &Owner) -> bool {
    let id = PhysicalId::received(physical_id);
    id.as_ref().and_then(PhysicalId::digest).is_some_and(|digest| entry.is(owner, digest))
}

/// Not to be able to ask is no reason to fail what is asked for.
fn unasked(CallError { kind, action, message, .. }: &CallError) -> String {
    match kind {
        CallErrorKind::Denied => {
            format!("not checked for lack of a permission: grant `{action}` to the function's role")
        }
        _ => format!("not checked, as `{action}` failed: {message}"),
    }
}

/// The status that tells that a Create or an Update is no longer wanted. What CloudFormation does
/// not know (yet) tells nothing.
fn moved_on<'a>(kind: &Kind, before: Option<&Standing>, now: &'a Standing) -> Option<&'a str> {
    let rolls_back = |status: &&str| status.contains("ROLLBACK");
    let went_on =
        before.and_then(|before| before.stack.as_deref()).is_some_and(|old| !rolls_back(&old));
    // No rollback sends a Create; the Update it sends finds the stack turned from the start.
    let turned = |status: &&str| rolls_back(status) && (*kind == Kind::Create || went_on);
    let differs = |before: &Standing| before.warning.is_none() && before.resource != now.resource;
    let failed = |status: &&str| status.ends_with("_FAILED") && before.is_some_and(differs);
    let is_late = |status: &&str| before.is_none() && rests(status);
    // A Create may follow the deletion of a resource of the same name, an Update cannot.
    let was_deleted = |status: &&str| *status == "DELETE_COMPLETE" && *kind != Kind::Create;
    let (resource, stack) = (now.resource.as_deref(), now.stack.as_deref());
    resource
        .filter(|status| *status == "DELETE_IN_PROGRESS" || was_deleted(status) || failed(status))
        .or(stack
            .filter(|status| status.starts_with("DELETE_") || turned(status) || is_late(status)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::identity::Identity;
    use crate::domain::spec::Place;

    fn standing(resource: &str, stack: &str) -> Standing {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Standing { resource: some(resource), stack: some(stack), warning: None }
    }

    #[test]
    fn a_connection_that_is_worked_on_or_was_replaced_may_be_leaving() {
        for status in ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"] {
            assert!(rests(status), "{status}");
        }
        for status in ["DELETE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "DELETE_FAILED"] {
            assert!(!rests(status), "{status}");
        }
        let owner = Owner { stack_id: "stack".to_owned(), logical_id: "Connection".to_owned() };
        let place = |prefix: &str| Place {
            bucket: "my-bucket".to_owned(),
            prefix: prefix.to_owned(),
            policy_name: None,
        };
        let identity = |prefix| Identity { owner: owner.clone(), place: place(prefix) };
        let (old, new) = (identity("old/"), identity("new/"));
        let entry = Entry::new("arn", &old.policy_name(), &old.policy_path(), 0).unwrap();
        assert!(is_current(old.physical_id().as_str(), &entry, &owner));
        assert!(!is_current(new.physical_id().as_str(), &entry, &owner));
        assert!(!is_current("", &entry, &owner));
    }

    #[test]
    fn a_create_is_overtaken_by_a_deletion_or_a_rollback() {
        let before = standing("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
        for (resource, stack, expected) in [
            ("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", None),
            ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", None),
            ("", "", None),
            ("DELETE_COMPLETE", "UPDATE_IN_PROGRESS", None),
            ("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS", None),
            ("DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", Some("DELETE_IN_PROGRESS")),
            ("CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS", Some("DELETE_IN_PROGRESS")),
            ("CREATE_COMPLETE", "CREATE_COMPLETE", None),
            ("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", Some("ROLLBACK_IN_PROGRESS")),
            ("CREATE_FAILED", "CREATE_FAILED", Some("CREATE_FAILED")),
        ] {
            let now = standing(resource, stack);
            assert_eq!(moved_on(&Kind::Create, Some(&before), &now), expected, "{now:?}");
        }
        let over = standing("CREATE_COMPLETE", "CREATE_COMPLETE");
        assert_eq!(moved_on(&Kind::Create, None, &over), Some("CREATE_COMPLETE"));
        let retried = standing("CREATE_FAILED", "UPDATE_IN_PROGRESS");
        assert_eq!(moved_on(&Kind::Create, None, &retried), None);
    }

    #[test]
    fn an_update_is_overtaken_when_the_stack_turns() {
        let update = Kind::Update { old_properties: json!({}) };
        let forth = standing("UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS");
        let back = standing("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS");
        let late = standing("CREATE_COMPLETE", "UPDATE_IN_PROGRESS");
        let gone = standing("DELETE_COMPLETE", "UPDATE_IN_PROGRESS");
        let over = standing("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE");
        let done = standing("UPDATE_COMPLETE", "UPDATE_COMPLETE");
        let failed = standing("UPDATE_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS");
        // Asked in vain at first, so nothing is known to have turned.
        let unasked = Standing { warning: Some("throttled".to_owned()), ..Standing::default() };
        for (before, now, expected) in [
            (Some(&unasked), &back, None),
            (Some(&unasked), &failed, None),
            (Some(&forth), &over, Some("UPDATE_ROLLBACK_COMPLETE")),
            (Some(&forth), &done, None),
            (None, &done, Some("UPDATE_COMPLETE")),
            (None, &forth, None),
            (None, &back, None),
            (None, &late, None),
            (None, &failed, None),
            (Some(&late), &forth, None),
            (Some(&back), &back, None),
            (Some(&failed), &back, None),
            (Some(&forth), &back, Some("UPDATE_ROLLBACK_IN_PROGRESS")),
            (Some(&forth), &failed, Some("UPDATE_FAILED")),
            (None, &gone, Some("DELETE_COMPLETE")),
            (None, &over, Some("UPDATE_ROLLBACK_COMPLETE")),
        ] {
            assert_eq!(moved_on(&update, before, now), expected, "{before:?} {now:?}");
        }
    }
}
