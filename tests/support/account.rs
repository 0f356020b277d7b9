//! An AWS account in memory: what stands in it, what was called, and what a late replica still shows.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ica_storage::ports::StackResource;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::chance::Chance;
use crate::support::state::{State, difference};

/// The account number.
pub(crate) const ACCOUNT: &str = "123456789012";

/// When the first policy of a history is made, in milliseconds since 1970.
const FIRST_DATE: i64 = 1_767_225_600_000;

#[derive(Debug)]
pub(crate) struct Account {
    books: Mutex<Books>,
    opened: Instant,
}

#[derive(Debug)]
pub(super) struct Books {
    pub(super) state: State,
    /// The account as it would be without any connection: only what others did.
    without_us: State,
    /// Earlier states, each with the moment it ended, while a replica may show them.
    past: Vec<(Instant, State)>,
    lag: Option<(Duration, Chance)>,
    frozen: Vec<Frozen>,
    pub(super) serial: u64,
    pub(super) calls: Vec<LoggedCall>,
    statuses: BTreeMap<String, Statuses>,
    status_lag: usize,
}

/// A read that keeps showing an earlier state.
#[derive(Debug)]
struct Frozen {
    action: &'static str,
    reads: usize,
    state: State,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedCall {
    pub(crate) action: &'static str,
    pub(crate) resource: String,
    pub(crate) is_write: bool,
    /// How old the account was.
    pub(crate) at: Duration,
}

/// What CloudFormation says of a stack.
#[derive(Debug, Default)]
struct Statuses {
    stack: Option<String>,
    /// By logical id: the resource, what it was before, and how many reads still show that.
    resources: BTreeMap<String, (StackResource, Option<StackResource>, usize)>,
}

impl Account {
    pub(crate) fn new(state: State) -> Self {
        let books = Books {
            without_us: state.clone(),
            state,
            past: vec![],
            lag: None,
            frozen: vec![],
            serial: 0,
            calls: vec![],
            statuses: BTreeMap::new(),
            status_lag: 0,
        };
        // The jitter of retries comes from here: the same history takes the same time.
        fastrand::seed(7);
        Self { books: Mutex::new(books), opened: Instant::now() }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// The account as it stands.
    pub(crate) fn state(&self) -> State {
        self.books().state.clone()
    }

    /// The account as it would stand if there had never been a connection.
    pub(crate) fn without_us(&self) -> State {
        self.books().without_us.clone()
    }

    /// Somebody else changes the account.
    pub(crate) fn foreign(&self, change: impl Fn(&mut State)) {
        let mut books = self.books();
        books.remember();
        change(&mut books.state);
        change(&mut books.without_us);
    }

    /// What is left of any connection, if anything: the account has to be as others made it, to
    /// the byte.
    pub(crate) fn trace(&self) -> Option<String> {
        let books = self.books();
        difference(&books.state.undated(), &books.without_us.undated())
    }

    /// What others lost by a connection, if anything: each of their statements and rules stands,
    /// in order, and at most one of ours beside them.
    pub(crate) fn harm(&self) -> Option<String> {
        let books = self.books();
        let (found, expected) = (documents(&books.state), documents(&books.without_us));
        let harmed = found.iter().zip(&expected).find(|((_, found), (_, theirs))| {
            let mut rest = theirs.iter().peekable();
            let ours = found.iter().filter(|entry| rest.next_if_eq(entry).is_none()).count();
            rest.next().is_some() || ours > 1
        });
        harmed.map(|((resource, found), (_, theirs))| {
            format!("{resource} has {found:#?}, and others wrote {theirs:#?}")
        })
    }

    /// Every read of what AWS replicates may show the account as it was up to `lag` ago.
    pub(crate) fn replicate_late(&self, lag: Duration, chance: Chance) {
        self.books().lag = Some((lag, chance));
    }

    /// Waits until every replica is up to date.
    #[expect(clippy::disallowed_methods, reason = "the account takes its time")]
    pub(crate) async fn settle(&self) {
        let lag = self.books().lag.as_ref().map(|(lag, _)| *lag);
        if let Some(lag) = lag {
            tokio::time::sleep(lag + Duration::from_millis(1)).await;
        }
    }

    /// The next reads with this action show an earlier state.
    pub(crate) fn show(&self, state: &State, action: &'static str, reads: usize) {
        self.books().frozen.push(Frozen { action, reads, state: state.clone() });
    }

    /// A resource shows the status before for so many reads after each change.
    pub(crate) fn lag_statuses(&self, reads: usize) {
        self.books().status_lag = reads;
    }

    pub(crate) fn calls(&self) -> Vec<LoggedCall> {
        self.books().calls.clone()
    }

    /// What was written since so many calls had been made.
    pub(crate) fn writes_since(&self, calls: usize) -> Vec<LoggedCall> {
        self.books().calls[calls..].iter().filter(|call| call.is_write).cloned().collect()
    }

    pub(crate) fn set_status(
        &self,
        stack: &str,
        logical_id: &str,
        resource: StackResource,
        whole: &str,
    ) {
        let mut books = self.books();
        let lag = books.status_lag;
        let statuses = books.statuses.entry(stack.to_owned()).or_default();
        let before = statuses.resources.remove(logical_id).map(|(resource, ..)| resource);
        // It is at rest when all of it is.
        let mut others = statuses.resources.values();
        let is_busy = others.any(|(other, ..)| other.status.ends_with("_IN_PROGRESS"));
        if !(is_busy && whole.ends_with("_COMPLETE")) {
            statuses.stack = Some(whole.to_owned());
        }
        statuses.resources.insert(logical_id.to_owned(), (resource, before, lag));
    }

    pub(super) fn stack_status(&self, stack: &str) -> Option<String> {
        self.books().statuses.get(stack)?.stack.clone()
    }

    pub(super) fn resource(&self, stack: &str, logical_id: &str) -> Option<StackResource> {
        let mut books = self.books();
        let resources = &mut books.statuses.get_mut(stack)?.resources;
        let (resource, before, lag) = resources.get_mut(logical_id)?;
        if *lag > 0 {
            *lag -= 1;
            return before.clone();
        }
        Some(resource.clone())
    }

    /// The date IAM would give: whole seconds.
    pub(super) fn date(&self) -> i64 {
        FIRST_DATE + i64::try_from(self.opened.elapsed().as_secs()).unwrap() * 1000
    }
}

impl Books {
    /// Keeps what a late replica may still show.
    pub(super) fn remember(&mut self) {
        if self.lag.is_some() {
            self.past.push((Instant::now(), self.state.clone()));
        }
    }

