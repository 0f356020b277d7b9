//! Create and Update: bring the account to what the properties say.

use futures::future::{join_all, try_join_all};
use futures::{join, try_join};
use serde_json::{Map, Value};

use crate::cloudformation::request::{Kind, Request};
use crate::cloudformation::response::{Outcome, Response};
use crate::domain::identity::{Home, Identity};
use crate::domain::plan::{self, Registration};
use crate::domain::preflight::{self, Ask, Goal};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::register::{Former, Record, State, Target};
use crate::domain::shared::{Claim, Shared};
use crate::domain::spec::{Place, Spec};
use crate::engine::documents::{Mine, Task};
use crate::engine::failure::Failure;
use crate::engine::observe::{Observed, Own, observe};
use crate::engine::others::{self, Others};
use crate::engine::{Context, fence, refused, remove};
use crate::ports::{Bucket, Call, CallErrorKind, World};

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

/// Everything that is to be written, decided before anything is.
struct Plan {
    goal: Goal,
    /// What the tags say while it is written; see [`Plan::settled`].
    record: Record,
    registration: Registration,
    writes_folder: bool,
    /// The shared documents this connection asks for.
    tasks: Vec<Task>,
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
    let plan = decide(world, job, &observed, standing.warning.clone()).await?;
    let data = answer(job, &plan.goal)?;
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
    matches!(failure, Failure::Overtaken(_) | Failure::GaveWay(_))
        || matches!(job.request.kind, Kind::Update { .. })
}

impl Plan {
    /// Whether the account is as it should be.
    fn is_nothing(&self) -> bool {
        let right = |task: &Task| {
            task.settle(&task.document).is_ok_and(|settled| settled.document.is_none())
        };
        self.registration.is_nothing()
            && !self.writes_folder
            && self.tasks.iter().all(right)
            && !self.has_leftovers()
    }

    /// Whether something is to be let go of once all is written.
    fn has_leftovers(&self) -> bool {
        let released = |shared| matches!(self.record.claim(shared), Claim::Released(_));
        self.record.former.is_some() || Shared::ALL.into_iter().any(released)
    }
}

async fn decide<W: World>(
    world: &W,
    job: &Job<'_>,
    observed: &Observed,
    warning: Option<String>,
) -> Result<Plan, Failure> {
    let Job { spec, identity, home, .. } = *job;
    let owner = &identity.owner;
    let ask = Ask { spec, identity, home, principal_accounts: &job.context.principal_accounts };
    let mut goal = preflight::goal(ask, &observed.seen).map_err(Failure::Refused)?;
    goal.warnings.extend(warning);
    let own = observed.own.as_ref();
    if let Some(refusal) = name_taken(&goal, own, observed, job) {
        return Err(refused(refusal));
    }
    let arn = goal.policy_arn();
    let mut others = Others::new(observed.entries.clone(), &arn, &identity.place.bucket);
    let rivals = others.rivals(world, &identity.place, owner).await?;
    if let Some((entry, record)) = rivals.first() {
        return Err(refused(others::taken(&identity.place, entry, record)));
    }
    let before = own.and_then(|own| own.record.as_ref());
    let mut record = Record {
        owner: owner.clone(),
        key_arn: goal.key_arn.clone(),
        former: former(before, &goal.key_arn),
        role: goal.role.clone(),
        state: State::Active,
        key_policy: Claim::Off,
        bucket_policy: Claim::Off,
        cors: Claim::Off,
    };
    let mut tasks = vec![];
    for shared in Shared::ALL {
        let had =
            before.filter(|before| shared != Shared::KeyPolicy || before.key_arn == goal.key_arn);
        let had = had.map(|before| before.claim(shared).clone()).unwrap_or_default();
        if !goal.wants(shared) {
            record.set_claim(shared, had.released());
            continue;
        }
        let document = preflight::document(&goal, shared, &observed.seen).map_err(refused)?;
        // A connection that lost its policy manages what it finds.
        let lost = before.is_none() && matches!(job.request.kind, Kind::Update { .. });
        let entry = |roles: &[String]| preflight::entry(shared, goal.storage(), roles);
        let found = if lost {
            shared.find_ours(document.entries(), &entry(goal.role.as_slice()))
        } else {
            None
        };
        let mine =
            Mine { wants: true, role: goal.role.as_ref(), owned: had.owned().or(found.as_deref()) };
        let task =
            Task::decide(world, &mut others, target(&goal, shared), document, mine, entry).await?;
        record.set_claim(shared, task.settle(&task.document)?.claim);
        tasks.push(task);
    }
    let refusals: Vec<Refusal> = tasks
        .iter()
        .filter_map(|task| too_large(&goal, task))
        .chain(plan::policy_fits(&goal).err())
        .collect();
    if !refusals.is_empty() {
        return Err(Failure::Refused(refusals));
    }
    let registration = plan::registration(
        &goal,
        &record,
        own.map(|own| (&own.policy, &own.document)),
        &former_tags(job.old_properties),
    );
    let folder = observed.seen.folder.as_ref().ok().and_then(Option::as_ref);
    let writes_folder = plan::writes_folder(&goal, folder);
    Ok(Plan { goal, record, registration, writes_folder, tasks })
}

fn target(goal: &Goal, shared: Shared) -> Target {
    let of = match shared {
        Shared::KeyPolicy => goal.key_arn.clone(),
        Shared::BucketPolicy | Shared::Cors => goal.spec.bucket.as_str().to_owned(),
    };
    Target { shared, of }
}

