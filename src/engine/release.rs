//! Letting go of an entry that others may still want.
//!
//! Whoever lets go says so in the register first, sees that it is said, and then looks whether
//! somebody else wants the entry. Of two that let go at once at least one so sees the other.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable, RetryableWithContext};
use futures::future::{join_all, try_join_all};
use futures::join;

use crate::domain::document::Document;
use crate::domain::register::{Entry, Record, Target};
use crate::engine::documents::{self, Party, Task};
use crate::engine::failure::Failure;
use crate::engine::fence;
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

/// When it is looked at again whether there is nothing to do: for about as long as IAM, KMS and
/// CloudFormation usually take to show the same to everybody.
pub(super) fn second_looks() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(500))
        .with_max_times(2)
}

/// An entry that is let go of: where it stands, and under which name.
#[derive(Clone)]
struct Left {
    target: Target,
    name: String,
}

/// Each with what is to become of its document.
type Tasks = Vec<(Left, Task)>;

/// The register, and the documents of what is left, as far as they could be read.
type Look = (Vec<Entry>, Vec<Result<Document, Failure>>);

/// What a look found too early.
enum Early {
    /// The register does not show the own mark yet.
    Unseen(Look),
    Failed(Failure),
}

impl Leaver<'_> {
    /// Brings the shared documents that a record has let go of to what the others want.
    pub(super) async fn release<W: World>(
        &self,
        world: &W,
        record: &Record,
    ) -> Result<(), Failure> {
        let left = record.released_entries(self.party.storage.bucket);
        let left = left.into_iter().map(|(target, name)| Left { target, name }).collect();
        let settle = |left: Vec<Left>| async {
            match self.settle(world, left).await {
                Ok(unproven) if unproven.is_empty() => (unproven, Ok(())),
                Ok(unproven) => (unproven, Err(None)),
                Err(failure) => (vec![], Err(Some(failure))),
            }
        };
        let settled = settle.retry(second_looks()).context(left);
        match settled.when(Option::is_none).await.1 {
            Ok(()) | Err(None) => Ok(()),
            Err(Some(failure)) => Err(failure),
        }
    }

    /// Settles what is left, and returns of what it had nothing to do for reasons that may have
    /// passed: the entry is owned, so it was there, and whoever still wants it may be leaving at
    /// this very moment.
    async fn settle<W: World>(&self, world: &W, left: Vec<Left>) -> Result<Vec<Left>, Failure> {
        if left.is_empty() {
            return Ok(left);
        }
        let (entries, documents) = self.look(world, &left).await?;
        let mut others = self.others(entries.clone());
        // A document that cannot be settled keeps no other from it.
        let (read, unread) = read_or_not(left, documents);
        let (due, right) = self.decide(world, &mut others, read).await?;
        let (written, staying) =
            join!(self.write(world, due, entries), staying(world, &right, &others));
        written.and(unread)?;
        let is_proven = |task: &Task| {
            let witnesses = witnesses(task, &others);
            !witnesses.is_empty() && witnesses.iter().all(|index| staying.contains(index))
        };
        let unproven = right.into_iter().filter(|(_, task)| !is_proven(task));
        Ok(unproven.map(|(left, _)| left).collect())
    }

    /// The register, once it shows what this connection said, and the documents.
    async fn look<W: World>(&self, world: &W, left: &[Left]) -> Result<Look, Failure> {
        let look = || async {
            let failed = |error| Early::Failed(Failure::Call(error));
            let (own, entries, documents) =
                join!(world.read(self.party.arn), world.list(), self.read(world, left));
            let (own, entries) = (own.map_err(failed)?, entries.map_err(failed)?);
            let look = (entries, documents);
            let is_seen = match (own, self.mark) {
                (Some(policy), Some(mark)) => Record::read(&policy.tags).as_ref() == Some(mark),
                (None, _) | (_, None) => true,
            };
            if is_seen { Ok(look) } else { Err(Early::Unseen(look)) }
        };
        let is_unseen = |early: &Early| matches!(early, Early::Unseen(_));
        match look.retry(until_seen()).when(is_unseen).await {
            Ok(look) | Err(Early::Unseen(look)) => Ok(look),
            Err(Early::Failed(failure)) => Err(failure),
        }
    }

    async fn read<W: World>(&self, world: &W, left: &[Left]) -> Vec<Result<Document, Failure>> {
        let account = self.party.account;
        join_all(left.iter().map(|left| documents::read(world, &left.target, account))).await
    }

    fn others(&self, entries: Vec<Entry>) -> Others {
        Others::new(entries, self.party.arn, self.party.storage.bucket)
    }

    /// What is to be written, and what is right as it stands.
    async fn decide<W: World>(
        &self,
        world: &W,
        others: &mut Others,
        left: Vec<(Left, Document)>,
    ) -> Result<(Tasks, Tasks), Failure> {
        let (mut due, mut right) = (vec![], vec![]);
        for (left, document) in left {
            let about = (left.target.clone(), document);
            let task = Task::decide(world, &self.party, others, about, [left.name.clone()]).await?;
            let is_right = task.settle(&task.document)?.document.is_none();
            if is_right { &mut right } else { &mut due }.push((left, task));
        }
        Ok((due, right))
    }

    /// Writes what is to be written, and looks once more after the entries are gone: a connection
    /// made in between saw them standing.
    async fn write<W: World>(
        &self,
        world: &W,
        mut due: Tasks,
        mut entries: Vec<Entry>,
    ) -> Result<(), Failure> {
        let account = self.party.account;
        let mut settled = Ok(());
        while !due.is_empty() {
            let written = due.into_iter().map(|(left, task)| async {
                let written = or_gone(task.write(world, account).await)?;
                Ok::<_, Failure>(written.map(|()| (left, task)))
            });
            let mut stand: Tasks = vec![];
            for written in join_all(written).await {
                match written {
                    Ok(written) => stand.extend(written),
                    Err(failure) => settled = settled.and(Err(failure)),
                }
            }
            let agree = stand.iter().map(|(_, task)| task.agrees(world, account));
            let (agreed, now) = join!(try_join_all(agree), world.list());
            let mut now = now?;
            if agreed?.contains(&false) {
                let confirmed = stand.iter_mut().map(|(_, task)| task.confirm(world, &self.party));
                for confirmed in join_all(confirmed).await {
                    settled = settled.and(confirmed.map(drop));
                }
                // What took its time to be seen may have hidden who came in the meantime.
                now = world.list().await?;
            }
            if now.iter().all(|entry| entries.contains(entry)) {
                break;
            }
            entries = now;
            let left: Vec<Left> = stand.into_iter().map(|(left, _)| left).collect();
            let documents = self.read(world, &left).await;
            let (read, unread) = read_or_not(left, documents);
            settled = settled.and(unread);
            let mut others = self.others(entries.clone());
            (due, _) = self.decide(world, &mut others, read).await?;
        }
        settled
    }
}

