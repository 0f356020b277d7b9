//! Delete: take out exactly what a connection owns, in an order that can be repeated.

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::future::join_all;
use futures::{join, try_join};

use crate::cloudformation::request::Request;
use crate::domain::ica::{Storage, Versioning};
use crate::domain::identity::{Home, Identity, Owner};
use crate::domain::plan;
use crate::domain::register::{Entry, Record, State};
use crate::domain::shared::Shared;
use crate::domain::spec::Place;
use crate::engine::documents::{Party, or_gone};
use crate::engine::failure::Failure;
use crate::engine::release::Leaver;
use crate::ports::{Bucket, Call, CallError, CallErrorKind, World};

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

/// How far a Delete has come, for when its time ends before it is done.
#[derive(Debug, Default)]
pub(super) struct Deletion {
    /// What there is to remove, once that is known.
    left: OnceLock<String>,
    /// What it failed over, when it was last tried.
    trouble: Mutex<Option<Failure>>,
}

impl Deletion {
    fn meets(&self, trouble: &Failure) {
        tracing::warn!(error = %trouble, "not deleted yet, tried again");
        if let Ok(mut last) = self.trouble.lock() {
            *last = Some(trouble.clone());
        }
    }

    /// Why it was not done in time: what stands in its way, if that is known.
    pub(super) fn out_of_time(&self, after: Duration) -> Failure {
        let trouble = self.trouble.lock().ok().and_then(|mut last| last.take());
        if let Some(trouble) = trouble {
            return trouble;
        }
        let cause = Failure::OutOfTime(after);
        match self.left.get().cloned() {
            Some(what) => Failure::Remains { cause: Box::new(cause), what },
            None => cause,
        }
    }
}

/// Carries out a Delete, and notes what there is to remove as soon as it is known: the time may
/// end before it is done.
pub(super) async fn of_request<W: World>(
    world: &W,
    request: &Request,
    home: &Home,
    deletion: &Deletion,
) -> Result<(), Failure> {
    match Remains::of_request(request) {
        Some(remains) => remove(world, &remains, home, deletion).await,
        None => Ok(()),
    }
}

/// Takes back what was made for an identity.
pub(super) async fn identity<W: World>(
    world: &W,
    identity: &Identity,
    home: &Home,
) -> Result<(), Failure> {
    remove(world, &Remains::of(identity), home, &Deletion::default()).await
}

/// How a Delete is tried again: after it, CloudFormation deletes what it would need for another.
fn patience() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(500))
        .with_max_times(5)
}

async fn remove<W: World>(
    world: &W,
    remains: &Remains,
    home: &Home,
    deletion: &Deletion,
) -> Result<(), Failure> {
    // What was there a moment ago and is gone now was deleted by the same request, sent twice.
    let may_pass = |failure: &Failure| {
        failure.call().is_some_and(|error| error.kind.may_pass() || error.kind.is_gone())
    };
    (|| remove_once(world, remains, home, &deletion.left))
        .retry(patience())
        .when(may_pass)
        .notify(|trouble, _| deletion.meets(trouble))
        .await
}

