//! What the function is asked directly, not by CloudFormation: to verify, or to plan.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;

use crate::callback::Callback;
use crate::domain::identity::{Home, Owner};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::report::{Counts, Report};
use crate::engine::Context;
use crate::engine::failure::Failure;
use crate::engine::plan::{self, Question};
use crate::engine::verify::{self, Filter};
use crate::metrics;
use crate::ports::World;
use crate::provider::{self, Settings, Unanswered, before, report};

/// Kept of an invocation's time for saying how it went.
const FOR_THE_RESULT: Duration = Duration::from_secs(5);

/// Why an invocation has no result.
#[derive(Debug, thiserror::Error)]
pub enum NoResult {
    /// A request of CloudFormation's was not answered.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// What was asked could not be done.
    #[error("{sentence}")]
    Failed {
        /// The class of the failure.
        code: Code,
        /// Why, in the words of a stack's events.
        sentence: String,
    },
}

impl NoResult {
    /// The class of the error, for Lambda.
    pub fn error_type(&self) -> String {
        match self {
            Self::Unanswered(_) => "Unanswered".to_owned(),
            Self::Failed { code, .. } => code.to_string(),
        }
    }
}

/// Where and until when an invocation runs.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// ARN of the function, as Lambda says it was invoked.
    pub function_arn: &'a str,
    /// When its time is up.
    pub deadline: Instant,
}

/// Works on any event: what has a `RequestType`, a `ResponseURL`, or no `Action`, is CloudFormation's.
///
/// # Errors
/// See [`NoResult`]: Lambda repeats what was invoked asynchronously.
pub async fn invoke<W: World>(
    world: &W,
    callback: &Callback,
    settings: &Settings,
    text: &str,
    invocation: Invocation<'_>,
) -> Result<Value, NoResult> {
    let event: Value = serde_json::from_str(text).unwrap_or_default();
    let action = event.get("Action").and_then(Value::as_str);
    // Whoever waits for an answer somewhere else is CloudFormation.
    let is_request = ["RequestType", "ResponseURL"].iter().any(|name| event.get(name).is_some());
    let Some(action) = action.filter(|_| !is_request) else {
        let answered = provider::invoke(world, callback, settings, text, invocation.deadline);
        Box::pin(answered).await?;
        return Ok(Value::Null);
    };
    // A word that is no action is no dimension, and nothing for every line of the log.
    let known = if ["Verify", "Plan"].contains(&action) { action } else { "Unreadable" };
    let span = tracing::info_span!("request", request_type = known);
    let started = Instant::now();
    let done = Box::pin(act(world, settings, action, &event, invocation));
    let done = done.instrument(span.clone()).await;
    let (took, now) = (started.elapsed(), SystemTime::now());
    let failure = match done {
        Ok(done) => {
            report(&match &done.all {
                Some(counts) => metrics::verified(counts, took, now),
                None => metrics::line(action, None, took, now),
            });
            return Ok(done.result);
        }
        Err(failure) => failure,
    };
    report(&metrics::line(known, Some(failure.code()), took, now));
    let sentence = failure.reason(&settings.trace).as_str().to_owned();
    span.in_scope(|| tracing::error!(code = %failure.code(), sentence, "action failed"));
    Err(NoResult::Failed { code: failure.code(), sentence })
}

/// What came of an action.
struct Done {
    result: Value,
    /// What was counted, if all connections were looked at.
    all: Option<Counts>,
}

async fn act<W: World>(
    world: &W,
    settings: &Settings,
    action: &str,
    event: &Value,
    invocation: Invocation<'_>,
) -> Result<Done, Failure> {
    let context = Context {
        principal_accounts: settings.principal_accounts.clone(),
        deadline: before(invocation.deadline, FOR_THE_RESULT),
        trace: settings.trace.clone(),
    };
    let text = |name: &str| match event.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(refused(name, format!("`{other}` is no string"), "write a string")),
    };
    let (stack, logical_id) = (text("StackId")?, text("LogicalResourceId")?);
    let of_stack = stack.as_deref().and_then(Home::of);
    let home =
        of_stack.or_else(|| Home::of_function(invocation.function_arn)).ok_or_else(|| {
            let problem = format!(
                "is no ARN of a stack, and `{}` none of a function",
                invocation.function_arn
            );
            refused("StackId", problem, "write the ARN of a stack of the account and region")
        })?;
    match action {
        "Verify" => {
            let filter = Filter { stack, logical_id, bucket: text("BucketName")? };
            let found = verify::verify(world, &home, &filter, &context).await?;
            let all = (filter == Filter::default()).then_some(found.counts);
            log(&found);
            Ok(Done { result: to_json(&found)?, all })
        }
        "Plan" => {
            let none = Value::Null;
            let owner = stack.map(|stack_id| Owner {
                stack_id,
                logical_id: logical_id.unwrap_or_else(|| plan::LOGICAL_ID.to_owned()),
            });
            let properties = event.get("ResourceProperties").unwrap_or(&none);
            let question = Question { properties, owner, home: &home };
            let proposal = plan::plan(world, &question, &context).await?;
            Ok(Done { result: to_json(&proposal)?, all: None })
        }
        other => Err(refused("Action", format!("`{other}` is none"), "write `Verify` or `Plan`")),
    }
}

fn refused(member: &str, problem: String, remedy: &str) -> Failure {
    Failure::Refused(vec![Refusal::invalid(member, problem, remedy)])
}

/// Nobody reads the result of a scheduled look: what is wrong stands in the log.
fn log(report: &Report) {
    for connection in &report.connections {
        for finding in &connection.findings {
            tracing::warn!(
                status = ?connection.status,
                policy = connection.policy_arn,
                stack = connection.stack_id,
                logical_id = connection.logical_resource_id,
                what = finding.what,
                r#where = finding.r#where,
                expected = %finding.expected,
                found = %finding.found,
                remedy = finding.remedy,
                "not as it should be"
            );
        }
    }
    let Counts { connections, healthy, drifted, broken, .. } = report.counts;
    tracing::info!(connections, healthy, drifted, broken, "verified");
}

fn to_json(result: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(result).map_err(|error| Failure::Bug(error.to_string()))
}