    /// The account as this read sees it.
    pub(super) fn seen(&mut self, action: &'static str) -> &State {
        let frozen = self.frozen.iter_mut().position(|frozen| frozen.action == action);
        if let Some(index) = frozen {
            match self.frozen[index].reads.checked_sub(1) {
                Some(left) => {
                    self.frozen[index].reads = left;
                    return &self.frozen[index].state;
                }
                None => drop(self.frozen.remove(index)),
            }
        }
        let Some((lag, chance)) = &mut self.lag else { return &self.state };
        let age = chance.below(u64::try_from(lag.as_millis()).unwrap() + 1);
        let shown = Instant::now().checked_sub(Duration::from_millis(age));
        let past = self.past.iter().find(|(ended, _)| shown.is_some_and(|shown| *ended > shown));
        past.map_or(&self.state, |(_, state)| state)
    }

    /// Another writer puts a document back as it read it before our write.
    pub(super) fn overwrite(&mut self, before: &State, action: &str, resource: &str) {
        match (action, before.keys.get(resource)) {
            (_, Some(key)) => self.state.key(resource).policy.clone_from(&key.policy),
            ("s3:PutBucketCORS", None) => {
                self.state.bucket(resource).cors.clone_from(&before.buckets[resource].cors);
            }
            (_, None) => {
                self.state.bucket(resource).policy.clone_from(&before.buckets[resource].policy);
            }
        }
    }

    /// It did so to write something of its own.
    pub(super) fn intrude(&mut self, action: &str, resource: &str) {
        let name = format!("another-hand-{}", self.serial);
        for state in [&mut self.state, &mut self.without_us] {
            match action {
                "s3:PutBucketCORS" => add_foreign_rule(state, resource, &name),
                _ => add_foreign(state, resource, &name),
            }
        }
    }
}

/// Every shared document with its entries.
fn documents(state: &State) -> Vec<(String, Vec<Value>)> {
    let entries = |text: &str| -> Vec<Value> {
        let mut document: Value = serde_json::from_str(text).unwrap();
        serde_json::from_value(document["Statement"].take()).unwrap()
    };
    let keys = state.keys.iter().map(|(arn, key)| (arn.clone(), entries(&key.policy)));
    let buckets = state.buckets.iter().flat_map(|(name, bucket)| {
        let policy = bucket.policy.as_deref().map(entries).unwrap_or_default();
        [(name.clone(), policy), (format!("{name}, CORS"), bucket.cors.clone())]
    });
    keys.chain(buckets).collect()
}

/// Appends a CORS rule of somebody else's.
pub(crate) fn add_foreign_rule(state: &mut State, bucket: &str, id: &str) {
    let rule =
        json!({"ID": id, "AllowedMethods": ["GET"], "AllowedOrigins": ["https://lab.example"]});
    state.bucket(bucket).cors.push(rule);
}

/// Appends a statement of somebody else's to the policy of a key or a bucket.
pub(crate) fn add_foreign(state: &mut State, resource: &str, sid: &str) {
    let statement = json!({
        "Sid": sid, "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:role/{sid}")},
        "Action": "sts:AssumeRole", "Resource": "*",
    });
    edit_policy(state, resource, |statements| statements.push(statement.clone()));
}

/// Takes a statement of somebody else's out again.
pub(crate) fn remove_foreign(state: &mut State, resource: &str, sid: &str) {
    edit_policy(state, resource, |statements| statements.retain(|entry| entry["Sid"] != sid));
}

/// Edits a policy as most programs do: parse, change, print.
fn edit_policy(state: &mut State, resource: &str, edit: impl Fn(&mut Vec<Value>)) {
    let text = match state.keys.get(resource) {
        Some(key) => Some(key.policy.clone()),
        None => state.bucket(resource).policy.clone(),
    };
    let none = || json!({"Version": "2012-10-17", "Statement": []});
    let mut document = text.map_or_else(none, |text| serde_json::from_str(&text).unwrap());
    edit(document["Statement"].as_array_mut().unwrap());
    let is_empty = document["Statement"].as_array().unwrap().is_empty();
    let text = Some(document.to_string()).filter(|_| !is_empty);
    match state.keys.get_mut(resource) {
        Some(key) => key.policy = text.unwrap(),
        None => state.bucket(resource).policy = text,
    }
}
