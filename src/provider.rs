//! One invocation: event → work → answer. The last line of defence, so that an answer always goes out.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use futures::{FutureExt, join};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::callback::{Callback, Undelivered};
use crate::cloudformation::request::{Kind, Request, Unreadable};
use crate::cloudformation::response::{Outcome, Response};
use crate::domain::identity::Home;
use crate::domain::refusal::{Code, Refusal};
use crate::engine::failure::{Failure, Trace};
use crate::engine::{self, Context};
use crate::metrics;
use crate::ports::World;

/// Kept of an invocation's time for delivering the answer.
const FOR_DELIVERY: Duration = Duration::from_secs(20);

/// Kept for saying that it could not be delivered.
const FOR_THE_LOG: Duration = Duration::from_secs(1);

/// What the provider was deployed with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Accounts whose roles may be let in; Illumina's if empty.
    pub principal_accounts: Vec<String>,
    /// The buckets that its role reaches, in which `*` and `?` stand for any characters.
    pub bucket_name_pattern: String,
    /// Where the function is; unknown where a local stand-in makes its ARN up.
    pub home: Option<Home>,
    /// Whether an answer may go to an address without TLS, as a local stand-in has.
    pub allow_http: bool,
    /// For the sentences of failures.
    pub trace: Trace,
}

/// Why an invocation fails, so that Lambda tries it again.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// There is nobody to answer.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The answer did not get out.
    #[error(transparent)]
    Undelivered(#[from] Undelivered),
}

/// Works on an event until `deadline` and answers it.
///
/// # Guarantees
/// An event with a usable address gets exactly one answer that CloudFormation accepts, also after
/// a panic and when the time runs out. An address that has expired means no work and no answer:
/// whoever sent it no longer waits.
///
/// # Errors
/// Nobody can be answered, or the answer did not get out.
pub async fn invoke<W: World>(
    world: &W,
    callback: &Callback,
    settings: &Settings,
    event: &str,
    deadline: Instant,
) -> Result<(), Unanswered> {
    let started = Instant::now();
    let read = Request::parse(event, settings.allow_http);
    async {
        let (response, ()) = join!(answer(world, settings, &read, deadline), callback.prepare());
        let Some(response) = response? else { return Ok(()) };
        let (took, now) = (started.elapsed(), SystemTime::now());
        report(&metrics::line(name(&read), response.outcome.code(), took, now));
        let delivered = callback.deliver(&response, before(deadline, FOR_THE_LOG)).await;
        if let Err(error) = &delivered {
            tracing::error!(error = error as &dyn std::error::Error, "answer not delivered");
        }
        delivered?;
        tracing::info!(id = response.physical_id.as_str(), "answered");
        Ok(())
    }
    .instrument(span(&read))
    .await
}

/// The answer to an event; none if nobody waits for it any longer.
///
/// # Errors
/// Nobody can be answered.
pub async fn answer<W: World>(
    world: &W,
    settings: &Settings,
    read: &Result<Request, Unreadable>,
    deadline: Instant,
) -> Result<Option<Response>, Unreadable> {
    match read {
        Ok(request) if request.envelope.response_url.has_expired(SystemTime::now()) => {
            tracing::warn!("event too old: its ResponseURL has expired, nothing was done");
            Ok(None)
        }
        Ok(request) => Ok(Some(work(world, settings, request, deadline).await)),
        Err(Unreadable::Answerable { envelope, problem }) => {
            let failure = Failure::Unreadable(problem.clone());
            let id = envelope.physical_id.clone();
            Ok(Some(engine::failed(envelope, id, &failure, &settings.trace)))
        }
        Err(unanswerable @ Unreadable::Unanswerable(_)) => Err(unanswerable.clone()),
    }
}

/// The type of an event, for the log and the metrics.
fn name(read: &Result<Request, Unreadable>) -> &'static str {
    read.as_ref().map_or("Unreadable", |request| request.kind.as_str())
}

/// What every line of the log says; nothing of the properties.
fn span(read: &Result<Request, Unreadable>) -> Span {
    let envelope = match read {
        Ok(request) => Some(&request.envelope),
        Err(Unreadable::Answerable { envelope, .. }) => Some(envelope.as_ref()),
        Err(Unreadable::Unanswerable(_)) => None,
    };
    tracing::info_span!(
        "request",
        request_type = name(read),
        stack = envelope.map(|envelope| shown(envelope.owner.stack_name())),
        logical_id = envelope.map(|envelope| shown(&envelope.owner.logical_id)),
        request_id = envelope.map(|envelope| shown(&envelope.request_id)),
    )
}

/// The beginning of a name, which is all of it unless it was made to drown the log.
fn shown(name: &str) -> &str {
    /// Longest logical id (CloudFormation quotas); stacks and requests have shorter names.
    const SHOWN_MAX: usize = 255;
    name.char_indices().nth(SHOWN_MAX).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

/// Metrics are read from standard output; losing one is no reason to fail.
pub(crate) fn report(metrics: &Value) {
    let mut line = metrics.to_string();
    line.push('\n');
    if let Err(error) = std::io::stdout().write_all(line.as_bytes()) {
        tracing::warn!(%error, "metrics not written");
    }
}

async fn work<W: World>(
    world: &W,
    settings: &Settings,
    request: &Request,
    deadline: Instant,
) -> Response {
    if let Some(refusal) = elsewhere(settings, request) {
        return turned_away(settings, request, refusal);
    }
    let context = Context {
        principal_accounts: settings.principal_accounts.clone(),
        bucket_name_pattern: settings.bucket_name_pattern.clone(),
        deadline: before(deadline, FOR_DELIVERY),
        trace: settings.trace.clone(),
    };
    let work = AssertUnwindSafe(engine::handle(world, request, &context)).catch_unwind();
    work.await.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message =
            message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let id = Some(engine::id_of_failure(request));
        engine::failed(&request.envelope, id, &Failure::Bug(message), &settings.trace)
    })
}

/// Why a stack is not this function's to serve: it would look for what is there in its own account.
pub fn elsewhere(settings: &Settings, request: &Request) -> Option<Refusal> {
    let here = settings.home.as_ref()?;
    let there = Home::of(&request.envelope.owner.stack_id).filter(|there| there != here)?;
    Some(Refusal::new(
        Code::AccessDenied,
        "ServiceToken",
        format!("the stack is {there}, and the function {here}"),
        "name the provider of the stack's own account and region",
    ))
}

/// Nothing was ever made for such a stack, so nothing is left to delete.
fn turned_away(settings: &Settings, request: &Request, refusal: Refusal) -> Response {
    let id = engine::id_of_failure(request);
    if request.kind != Kind::Delete {
        let failure = Failure::Refused(vec![refusal]);
        return engine::failed(&request.envelope, Some(id), &failure, &settings.trace);
    }
    let (envelope, outcome) = (request.envelope.clone(), Outcome::Success(Map::new()));
    Response { envelope, physical_id: id, outcome }
}

/// Some time before a deadline, or now.
pub(crate) fn before(deadline: Instant, span: Duration) -> Instant {
    deadline.checked_sub(span).unwrap_or_else(Instant::now)
}
