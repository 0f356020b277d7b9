//! The connection's own policy, which is its entry in the register: made, changed, found again.

use backon::{ExponentialBuilder, Retryable};
use serde_json::Value;
use std::time::Duration;

use crate::domain::plan::{self, Registration};
use crate::domain::preflight::Goal;
use crate::engine::decide::{self, Plan};
use crate::engine::ensure::Job;
use crate::engine::failure::Failure;
use crate::engine::observe::{Own, own};
use crate::ports::{Call, CallError, CallErrorKind, World};

/// Most versions a managed policy has (IAM quotas).
const VERSIONS_MAX: usize = 5;

/// Writes what differs.
pub(super) async fn register<W: World>(
    world: &W,
    job: &Job<'_>,
    plan: &Plan,
) -> Result<(), Failure> {
    let Plan { goal, record, registration, .. } = plan;
    if *registration != Registration::Create {
        return Ok(change(world, goal, registration).await?);
    }
    let (path, name) = (goal.identity.policy_path(), goal.identity.policy_name());
    let tags = plan::tags(goal, record);
    match world.create(&path, &name, &goal.storage().policy(), &tags).await {
        Err(error) if error.kind == CallErrorKind::Exists => {
            let found = found_late(world, plan, error).await?;
            let own = Some((&found.policy, &found.document));
            let former_tags = decide::former_tags(job.old_properties);
            let registration = plan::registration(goal, record, own, &former_tags);
            change(world, goal, &registration).await?;
        }
        created => created?,
    }
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

/// The connection's own policy that was not seen at first: the same request came twice, an answer
/// was lost, or IAM had not yet seen its own write. Anybody else's policy is a refusal.
async fn found_late<W: World>(world: &W, plan: &Plan, refusal: CallError) -> Call<Own> {
    let patience = ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(300))
        .with_max_times(4);
    let arn = plan.goal.policy_arn();
    let find = || async { own(world, &arn).await?.ok_or_else(|| refusal.clone()) };
    let found = find.retry(patience).when(|error| error.kind == CallErrorKind::Exists).await?;
    match &found.record {
        Some(record) if record.owner == plan.goal.identity.owner => Ok(found),
        Some(_) | None => Err(refusal),
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