/// The key this connection has left or leaves now, if it owned a statement there.
fn former(before: Option<&Record>, key_arn: &str) -> Option<Former> {
    let before = before?;
    let earlier = before.former.clone().filter(|former| former.key_arn != key_arn);
    let leaves = before.key_arn != key_arn && before.key_policy.owned().is_some();
    if leaves {
        return Some(Former {
            key_arn: before.key_arn.clone(),
            claim: before.key_policy.released(),
        });
    }
    earlier
}

/// Keys of the template's tags before.
fn former_tags(old_properties: Option<&Value>) -> Vec<String> {
    let tags = old_properties.and_then(|properties| properties.get("Tags")?.as_array());
    let keys = tags.into_iter().flatten().filter_map(|tag| tag.get("Key")?.as_str());
    keys.filter(|key| !key.to_lowercase().starts_with("ica-storage:")).map(str::to_owned).collect()
}

/// Refuses a name that a policy of somebody else's has. IAM's names ignore path and case.
fn name_taken(
    goal: &Goal,
    own: Option<&Own>,
    observed: &Observed,
    job: &Job<'_>,
) -> Option<Refusal> {
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
    if let Some(own) = own {
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
            None if job.request.kind != Kind::Create => None,
            None => taken(format!("`{arn}`, which no connection recorded"), "choose another name"),
        };
    }
    let same = |other: &&crate::domain::register::Entry| {
        other.name.eq_ignore_ascii_case(&name) && other.arn != arn
    };
    let other = observed.entries.iter().find(same)?;
    taken(format!("`{}`", other.arn), "choose another name: a replacement needs a new one too")
}

fn too_large(goal: &Goal, task: &Task) -> Option<Refusal> {
    let shared = task.target.shared;
    let document = task.settle(&task.document).ok()?.document?;
    let (length, limit, unit) = document.excess(shared)?;
    let property = match shared {
        Shared::KeyPolicy => "ConfigureKeyPolicy",
        Shared::BucketPolicy => "ConfigureBucketPolicy",
        Shared::Cors => "ConfigureCors",
    };
    let entry = preflight::entry(shared, goal.storage(), goal.role.as_slice());
    Some(Refusal::new(
        Code::ServiceLimitExceeded,
        property,
        format!(
            "the {shared} of `{}` would have {length} of at most {limit} {unit}",
            task.target.of
        ),
        format!("make room in it, or set `{property}: false` and add this by hand: {entry}"),
    ))
}

/// The attributes, if they fit an answer. Warnings are left out before an answer is refused.
fn answer(job: &Job<'_>, goal: &Goal) -> Result<Map<String, Value>, Failure> {
    for warning in &goal.warnings {
        tracing::warn!(warning, "to be looked at");
    }
    let with = |count: usize| {
        let warnings = goal.warnings.get(..count).unwrap_or_default();
        Response {
            envelope: job.request.envelope.clone(),
            physical_id: job.identity.physical_id(),
            outcome: Outcome::Success(
                goal.attributes()
                    .with_warnings(warnings, goal.warnings.len() - warnings.len())
                    .into_data(),
            ),
        }
    };
    let fitting = (0..=goal.warnings.len()).rev().map(with).find(Response::fits);
    match fitting.map(|response| response.outcome) {
        Some(Outcome::Success(data)) => Ok(data),
        Some(Outcome::Failed(_)) | None => Err(refused(Refusal::new(
            Code::ServiceLimitExceeded,
            "KeyPrefix",
            "the attributes would be more than the 4,096 bytes CloudFormation takes",
            "shorten the prefix or the name of the policy",
        ))),
    }
}

/// Registers, then writes the rest at once.
async fn write<W: World>(world: &W, job: &Job<'_>, plan: &Plan) -> Result<(), Failure> {
    register(world, plan).await?;
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

async fn register<W: World>(world: &W, plan: &Plan) -> Result<(), Failure> {
    let Plan { goal, record, registration, .. } = plan;
    let (arn, document) = (goal.policy_arn(), goal.storage().policy());
    match registration {
        Registration::Create => {
            let (path, name) = (goal.identity.policy_path(), goal.identity.policy_name());
            match world.create(&path, &name, &document, &plan::tags(goal, record)).await {
                Err(error) if error.kind == CallErrorKind::Exists => {
                    return created_before(world, plan, error.into()).await;
                }
                created => created?,
            }
            tracing::info!(arn, "policy created");
        }
        Registration::Change { document: changes, set, unset } => {
            if !set.is_empty() {
                world.tag(&arn, set).await?;
            }
            if !unset.is_empty() {
                world.untag(&arn, unset).await?;
            }
            if *changes {
                add_version(world, &arn, &document).await?;
                tracing::info!(arn, "policy changed");
            }
        }
    }
    Ok(())
}

/// A Create whose policy is there although it was not seen: the same request came twice, or its
/// first answer was lost. Anybody else's policy is a refusal.
async fn created_before<W: World>(world: &W, plan: &Plan, failure: Failure) -> Result<(), Failure> {
    let arn = plan.goal.policy_arn();
    let policy = world.read(&arn).await?;
    match policy.and_then(|policy| Record::read(&policy.tags)) {
        Some(record) if record.owner == plan.goal.identity.owner => {
            Ok(world.tag(&arn, &plan::tags(&plan.goal, &plan.record)).await?)
        }
        Some(_) | None => Err(failure),
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
        remove::release(world, &plan.record, job.identity, job.home, plan.goal.versioning).await?;
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
