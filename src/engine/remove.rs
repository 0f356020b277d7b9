//! Delete: take out exactly what a connection owns, in an order that can be repeated.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::future::try_join_all;
use futures::{join, try_join};

use crate::cloudformation::request::Request;
use crate::domain::ica::{Storage, Versioning};
use crate::domain::identity::{Home, Identity, Owner};
use crate::domain::plan;
use crate::domain::preflight;
use crate::domain::register::{Entry, Record, State, Target};
use crate::domain::shared::{Claim, Shared};
use crate::domain::spec::Place;
use crate::engine::documents::{self, Mine, Task, or_gone};
use crate::engine::failure::Failure;
use crate::engine::others::Others;
use crate::ports::{Bucket, CallError, CallErrorKind, World};

/// What is to be deleted: a resource at a place.
struct Remains {
    owner: Owner,
    bucket: String,
    prefix: String,
    digest: String,
    /// The name its policy has, unless that was chosen in properties that are lost.
    policy_name: String,
}

impl Remains {
    fn of(identity: &Identity) -> Self {
        Self {
            owner: identity.owner.clone(),
            bucket: identity.place.bucket.clone(),
            prefix: identity.place.prefix.clone(),
            digest: identity.digest(),
            policy_name: identity.policy_name(),
        }
    }

    /// From an id of ours; from the properties, if CloudFormation made the id up.
    fn of_request(request: &Request) -> Option<Self> {
        let owner = request.envelope.owner.clone();
        let described = Place::of(&request.properties)
            .map(|place| Self::of(&Identity { owner: owner.clone(), place }));
        let id = request.envelope.physical_id.as_ref();
        let Some((digest, (bucket, prefix))) = id.and_then(|id| id.digest().zip(id.address()))
        else {
            return described;
        };
        described.filter(|remains| remains.digest == digest).or_else(|| {
            Some(Self {
                owner,
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                digest: digest.to_owned(),
                policy_name: format!("ica-storage-{bucket}-{digest}"),
            })
        })
    }

    fn policy_arn(&self, home: &Home) -> String {
        let place = Place {
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            policy_name: Some(self.policy_name.clone()),
        };
        Identity { owner: self.owner.clone(), place }.policy_arn(&home.partition, &home.account)
    }

    /// Everything that grants something, for whoever has to remove it by hand.
    fn inventory(&self, arn: &str, record: Option<&Record>) -> String {
        let mut what = vec![format!("policy `{arn}`")];
        for shared in Shared::ALL {
            let owned = record.and_then(|record| Some((record, record.claim(shared).owned()?)));
            what.extend(owned.map(|(record, name)| match shared {
                Shared::KeyPolicy => {
                    format!("statement `{name}` of the {shared} of `{}`", record.key_arn)
                }
                Shared::BucketPolicy => {
                    format!("statement `{name}` of the {shared} of `{}`", self.bucket)
                }
                Shared::Cors => format!("rule `{name}` of the {shared} of `{}`", self.bucket),
            }));
        }
        what.join(", ")
    }

    fn stands_at(&self, entry: &Entry) -> bool {
        entry.bucket == self.bucket && entry.prefix == self.prefix
    }
}

/// Carries out a Delete.
pub(super) async fn of_request<W: World>(
    world: &W,
    request: &Request,
    home: &Home,
) -> Result<(), Failure> {
    match Remains::of_request(request) {
        Some(remains) => remove(world, &remains, home).await,
        None => Ok(()),
    }
}

/// Takes back what was made for an identity.
pub(super) async fn identity<W: World>(
    world: &W,
    identity: &Identity,
    home: &Home,
) -> Result<(), Failure> {
    remove(world, &Remains::of(identity), home).await
}

/// How a Delete is tried again: after it, CloudFormation deletes what it would need for another.
fn patience() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(500))
        .with_max_times(5)
}

