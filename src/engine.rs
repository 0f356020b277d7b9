//! Request → [`Response`]: observe, plan, apply, confirm. Knows the ports, not AWS.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Map;
use tokio::time::{Instant, timeout_at};

use crate::cloudformation::request::{Envelope, Kind, Request};
use crate::cloudformation::response::{Outcome, Response};
use crate::domain::identity::{Home, Identity, PhysicalId};
use crate::domain::refusal::Refusal;
use crate::domain::spec::{Place, Spec};
use crate::ports::World;

pub mod failure;

mod decide;

mod documents;

mod dry_run;

mod ensure;

mod fence;

mod newcomers;

mod observe;

mod others;

pub mod plan;

mod preview;

mod registration;

mod release;

mod remove;

pub mod verify;

use failure::{Failure, Trace};
use remove::Deletion;

/// What the provider was deployed with, and the circumstances of one invocation.
#[derive(Clone, Debug)]
pub struct Context {
    /// Accounts whose roles may be let in; Illumina's if empty.
    pub principal_accounts: Vec<String>,
    /// The buckets it reaches, in which `*` and `?` stand for any characters; all if empty.
    pub bucket_name_pattern: String,
    /// When the work has to be over, so that the answer still gets out.
    pub deadline: Instant,
    /// For the sentences of failures.
    pub trace: Trace,
}

/// Carries out a request.
///
/// # Guarantees
/// There is always an answer, before the deadline, with an id that a Delete can be sent to. A
/// failed Create leaves behind only what that Delete finds; an Update that fails answers with the
/// id it received, unless it made something under a new one that it could not undo.
///
/// # Assumptions
/// Requests of one resource may overlap and come twice; requests of many resources run at once.
pub async fn handle<W: World>(world: &W, request: &Request, context: &Context) -> Response {
    let started = Instant::now();
    let deadline = context.deadline.min(started + service_timeout(request));
    let mut answer = Answer::new(request);
    let work = work(world, request, context, &mut answer);
    let outcome = match timeout_at(deadline, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(answer.deletion.out_of_time(started.elapsed())),
    };
    let id = answer.id(request, outcome.is_ok());
    match outcome {
        Ok(data) => {
            let (envelope, outcome) = (request.envelope.clone(), Outcome::Success(data));
            Response { envelope, physical_id: id, outcome }
        }
        Err(failure) => failed(&request.envelope, Some(id), &failure, &context.trace),
    }
}

/// The answer to a request that failed, and why, which the log says once: here.
pub fn failed(
    envelope: &Envelope,
    id: Option<PhysicalId>,
    failure: &Failure,
    trace: &Trace,
) -> Response {
    let why = failure.reason(trace);
    tracing::error!(code = %failure.code(), error = why.as_str(), "request failed");
    Response {
        envelope: envelope.clone(),
        physical_id: id.unwrap_or_else(|| PhysicalId::nowhere(&envelope.owner)),
        outcome: Outcome::Failed(why),
    }
}

/// How long CloudFormation waits, less what the answer takes: `ServiceTimeout` if it is given.
fn service_timeout(request: &Request) -> Duration {
    /// The longest CloudFormation waits (CloudFormation user guide, `ServiceTimeout`).
    const LONGEST: u64 = 3_600;
    /// Kept for the answer.
    const FOR_THE_ANSWER: u64 = 10;
    let given = request.properties.get("ServiceTimeout");
    let seconds = given.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    Duration::from_secs(seconds.unwrap_or(LONGEST).saturating_sub(FOR_THE_ANSWER).max(1))
}

/// The id to answer a request with that failed before it made anything.
pub fn id_of_failure(request: &Request) -> PhysicalId {
    Answer::new(request).id(request, false)
}

/// The id to answer with, which failures and successes may change.
struct Answer {
    /// The id of what these properties describe.
    own: Option<Identity>,
    /// Whether something may stand under [`Self::own`].
    made: bool,
    /// The id of a dry run, which makes nothing under another.
    kept: OnceLock<PhysicalId>,
    /// How far a Delete has come.
    deletion: Deletion,
}

impl Answer {
    fn new(request: &Request) -> Self {
        let owner = request.envelope.owner.clone();
        let own = Place::of(&request.properties).map(|place| Identity { owner, place });
        Self { own, made: false, kept: OnceLock::new(), deletion: Deletion::default() }
    }

    fn id(&self, request: &Request, is_success: bool) -> PhysicalId {
        let own = || {
            let kept = self.kept.get().cloned();
            kept.or_else(|| self.own.as_ref().map(Identity::physical_id))
        };
        let received = || request.envelope.physical_id.clone();
        match request.kind {
            Kind::Create => own(),
            Kind::Update { .. } if is_success || self.made => own().or_else(received),
            Kind::Update { .. } | Kind::Delete => received().or_else(own),
        }
        .unwrap_or_else(|| PhysicalId::nowhere(&request.envelope.owner))
    }
}

async fn work<W: World>(
    world: &W,
    request: &Request,
    context: &Context,
    answer: &mut Answer,
) -> Result<Map<String, serde_json::Value>, Failure> {
    let owner = &request.envelope.owner;
    let home = Home::of(&owner.stack_id);
    let old_properties = match &request.kind {
        Kind::Delete => {
            // What was never made from a sound event needs no deletion.
            let Some(home) = home else { return Ok(Map::new()) };
            Box::pin(remove::of_request(world, request, &home, &answer.deletion)).await?;
            return Ok(Map::new());
        }
        Kind::Create => None,
        Kind::Update { old_properties } => Some(old_properties),
    };
    let home = home.ok_or_else(|| {
        Failure::Unreadable(format!("the StackId `{}` is not the ARN of a stack", owner.stack_id))
    })?;
    let spec = Spec::parse(&request.properties).map_err(Failure::Refused)?;
    let identity = Identity { owner: owner.clone(), place: Place::from(&spec) };
    let job = ensure::Job {
        spec: &spec,
        identity: &identity,
        home: &home,
        request,
        context,
        old_properties,
        owned: None,
        kept: &answer.kept,
    };
    Box::pin(ensure::ensure(world, &job, &mut answer.made)).await
}

/// A refusal on its own.
fn refused(refusal: Refusal) -> Failure {
    Failure::Refused(vec![refusal])
}
