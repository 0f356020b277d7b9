//! `bootstrap`: what Lambda's `provided.al2023` starts; by hand it is the command line.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use ica_storage::actions::{self, Invocation};
use ica_storage::aws::Aws;
use ica_storage::callback::Callback;
use ica_storage::cli;
use ica_storage::domain::identity::Home;
use ica_storage::engine::failure::Trace;
use ica_storage::log::OneLine;
use ica_storage::provider::Settings;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn, tracing};
use serde_json::value::RawValue;
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Error> {
    if !is_lambda() {
        return Ok(cli::main(settings(), is_colourless()).await);
    }
    tracing::init_default_subscriber_with_writer(|| OneLine(std::io::stdout()));
    let (world, callback, settings) = (Aws::load().await, Callback::default(), settings());
    // As text: whoever waits is to be answered even if the event is more than a value can hold.
    let handler = |event: LambdaEvent<Box<RawValue>>| {
        let (world, callback, mut settings) = (&world, &callback, settings.clone());
        async move {
            if !settings.allow_http {
                settings.home = Home::of_function(&event.context.invoked_function_arn);
            }
            let left = event.context.deadline().duration_since(SystemTime::now());
            let deadline = Instant::now() + left.unwrap_or(Duration::ZERO);
            let function_arn = event.context.invoked_function_arn.as_str();
            let invocation = Invocation { function_arn, deadline };
            let event = event.payload.get();
            let done = actions::invoke(world, callback, &settings, event, invocation).await;
            done.map_err(|error| Diagnostic {
                error_type: error.error_type(),
                error_message: error.to_string(),
            })
        }
    };
    lambda_runtime::run(service_fn(handler)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Whether Lambda started this, or a person did.
#[expect(clippy::disallowed_methods, reason = "configuration is read once")]
fn is_lambda() -> bool {
    std::env::var("AWS_LAMBDA_RUNTIME_API").is_ok()
}

/// SOURCE: no-color.org.
#[expect(clippy::disallowed_methods, reason = "configuration is read once")]
fn is_colourless() -> bool {
    std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty())
}

/// The environment is read here and nowhere else.
#[expect(clippy::disallowed_methods, reason = "configuration is read once")]
fn settings() -> Settings {
    let read = |name| std::env::var(name).unwrap_or_default();
    let accounts = read("ALLOWED_PRINCIPAL_ACCOUNTS");
    let accounts = accounts.split(',').map(str::trim).filter(|account| !account.is_empty());
    Settings {
        principal_accounts: accounts.map(str::to_owned).collect(),
        bucket_name_pattern: read("BUCKET_NAME_PATTERN"),
        home: None,
        allow_http: !read("AWS_ENDPOINT_URL").is_empty(),
        trace: Trace {
            function: read("AWS_LAMBDA_FUNCTION_NAME"),
            log_stream: read("AWS_LAMBDA_LOG_STREAM_NAME"),
        },
    }
}
