//! Everything a decision needs, read at once.

use futures::join;
use serde_json::Value;

use crate::domain::field::KeyId;
use crate::domain::preflight::Ask;
use crate::domain::register::{Entry, Record};
use crate::domain::seen::{Encryption, Fact, KeyFound, Policy, Seen, Unseen};
use crate::domain::shared::Shared;
use crate::domain::spec::Spec;
use crate::ports::{Bucket, Call, CallErrorKind, World};

/// The account as this request finds it.
pub(super) struct Observed {
    pub(super) seen: Seen,
    /// The connection's own policy.
    pub(super) own: Option<Own>,
    /// The register.
    pub(super) entries: Vec<Entry>,
}

/// A connection's policy with its document.
pub(super) struct Own {
    pub(super) policy: Policy,
    pub(super) document: Value,
    pub(super) record: Option<Record>,
}

impl Own {
    /// Whether its tags say how the connection stands to a shared document.
    pub(super) fn records(&self, shared: Shared) -> bool {
        let of = self.record.as_ref().map(|record| record.key_arn.as_str());
        // Of which key a claim is that names none cannot be told.
        let is_told = shared != Shared::KeyPolicy || of.is_some_and(|key| !key.is_empty());
        of.is_some() && is_told && !Record::lacks_claim(&self.policy.tags, shared)
    }
}

/// Reads bucket, key, policy and register at once. Of a connection that seems to stand, the
/// document of its policy too.
pub(super) async fn observe<W: World>(
    world: &W,
    ask: Ask<'_>,
    seems_to_stand: bool,
) -> Call<Observed> {
    observe_beside(world, ask, seems_to_stand, world.list()).await
}

/// The same, with the register from elsewhere.
pub(super) async fn observe_beside<W: World>(
    world: &W,
    ask: Ask<'_>,
    seems_to_stand: bool,
    register: impl Future<Output = Call<Vec<Entry>>>,
) -> Call<Observed> {
    let Ask { spec, identity, home, .. } = ask;
    let bucket = Bucket { name: spec.bucket.as_str(), owner: &home.account };
    let prefix = spec.prefix.as_str();
    let arn = identity.policy_arn(&home.partition, &home.account);
    let folder = async {
        if spec.prefix.is_root() { Ok(None) } else { world.read_folder(bucket, prefix).await }
    };
    let (bucket_facts, folder, bucket_policy, cors, keys, own, entries) = join!(
        async {
            join!(
                world.region(bucket),
                world.versioning(bucket),
                world.ownership(bucket),
                world.public_access_off(bucket),
                world.notifications(bucket),
            )
        },
        folder,
        world.read_policy(bucket),
        world.read_cors(bucket),
        encryption_and_key(world, spec, bucket),
        own(world, &arn, seems_to_stand),
        register,
    );
    let (region, versioning, ownership, public_access_off, notifications) = bucket_facts;
    let (encryption, key, key_policy) = keys;
    Ok(Observed {
        seen: Seen {
            region: fact(region)?,
            versioning: fact(versioning)?,
            encryption: fact(encryption)?,
            ownership: fact(ownership)?,
            public_access_off: fact(public_access_off)?,
            notifications: fact(notifications)?,
            folder: fact(folder)?,
            key: fact(key)?,
            key_policy: fact(key_policy)?,
            bucket_policy: fact(bucket_policy)?,
            cors: fact(cors)?,
        },
        own: own?,
        entries: entries?,
    })
}

/// A denied look is a fact to be judged, and so is one at a bucket that is not there.
fn fact<T>(call: Call<T>) -> Call<Fact<T>> {
    match call {
        Ok(seen) => Ok(Ok(seen)),
        Err(error) if matches!(error.kind, CallErrorKind::Denied | CallErrorKind::NotFound) => {
            Ok(Err(Unseen { action: error.action, message: error.message }))
        }
        Err(error) => Err(error),
    }
}

/// The key needs the default encryption only where the template names none.
async fn encryption_and_key<W: World>(
    world: &W,
    spec: &Spec,
    bucket: Bucket<'_>,
) -> (Call<Option<Encryption>>, Call<KeyFound>, Call<Option<String>>) {
    if let Some(name) = &spec.kms_key_id {
        let encryption = async {
            match world.encryption(bucket).await {
                Ok(Some(encryption)) => Ok(Some(by_key(world, encryption, name).await)),
                encryption => encryption,
            }
        };
        let (encryption, (key, policy)) = join!(encryption, key(world, name));
        return (encryption, key, policy);
    }
    let encryption = world.encryption(bucket).await;
    let name =
        encryption.as_ref().ok().and_then(Option::as_ref).and_then(|found| found.key.clone());
    match name.map(KeyId::of_bucket) {
        Some(name) => {
            let (key, policy) = key(world, &name).await;
            (encryption, key, policy)
        }
        None => (encryption, Ok(KeyFound::Unnamed), Ok(None)),
    }
}

/// The default encryption by the key behind its alias, unless that is the one the template has too.
async fn by_key<W: World>(world: &W, encryption: Encryption, given: &KeyId) -> Encryption {
    let name = encryption.key.clone().map(KeyId::of_bucket);
    let Some(alias) = name.filter(|name| !name.names_the_key() && name != given) else {
        return encryption;
    };
    match world.describe(alias.as_str()).await {
        Ok(Some(key)) => Encryption { key: Some(key.arn), ..encryption },
        // Then it is not this key, as far as can be told.
        Ok(None) | Err(_) => encryption,
    }
}

/// A key and its policy: at once where its name is its own, else one after the other.
async fn key<W: World>(world: &W, name: &KeyId) -> (Call<KeyFound>, Call<Option<String>>) {
    let found = |found: Option<_>| {
        found.map_or_else(|| KeyFound::Missing(name.as_str().to_owned()), KeyFound::Found)
    };
    if name.names_the_key() {
        let (key, policy) =
            join!(world.describe(name.as_str()), world.read_key_policy(name.as_str()));
        return (key.map(found), policy);
    }
    let key = world.describe(name.as_str()).await.map(found);
    let policy = match &key {
        Ok(KeyFound::Found(key)) => world.read_key_policy(&key.arn).await,
        Ok(KeyFound::Missing(_) | KeyFound::Unnamed) | Err(_) => Ok(None),
    };
    (key, policy)
}

/// What most policies have in force, so that it can be read before that is known.
const FIRST_VERSION: &str = "v1";

/// A connection's policy, its document and its record.
async fn own<W: World>(world: &W, arn: &str, seems_to_stand: bool) -> Call<Option<Own>> {
    let first = async {
        if seems_to_stand { Some(world.document(arn, FIRST_VERSION).await) } else { None }
    };
    let (policy, first) = join!(world.read(arn), first);
    let Some(policy) = policy? else { return Ok(None) };
    let document = match (policy.version.as_str(), first) {
        (FIRST_VERSION, Some(first)) => first?,
        (version, _) => world.document(arn, version).await?,
    };
    let record = Record::read(&policy.tags);
    Ok(Some(Own { policy, document, record }))
}
