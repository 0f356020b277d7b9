//! What is to be written, decided before anything is.

use serde_json::{Map, Value};

use crate::cloudformation::response::{Outcome, Response};
use crate::domain::attributes::{Attributes, FOR_THE_REST};
use crate::domain::identity::PhysicalId;
use crate::domain::plan::{self, Registration};
use crate::domain::preflight::{self, Ask, Goal};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::register::{Entry, Former, KeySource, Record, State, Target};
use crate::domain::shared::{Claim, Shared};
use crate::engine::documents::{Party, Task};
use crate::engine::ensure::Job;
use crate::engine::failure::Failure;
use crate::engine::observe::Observed;
use crate::engine::others::{self, Others};
use crate::engine::refused;
use crate::ports::World;

/// A connection that is to be, and what is known of it beside what is observed.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) ask: Ask<'a>,
    pub(super) old_properties: Option<&'a Value>,
    /// Whether it was made before, as far as CloudFormation knows.
    pub(super) is_standing: bool,
    /// What this request has owned already, whatever the register says by now.
    pub(super) owned: Option<&'a Record>,
    /// What a rollback is about to delete.
    pub(super) leaves: Option<&'a PhysicalId>,
    /// Other connections whose records were read before.
    pub(super) known: &'a [(Entry, Record)],
}

impl Case<'_> {
    /// The rest of the register.
    pub(super) fn others(&self, observed: &Observed, own_arn: &str) -> Others {
        let bucket = self.ask.spec.bucket.as_str();
        Others::new(observed.entries.clone(), own_arn, bucket).knowing(self.known, own_arn)
    }
}

/// Everything that is to be written, decided before anything is.
pub(super) struct Plan {
    pub(super) goal: Goal,
    /// A key left earlier, to be settled before the record forgets it.
    pub(super) overdue: Option<Former>,
    /// What the tags say while it is written.
    pub(super) record: Record,
    pub(super) registration: Registration,
    pub(super) writes_folder: bool,
    /// The shared documents this connection asks for.
    pub(super) tasks: Vec<Task>,
}

impl Plan {
    /// Whether the account is as it should be.
    pub(super) fn is_nothing(&self) -> bool {
        let right = |task: &Task| {
            task.settle(&task.document).is_ok_and(|settled| settled.document.is_none())
        };
        self.registration.is_nothing()
            && !self.writes_folder
            && self.tasks.iter().all(right)
            && !self.has_leftovers()
    }

    /// Whether something is to be let go of once all is written.
    pub(super) fn has_leftovers(&self) -> bool {
        let released = |shared| matches!(self.record.claim(shared), Claim::Released(_));
        self.record.former.is_some() || Shared::ALL.into_iter().any(released)
    }
}

/// Decides over the whole connection.
///
/// # Errors
/// Every reason not to begin: nothing has been written then.
pub(super) async fn decide<W: World>(
    world: &W,
    case: &Case<'_>,
    observed: &Observed,
    warning: Option<String>,
) -> Result<Plan, Failure> {
    let identity = case.ask.identity;
    let mut goal = preflight::goal(case.ask, &observed.seen).map_err(Failure::Refused)?;
    goal.warnings.extend(warning);
    if let Some(refusal) = name_taken(&goal, observed, case) {
        return Err(refused(refusal));
    }
    let mut others = case.others(observed, &goal.policy_arn());
    let rivals = others.rivals(world, &identity.place, &identity.owner).await?;
    if let Some((entry, record)) = rivals.first() {
        return Err(refused(others::taken(&identity.place, entry, record)));
    }
    let (record, tasks) = shared_documents(world, case, observed, &goal, &mut others).await?;
    let unfit = tasks.iter().filter_map(unfit);
    let refusals: Vec<Refusal> = unfit.chain(plan::policy_fits(&goal).err()).collect();
    if !refusals.is_empty() {
        return Err(Failure::Refused(refusals));
    }
    let before = observed.own.as_ref().and_then(|own| own.record.as_ref());
    // A record has room for one former key: an earlier one is settled before the next is noted.
    let overdue = before
        .and_then(|before| left_before(before, &goal.key_arn))
        .filter(|former| record.former.as_ref() != Some(former));
    let registration = registration(case, observed, &goal, &record);
    let folder = observed.seen.folder.as_ref().ok().and_then(Option::as_ref);
    let writes_folder = plan::writes_folder(&goal, folder);
    Ok(Plan { goal, overdue, record, registration, writes_folder, tasks })
}

/// What is written to the connection's own policy.
pub(super) fn registration(
    case: &Case<'_>,
    observed: &Observed,
    goal: &Goal,
    record: &Record,
) -> Registration {
    let own = observed.own.as_ref().map(|own| (&own.policy, &own.document));
    plan::registration(goal, record, own, &former_tags(case.old_properties))
}

