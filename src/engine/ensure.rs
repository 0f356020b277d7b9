//! Create and Update: bring the account to what the properties say.

use backon::{ExponentialBuilder, Retryable};
use futures::future::{join_all, try_join_all};
use futures::{join, try_join};
use serde_json::{Map, Value};

use crate::cloudformation::request::{Kind, Request};
use crate::domain::identity::{Home, Identity};
use crate::domain::plan::{self, Registration};
use crate::domain::preflight::Goal;
use crate::domain::register::Record;
use crate::domain::shared::{Claim, Shared};
use crate::domain::spec::{Place, Spec};
use crate::engine::decide::{self, Plan};
use crate::engine::failure::Failure;
use crate::engine::observe::{Observed, Own, observe, own};
use crate::engine::others::{self, Others};
use crate::engine::{Context, fence, remove};
use crate::ports::{Bucket, Call, CallError, CallErrorKind, World};

/// Most versions a managed policy has (IAM quotas).
const VERSIONS_MAX: usize = 5;

/// A Create or an Update whose properties could be read.
pub(super) struct Job<'a> {
    pub(super) spec: &'a Spec,
    pub(super) identity: &'a Identity,
    pub(super) home: &'a Home,
    pub(super) request: &'a Request,
    pub(super) context: &'a Context,
    pub(super) old_properties: Option<&'a Value>,
}

/// Makes it so, and answers with the attributes.
///
/// The order is: read, register, write, confirm. The policy is the entry in the register, so it
/// comes before the shared documents: whoever deletes the last other connection sees it there.
pub(super) async fn ensure<W: World>(
    world: &W,
    job: &Job<'_>,
    made: &mut bool,
) -> Result<Map<String, Value>, Failure> {
    let (observed, standing) = join!(
        observe(world, job.spec, job.identity, job.home),
        fence::check(world, job.request, None),
    );
    let (observed, standing) = (observed?, standing?);
    let plan = decide::decide(world, job, &observed, standing.warning.clone()).await?;
    let data = decide::answer(job, &plan.goal)?;
    if plan.is_nothing() {
        return Ok(data);
    }
    // From here on something may stand under the new id.
    let is_new = observed.own.is_none();
    *made = is_new;
    let done = async {
        write(world, job, &plan).await?;
        let (claims, relisted, standing) = join!(
            confirm(world, job, &plan),
            check_path(world, job, &observed, is_new),
            fence::check(world, job.request, Some(&standing)),
        );
        standing?;
        relisted?;
        let _: () = ();
        settle(world, job, &plan, claims?).await
    };
    match done.await {
        Ok(()) => {}
        Err(failure) => {
            if is_new
                && undoes(job, &failure)
                && Box::pin(remove::identity(world, job.identity, job.home)).await.is_ok()
            {
                *made = false;
            }
            return Err(failure);
        }
    }
    drop_half_made_successor(world, job).await;
    Ok(data)
}

/// Whether what a failed request made is taken back at once. The Delete of a failed Create does
/// that anyway; nobody else does it for one that was overtaken, nor for a replacement.
fn undoes(job: &Job<'_>, failure: &Failure) -> bool {
    match job.request.kind {
        Kind::Create => matches!(failure, Failure::Overtaken(_) | Failure::GaveWay(_)),
        // Not what it repaired in place.
        Kind::Update { .. } => job.request.envelope.physical_id != Some(job.identity.physical_id()),
        Kind::Delete => false,
    }
}

/// Registers, then writes the rest at once.
async fn write<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    register(world, job, plan).await?;
    let account = job.home.account.as_str();
    let tasks = try_join_all(plan.tasks.iter().map(|task| task.write(world, account)));
    let folder = async {
        if !plan.writes_folder {
            return Ok(());
        }
        let (bucket, prefix) = (bucket_of(job), job.spec.prefix.as_str());
        world.write_folder(bucket, prefix, &plan.goal.key_arn, &job.identity.owner.mark()).await?;
        tracing::info!(prefix, "folder written");
        Ok(())
    };
    try_join!(tasks, folder)?;
    Ok(())
}

fn bucket_of<'a>(job: &'a Job<'_>) -> Bucket<'a> {
    Bucket { name: job.spec.bucket.as_str(), owner: &job.home.account }
}

async fn register<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
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
    let patience = ExponentialBuilder::new().with_jitter().with_max_times(4);
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

/// Confirms every shared document, and returns how the connection stands to each.
async fn confirm<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<Record, Failure> {
    let mut tasks = plan.tasks.clone();
    let account = job.home.account.as_str();
    let claims = join_all(
        tasks
            .iter_mut()
            .map(|task| async { (task.target.shared, task.confirm(world, account).await) }),
    );
    let mut record = plan.record.clone();
    for (shared, claim) in claims.await {
        record.set_claim(shared, claim?);
    }
    Ok(record)
}

/// Looks at the register again: of two that raced for one path the later gives way.
async fn check_path<W: World>(
    world: &W,
    job: &Job<'_>,
    observed: &Observed,
    is_new: bool,
) -> Result<(), Failure> {
    if !is_new {
        return Ok(());
    }
    let Identity { owner, place } = job.identity;
    let arn = job.identity.policy_arn(&job.home.partition, &job.home.account);
    let entries = world.list().await?;
    let order = |entry: &crate::domain::register::Entry| (entry.created, entry.name.clone());
    let Some(ours) = entries.iter().find(|entry| entry.arn == arn).map(order) else {
        return Ok(());
    };
    let mut newcomers = entries;
    newcomers.retain(|entry| !observed.entries.iter().any(|seen| seen.arn == entry.arn));
    let mut others = Others::new(newcomers, &arn, &place.bucket);
    let rivals = others.rivals(world, place, owner).await?;
    match rivals.into_iter().find(|(entry, _)| order(entry) < ours) {
        Some((entry, record)) => Err(Failure::GaveWay(others::taken(place, entry, record))),
        None => Ok(()),
    }
}

/// Lets go of what this connection no longer asks for, and records how it ended up.
async fn settle<W: World>(
    world: &W,
    job: &Job<'_>,
    plan: &Plan,
    mut record: Record,
) -> Result<(), Failure> {
    if plan.has_leftovers() {
        let (arn, storage) = (plan.goal.policy_arn(), plan.goal.storage());
        remove::release(world, &plan.record, &arn, storage, &job.home.account).await?;
        for shared in Shared::ALL {
            if matches!(record.claim(shared), Claim::Released(_)) {
                record.set_claim(shared, Claim::Off);
            }
        }
        record.former = None;
    }
    if record == plan.record {
        return Ok(());
    }
    let arn = plan.goal.policy_arn();
    if plan.record.former.is_some() && record.former.is_none() {
        world.untag(&arn, &[crate::domain::register::FORMER_KMS_KEY.to_owned()]).await?;
    }
    Ok(world.tag(&arn, &record.tags()).await?)
}

/// What an interrupted replacement left: this resource at the place of the properties before,
/// which is neither the id received nor the one answered.
async fn drop_half_made_successor<W: World>(world: &W, job: &Job<'_>) {
    let Some(place) = job.old_properties.and_then(Place::of) else { return };
    let successor = Identity { owner: job.identity.owner.clone(), place };
    let id = successor.physical_id();
    if id == job.identity.physical_id() || job.request.envelope.physical_id.as_ref() == Some(&id) {
        return;
    }
    if let Err(failure) = Box::pin(remove::identity(world, &successor, job.home)).await {
        tracing::warn!(error = %failure, "half-made successor not removed");
    }
}
