//! Create and Update: bring the account to what the properties say.

use futures::future::{join_all, try_join_all};
use futures::{join, try_join};
use serde_json::{Map, Value};

use crate::cloudformation::request::{Kind, Request};
use crate::domain::identity::{Home, Identity};
use crate::domain::register::{Entry, FORMER_KMS_KEY, Record};
use crate::domain::shared::{Claim, Shared};
use crate::domain::spec::{Place, Spec};
use crate::engine::decide::{self, Plan};
use crate::engine::fence::Standing;
use crate::engine::observe::{Observed, observe};
use crate::engine::others::{self, Others};
use crate::engine::registration::register;
use crate::engine::{Context, Failure, fence, remove};
use crate::ports::{Bucket, World};

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
}

impl Job<'_> {
    fn policy_arn(&self) -> String {
        self.identity.policy_arn(&self.home.partition, &self.home.account)
    }

    /// Whether the connection stands under the id that was received.
    fn is_in_place(&self) -> bool {
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
    let (observed, standing) = join!(
        observe(world, job.spec, job.identity, job.home),
        fence::check(world, job.request, None),
    );
    let (observed, standing) = (observed?, standing?);
    let plan = decide::decide(world, job, &observed, standing.warning.clone()).await?;
    let data = decide::answer(job, &plan.goal)?;
    if plan.is_nothing() {
        drop_half_made_successor(world, job).await;
        return Ok(data);
    }
    // From here on something may stand under the new id.
    *made = observed.own.is_none();
    if let Err(failure) = carry_out(world, job, &plan, &observed, Some(&standing)).await {
        if undo(world, job, &plan, &failure).await {
            *made = false;
        }
        return Err(failure);
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
    let undone = match job.request.kind {
        Kind::Create if overtaken_by.is_some() || matches!(failure, Failure::GaveWay(_)) => {
            take_back(world, job, plan).await
        }
        Kind::Update { .. } if is_going || !job.is_in_place() => take_back(world, job, plan).await,
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
    let mut record = plan.record.clone();
    for shared in Shared::ALL {
        record.set_claim(shared, record.claim(shared).released());
    }
    release(world, job, plan, &record).await
}

/// Brings the account back to the properties before, as the rollback does.
async fn restore<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    let Some(Ok(spec)) = job.old_properties.map(Spec::parse) else { return Ok(()) };
    let identity = Identity { owner: job.identity.owner.clone(), place: Place::from(&spec) };
    let before = Job {
        spec: &spec,
        identity: &identity,
        old_properties: Some(&job.request.properties),
        owned: Some(&plan.record),
        ..*job
    };
    let observed = observe(world, &spec, &identity, job.home).await?;
    let back = decide::decide(world, &before, &observed, None).await?;
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
    release(world, job, plan, &late).await
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
    if let Some(former) = &plan.overdue {
        release(world, job, plan, &plan.record.only(Some(former))).await?;
    }
    register(world, job, plan).await?;
    write(world, job, plan).await?;
    let mut tasks = plan.tasks.clone();
    let account = job.home.account.as_str();
    let (claims, newcomers, wanted) = join!(
        join_all(tasks.iter_mut().map(|task| task.confirm(world, account))),
        newcomers(world, job, observed),
        is_wanted(),
    );
    wanted?;
    let mut record = plan.record.clone();
    for (task, claim) in tasks.iter().zip(claims) {
        record.set_claim(task.target.shared, claim?);
    }
    let mut newcomers = newcomers?;
    newcomers.recognize(world, plan, &mut record).await?;
    newcomers.give_way(world, job).await?;
    let concludes = conclude(world, job, plan, record).await?;
    // Asked once more only where something was written after the question.
    if concludes || tasks.iter().any(|task| task.merged_again) { is_wanted().await } else { Ok(()) }
}

/// The shared documents and the folder.
async fn write<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    let account = job.home.account.as_str();
    let tasks = try_join_all(plan.tasks.iter().map(|task| task.write(world, account)));
    let folder = async {
        if plan.writes_folder {
            let bucket = Bucket { name: job.spec.bucket.as_str(), owner: account };
            let (prefix, mark) = (job.spec.prefix.as_str(), job.identity.owner.mark());
            world.write_folder(bucket, prefix, &plan.goal.key_arn, &mark).await?;
            tracing::info!(prefix, "folder written");
        }
        Ok(())
    };
    try_join!(tasks, folder)?;
    Ok(())
}

/// What the register shows after this connection is in it, and did not before.
struct Newcomers {
    ours: Option<Entry>,
    others: Others,
}

/// Looks at the register again; for a connection that was in it already nothing has changed.
async fn newcomers<W: World>(
    world: &W,
    job: &Job<'_>,
    observed: &Observed,
) -> Result<Newcomers, Failure> {
    let arn = job.policy_arn();
    let mut entries = if observed.own.is_none() { world.list().await? } else { vec![] };
    let ours = entries.iter().find(|entry| entry.arn == arn).cloned();
    entries.retain(|entry| !observed.entries.contains(entry));
    Ok(Newcomers { ours, others: Others::new(entries, &arn, job.spec.bucket.as_str()) })
}

impl Newcomers {
    /// An entry that seemed to be nobody's may be that of a connection made at the same moment.
    async fn recognize<W: World>(
        &mut self,
        world: &W,
        plan: &Plan,
        record: &mut Record,
    ) -> Result<(), Failure> {
        for task in &plan.tasks {
            if *record.claim(task.target.shared) != Claim::Adopted {
                continue;
            }
            while self.others.read_more(world).await? {}
            let mut task = task.clone();
            task.managed.extend(task.target.interest(self.others.known()).managed);
            record.set_claim(task.target.shared, task.settle(&task.document)?.claim);
        }
        Ok(())
    }

    /// Of two that raced for one path the later gives way.
    async fn give_way<W: World>(&mut self, world: &W, job: &Job<'_>) -> Result<(), Failure> {
        let order = |entry: &Entry| (entry.created, entry.name.clone());
        let Some(ours) = self.ours.as_ref().map(order) else { return Ok(()) };
        let Identity { owner, place } = job.identity;
        let rivals = self.others.rivals(world, place, owner).await?;
        match rivals.into_iter().find(|(entry, _)| order(entry) < ours) {
            Some((entry, record)) => Err(Failure::GaveWay(others::taken(place, entry, record))),
            None => Ok(()),
        }
    }
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
        release(world, job, plan, &plan.record).await?;
        for shared in Shared::ALL {
            if matches!(record.claim(shared), Claim::Released(_)) {
                record.set_claim(shared, Claim::Off);
            }
        }
        record.former = None;
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
) -> Result<(), Failure> {
    let (arn, storage) = (job.policy_arn(), plan.goal.storage());
    remove::release(world, record, &arn, storage, &job.home.account).await
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
