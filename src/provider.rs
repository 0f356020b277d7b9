//! One invocation: event → work → answer. The last line of defence, so that an answer always goes out.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use serde_json::Value;
use tokio::time::Instant;

use crate::callback::{Callback, Undelivered};
use crate::cloudformation::request::{Envelope, Request, Unreadable};
use crate::cloudformation::response::{Outcome, Response};
use crate::domain::identity::PhysicalId;
use crate::engine::failure::{Failure, Trace};
use crate::engine::{self, Context};
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
    event: Value,
    deadline: Instant,
) -> Result<(), Unanswered> {
    let response = match Request::read(event, settings.allow_http) {
        Ok(request) if request.envelope.response_url.has_expired(SystemTime::now()) => {
            tracing::warn!("event too old: its ResponseURL has expired, nothing was done");
            return Ok(());
        }
        Ok(request) => work(world, settings, &request, deadline).await,
        Err(Unreadable::Answerable { envelope, problem }) => {
            let id = envelope.physical_id.clone();
            failed(&envelope, id, &Failure::Unreadable(problem), &settings.trace)
        }
        Err(unanswerable @ Unreadable::Unanswerable(_)) => return Err(unanswerable.into()),
    };
    callback.deliver(&response, before(deadline, FOR_THE_LOG)).await?;
    tracing::info!(id = response.physical_id.as_str(), "answered");
    Ok(())
}

async fn work<W: World>(
    world: &W,
    settings: &Settings,
    request: &Request,
    deadline: Instant,
) -> Response {
    let context = Context {
        principal_accounts: settings.principal_accounts.clone(),
        deadline: before(deadline, FOR_DELIVERY),
        trace: settings.trace.clone(),
    };
    let work = AssertUnwindSafe(engine::handle(world, request, &context)).catch_unwind();
    work.await.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message =
            message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let id = engine::id_of_failure(request);
        failed(&request.envelope, Some(id), &Failure::Bug(message), &settings.trace)
    })
}

fn failed(
    envelope: &Envelope,
    id: Option<PhysicalId>,
    failure: &Failure,
    trace: &Trace,
) -> Response {
    tracing::error!(code = %failure.code(), error = %failure, "request failed");
    Response {
        envelope: envelope.clone(),
        physical_id: id.unwrap_or_else(|| PhysicalId::nowhere(&envelope.owner)),
        outcome: Outcome::Failed(failure.reason(trace)),
    }
}

/// Some time before a deadline, or now.
fn before(deadline: Instant, span: Duration) -> Instant {
    deadline.checked_sub(span).unwrap_or_else(Instant::now)
}
