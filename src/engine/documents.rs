//! The shared documents in the world: read, written, confirmed, and merged again when another
//! writer was faster. None of the three services offers compare-and-swap.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use serde_json::Value;

use crate::domain::document::{Document, Settled};
use crate::domain::ica::Storage;
use crate::domain::policy::PolicyDocument;
use crate::domain::preflight::{self, Goal};
use crate::domain::refusal::Refusal;
use crate::domain::register::{Interest, Target};
use crate::domain::shared::{Claim, Shared};
use crate::engine::failure::Failure;
use crate::engine::others::Others;
use crate::ports::{Bucket, Call, CallError, CallErrorKind, World};

/// How often a document is written before its other writers are given the field.
const WRITES: usize = 8;

/// How a document that disagrees is read again, as AWS may answer from before the write; and how
/// a write is repeated that AWS refuses beside another.
pub(super) fn patience() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(6)
}

/// A connection that looks after its entry in shared documents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party<'a> {
    /// Its own policy: the one entry of the register that is not somebody else's.
    pub(super) arn: &'a str,
    pub(super) account: &'a str,
    pub(super) storage: Storage<'a>,
    /// Whether it asks for entries, or lets go of them.
    pub(super) wants: bool,
    /// For which role.
    pub(super) role: Option<&'a String>,
}

impl<'a> Party<'a> {
    /// A connection that asks for entries, with this policy.
    pub(super) fn of(goal: &'a Goal, arn: &'a str) -> Self {
        let (account, storage) = (goal.home.account.as_str(), goal.storage());
        Self { arn, account, storage, wants: true, role: goal.role.as_ref() }
    }
}

/// What is to become of one shared document.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) target: Target,
    /// The entry that is to stand there, or none.
    pub(super) wanted: Option<Value>,
    /// For which roles.
    roles: BTreeSet<String>,
    /// Whether nobody can have come or gone unseen. Of several roles one may have been given up.
    is_certain: bool,
    /// Under which names ours stands there.
    pub(super) managed: BTreeSet<String>,
    /// The document as it was read.
    pub(super) document: Document,
    /// Whether it had to be written a second time.
    pub(super) merged_again: bool,
}

impl Task {
    /// Decides over the register as far as it is needed: a managed entry that is right as it
    /// stands needs no further witness, and neither does one that somebody else still wants.
    pub(super) async fn decide<W: World>(
        world: &W,
        party: &Party<'_>,
        others: &mut Others,
        (target, document): (Target, Document),
        owned: impl IntoIterator<Item = String>,
    ) -> Result<Self, Failure> {
        let owned: Vec<String> = owned.into_iter().collect();
        loop {
            let Interest { mut managed, wanted, mut roles } = others.interest(&target);
            roles.extend(party.role.filter(|_| party.wants).cloned());
            managed.extend(owned.iter().cloned());
            let is_due =
                (party.wants || wanted) && (target.shared == Shared::Cors || !roles.is_empty());
            let list: Vec<String> = roles.iter().cloned().collect();
            let mut task = Self {
                wanted: is_due.then(|| preflight::entry(target.shared, party.storage, &list)),
                is_certain: roles.len() <= 1,
                roles,
                managed,
                document: document.clone(),
                target: target.clone(),
                merged_again: false,
            };
            let settled = task.settle(&document)?;
            let is_conclusive =
                settled.document.is_none() && matches!(settled.claim, Claim::Managed(_));
            if is_conclusive || !others.read_more(world).await? {
                // What it is about to write under a name is its own from now on.
                task.managed.extend(settled.claim.owned().map(str::to_owned));
                return Ok(task);
            }
        }
    }

    /// For which roles an entry is to stand there: none if none is.
    pub(super) fn wanted_roles(&self) -> BTreeSet<&str> {
        let is_policy = self.wanted.is_some() && self.target.shared != Shared::Cors;
        self.roles.iter().filter(|_| is_policy).map(String::as_str).collect()
    }

    /// Takes in what newcomers want.
    pub(super) fn meet(&mut self, interest: Interest) {
        let knows =
            interest.roles.is_subset(&self.roles) && interest.managed.is_subset(&self.managed);
        self.is_certain &= knows;
        self.managed.extend(interest.managed);
    }

    /// Decides again, over the whole register as it is now.
    async fn decide_again<W: World>(
        &mut self,
        world: &W,
        party: &Party<'_>,
        document: Document,
    ) -> Result<(), Failure> {
        let mut others = Others::new(world.list().await?, party.arn, party.storage.bucket);
        while others.read_more(world).await? {}
        let owned = std::mem::take(&mut self.managed);
        let about = (self.target.clone(), document);
        let merged_again = self.merged_again;
        *self = Self::decide(world, party, &mut others, about, owned).await?;
        self.merged_again = merged_again;
        Ok(())
    }

    /// How the document and the connection end up.
    pub(super) fn settle(&self, document: &Document) -> Result<Settled, Failure> {
        document.settle(self.target.shared, self.wanted.as_ref(), &self.managed).map_err(|error| {
            Failure::Bug(format!("an edit broke the {}: {error}", self.target.shared))
        })
    }

