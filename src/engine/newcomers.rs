//! Who else joined while this connection was made: what was decided without them is looked at again.

use backon::Retryable;

use crate::domain::identity::Identity;
use crate::domain::register::{Entry, Record};
use crate::engine::documents::Task;
use crate::engine::ensure::Job;
use crate::engine::failure::Failure;
use crate::engine::observe::Observed;
use crate::engine::others::{self, Others};
use crate::engine::release::until_seen;
use crate::ports::World;

/// What the register shows after this connection is in it, and did not before.
pub(super) struct Newcomers {
    ours: Option<Entry>,
    others: Others,
    /// Whether IAM took its time to show this connection.
    pub(super) were_late: bool,
}

/// Looks at the register until this connection is in it; one that was before changes nothing.
pub(super) async fn newcomers<W: World>(
    world: &W,
    job: &Job<'_>,
    observed: &Observed,
) -> Result<Newcomers, Failure> {
    let (arn, bucket) = (job.policy_arn(), job.spec.bucket.as_str());
    if observed.own.is_some() {
        return Ok(Newcomers {
            ours: None,
            others: Others::new(vec![], &arn, bucket),
            were_late: false,
        });
    }
    let is_ours = |entry: &&Entry| entry.arn == arn;
    let mut entries = world.list().await?;
    let were_late = !entries.iter().any(|entry| is_ours(&entry));
    if were_late {
        let look = || async {
            let entries = world.list().await.map_err(|_| vec![])?;
            if entries.iter().any(|entry| is_ours(&entry)) { Ok(entries) } else { Err(entries) }
        };
        entries = look.retry(until_seen()).await.unwrap_or_else(|unseen: Vec<Entry>| unseen);
    }
    let ours = entries.iter().find(is_ours).cloned();
    entries.retain(|entry| !observed.entries.contains(entry));
    Ok(Newcomers { ours, others: Others::new(entries, &arn, bucket), were_late })
}

impl Newcomers {
    /// Tells the tasks what they could not know: an entry that seemed to be nobody's may be that of
    /// a connection made at the same moment, and one for another role may have been written over.
    /// True if there is anybody.
    pub(super) async fn introduce<W: World>(
        &mut self,
        world: &W,
        tasks: &mut [Task],
        record: &mut Record,
    ) -> Result<bool, Failure> {
        while self.others.read_more(world).await? {}
        for task in tasks {
            task.meet(self.others.interest(&task.target));
            record.set_claim(task.target.shared, task.settle(&task.document)?.claim);
        }
        Ok(!self.others.known().is_empty())
    }

    /// Of two that raced for one path the later gives way: true if this one did not have to.
    ///
    /// IAM knows the second. Of two made in the same one, the first by name waits for the other to
    /// give way, and gives way itself if that does not happen: the other had looked before.
    pub(super) async fn give_way<W: World>(
        &mut self,
        world: &W,
        job: &Job<'_>,
    ) -> Result<bool, Failure> {
        let order = |entry: &Entry| (entry.created, entry.name.clone());
        let Some(ours) = self.ours.as_ref().map(order) else { return Ok(false) };
        let Identity { owner, place } = job.identity;
        let rivals = self.others.rivals(world, place, owner).await?;
        for (entry, record) in &rivals {
            let is_first = ours < order(entry);
            let has_gone = is_first && has_gone(world, entry).await?;
            if !has_gone && (!is_first || entry.created == ours.0) {
                return Err(Failure::GaveWay(others::taken(place, entry, record)));
            }
        }
        Ok(!rivals.is_empty())
    }
}

/// Waits for a connection to disappear.
async fn has_gone<W: World>(world: &W, entry: &Entry) -> Result<bool, Failure> {
    let look = || async {
        match world.read(&entry.arn).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(None),
            Err(error) => Err(Some(error)),
        }
    };
    match look.retry(until_seen()).when(Option::is_none).await {
        Ok(()) => Ok(true),
        Err(None) => Ok(false),
        Err(Some(error)) => Err(error.into()),
    }
}
