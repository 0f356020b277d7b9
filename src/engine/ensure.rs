//! Create and Update: bring the account to what the properties say.

use std::sync::OnceLock;

use backon::Retryable;
use futures::future::{join_all, try_join_all};
use futures::{join, try_join};
use serde_json::{Map, Value};

use crate::cloudformation::request::{Kind, Request};
use crate::domain::identity::{Home, Identity, PhysicalId};
use crate::domain::plan::Registration;
use crate::domain::preflight::Ask;
use crate::domain::register::{FORMER_KMS_KEY, Record};
use crate::domain::spec::{Place, Spec};
use crate::engine::decide::{self, Case, Plan};
use crate::engine::documents::{Party, patience};
use crate::engine::fence::Standing;
use crate::engine::newcomers::newcomers;
use crate::engine::observe::{Observed, observe};
use crate::engine::registration::{is_found_late, is_taken, register, rewrite};
use crate::engine::release::Leaver;
use crate::engine::{Context, Failure, dry_run, fence, remove};
use crate::ports::{Bucket, CallError, World};

/// A Create or an Update whose properties could be read.
pub(super) struct Job<'a> {
    pub(super) spec: &'a Spec,
    pub(super) identity: &'a Identity,
    pub(super) home: &'a Home,
    pub(super) request: &'a Request,
    pub(super) context: &'a Context,
    pub(super) old_properties: Option<&'a Value>,
    /// What this request has owned already, whatever the register says by now.
    pub(super) owned: Option<&'a Record>,
    /// The id of a dry run, once it is known.
    pub(super) kept: &'a OnceLock<PhysicalId>,
}

impl Job<'_> {
    pub(super) fn policy_arn(&self) -> String {
        self.identity.policy_arn(&self.home.partition, &self.home.account)
    }

    /// What is decided over.
    pub(super) fn case(&self) -> Case<'_> {
        let Job { spec, identity, home, context, old_properties, owned, .. } = *self;
        let ask = Ask { spec, identity, home, principal_accounts: &context.principal_accounts };
        let is_standing = self.is_in_place() && !self.was_dry_run();
        Case { ask, old_properties, is_standing, owned, leaves: None, known: &[] }
    }

    /// Whether the properties before only asked what would be written: an Update of those may find
    /// nothing, and what it makes its rollback does not take back.
    pub(super) fn was_dry_run(&self) -> bool {
        let before = self.old_properties.and_then(|properties| Spec::parse(properties).ok());
        before.is_some_and(|spec| spec.dry_run)
    }

    /// The id of a success.
    pub(super) fn answered_id(&self) -> PhysicalId {
        self.kept.get().cloned().unwrap_or_else(|| self.identity.physical_id())
    }

    /// Whether the connection stands under the id that was received.
    pub(super) fn is_in_place(&self) -> bool {
        self.request.envelope.physical_id == Some(self.identity.physical_id())
    }
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
    match ensure_once(world, job, made).await {
        Err(failure) if is_found_late(world, job, &failure).await? => {
            ensure_once(world, job, made).await
        }
        done => done,
    }
}

async fn ensure_once<W: World>(
    world: &W,
    job: &Job<'_>,
    made: &mut bool,
) -> Result<Map<String, Value>, Failure> {
    // The question is out before anything else: what turns after it is noticed.
    let (standing, observed) = join!(
        fence::check_first(world, job.request),
        observe(world, job.case().ask, job.case().is_standing),
    );
    let (observed, standing) = (observed?, standing?);
    if job.spec.dry_run {
        return dry_run::tell(world, job, &observed, &standing).await;
    }
    let plan = decide::decide(world, &job.case(), &observed, standing.warning.clone()).await?;
    let data = decide::answer(job, &plan.goal, "")?;
    if !plan.is_nothing() {
        if let Some(former) = &plan.overdue {
            release(world, job, &plan, &plan.record.only(Some(former)), None).await?;
        }
        // From here on something may stand under the new id.
        *made = observed.own.is_none();
        if let Err(failure) = carry_out(world, job, &plan, &observed, Some(&standing)).await {
            // A policy that was there already is not this request's to take back.
            if is_taken(&failure) || undo(world, job, &plan, &failure).await {
                *made = false;
            }
            return Err(failure);
        }
    }
    drop_half_made_successor(world, job).await;
    Ok(data)
}

/// Takes back what a failed request wrote, where no Delete or rollback will: true if nothing is
/// left of it.
async fn undo<W: World>(world: &W, job: &Job<'_>, plan: &Plan, failure: &Failure) -> bool {
    let overtaken_by = match failure {
        Failure::Overtaken(status) => Some(status.as_str()),
        _ => None,
    };
    let is_going = overtaken_by.is_some_and(|status| status.starts_with("DELETE_"));
    // Its rollback is to a dry run, which takes nothing back.
    let is_unasked = job.was_dry_run() && plan.registration == Registration::Create;
    let undone = match job.request.kind {
        Kind::Create if overtaken_by.is_some() || matches!(failure, Failure::GaveWay(_)) => {
            take_back(world, job, plan).await
        }
        Kind::Update { .. } if is_going || !job.is_in_place() || is_unasked => {
            take_back(world, job, plan).await
        }
        // Its rollback may have been here before its last write was.
        Kind::Update { .. } if overtaken_by.is_some() => restore(world, job, plan).await,
        Kind::Create | Kind::Update { .. } | Kind::Delete => return false,
    };
    if let Err(failure) = &undone {
        tracing::warn!(error = %failure, "not undone");
    }
    undone.is_ok()
}