/// What the tags are to record, and what is to become of each shared document asked for.
async fn shared_documents<W: World>(
    world: &W,
    case: &Case<'_>,
    observed: &Observed,
    goal: &Goal,
    others: &mut Others,
) -> Result<(Record, Vec<Task>), Failure> {
    let before = observed.own.as_ref().and_then(|own| own.record.as_ref());
    let mut record = Record {
        owner: goal.identity.owner.clone(),
        key_arn: goal.key_arn.clone(),
        key_source: Some(KeySource::of(&goal.spec, &goal.key_arn)),
        former: former(before, &goal.key_arn),
        role: goal.role.clone(),
        state: State::Active,
        key_policy: Claim::Off,
        bucket_policy: Claim::Off,
        cors: Claim::Off,
    };
    let arn = goal.policy_arn();
    let party = Party::of(goal, &arn);
    let mut tasks = vec![];
    for shared in Shared::ALL {
        let target = Target::of(shared, goal.spec.bucket.as_str(), &goal.key_arn);
        let had = before.map(|before| before.claim_on(&target)).unwrap_or_default();
        if !goal.wants(shared) {
            record.set_claim(shared, had.released());
            continue;
        }
        let document = preflight::document(goal, shared, &observed.seen).map_err(refused)?;
        let entry = preflight::entry(shared, goal.storage(), goal.role.as_slice());
        // A connection that lost its policy, or what that recorded, manages what it finds.
        let is_recorded = observed.own.as_ref().is_some_and(|own| own.records(shared));
        let is_lost = case.is_standing && !is_recorded;
        let found = is_lost.then(|| shared.find_ours(document.entries(), &entry));
        let found = found.flatten();
        let earlier = case.owned.map(|record| record.claim_on(&target)).unwrap_or_default();
        let owned = had.owned().or(earlier.owned()).or(found.as_deref());
        let owned = owned.map(str::to_owned);
        let task = Task::decide(world, &party, others, (target, document), owned).await?;
        record.set_claim(shared, task.settle(&task.document)?.claim);
        tasks.push(task);
    }
    Ok((record, tasks))
}

/// The key this connection leaves now, or has left without settling the statement there.
fn former(before: Option<&Record>, key_arn: &str) -> Option<Former> {
    let before = before?;
    let leaves = before.key_arn != key_arn
        && !before.key_arn.is_empty()
        && before.key_policy.owned().is_some();
    let now = || Former { key_arn: before.key_arn.clone(), claim: before.key_policy.released() };
    leaves.then(now).or_else(|| left_before(before, key_arn))
}

/// The key before the last, unless it is come back to.
fn left_before(before: &Record, key_arn: &str) -> Option<Former> {
    before.former.clone().filter(|former| former.key_arn != key_arn)
}

/// Keys of the template's tags before.
pub(super) fn former_tags(old_properties: Option<&Value>) -> Vec<String> {
    let tags = old_properties.and_then(|properties| properties.get("Tags")?.as_array());
    let keys = tags.into_iter().flatten().filter_map(|tag| tag.get("Key")?.as_str());
    keys.filter(|key| !key.to_lowercase().starts_with("ica-storage:")).map(str::to_owned).collect()
}

/// Refuses a name that a policy of somebody else's has. IAM's names ignore path and case.
fn name_taken(goal: &Goal, observed: &Observed, case: &Case<'_>) -> Option<Refusal> {
    let name = goal.identity.policy_name();
    let arn = goal.policy_arn();
    let taken = |whose: String, remedy: &str| {
        Some(Refusal::new(
            Code::AlreadyExists,
            "PolicyName",
            format!("`{name}` is the name of {whose}"),
            remedy,
        ))
    };
    if let Some(own) = &observed.own {
        return match &own.record {
            Some(record) if record.owner == goal.identity.owner => None,
            Some(record) => taken(
                format!(
                    "the policy of `{}` of stack `{}`",
                    record.owner.logical_id,
                    record.owner.stack_name()
                ),
                "choose another name",
            ),
            // Its own, whose tags somebody took off.
            None if case.is_standing => None,
            None => taken(format!("`{arn}`, which no connection recorded"), "choose another name"),
        };
    }
    let left = case.leaves.and_then(PhysicalId::digest);
    let goes = |other: &Entry| left.is_some_and(|digest| other.is(&goal.identity.owner, digest));
    let same =
        |other: &&Entry| other.name.eq_ignore_ascii_case(&name) && other.arn != arn && !goes(other);
    let other = observed.entries.iter().find(same)?;
    taken(format!("`{}`", other.arn), "choose another name: a replacement needs a new one too")
}

/// Refuses a document that is not to be written as it would be.
fn unfit(task: &Task) -> Option<Refusal> {
    let document = task.settle(&task.document).ok()?.document?;
    task.refusal(&document)
}

/// The attributes, if they fit an answer. Warnings are left out before an answer is refused, and
/// of the changes there is as much as there is room for.
pub(super) fn answer(
    job: &Job<'_>,
    goal: &Goal,
    changes: &str,
) -> Result<Map<String, Value>, Failure> {
    for warning in &goal.warnings {
        tracing::warn!(warning, "to be looked at");
    }
    let with = |count: usize| {
        let warnings = goal.warnings.get(..count).unwrap_or_default();
        goal.attributes().with_warnings(warnings, goal.warnings.len() - warnings.len())
    };
    let room = |attributes: &Attributes| {
        let response = Response {
            envelope: job.request.envelope.clone(),
            physical_id: job.answered_id(),
            outcome: Outcome::Success(attributes.clone().into_data()),
        };
        response.room()
    };
    let fitting = |least: usize| {
        let counts = (0..=goal.warnings.len()).rev();
        counts.map(with).find_map(|attributes| {
            Some((room(&attributes).filter(|room| *room >= least)?, attributes))
        })
    };
    // That there are changes is told before the last warning.
    let least = if changes.is_empty() { 0 } else { FOR_THE_REST };
    let (room, attributes) =
        fitting(least).or_else(|| fitting(0)).ok_or_else(|| refused(Attributes::too_long()))?;
    Ok(attributes.with_changes(changes, room).into_data())
}
