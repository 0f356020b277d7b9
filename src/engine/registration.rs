//! The connection's own policy, which is its entry in the register: made, changed, found again.

use backon::Retryable;
use serde_json::Value;

use crate::domain::plan::{self, Registration};
use crate::domain::preflight::Goal;
use crate::domain::register::Record;
use crate::domain::spec::Tag;
use crate::engine::decide::Plan;
use crate::engine::documents::patience;
use crate::engine::ensure::Job;
use crate::engine::failure::Failure;
use crate::engine::observe::Own;
use crate::engine::release::until_seen;
use crate::ports::{Call, CallError, CallErrorKind, World};

/// Most versions a managed policy has (IAM quotas).
const VERSIONS_MAX: usize = 5;

/// Makes the policy, or brings the tags of one that is there up to date.
pub(super) async fn register<W: World>(world: &W, plan: &Plan) -> Result<(), Failure> {
    let Plan { goal, record, registration, .. } = plan;
    if let Registration::Change { set, unset, .. } = registration {
        let changed = || tag(world, goal, set, unset);
        return Ok(changed.retry(patience()).when(CallError::is_contention).await?);
    }
    let (path, name) = (goal.identity.policy_path(), goal.identity.policy_name());
    let tags = plan::tags(goal, record);
    world.create(&path, &name, &goal.storage().policy(), &tags).await?;
    tracing::info!(name, "policy created");
    Ok(())
}

async fn tag<W: World>(world: &W, goal: &Goal, set: &[Tag], unset: &[String]) -> Call<()> {
    let arn = goal.policy_arn();
    if !set.is_empty() {
        world.tag(&arn, set).await?;
    }
    if !unset.is_empty() {
        world.untag(&arn, unset).await?;
    }
    Ok(())
}

/// Brings the document of a policy that was there up to date. It is nobody's business but ICA's,
/// so it is written together with the shared documents.
pub(super) async fn rewrite<W: World>(
    world: &W,
    plan: &Plan,
    before: Option<&Own>,
) -> Result<(), Failure> {
    let (Registration::Change { document: true, .. }, Some(own)) = (&plan.registration, before)
    else {
        return Ok(());
    };
    let (arn, document) = (plan.goal.policy_arn(), plan.goal.storage().policy());
    let rewritten = || add_version(world, &arn, &document, &own.policy.version);
    rewritten.retry(patience()).when(CallError::is_contention).await?;
    tracing::info!(arn, "policy changed");
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

/// Puts a document in force; where there are five versions, the oldest that is not in force goes
/// first. Versions are counted on from `v1`, so before `v5` there is room, unless somebody went
/// back to an earlier one.
async fn add_version<W: World>(world: &W, arn: &str, document: &Value, last: &str) -> Call<()> {
    let count = last.trim_start_matches('v').parse().unwrap_or(usize::MAX);
    if count < VERSIONS_MAX {
        match world.add_version(arn, document).await {
            Err(error) if error.kind == CallErrorKind::Limit => {}
            done => return done,
        }
    }
    let versions = world.versions(arn).await?;
    if versions.len() >= VERSIONS_MAX
        && let Some(oldest) = versions.iter().find(|version| !version.is_default)
    {
        world.remove_version(arn, &oldest.id).await?;
    }
    world.add_version(arn, document).await
}
