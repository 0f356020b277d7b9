//! The account as one request reaches it: calls that fail, hang, dawdle, wait for their turn.

use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use ica_storage::ports::{Call, CallError, CallErrorKind};

use crate::support::account::{Account, LoggedCall};
use crate::support::chance::Chance;
use crate::support::state::{No, State};
use crate::support::turns::Turns;

/// Actions that write a document other hands edit too.
const DOCUMENTS: [&str; 3] = ["kms:PutKeyPolicy", "s3:PutBucketPolicy", "s3:PutBucketCORS"];

/// Actions on the folder, which a Delete does not fail over.
pub(crate) const FOLDER: [&str; 3] = ["s3:GetObject", "s3:ListBucket", "s3:DeleteObject"];

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It fails and changes nothing.
    Before(CallErrorKind),
    /// It takes effect, and its reply is lost.
    After(CallErrorKind),
    /// It is never answered.
    Hang,
    /// It takes effect, and is never answered.
    HangAfter,
    /// The program fails there, not the call.
    Panic,
}

/// Calls of a request that go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The first and the last, counted from one.
    pub(crate) calls: (usize, usize),
    /// Only this action.
    pub(crate) action: Option<&'static str>,
    /// Not these actions.
    pub(crate) spares: &'static [&'static str],
    pub(crate) mishap: Mishap,
}

/// How a request fares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) faults: Vec<Fault>,
    /// Every call takes some milliseconds on its way there and back.
    pub(crate) pace: Option<Chance>,
    /// Every call takes this long.
    pub(crate) latency: Option<Duration>,
    /// So many of its writes to shared documents are overwritten at once by another writer.
    pub(crate) overwrites: usize,
    /// That writer leaves a statement or a rule of its own.
    pub(crate) intrudes: bool,
    /// What a service says when a call fails, if not the usual.
    pub(crate) words: Option<&'static str>,
}

impl Weather {
    pub(crate) fn fair() -> Self {
        Self::default()
    }

    /// One call goes wrong.
    pub(crate) fn at(call: usize, mishap: Mishap) -> Self {
        Self::with(Fault { calls: (call, call), action: None, spares: &[], mishap })
    }

    /// Every call from this one on goes wrong.
    pub(crate) fn from(call: usize, mishap: Mishap) -> Self {
        Self::with(Fault { calls: (call, usize::MAX), action: None, spares: &[], mishap })
    }

    /// An action goes wrong each time.
    pub(crate) fn on(action: &'static str, mishap: Mishap) -> Self {
        Self::with(Fault { calls: (1, usize::MAX), action: Some(action), spares: &[], mishap })
    }

    /// The same, but for these actions.
    pub(crate) fn sparing(mut self, actions: &'static [&'static str]) -> Self {
        self.faults.iter_mut().for_each(|fault| fault.spares = actions);
        self
    }

    fn with(fault: Fault) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }

    pub(crate) fn paced(chance: &mut Chance) -> Self {
        Self { pace: Some(chance.split()), ..Self::default() }
    }
}

/// A request's way to the account.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(super) account: &'a Account,
    turns: Option<(&'a Turns, usize)>,
    course: Mutex<Course>,
}

#[derive(Debug)]
struct Course {
    weather: Weather,
    calls: usize,
}

impl<'a> Session<'a> {
    pub(crate) fn new(account: &'a Account, weather: Weather) -> Self {
        Self { account, turns: None, course: Mutex::new(Course { weather, calls: 0 }) }
    }

    pub(crate) fn in_turns(mut self, turns: &'a Turns, who: usize) -> Self {
        self.turns = Some((turns, who));
        self
    }

    /// A read of what is the same everywhere at once.
    pub(super) async fn read<T>(
        &self,
        action: &'static str,
        resource: &str,
        look: impl FnOnce(&State) -> Result<T, No>,
    ) -> Call<T> {
        let effect = || look(&self.account.books().state);
        self.call(action, resource, false, effect).await
    }