async fn remove_once<W: World>(
    world: &W,
    remains: &Remains,
    home: &Home,
    left: &OnceLock<String>,
) -> Result<(), Failure> {
    let bucket = Bucket { name: &remains.bucket, owner: &home.account };
    let mut arn = remains.policy_arn(home);
    let (entries, policy, versioning) =
        join!(world.list(), world.read(&arn), world.versioning(bucket));
    let mut policy = policy.map_err(|error| Failure::Remains {
        cause: Box::new(error.into()),
        what: remains.inventory(&arn, None),
    })?;
    let entries = match entries {
        // Without a policy there is nothing that others could share.
        Err(error) if error.kind == CallErrorKind::Denied && policy.is_none() => {
            tracing::warn!(%error, "register not seen");
            vec![]
        }
        entries => entries?,
    };
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
    let is_foreign = match &record {
        Some(record) => record.owner != remains.owner,
        // Nobody else makes a policy whose name has the digest; a chosen name anybody may have.
        None => policy.is_some() && !arn.ends_with(&remains.digest),
    };
    if is_foreign {
        return Ok(());
    }
    let others: Vec<&Entry> =
        entries.iter().filter(|entry| entry.bucket == remains.bucket && entry.arn != arn).collect();
    let folder = remove_folder(world, bucket, remains, versioning, &others);
    if policy.is_none() {
        folder.await;
        return Ok(());
    }
    let what = left.get_or_init(|| remains.inventory(&arn, record.as_ref())).clone();
    let removed = async {
        let record = match record {
            Some(record) => Some(mark(world, record, &arn).await?),
            None => None,
        };
        let ((), released, detached, unversioned) = join!(
            folder,
            release(world, remains, record.as_ref(), &arn, home, versioning),
            detach(world, &arn),
            remove_versions(world, &arn),
        );
        released.and(detached).and(unversioned)?;
        or_gone(world.remove(&arn).await)?;
        Ok::<(), Failure>(())
    };
    let removed = removed.await;
    removed.map_err(|cause| Failure::Remains { cause: Box::new(cause), what })?;
    tracing::info!(arn, "policy deleted");
    Ok(())
}

/// Every use of it; what goes wrong with one keeps no other.
async fn detach<W: World>(world: &W, arn: &str) -> Result<(), Failure> {
    let attachments = world.attachments(arn).await?;
    let detached = join_all(attachments.iter().map(|from| world.detach(arn, from))).await;
    Ok(detached.into_iter().collect::<Call<()>>()?)
}

/// A policy can be deleted when only the version in force is left.
async fn remove_versions<W: World>(world: &W, arn: &str) -> Result<(), Failure> {
    let versions = or_gone(world.versions(arn).await)?.unwrap_or_default();
    let old = versions.iter().filter(|version| !version.is_default);
    let removed = join_all(old.map(|version| world.remove_version(arn, &version.id))).await;
    Ok(removed.into_iter().collect::<Call<()>>()?)
}

/// Says in the register that this connection wants nothing any more.
async fn mark<W: World>(world: &W, before: Record, arn: &str) -> Call<Record> {
    let record = Record { state: State::Deleting, ..before.clone() }.released();
    if record != before {
        world.tag(arn, &record.tags()).await?;
    }
    Ok(record)
}

/// Takes the shared entries along that nobody else wants.
async fn release<W: World>(
    world: &W,
    remains: &Remains,
    record: Option<&Record>,
    arn: &str,
    home: &Home,
    versioning: Versioning,
) -> Result<(), Failure> {
    let Some(record) = record else { return Ok(()) };
    let storage = Storage {
        partition: &home.partition,
        bucket: &remains.bucket,
        prefix: &remains.prefix,
        key_arn: &record.key_arn,
        versioning,
    };
    let account = home.account.as_str();
    let party = Party { arn, account, storage, wants: false, role: None };
    Leaver { party, mark: Some(record) }.release(world, record).await
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
    let within: Vec<&&Entry> =
        others.iter().filter(|entry| entry.prefix.starts_with(prefix)).collect();
    // Its own folder, theirs, and one more tells.
    let limit = i32::try_from(within.len() + 2).unwrap_or(i32::MAX);
    let removal = async {
        let (folder, contents) =
            try_join!(world.read_folder(bucket, prefix), world.contents(bucket, prefix, limit))?;
        let Some(folder) = folder else { return Ok(()) };
        let is_folder =
            |key: &String| key == prefix || within.iter().any(|entry| entry.prefix == *key);
        let are_folders = contents.iter().map(is_folder);
        let has_successor = has_successor(world, remains, &within).await?;
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

/// Whether this resource has another connection at the path, which inherits the folder. One of
/// another resource is about to give way, or was given way to and makes a folder of its own.
async fn has_successor<W: World>(world: &W, remains: &Remains, within: &[&&Entry]) -> Call<bool> {
    for entry in within.iter().filter(|entry| entry.prefix == remains.prefix) {
        let record = world.read(&entry.arn).await?.and_then(|policy| Record::read(&policy.tags));
        if record.is_some_and(|record| record.owner == remains.owner) {
            return Ok(true);
        }
    }
    Ok(false)
}