    /// Writes the document, if it is not right as it was read.
    pub(super) async fn write<W: World>(&self, world: &W, account: &str) -> Result<(), Failure> {
        match self.settle(&self.document)?.document {
            Some(document) => self.put(world, account, &document).await,
            None => Ok(()),
        }
    }

    /// Reads the document again until it is right, and merges again when it stays wrong: after
    /// another look at the register, where somebody may have come or gone.
    ///
    /// # Errors
    /// `Unsettled` when others keep overwriting it.
    pub(super) async fn confirm<W: World>(
        &mut self,
        world: &W,
        party: &Party<'_>,
    ) -> Result<Claim, Failure> {
        for _ in 0..WRITES {
            let agreed = (|| self.agreement(world, party.account))
                .retry(patience())
                .when(|stray| matches!(stray, Stray::Wrong(_)))
                .await;
            let document = match agreed {
                Ok((_, claim)) if self.is_certain => return Ok(claim),
                Ok((document, _)) | Err(Stray::Wrong(document)) => document,
                Err(Stray::Failed(failure)) => return Err(failure),
            };
            self.decide_again(world, party, document).await?;
            if let Some(document) = self.settle(&self.document)?.document {
                self.merged_again = true;
                self.put(world, party.account, &document).await?;
            }
            self.is_certain = true;
        }
        Err(Failure::Unsettled(self.target.shared))
    }

    /// Why the document is not to be written like this, if there is a reason.
    pub(super) fn refusal(&self, document: &Document) -> Option<Refusal> {
        let (Target { shared, of }, none) = (&self.target, Value::Null);
        self.document.unfit(*shared, of, document, self.wanted.as_ref().unwrap_or(&none))
    }

    /// Whether the document is seen to be right at once.
    pub(super) async fn agrees<W: World>(&self, world: &W, account: &str) -> Result<bool, Failure> {
        match self.agreement(world, account).await {
            Ok(_) => Ok(self.is_certain),
            Err(Stray::Wrong(_)) => Ok(false),
            Err(Stray::Failed(failure)) => Err(failure),
        }
    }

    async fn put<W: World>(
        &self,
        world: &W,
        account: &str,
        document: &Document,
    ) -> Result<(), Failure> {
        if let Some(refusal) = self.refusal(document) {
            return Err(Failure::Refused(vec![refusal]));
        }
        let unwritten = |error: CallError| match (error.kind, &self.wanted) {
            (
                CallErrorKind::Denied | CallErrorKind::InvalidPrincipal | CallErrorKind::Lockout,
                Some(entry),
            ) => Failure::Unwritten {
                error: Box::new(error),
                shared: self.target.shared,
                entry: entry.to_string(),
                orphans: self.document.orphans(),
            },
            _ => error.into(),
        };
        let written = || write(world, &self.target, account, document);
        written.retry(patience()).when(CallError::is_contention).await.map_err(unwritten)
    }

    async fn agreement<W: World>(
        &self,
        world: &W,
        account: &str,
    ) -> Result<(Document, Claim), Stray> {
        let document = read(world, &self.target, account).await.map_err(Stray::Failed)?;
        let settled = self.settle(&document).map_err(Stray::Failed)?;
        match settled.document {
            Some(_) => Err(Stray::Wrong(document)),
            None => Ok((document, settled.claim)),
        }
    }
}

/// Why a document is not what it is to be.
enum Stray {
    /// It could not be read.
    Failed(Failure),
    /// It says something else.
    Wrong(Document),
}

/// A shared document as it stands now; what is gone has no entries.
pub(super) async fn read<W: World>(
    world: &W,
    target: &Target,
    account: &str,
) -> Result<Document, Failure> {
    let bucket = Bucket { name: &target.of, owner: account };
    let text = match target.shared {
        Shared::KeyPolicy => world.read_key_policy(&target.of).await?,
        Shared::BucketPolicy => or_gone(world.read_policy(bucket).await)?.flatten(),
        Shared::Cors => {
            return Ok(Document::Rules(
                or_gone(world.read_cors(bucket).await)?.unwrap_or_default(),
            ));
        }
    };
    Document::policy(text.as_deref()).map_err(|error| {
        Failure::Unreadable(format!(
            "the {} of `{}` is no policy document: {error}",
            target.shared, target.of
        ))
    })
}

/// What a deleted bucket no longer has.
pub(super) fn or_gone<T>(call: Call<T>) -> Call<Option<T>> {
    match call {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == CallErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn write<W: World>(
    world: &W,
    target: &Target,
    account: &str,
    document: &Document,
) -> Call<()> {
    let bucket = Bucket { name: &target.of, owner: account };
    match document {
        Document::Rules(rules) => world.write_cors(bucket, rules).await?,
        Document::Policy(policy) => {
            // A bucket policy without statements is none; a key always has a policy.
            let text = policy.as_ref().filter(|policy| !policy.statements().is_empty());
            match (target.shared, text) {
                (Shared::KeyPolicy, Some(policy)) => {
                    world.write_key_policy(&target.of, policy.text()).await?;
                }
                (Shared::KeyPolicy, None) => {}
                (_, policy) => {
                    world.write_policy(bucket, policy.map(PolicyDocument::text)).await?;
                }
            }
        }
    }
    tracing::info!(document = %target.shared, of = target.of, "shared document written");
    Ok(())
}