async fn remove<W: World>(world: &W, remains: &Remains, home: &Home) -> Result<(), Failure> {
    // What was there a moment ago and is gone now was deleted by the same request, sent twice.
    let may_pass = |failure: &Failure| {
        failure.call().is_some_and(|error| error.kind.may_pass() || error.kind.is_gone())
    };
    (|| remove_once(world, remains, home)).retry(patience()).when(may_pass).await
}

async fn remove_once<W: World>(world: &W, remains: &Remains, home: &Home) -> Result<(), Failure> {
    let bucket = Bucket { name: &remains.bucket, owner: &home.account };
    let mut arn = remains.policy_arn(home);
    let (entries, policy, versioning) =
        join!(world.list(), world.read(&arn), world.versioning(bucket));
    let (entries, mut policy) = (entries?, policy?);
    // Not to be allowed to look leaves the variant of the many.
    let versioning = versioning.unwrap_or(Versioning::Unversioned);
    if policy.is_none() {
        let is_own =
            |entry: &&Entry| remains.stands_at(entry) && entry.is(&remains.owner, &remains.digest);
        if let Some(own) = entries.iter().find(is_own) {
            arn.clone_from(&own.arn);
            policy = world.read(&arn).await?;
        }
    }
    let record = policy.as_ref().and_then(|policy| Record::read(&policy.tags));
    if record.as_ref().is_some_and(|record| record.owner != remains.owner) {
        return Ok(());
    }
    let others: Vec<&Entry> =
        entries.iter().filter(|entry| entry.bucket == remains.bucket && entry.arn != arn).collect();
    let folder = remove_folder(world, bucket, remains, versioning, &others);
    if policy.is_none() {
        folder.await;
        return Ok(());
    }
    let what = remains.inventory(&arn, record.as_ref());
    let shared = async {
        match record {
            Some(record) => let_go(world, remains, record, &arn, home, versioning).await,
            None => Ok(()),
        }
    };
    let ((), shared, detached) = join!(folder, shared, detach(world, &arn));
    let removed = match shared.and(detached) {
        Ok(()) => remove_policy(world, &arn).await,
        failed => failed,
    };
    removed.map_err(|cause| Failure::Remains { cause: Box::new(cause), what })
}

async fn detach<W: World>(world: &W, arn: &str) -> Result<(), Failure> {
    let attachments = world.attachments(arn).await?;
    try_join_all(attachments.iter().map(|from| world.detach(arn, from))).await?;
    Ok(())
}

/// Says in the register that this connection wants nothing any more, then acts on it.
async fn let_go<W: World>(
    world: &W,
    remains: &Remains,
    mut record: Record,
    arn: &str,
    home: &Home,
    versioning: Versioning,
) -> Result<(), Failure> {
    if record.state == State::Active {
        record.state = State::Deleting;
        world.tag(arn, &[record.state_tag()]).await?;
    }
    for shared in Shared::ALL {
        record.set_claim(shared, record.claim(shared).released());
    }
    let storage = Storage {
        partition: &home.partition,
        bucket: &remains.bucket,
        prefix: &remains.prefix,
        key_arn: &record.key_arn,
        versioning,
    };
    release(world, &record, arn, storage, &home.account).await
}

/// Detached policies go version by version.
async fn remove_policy<W: World>(world: &W, arn: &str) -> Result<(), Failure> {
    let versions = or_gone(world.versions(arn).await)?.unwrap_or_default();
    let old = versions.iter().filter(|version| !version.is_default);
    try_join_all(old.map(|version| world.remove_version(arn, &version.id))).await?;
    or_gone(world.remove(arn).await)?;
    tracing::info!(arn, "policy deleted");
    Ok(())
}