/// Removes a connection that is not wanted any more. The Delete that overtook it may have removed
/// the policy, and with it the record of what was written afterwards.
async fn take_back<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    Box::pin(remove::identity(world, job.identity, job.home)).await?;
    release(world, job, plan, &plan.record.clone().released(), None).await
}

/// Brings the account back to the properties before, as the rollback does.
async fn restore<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    let Some(Ok(spec)) = job.old_properties.map(Spec::parse) else { return Ok(()) };
    if spec.dry_run {
        return Ok(());
    }
    let identity = Identity { owner: job.identity.owner.clone(), place: Place::from(&spec) };
    let before = Job {
        spec: &spec,
        identity: &identity,
        old_properties: Some(&job.request.properties),
        owned: Some(&plan.record),
        ..*job
    };
    let observed = observe(world, before.case().ask, true).await?;
    let back = decide::decide(world, &before.case(), &observed, None).await?;
    if !back.is_nothing() {
        Box::pin(carry_out(world, &before, &back, &observed, None)).await?;
    }
    // What was written after the rollback had been here is in nobody's record.
    let mut late = plan.record.only(None);
    for task in &plan.tasks {
        let shared = task.target.shared;
        if !back.tasks.iter().any(|kept| kept.target == task.target) {
            late.set_claim(shared, plan.record.claim(shared).released());
        }
    }
    release(world, job, plan, &late, None).await
}

/// Registers, writes the rest at once, looks at all of it once more, and lets go of what is left.
async fn carry_out<W: World>(
    world: &W,
    job: &Job<'_>,
    plan: &Plan,
    observed: &Observed,
    standing: Option<&Standing>,
) -> Result<(), Failure> {
    let is_wanted = || async {
        match standing {
            Some(before) => fence::check(world, job.request, Some(before)).await.map(drop),
            None => Ok(()),
        }
    };
    register(world, plan).await?;
    try_join!(write(world, job, plan), rewrite(world, plan, observed.own.as_ref()))?;
    let mut tasks = plan.tasks.clone();
    let arn = job.policy_arn();
    let party = Party::of(&plan.goal, &arn);
    let (claims, newcomers, wanted) = join!(
        join_all(tasks.iter_mut().map(|task| task.confirm(world, &party))),
        newcomers(world, job, observed),
        is_wanted(),
    );
    wanted?;
    let mut newcomers = newcomers?;
    let mut record = plan.record.clone();
    for (task, claim) in tasks.iter().zip(claims) {
        record.set_claim(task.target.shared, claim?);
    }
    let before = record.clone();
    let are_there = newcomers.introduce(world, &mut tasks, &mut record).await?;
    if record != before {
        // First in the register, then in the document, as ever.
        world.tag(&arn, &record.tags()).await?;
    }
    // Whoever left before IAM showed this connection to others took the entry along.
    if are_there || newcomers.were_late {
        for task in &mut tasks {
            record.set_claim(task.target.shared, task.confirm(world, &party).await?);
        }
    }
    let is_contested = newcomers.give_way(world, job).await?;
    if is_contested && plan.writes_folder {
        write_folder(world, job, plan).await?;
    }
    let concludes = conclude(world, job, plan, record).await?;
    // Asked once more only where something was written after the question.
    let is_late = is_contested || concludes || tasks.iter().any(|task| task.merged_again);
    if is_late { is_wanted().await } else { Ok(()) }
}

/// The shared documents and the folder.
async fn write<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    let account = job.home.account.as_str();
    let tasks = try_join_all(plan.tasks.iter().map(|task| task.write(world, account)));
    let folder =
        async { if plan.writes_folder { write_folder(world, job, plan).await } else { Ok(()) } };
    try_join!(tasks, folder)?;
    Ok(())
}

async fn write_folder<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    let bucket = Bucket { name: job.spec.bucket.as_str(), owner: &job.home.account };
    let (prefix, mark) = (job.spec.prefix.as_str(), job.identity.owner.mark());
    let written = || world.write_folder(bucket, prefix, &plan.goal.key_arn, &mark);
    written.retry(patience()).when(CallError::is_contention).await?;
    tracing::info!(prefix, "folder written");
    Ok(())
}

/// Lets go of what this connection no longer asks for, and records how it ended up: true if that
/// took a write.
async fn conclude<W: World>(
    world: &W,
    job: &Job<'_>,
    plan: &Plan,
    mut record: Record,
) -> Result<bool, Failure> {
    if plan.has_leftovers() {
        release(world, job, plan, &plan.record, Some(&plan.record)).await?;
        record = record.concluded();
    }
    if record == plan.record {
        return Ok(false);
    }
    let arn = job.policy_arn();
    if plan.record.former.is_some() {
        world.untag(&arn, &[FORMER_KMS_KEY.to_owned()]).await?;
    }
    world.tag(&arn, &record.tags()).await?;
    Ok(true)
}

async fn release<W: World>(
    world: &W,
    job: &Job<'_>,
    plan: &Plan,
    record: &Record,
    mark: Option<&Record>,
) -> Result<(), Failure> {
    let arn = job.policy_arn();
    let party = Party { wants: false, ..Party::of(&plan.goal, &arn) };
    Leaver { party, mark }.release(world, record).await
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
