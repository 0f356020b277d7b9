//! The connection's own policy, which is its entry in the register: made, changed, found again.

use backon::Retryable;
use serde_json::Value;

use crate::domain::plan::{self, Registration};
use crate::domain::preflight::Goal;
use crate::domain::register::Record;
use crate::engine::decide::Plan;
use crate::engine::documents::patience;
use crate::engine::ensure::Job;
use crate::engine::failure::Failure;
use crate::engine::release::until_seen;
use crate::ports::{Call, CallError, CallErrorKind, World};

/// Most versions a managed policy has (IAM quotas).
const VERSIONS_MAX: usize = 5;

/// Writes what differs.
pub(super) async fn register<W: World>(world: &W, plan: &Plan) -> Result<(), Failure> {
    let Plan { goal, record, registration, .. } = plan;
    if *registration != Registration::Create {
        let changed = || change(world, goal, registration);
        return Ok(changed.retry(patience()).when(CallError::is_contention).await?);
    }
    let (path, name) = (goal.identity.policy_path(), goal.identity.policy_name());
    let tags = plan::tags(goal, record);
    world.create(&path, &name, &goal.storage().policy(), &tags).await?;
    tracing::info!(name, "policy created");
    Ok(())
}

async fn change<W: World>(world: &W, goal: &Goal, registration: &Registration) -> Call<()> {
    let Registration::Change { document, set, unset } = registration else { return Ok(()) };
    let arn = goal.policy_arn();
    if !set.is_empty() {
        world.tag(&arn, set).await?;
    }
    if !unset.is_empty() {
        world.untag(&arn, unset).await?;
    }
    if *document {
        add_version(world, &arn, &goal.storage().policy()).await?;
        tracing::info!(arn, "policy changed");
    }
    Ok(())
}

/// Whether a failure is that there is a policy of this name already.
pub(super) fn is_taken(failure: &Failure) -> bool {
    failure.call().is_some_and(|error| error.kind == CallErrorKind::Exists)
}

/// Whether a failure is that the connection's own policy was not seen at first: the same request
/// came twice, an answer was lost, or IAM had not yet seen its own write. Waits until it is seen.
pub(super) async fn is_found_late<W: World>(
    world: &W,
    job: &Job<'_>,
    failure: &Failure,
) -> Result<bool, Failure> {
    if !is_taken(failure) {
        return Ok(false);
    }
    let arn = job.policy_arn();
    let find = || async {
        match world.read(&arn).await {
            Ok(Some(policy)) => Ok(Record::read(&policy.tags)),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        }
    };
    match find.retry(until_seen()).when(Option::is_none).await {
        Ok(record) => Ok(record.is_some_and(|record| record.owner == job.identity.owner)),
        // The name is taken outside the register.
        Err(None) => Ok(false),
        Err(Some(error)) => Err(error.into()),
    }
}

/// Puts a document in force; at five versions the oldest that is not in force goes first.
async fn add_version<W: World>(world: &W, arn: &str, document: &Value) -> Call<()> {
    let versions = world.versions(arn).await?;
    if versions.len() >= VERSIONS_MAX
        && let Some(oldest) = versions.iter().find(|version| !version.is_default)
    {
        world.remove_version(arn, &oldest.id).await?;
    }
    world.add_version(arn, document).await
}
