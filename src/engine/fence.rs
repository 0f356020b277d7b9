//! Is this request still wanted? CloudFormation may have moved on while it was on its way.

use futures::join;

use crate::cloudformation::request::{Kind, Request};
use crate::engine::failure::Failure;
use crate::ports::{CallError, CallErrorKind, World};

/// What CloudFormation said when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    resource: Option<String>,
    stack: Option<String>,
    /// The permission that was missing to ask.
    pub(super) warning: Option<String>,
}

/// Asks CloudFormation whether it still waits for this Create or Update.
///
/// # Caveats
/// Where it cannot be asked, the answer is yes with a warning. A resource keeps the status of
/// the operation before for a moment, and an Update looks like its rollback: those only tell where
/// they turned since they were asked `before`.
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
        world.resource_status(&owner.stack_id, &owner.logical_id),
        world.stack_status(&owner.stack_id),
    );
    let (resource, stack) = match (resource, stack) {
        (Ok(resource), Ok(stack)) => (resource, stack),
        (Err(error), _) | (_, Err(error)) => {
            return Ok(Standing { warning: Some(unasked(&error)), ..Standing::default() });
        }
    };
    let standing = Standing { resource, stack, warning: None };
    match moved_on(&request.kind, before, &standing) {
        Some(status) => Err(Failure::Overtaken(status.to_owned())),
        None => Ok(standing),
    }
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
    let had_turned =
        before.and_then(|before| before.stack.as_deref()).is_some_and(|old| rolls_back(&old));
    // No rollback sends a Create; the Update it sends finds the stack turned from the start.
    let turned = |status: &&str| {
        rolls_back(status) && (*kind == Kind::Create || (before.is_some() && !had_turned))
    };
    let failed = |status: &&str| {
        status.ends_with("_FAILED") && before.is_some_and(|before| before.resource != now.resource)
    };
    // A Create may follow the deletion of a resource of the same name, an Update cannot.
    let was_deleted = |status: &&str| *status == "DELETE_COMPLETE" && *kind != Kind::Create;
    let (resource, stack) = (now.resource.as_deref(), now.stack.as_deref());
    resource
        .filter(|status| *status == "DELETE_IN_PROGRESS" || was_deleted(status) || failed(status))
        .or(stack.filter(|status| status.starts_with("DELETE_") || turned(status)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing(resource: &str, stack: &str) -> Standing {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Standing { resource: some(resource), stack: some(stack), warning: None }
    }

    #[test]
    fn a_create_is_overtaken_by_a_deletion_or_a_rollback() {
        let before = standing("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
        for (resource, stack, expected) in [
            ("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", None),
            ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", None),
            ("", "", None),
            ("DELETE_COMPLETE", "UPDATE_IN_PROGRESS", None),
            ("DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", Some("DELETE_IN_PROGRESS")),
            ("CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS", Some("DELETE_IN_PROGRESS")),
            ("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", Some("ROLLBACK_IN_PROGRESS")),
            ("CREATE_FAILED", "CREATE_FAILED", Some("CREATE_FAILED")),
        ] {
            let now = standing(resource, stack);
            assert_eq!(moved_on(&Kind::Create, Some(&before), &now), expected, "{now:?}");
        }
        let retried = standing("CREATE_FAILED", "UPDATE_IN_PROGRESS");
        assert_eq!(moved_on(&Kind::Create, None, &retried), None);
    }

    #[test]
    fn an_update_is_overtaken_when_the_stack_turns() {
        let update = Kind::Update { old_properties: json!({}) };
        let forth = standing("UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS");
        let back = standing("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS");
        let late = standing("CREATE_COMPLETE", "UPDATE_IN_PROGRESS");
        let gone = standing("DELETE_COMPLETE", "UPDATE_COMPLETE");
        let failed = standing("UPDATE_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS");
        for (before, now, expected) in [
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
        ] {
            assert_eq!(moved_on(&update, before, now), expected, "{before:?} {now:?}");
        }
    }
}
