//! Delete: take out exactly what a connection owns, in an order that can be repeated.

use futures::future::try_join_all;
use futures::{join, try_join};

use crate::cloudformation::request::Request;
use crate::domain::ica::Versioning;
use crate::domain::identity::{Home, Identity, Owner};
use crate::domain::plan;
use crate::domain::preflight;
use crate::domain::register::{Entry, Record, State, Target};
use crate::domain::shared::{Claim, Shared};
use crate::domain::spec::Place;
use crate::engine::documents::{self, Mine, Task, or_gone};
use crate::engine::failure::Failure;
use crate::engine::others::Others;
use crate::ports::{Bucket, CallErrorKind, World};

/// What is to be deleted: a resource at a place, under whatever name its policy has.
struct Remains {
    owner: Owner,
    bucket: String,
    prefix: String,
    digest: String,
}

impl Remains {
    fn of(identity: &Identity) -> Self {
        Self {
            owner: identity.owner.clone(),
            bucket: identity.place.bucket.clone(),
            prefix: identity.place.prefix.clone(),
            digest: identity.digest(),
        }
    }

    /// From an id of ours; from the properties, if CloudFormation made the id up.
    fn of_request(request: &Request) -> Option<Self> {
        let owner = request.envelope.owner.clone();
        let id = request.envelope.physical_id.as_ref();
        if let Some((id, (bucket, prefix))) = id.and_then(|id| Some((id, id.address()?))) {
            return Some(Self {
                owner,
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                digest: id.digest()?.to_owned(),
            });
        }
        let place = Place::of(&request.properties)?;
        Some(Self::of(&Identity { owner, place }))
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

async fn remove<W: World>(world: &W, remains: &Remains, home: &Home) -> Result<(), Failure> {
    let bucket = Bucket { name: &remains.bucket, owner: &home.account };
    let (entries, versioning) = join!(world.list(), world.versioning(bucket));
    let (entries, versioning) = (entries?, versioning.unwrap_or(Versioning::Unversioned));
    let is_own = |entry: &&Entry| {
        entry.bucket == remains.bucket
            && entry.prefix == remains.prefix
            && entry.is(&remains.owner, &remains.digest)
    };
    let own = entries.iter().find(is_own).cloned();
    let has_successor = entries.iter().any(|entry| {
        entry.bucket == remains.bucket
            && entry.prefix == remains.prefix
            && own.as_ref().is_none_or(|own| own.arn != entry.arn)
    });
    let record = match &own {
        Some(own) => world.read(&own.arn).await?.map(|policy| Record::read(&policy.tags)),
        None => None,
    };
    let Some((own, record)) = own.zip(record) else {
        remove_folder(world, bucket, remains, has_successor).await;
        return Ok(());
    };
    if let Some(mut record) = record.clone() {
        if record.owner != remains.owner {
            return Ok(());
        }
        if record.state == State::Active {
            record.state = State::Deleting;
            let state: Vec<_> =
                record.tags().into_iter().filter(|tag| tag.key.ends_with(":state")).collect();
            world.tag(&own.arn, &state).await?;
        }
        for shared in Shared::ALL {
            record.set_claim(shared, record.claim(shared).released());
        }
        let place = Place {
            bucket: remains.bucket.clone(),
            prefix: remains.prefix.clone(),
            policy_name: Some(own.name.clone()),
        };
        let identity = Identity { owner: remains.owner.clone(), place };
        let shared = release_of(world, &record, &own.arn, &identity, home, versioning);
        let detach = async {
            let attachments = world.attachments(&own.arn).await?;
            try_join_all(attachments.iter().map(|from| world.detach(&own.arn, from))).await?;
            Ok::<(), Failure>(())
        };
        let folder = async {
            remove_folder(world, bucket, remains, has_successor).await;
            Ok(())
        };
        try_join!(shared, detach, folder)?;
    }
    remove_policy(world, &own.arn).await
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
    identity: &Identity,
    home: &Home,
    versioning: Versioning,
) -> Result<(), Failure> {
    let arn = identity.policy_arn(&home.partition, &home.account);
    release_of(world, record, &arn, identity, home, versioning).await
}

async fn release_of<W: World>(
    world: &W,
    record: &Record,
    arn: &str,
    identity: &Identity,
    home: &Home,
    versioning: Versioning,
) -> Result<(), Failure> {
    let bucket = &identity.place.bucket;
    let former = record.former.as_ref().map(|former| {
        (Target { shared: Shared::KeyPolicy, of: former.key_arn.clone() }, &former.claim)
    });
    let own = Shared::ALL.into_iter().map(|shared| {
        let of = if shared == Shared::KeyPolicy { record.key_arn.clone() } else { bucket.clone() };
        (Target { shared, of }, record.claim(shared))
    });
    let released = own.chain(former).filter_map(|(target, claim)| match claim {
        Claim::Released(name) => Some((target, name.clone())),
        Claim::Off | Claim::Adopted | Claim::Managed(_) => None,
    });
    let letting_go = released.map(|(target, name)| {
        let storage = crate::domain::ica::Storage {
            partition: &home.partition,
            bucket,
            prefix: &identity.place.prefix,
            key_arn: &record.key_arn,
            versioning,
        };
        let shared = target.shared;
        let entry = move |roles: &[String]| preflight::entry(shared, storage, roles);
        release_one(world, target, name, arn, &home.account, bucket, entry)
    });
    try_join_all(letting_go).await?;
    Ok(())
}

/// Looks at the register *after* this connection has let go, and once more after the entry is
/// gone: a connection made in between saw it standing.
async fn release_one<W: World>(
    world: &W,
    target: Target,
    name: String,
    arn: &str,
    account: &str,
    bucket: &str,
    entry: impl Fn(&[String]) -> serde_json::Value,
) -> Result<(), Failure> {
    let mine = Mine { wants: false, role: None, owned: Some(&name) };
    let (entries, document) = join!(world.list(), documents::read(world, &target, account));
    let mut entries = entries?;
    let mut document = document?;
    loop {
        let mut others = Others::new(entries.clone(), arn, bucket);
        let mut task =
            Task::decide(world, &mut others, target.clone(), document, mine, &entry).await?;
        if task.settle(&task.document)?.document.is_none() {
            return Ok(());
        }
        task.write(world, account).await.or_else(gone)?;
        task.confirm(world, account).await?;
        let now = world.list().await?;
        if now.iter().all(|entry| entries.contains(entry)) {
            return Ok(());
        }
        entries = now;
        document = documents::read(world, &target, account).await?;
    }
}

/// A key or bucket that is gone, or as good as, has no grants.
fn gone(failure: Failure) -> Result<(), Failure> {
    match failure {
        Failure::Call(error)
            if matches!(error.kind, CallErrorKind::NotFound | CallErrorKind::InvalidState) =>
        {
            Ok(())
        }
        other => Err(other),
    }
}

/// Removes the folder if it is only ours. Data is never deleted, and not being allowed to look or
/// to delete leaves no grant behind: the log says so, and the Delete goes on.
async fn remove_folder<W: World>(
    world: &W,
    bucket: Bucket<'_>,
    remains: &Remains,
    has_successor: bool,
) {
    if remains.prefix.is_empty() {
        return;
    }
    let removal = async {
        let (folder, is_empty) = try_join!(
            world.read_folder(bucket, &remains.prefix),
            world.is_empty(bucket, &remains.prefix)
        )?;
        let Some(folder) = folder else { return Ok(()) };
        if plan::removes_folder(&remains.owner.mark(), &folder, has_successor, is_empty) {
            world.remove_folder(bucket, &remains.prefix, &folder).await?;
            tracing::info!(prefix = remains.prefix, "folder deleted");
        }
        Ok::<(), crate::ports::CallError>(())
    };
    match removal.await {
        Err(error) if error.kind != CallErrorKind::NotFound => {
            tracing::warn!(%error, "folder left");
        }
        Ok(()) | Err(_) => {}
    }
}
