//! Letting go of an entry that others may still want.
//!
//! Whoever lets go says so in the register first, sees that it is said, and then looks whether
//! somebody else wants the entry. Of two that let go at once at least one so sees the other.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::future::try_join_all;
use futures::join;

use crate::domain::register::{Entry, Record, Target};
use crate::domain::shared::{Claim, Shared};
use crate::engine::documents::{self, Party, Task};
use crate::engine::failure::Failure;
use crate::engine::others::Others;
use crate::ports::World;

/// A connection that lets go.
#[derive(Clone, Copy)]
pub(super) struct Leaver<'a> {
    pub(super) party: Party<'a>,
    /// What its tags say by now, where they say so.
    pub(super) mark: Option<&'a Record>,
}

/// How long IAM may take to show what it was told: usually it does at once.
pub(super) fn until_seen() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(4))
        .with_max_times(7)
}

/// When a connection that leaves looks again whether there is nothing for it to do: at once, and
/// after about as long as IAM and KMS usually take to show the same to everybody.
fn second_looks() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(500))
        .with_max_times(2)
}

/// What a look at the register found too early.
enum Early {
    /// It does not show the own mark yet.
    Unseen(Vec<Entry>),
    Failed(Failure),
}

impl Leaver<'_> {
    /// Brings the shared documents that a record has let go of to what the others want.
    pub(super) async fn release<W: World>(
        &self,
        world: &W,
        record: &Record,
    ) -> Result<(), Failure> {
        let former = record.former.as_ref().map(|former| {
            (Target { shared: Shared::KeyPolicy, of: former.key_arn.clone() }, &former.claim)
        });
        let own = Shared::ALL.into_iter().map(|shared| {
            let of = match shared {
                Shared::KeyPolicy => self.party.storage.key_arn,
                Shared::BucketPolicy | Shared::Cors => self.party.storage.bucket,
            };
            (Target { shared, of: of.to_owned() }, record.claim(shared))
        });
        let released: Vec<(Target, &String)> = own
            .chain(former)
            .filter_map(|(target, claim)| match claim {
                Claim::Released(name) => Some((target, name)),
                Claim::Off | Claim::Adopted | Claim::Managed(_) => None,
            })
            .collect();
        if released.is_empty() {
            return Ok(());
        }
        let entries = self.look(world).await?;
        let all = released.iter().map(|(target, name)| self.settle(world, target, name, &entries));
        try_join_all(all).await?;
        Ok(())
    }

    /// The register, once it shows what this connection said.
    async fn look<W: World>(&self, world: &W) -> Result<Vec<Entry>, Failure> {
        let look = || async {
            let failed = |error| Early::Failed(Failure::Call(error));
            let (own, entries) = join!(world.read(self.party.arn), world.list());
            let (own, entries) = (own.map_err(failed)?, entries.map_err(failed)?);
            let is_seen = match (own, self.mark) {
                (Some(policy), Some(mark)) => Record::read(&policy.tags).as_ref() == Some(mark),
                (None, _) | (_, None) => true,
            };
            if is_seen { Ok(entries) } else { Err(Early::Unseen(entries)) }
        };
        let is_unseen = |early: &Early| matches!(early, Early::Unseen(_));
        match look.retry(until_seen()).when(is_unseen).await {
            Ok(entries) | Err(Early::Unseen(entries)) => Ok(entries),
            Err(Early::Failed(failure)) => Err(failure),
        }
    }

    /// Settles one entry. That there is nothing to do is not believed at once: the entry is owned,
    /// so it was there, and whoever still wants it may be leaving at this very moment.
    async fn settle<W: World>(
        &self,
        world: &W,
        target: &Target,
        name: &str,
        entries: &[Entry],
    ) -> Result<(), Failure> {
        if self.act(world, target, name, entries.to_vec()).await? {
            return Ok(());
        }
        let look = || async {
            let entries = world.list().await.map_err(|error| Some(Failure::Call(error)))?;
            match self.act(world, target, name, entries).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(None),
                Err(failure) => Err(Some(failure)),
            }
        };
        match look.retry(second_looks()).when(Option::is_none).await {
            Ok(()) | Err(None) => Ok(()),
            Err(Some(failure)) => Err(failure),
        }
    }

    /// Writes what is to be written, and looks once more after the entry is gone: a connection
    /// made in between saw it standing. False if there is nothing to write.
    async fn act<W: World>(
        &self,
        world: &W,
        target: &Target,
        name: &str,
        mut entries: Vec<Entry>,
    ) -> Result<bool, Failure> {
        let Party { arn, account, storage, .. } = self.party;
        let mut has_written = false;
        loop {
            let document = documents::read(world, target, account).await?;
            let mut others = Others::new(entries.clone(), arn, storage.bucket);
            let (about, owned) = ((target.clone(), document), [name.to_owned()]);
            let mut task = Task::decide(world, &self.party, &mut others, about, owned).await?;
            if task.settle(&task.document)?.document.is_none() {
                return Ok(has_written);
            }
            has_written = true;
            if let Err(failure) = task.write(world, account).await {
                // A key or bucket that is gone, or as good as, has no grants.
                let is_gone = failure.call().is_some_and(|error| error.kind.is_gone());
                return if is_gone { Ok(true) } else { Err(failure) };
            }
            let (agrees, now) = join!(task.agrees(world, account), world.list());
            let mut now = now?;
            if !agrees? {
                // What took its time to be seen may have hidden who came in the meantime.
                task.confirm(world, &self.party).await?;
                now = world.list().await?;
            }
            if now.iter().all(|entry| entries.contains(entry)) {
                return Ok(true);
            }
            entries = now;
        }
    }
}