/// Brings the shared documents that a record has let go of to what the others want.
pub(super) async fn release<W: World>(
    world: &W,
    record: &Record,
    arn: &str,
    storage: Storage<'_>,
    account: &str,
) -> Result<(), Failure> {
    let former = record.former.as_ref().map(|former| {
        (Target { shared: Shared::KeyPolicy, of: former.key_arn.clone() }, &former.claim)
    });
    let own = Shared::ALL.into_iter().map(|shared| {
        let of = match shared {
            Shared::KeyPolicy => storage.key_arn,
            Shared::BucketPolicy | Shared::Cors => storage.bucket,
        };
        (Target { shared, of: of.to_owned() }, record.claim(shared))
    });
    let released = own.chain(former).filter_map(|(target, claim)| match claim {
        Claim::Released(name) => Some((target, name)),
        Claim::Off | Claim::Adopted | Claim::Managed(_) => None,
    });
    let letting_go = released.map(|(target, name)| Release { target, name, arn, storage, account });
    let all = letting_go.map(|release| async move { release.carry_out(world).await });
    try_join_all(all).await?;
    Ok(())
}

/// One entry that a connection lets go of.
struct Release<'a> {
    target: Target,
    name: &'a str,
    /// The connection's own policy.
    arn: &'a str,
    storage: Storage<'a>,
    account: &'a str,
}

impl Release<'_> {
    /// Looks at the register *after* this connection has let go, and once more after the entry is
    /// gone: a connection made in between saw it standing.
    async fn carry_out<W: World>(&self, world: &W) -> Result<(), Failure> {
        let mine = Mine { wants: false, role: None, owned: Some(self.name) };
        let shared = self.target.shared;
        let entry = |roles: &[String]| preflight::entry(shared, self.storage, roles);
        let mut entries = world.list().await?;
        loop {
            let document = documents::read(world, &self.target, self.account).await?;
            let mut others = Others::new(entries.clone(), self.arn, self.storage.bucket);
            let target = self.target.clone();
            let mut task = Task::decide(world, &mut others, target, document, mine, entry).await?;
            if task.settle(&task.document)?.document.is_none() {
                return Ok(());
            }
            match task.write(world, self.account).await {
                Ok(()) => {}
                // A key or bucket that is gone, or as good as, has no grants.
                Err(Failure::Call(error)) if error.kind.is_gone() => return Ok(()),
                Err(failure) => return Err(failure),
            }
            task.confirm(world, self.account).await?;
            let now = world.list().await?;
            if now.iter().all(|entry| entries.contains(entry)) {
                return Ok(());
            }
            entries = now;
        }
    }
}

/// Removes the folder if it is only ours. Data is never deleted, and not being allowed to look or
/// to delete leaves no grant behind: the log says so, and the Delete goes on.
async fn remove_folder<W: World>(
    world: &W,
    bucket: Bucket<'_>,
    remains: &Remains,
    versioning: Versioning,
    others: &[&Entry],
) {
    let prefix = remains.prefix.as_str();
    if prefix.is_empty() {
        return;
    }
    let within: Vec<&str> = others
        .iter()
        .map(|entry| entry.prefix.as_str())
        .filter(|other| other.starts_with(prefix))
        .collect();
    // Its own folder, theirs, and one more tells.
    let limit = i32::try_from(within.len() + 2).unwrap_or(i32::MAX);
    let removal = async {
        let (folder, contents) =
            try_join!(world.read_folder(bucket, prefix), world.contents(bucket, prefix, limit))?;
        let Some(folder) = folder else { return Ok(()) };
        let are_folders =
            contents.iter().map(|key| key == prefix || within.contains(&key.as_str()));
        let has_successor = within.contains(&prefix);
        if plan::removes_folder(&remains.owner.mark(), &folder, has_successor, are_folders) {
            let version = plan::folder_version(&folder, versioning);
            world.remove_folder(bucket, prefix, version).await?;
            tracing::info!(prefix, "folder deleted");
        }
        Ok::<(), CallError>(())
    };
    match removal.await {
        Err(error) if error.kind != CallErrorKind::NotFound => {
            tracing::warn!(%error, "folder left");
        }
        Ok(()) | Err(_) => {}
    }
}