    /// A read that a late replica may answer.
    pub(super) async fn read_late<T>(
        &self,
        action: &'static str,
        resource: &str,
        look: impl FnOnce(&State) -> Result<T, No>,
    ) -> Call<T> {
        let effect = || look(self.account.books().seen(action));
        self.call(action, resource, false, effect).await
    }

    /// A write: always to what is true now.
    pub(super) async fn write<T>(
        &self,
        action: &'static str,
        resource: &str,
        change: impl FnOnce(&mut State, u64) -> Result<T, No>,
    ) -> Call<T> {
        let effect = || {
            let overwritten = DOCUMENTS.contains(&action) && self.is_overwritten();
            let mut books = self.account.books();
            books.remember();
            books.serial += 1;
            let (serial, before) = (books.serial, overwritten.then(|| books.state.clone()));
            let done = change(&mut books.state, serial);
            if let Some(before) = before {
                books.overwrite(&before, action, resource);
                if self.course.lock().unwrap().weather.intrudes {
                    books.intrude(action, resource);
                }
            }
            done
        };
        self.call(action, resource, true, effect).await
    }

    pub(super) async fn call<T>(
        &self,
        action: &'static str,
        resource: &str,
        is_write: bool,
        effect: impl FnOnce() -> Result<T, No>,
    ) -> Call<T> {
        let (mishap, words) = self.depart(action);
        let at = self.account.age();
        let logged = LoggedCall { action, resource: resource.to_owned(), is_write, at };
        self.account.books().calls.push(logged);
        if let Some((turns, who)) = self.turns {
            turns.pass(who).await;
        }
        self.dawdle().await;
        let error = |kind, message: &str| CallError {
            action,
            resource: resource.to_owned(),
            kind,
            code: format!("{kind:?}"),
            message: words.unwrap_or(message).to_owned(),
            request_id: "7f3c".to_owned(),
        };
        match mishap {
            Some(Mishap::Before(kind)) => return Err(error(kind, "it did not work out")),
            Some(Mishap::Hang) => return pending().await,
            Some(Mishap::Panic) => panic!("a defect"),
            Some(Mishap::After(_) | Mishap::HangAfter) | None => {}
        }
        let done = effect().map_err(|(kind, message)| error(kind, message));
        match mishap {
            Some(Mishap::After(kind)) => return Err(error(kind, "the reply was lost")),
            Some(Mishap::HangAfter) => return pending().await,
            Some(Mishap::Before(_) | Mishap::Hang | Mishap::Panic) | None => {}
        }
        self.dawdle().await;
        done
    }

    fn depart(&self, action: &'static str) -> (Option<Mishap>, Option<&'static str>) {
        let mut course = self.course.lock().unwrap();
        course.calls += 1;
        let call = course.calls;
        let strikes = |fault: &&Fault| {
            (fault.calls.0..=fault.calls.1).contains(&call)
                && fault.action.is_none_or(|only| only == action)
                && !fault.spares.contains(&action)
        };
        let mishap = course.weather.faults.iter().find(strikes).map(|fault| fault.mishap);
        (mishap, course.weather.words)
    }

    fn is_overwritten(&self) -> bool {
        let mut course = self.course.lock().unwrap();
        let left = course.weather.overwrites.checked_sub(1);
        course.weather.overwrites = left.unwrap_or_default();
        left.is_some()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the account takes its time, the engine does not"
    )]
    async fn dawdle(&self) {
        let time = {
            let weather = &mut self.course.lock().unwrap().weather;
            let pace = weather.pace.as_mut().map(|pace| Duration::from_millis(pace.below(40)));
            // Half of it on the way there, half on the way back.
            pace.or(weather.latency.map(|latency| latency / 2))
        };
        if let Some(time) = time {
            tokio::time::sleep(time).await;
        }
    }
}