/// What could be read, and the first failure of what could not.
fn read_or_not(
    left: Vec<Left>,
    documents: Vec<Result<Document, Failure>>,
) -> (Vec<(Left, Document)>, Result<(), Failure>) {
    let (mut read, mut unread) = (vec![], Ok(()));
    for (left, document) in left.into_iter().zip(documents) {
        match document {
            Ok(document) => read.push((left, document)),
            Err(failure) => unread = unread.and(Err(failure)),
        }
    }
    (read, unread)
}

/// A key or bucket that is gone, or as good as, has no grants.
fn or_gone(written: Result<(), Failure>) -> Result<Option<()>, Failure> {
    match written {
        Err(failure) if failure.call().is_some_and(|error| error.kind.is_gone()) => Ok(None),
        written => written.map(Some),
    }
}

/// The connections that an entry stands for, as many as it takes to tell: one, and one for each
/// role in it. By their place among the others; none if the entry stands for nobody.
fn witnesses(task: &Task, others: &Others) -> Vec<usize> {
    let mut roles = task.wanted_roles();
    let mut witnesses = vec![];
    for (index, (entry, record)) in others.known().iter().enumerate() {
        let interest = task.target.interest([(entry.bucket.as_str(), record)].into_iter());
        let is_telling = interest.roles.iter().any(|role| roles.contains(role.as_str()));
        if interest.wanted && (witnesses.is_empty() || is_telling) {
            roles.retain(|role| !interest.roles.contains(*role));
            witnesses.push(index);
        }
    }
    if roles.is_empty() { witnesses } else { vec![] }
}

/// Those of the witnesses whose stack is at rest: they are not about to leave.
async fn staying<W: World>(world: &W, right: &Tasks, others: &Others) -> BTreeSet<usize> {
    let all = right.iter().flat_map(|(_, task)| witnesses(task, others));
    let distinct: BTreeSet<usize> = all.collect();
    let asked = others.known().iter().enumerate().filter(|(index, _)| distinct.contains(index));
    let stay = asked.map(|(index, (entry, record))| async move {
        fence::is_at_rest(world, entry, record).await.then_some(index)
    });
    join_all(stay).await.into_iter().flatten().collect()
}
