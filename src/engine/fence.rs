//! Is this request still wanted? CloudFormation may have moved on while it was on its way.

use futures::join;

use crate::cloudformation::request::Request;
use crate::engine::failure::Failure;
use crate::ports::{CallError, CallErrorKind, World};

/// What CloudFormation said when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    stack: Option<String>,
    /// The permission that was missing to ask.
    pub(super) warning: Option<String>,
}

/// Asks CloudFormation whether it still waits for this Create or Update.
///
/// # Caveats
/// Without the permission to ask, the answer is yes with a warning. An Update and its rollback
/// have the same resource status, so the stack's is compared with the one `before`.
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
        (Err(CallError { kind: CallErrorKind::Denied, action, .. }), _)
        | (_, Err(CallError { kind: CallErrorKind::Denied, action, .. })) => {
            let warning = Some(format!(
                "not checked for lack of a permission: grant `{action}` to the function's role"
            ));
            return Ok(Standing { stack: None, warning });
        }
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    let before = before.and_then(|before| before.stack.as_deref());
    match moved_on(before, resource.as_deref(), stack.as_deref()) {
        Some(status) => Err(Failure::Overtaken(status.to_owned())),
        None => Ok(Standing { stack, warning: None }),
    }
}

/// The status that tells that a Create or an Update is no longer wanted.
///
/// A resource or stack that CloudFormation does not know (yet) tells nothing, and the Create of a
/// replacement is `UPDATE_IN_PROGRESS`.
fn moved_on<'a>(
    before: Option<&str>,
    resource: Option<&'a str>,
    stack: Option<&'a str>,
) -> Option<&'a str> {
    let is_going = |status: &&str| status.starts_with("DELETE_");
    let has_ended = |status: &&str| !status.ends_with("_IN_PROGRESS");
    let rolls_back = |status: &str| status.contains("ROLLBACK");
    let turned =
        |status: &&str| before.is_some_and(|before| !rolls_back(before)) && rolls_back(status);
    resource
        .filter(has_ended)
        .or(resource.filter(is_going))
        .or(stack.filter(is_going))
        .or(stack.filter(turned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_an_end_or_a_turn_overtakes() {
        let (create, update) = (Some("CREATE_IN_PROGRESS"), Some("UPDATE_IN_PROGRESS"));
        let (delete, back) = (Some("DELETE_IN_PROGRESS"), Some("UPDATE_ROLLBACK_IN_PROGRESS"));
        for (before, resource, stack, expected) in [
            (None, create, create, None),
            (None, None, None, None),
            (create, create, update, None),
            (None, delete, Some("ROLLBACK_IN_PROGRESS"), delete),
            (None, Some("CREATE_FAILED"), Some("ROLLBACK_IN_PROGRESS"), Some("CREATE_FAILED")),
            (None, create, delete, delete),
            (None, update, update, None),
            // The rollback's own Update, and the one that it overtook.
            (None, update, back, None),
            (back, update, back, None),
            (update, update, back, back),
            (None, Some("UPDATE_FAILED"), back, Some("UPDATE_FAILED")),
        ] {
            assert_eq!(
                moved_on(before, resource, stack),
                expected,
                "{before:?} {resource:?} {stack:?}"
            );
        }
    }
}
