//! `DryRun`: what a Create or an Update would write, as its answer. Writes nothing.

use serde_json::{Map, Value};

use crate::cloudformation::request::Kind;
use crate::domain::change::{self, Change};
use crate::domain::identity::{Identity, PhysicalId};
use crate::domain::recorded;
use crate::domain::register::State;
use crate::domain::spec::Place;
use crate::engine::decide::{self, Case};
use crate::engine::ensure::Job;
use crate::engine::failure::Failure;
use crate::engine::fence::Standing;
use crate::engine::observe::Observed;
use crate::engine::others::Others;
use crate::engine::preview;
use crate::ports::World;

/// What is said where everything is as it should be.
const NOTHING: &str = "nothing would be written";

/// Answers with every attribute, and in `Changes` what would be written.
///
/// # Guarantees
/// An Update keeps the id it received, or CloudFormation would delete what stands: a replacement
/// is told, not made. But for a rollback, which comes after a replacement that was made, and goes
/// back to the id from before it: CloudFormation then deletes what the replacement made.
pub(super) async fn tell<W: World>(
    world: &W,
    job: &Job<'_>,
    observed: &Observed,
    standing: &Standing,
) -> Result<Map<String, Value>, Failure> {
    let received = job.request.envelope.physical_id.as_ref();
    let is_update = job.request.kind != Kind::Create;
    let leaves = received.filter(|_| is_update && standing.rolls_back());
    if let Some(received) = received.filter(|_| is_update) {
        let before = predecessor(world, job, observed, leaves).await?;
        // There is one id, and this is the only place that sets it.
        job.kept.get_or_init(|| before.unwrap_or_else(|| received.clone()));
    }
    let case = Case { leaves, ..job.case() };
    let plan = decide::decide(world, &case, observed, standing.warning.clone()).await?;
    let changes = preview::changes(world, &case, observed, &plan).await?;
    let text = told(job, &changes);
    tracing::info!(changes = text, "dry run: nothing was written");
    decide::answer(job, &plan.goal, &text)
}

/// The connection that a replacement had taken the place of, when that is rolled back: the other
/// one that this resource has.
async fn predecessor<W: World>(
    world: &W,
    job: &Job<'_>,
    observed: &Observed,
    leaves: Option<&PhysicalId>,
) -> Result<Option<PhysicalId>, Failure> {
    let owner = &job.identity.owner;
    let made = job.old_properties.and_then(Place::of);
    let made = made.map(|place| Identity { owner: owner.clone(), place }.physical_id());
    let Some(leaves) = leaves.filter(|leaves| made.as_ref() == Some(leaves)) else {
        return Ok(None);
    };
    let digest = leaves.digest().unwrap_or_default();
    let entries = observed.entries.iter().filter(|entry| !entry.is(owner, digest)).cloned();
    let mut others = Others::new(entries.collect(), "", job.spec.bucket.as_str());
    let own = others.read_those(world, |_| true).await?;
    let before = own
        .iter()
        .find(|(_, record)| record.owner == *owner && record.state == State::Active)
        .map(|(entry, record)| recorded::identity(entry, record).physical_id());
    Ok(before)
}

/// All changes as one text.
fn told(job: &Job<'_>, changes: &[Change]) -> String {
    let (own, kept) = (job.identity.physical_id(), job.answered_id());
    let rest = if changes.is_empty() { NOTHING.to_owned() } else { change::diff(changes) };
    if own == kept {
        return rest;
    }
    format!("replacement: {own:?} would be made, then {kept:?} deleted\n{rest}")
}
