//! The command line for people: the same engine on their own credentials.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::aws::Aws;
use crate::domain::identity::{Home, Owner};
use crate::domain::report::Status;
use crate::engine::failure::Failure;
use crate::engine::plan::{self, Question};
use crate::engine::{Context, verify};
use crate::ports::World;
use crate::provider::Settings;

mod arguments;

mod documents;

mod help;

mod text;

use arguments::{Command, Output, Request};

/// Nothing is to be done.
const NOTHING: u8 = 0;

/// Something drifted, is broken, would be written or would be refused.
const SOMETHING: u8 = 1;

/// It could not be told: wrong usage, or AWS did not answer.
const UNTOLD: u8 = 2;

/// How long a person may wait.
const PATIENCE: Duration = Duration::from_mins(15);

/// What is printed, and how it ended.
struct Told {
    text: String,
    code: u8,
}

/// Does what the arguments of this process say, and prints what comes of it.
pub async fn main(settings: Settings, is_colourless: bool) -> ExitCode {
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let has_colours = stdout.is_terminal() && !is_colourless;
    let told = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(request) => run(&request, settings, has_colours).await,
        Err(usage) => Err(usage.to_string()),
    };
    let (printed, code) = match told {
        Ok(told) => (stdout.lock().write_all(told.text.as_bytes()), told.code),
        Err(problem) => (stderr.lock().write_all(format!("{problem}\n").as_bytes()), UNTOLD),
    };
    // Whoever reads may have read enough.
    ExitCode::from(if printed.is_err() { UNTOLD } else { code })
}

async fn run(request: &Request, settings: Settings, has_colours: bool) -> Result<Told, String> {
    let Request { command, output } = request;
    match command {
        Command::Tell(text) => Ok(Told { text: (*text).to_owned(), code: NOTHING }),
        Command::Policy(wanted) => {
            let documents = documents::render(wanted).map_err(|refusal| refusal.to_string())?;
            let text = match output {
                Output::Json => json(&documents)?,
                Output::Text => text::documents(&documents),
            };
            Ok(Told { text, code: NOTHING })
        }
        Command::Verify(_) | Command::Plan(_) => {
            let trace = settings.trace.clone();
            let explain = |failure: Failure| failure.reason(&trace).as_str().to_owned();
            let (world, home) =
                Aws::load_with_home().await.map_err(|error| explain(error.into()))?;
            let context = Context {
                principal_accounts: settings.principal_accounts,
                bucket_name_pattern: settings.bucket_name_pattern,
                deadline: Instant::now() + PATIENCE,
                trace: settings.trace,
            };
            let look = Look { world: &world, home: &home, context: &context };
            look.at(request, has_colours).await.map_err(explain)
        }
    }
}

/// The account that is looked at.
struct Look<'a, W> {
    world: &'a W,
    home: &'a Home,
    context: &'a Context,
}

impl<W: World> Look<'_, W> {
    async fn at(&self, request: &Request, has_colours: bool) -> Result<Told, Failure> {
        let Self { world, home, context } = *self;
        let bug = Failure::Bug;
        match &request.command {
            Command::Verify(filter) => {
                let report = Box::pin(verify::verify(world, home, filter, context)).await?;
                let code = if report.status == Status::Healthy { NOTHING } else { SOMETHING };
                let text = match request.output {
                    Output::Json => json(&report).map_err(bug)?,
                    Output::Text => text::report(&report, has_colours),
                };
                Ok(Told { text, code })
            }
            Command::Plan(asked) => {
                let owner = asked
                    .stack_id
                    .clone()
                    .map(|stack_id| Owner { stack_id, logical_id: asked.logical_id.clone() });
                let question = Question { properties: &asked.properties, owner, home };
                let proposal = Box::pin(plan::plan(world, &question, context)).await?;
                let is_nothing = proposal.refusals.is_empty() && proposal.changes.is_empty();
                let text = match request.output {
                    Output::Json => json(&proposal).map_err(bug)?,
                    Output::Text => text::proposal(&proposal, has_colours),
                };
                Ok(Told { text, code: if is_nothing { NOTHING } else { SOMETHING } })
            }
            Command::Tell(_) | Command::Policy(_) => Err(bug("nothing to look at".to_owned())),
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, String> {
    let value: Value = serde_json::to_value(value).map_err(|error| error.to_string())?;
    Ok(format!("{value:#}\n"))
}
