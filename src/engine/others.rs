//! The other connections of the register, read only as far as a decision needs them.

use futures::future::join_all;

use crate::domain::identity::Owner;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::register::{Entry, Interest, Record, State, Target};
use crate::domain::spec::Place;
use crate::ports::{Call, World};

/// Records read at once: IAM's quota for reads is shared with everything in the account.
const BATCH: usize = 10;

/// The other connections.
pub(super) struct Others {
    /// Not read yet, the most telling last.
    waiting: Vec<Entry>,
    /// Read: those that are gone, or are none of the register's, are left out.
    known: Vec<(Entry, Record)>,
}

impl Others {
    /// All but this one; those of its bucket first.
    pub(super) fn new(mut entries: Vec<Entry>, own_arn: &str, bucket: &str) -> Self {
        entries.retain(|entry| entry.arn != own_arn);
        entries.sort_by_key(|entry| entry.bucket == bucket);
        Self { waiting: entries, known: vec![] }
    }

    /// The same, some of whose records were read before.
    pub(super) fn knowing(mut self, known: &[(Entry, Record)], own_arn: &str) -> Self {
        self.waiting.retain(|entry| !known.iter().any(|(known, _)| known == entry));
        self.known.extend(known.iter().filter(|(entry, _)| entry.arn != own_arn).cloned());
        self
    }

    /// What is known so far.
    pub(super) fn known(&self) -> &[(Entry, Record)] {
        &self.known
    }

    /// What those that are known so far want of a document.
    pub(super) fn interest(&self, target: &Target) -> Interest {
        target.interest(self.known.iter().map(|(entry, record)| (entry.bucket.as_str(), record)))
    }

    /// Reads some more; false if there are none.
    pub(super) async fn read_more<W: World>(&mut self, world: &W) -> Call<bool> {
        let some = self.waiting.split_off(self.waiting.len().saturating_sub(BATCH));
        let more = !some.is_empty();
        self.read(world, some).await?;
        Ok(more)
    }

    /// Reads those that meet the condition, and returns them.
    pub(super) async fn read_those<W: World>(
        &mut self,
        world: &W,
        meets: impl Fn(&Entry) -> bool,
    ) -> Call<Vec<&(Entry, Record)>> {
        let some = self.waiting.extract_if(.., |entry| meets(entry)).collect();
        self.read(world, some).await?;
        Ok(self.known.iter().filter(|(entry, _)| meets(entry)).collect())
    }

    async fn read<W: World>(&mut self, world: &W, entries: Vec<Entry>) -> Call<()> {
        let policies = join_all(entries.iter().map(|entry| world.read(&entry.arn))).await;
        for (entry, policy) in entries.into_iter().zip(policies) {
            if let Some(record) = policy?.and_then(|policy| Record::read(&policy.tags)) {
                self.known.push((entry, record));
            }
        }
        Ok(())
    }

    /// The active connections of other resources that ICA would see as the same path.
    pub(super) async fn rivals<W: World>(
        &mut self,
        world: &W,
        place: &Place,
        owner: &Owner,
    ) -> Call<Vec<&(Entry, Record)>> {
        let mut rivals = self.read_those(world, |entry| entry.overlaps(place)).await?;
        rivals.retain(|(_, record)| record.state == State::Active && record.owner != *owner);
        Ok(rivals)
    }
}

/// Refuses a path that a connection of another resource has.
pub(super) fn taken(place: &Place, entry: &Entry, record: &Record) -> Refusal {
    let theirs = match entry.prefix.as_str() {
        "" => "the whole bucket".to_owned(),
        prefix => format!("`{prefix}`"),
    };
    Refusal::new(
        Code::AlreadyExists,
        "KeyPrefix",
        format!(
            "`{}` in bucket `{}` overlaps {theirs}, which stack `{}` connects as `{}`",
            place.prefix,
            place.bucket,
            record.owner.stack_name(),
            record.owner.logical_id,
        ),
        "choose a prefix that neither encloses another connection's nor lies within it",
    )
}
