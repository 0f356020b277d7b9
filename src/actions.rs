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

/// Members of an event that narrow a look at connections.
const FILTERS: [&str; 3] = ["StackId", "LogicalResourceId", "BucketName"];

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
    report(&counted(settings, known, &event, &done, started.elapsed()));
    let failure = match done {
        Ok(done) => return Ok(done.result),
        Err(failure) => failure,
    };
    let sentence = failure.reason(&settings.trace).as_str().to_owned();
    span.in_scope(|| tracing::error!(code = %failure.code(), sentence, "action failed"));
    Err(NoResult::Failed { code: failure.code(), sentence })
}

/// The metrics of an action.
fn counted(
    settings: &Settings,
    action: &str,
    event: &Value,
    done: &Result<Done, Failure>,
    took: Duration,
) -> Value {
    let (function, now) = (settings.trace.function.as_str(), SystemTime::now());
    let is_of_all =
        action == "Verify" && FILTERS.iter().all(|name| event.get(name).is_none_or(Value::is_null));
    match done {
        Ok(Done { counts: Some(counts), .. }) if is_of_all => {
            metrics::verified(function, counts, took, now)
        }
        Ok(_) => metrics::line(action, None, took, now),
        Err(failure) if is_of_all => metrics::unverified(function, failure.code(), took, now),
        Err(failure) => metrics::line(action, Some(failure.code()), took, now),
    }
}

/// What came of an action.
struct Done {
    result: Value,
    /// What was counted, if connections were looked at.
    counts: Option<Counts>,
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
        bucket_name_pattern: settings.bucket_name_pattern.clone(),
        deadline: before(invocation.deadline, FOR_THE_RESULT),
        trace: settings.trace.clone(),
    };
    let text = |name: &str| match event.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(refused(name, format!("`{other}` is no string"), "write a string")),
    };
    let (stack, logical_id) = (text("StackId")?, text("LogicalResourceId")?);
    let home = home(settings, stack.as_deref(), invocation.function_arn)?;
    match action {
        "Verify" => {
            let filter = Filter { stack, logical_id, bucket: text("BucketName")? };
            let found = verify::verify(world, &home, &filter, &context).await?;
            log(&found);
            Ok(Done { result: to_json(&found)?, counts: Some(found.counts) })
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
            Ok(Done { result: to_json(&proposal)?, counts: None })
        }
        other => Err(refused("Action", format!("`{other}` is none"), "write `Verify` or `Plan`")),
    }
}

/// Where the function is, whose clients ask. Only a local stand-in makes the account of its
/// function's ARN up, so that there the stack tells.
fn home(settings: &Settings, stack: Option<&str>, function_arn: &str) -> Result<Home, Failure> {
    let remedy = "write the ARN of a stack of the account and region";
    let there = stack.and_then(Home::of);
    let Some(here) = &settings.home else {
        return there.or_else(|| Home::of_function(function_arn)).ok_or_else(|| {
            let problem = format!("is no ARN of a stack, and `{function_arn}` none of a function");
            refused("StackId", problem, remedy)
        });
    };
    match there.filter(|there| there != here) {
        Some(there) => {
            let problem = format!("the stack is {there}, and the function {here}");
            Err(refused("StackId", problem, remedy))
        }
        None => Ok(here.clone()),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The alarm must not take silence for health.
    #[test]
    fn only_a_look_at_all_that_fails_is_counted_as_unhealthy() {
        let unhealthy = |action, event: Value| {
            let done = Err(Failure::Bug("x".to_owned()));
            let line = counted(&Settings::default(), action, &event, &done, Duration::ZERO);
            assert_eq!(line["Failures"], 1);
            line.get("Unhealthy").cloned()
        };
        let all = json!({"Action": "Verify", "StackId": null});
        assert_eq!(unhealthy("Verify", all), Some(json!(1)));
        let one = json!({"Action": "Verify", "BucketName": "b"});
        assert_eq!(unhealthy("Verify", one), None);
        assert_eq!(unhealthy("Plan", json!({"Action": "Plan"})), None);
    }
}
