//! Why a request failed, and the sentence its author reads in the stack's events.

use std::time::Duration;

use crate::cloudformation::response::Reason;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::shared::Shared;
use crate::ports::{CallError, CallErrorKind};

/// Everything that ends a request other than well.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The event is no request.
    #[error("{0}")]
    Unreadable(String),
    /// The properties, or what they name, cannot be used. Nothing was written.
    #[error("{}", join(.0))]
    Refused(Vec<Refusal>),
    /// AWS refused a call.
    #[error("{0}")]
    Call(#[from] CallError),
    /// AWS refused a shared document for a reason its owner has to settle.
    #[error("{error}")]
    Unwritten {
        /// The call.
        error: Box<CallError>,
        /// Which document.
        shared: Shared,
        /// What was to be added to it, as JSON.
        entry: String,
        /// Principals in it that no longer exist, each with its statement.
        orphans: Vec<String>,
    },
    /// There was no time left.
    #[error("not finished after {} s", .0.as_secs())]
    OutOfTime(Duration),
    /// A shared document is changed by others as fast as it is written.
    #[error("the {0} kept being overwritten by others")]
    Unsettled(Shared),
    /// CloudFormation no longer wants what was asked, and it was undone.
    #[error("the stack moved on to {0} while this request was worked on")]
    Overtaken(String),
    /// Two connections were made for one path at once, and the other was first.
    #[error("{0}")]
    GaveWay(Refusal),
    /// A Delete could not be finished, and something of ours is still there.
    #[error("{cause}")]
    Remains {
        /// What it failed over.
        cause: Box<Failure>,
        /// What is to be removed by hand if it cannot be repeated.
        what: String,
    },
    /// A defect of this program.
    #[error("unexpected: {0}")]
    Bug(String),
}

/// One behind the other, each code said once.
fn join(refusals: &[Refusal]) -> String {
    let parts = refusals.chunk_by(|a, b| a.code == b.code).filter_map(|alike| {
        let all: Vec<String> = alike.iter().map(ToString::to_string).collect();
        Some(format!("{}: {}", alike.first()?.code, all.join(" | ")))
    });
    parts.collect::<Vec<_>>().join(" | ")
}

/// Where the reader finds more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The function whose role lacks a permission.
    pub function: String,
    /// The log stream of this invocation.
    pub log_stream: String,
}

impl Failure {
    /// For the stack's events: what failed, on what, why, and what to do.
    pub fn reason(&self, trace: &Trace) -> Reason {
        let mut sentence = self.sentence(trace);
        let request = match self.call().map_or("", |error| error.request_id.as_str()) {
            "" => String::new(),
            id => format!("request {id}"),
        };
        let log = match trace.log_stream.as_str() {
            "" => String::new(),
            stream => format!("log {stream}"),
        };
        let found: Vec<String> =
            [request, log].into_iter().filter(|part| !part.is_empty()).collect();
        if !found.is_empty() {
            sentence = format!("{sentence} [{}]", found.join(", "));
        }
        Reason::new(self.code(), &sentence)
    }

    fn sentence(&self, trace: &Trace) -> String {
        match self {
            // Refusals say their way out themselves.
            Self::Refused(_) => self.to_string(),
            Self::GaveWay(_) => format!("{}: {self}", self.code()),
            Self::Remains { cause, what } => format!(
                "{}; then delete the stack again, or give up on the resource with `--deletion-mode FORCE_DELETE_STACK` and remove by hand what is left of {what}",
                cause.sentence(trace),
            ),
            _ => format!("{}: {self}; {}", self.code(), self.remedy(trace)),
        }
    }

    /// The call that failed, if it was one.
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            Self::Unwritten { error, .. } => Some(error),
            Self::Remains { cause, .. } => cause.call(),
            Self::Unreadable(_)
            | Self::Refused(_)
            | Self::OutOfTime(_)
            | Self::Unsettled(_)
            | Self::Overtaken(_)
            | Self::GaveWay(_)
            | Self::Bug(_) => None,
        }
    }

    /// The class of it.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable(_) => Code::InvalidRequest,
            Self::Refused(refusals) => {
                refusals.first().map_or(Code::InvalidRequest, |first| first.code)
            }
            Self::Call(error) => error.kind.code(),
            Self::Unwritten { error, .. } => error.kind.code(),
            Self::OutOfTime(_) | Self::Unsettled(_) => Code::NotStabilized,
            Self::Overtaken(_) => Code::ResourceConflict,
            Self::GaveWay(refusal) => refusal.code,
            Self::Remains { cause, .. } => cause.code(),
            Self::Bug(_) => Code::InternalFailure,
        }
    }

    /// What the reader can do. Exhaustive: a new failure has to answer this.
    pub(super) fn remedy(&self, trace: &Trace) -> String {
        match self {
            Self::Unreadable(_) => {
                "invoke this function only as the ServiceToken of a Custom::IcaStorage".to_owned()
            }
            Self::Refused(_) | Self::GaveWay(_) | Self::Remains { .. } => String::new(),
            Self::Call(error) => call_remedy(error, trace),
            Self::Unwritten { error, shared, entry, orphans } => {
                let first = match orphans.as_slice() {
                    [] => call_remedy(error, trace),
                    orphans => {
                        format!("replace in it what no longer exists: {}", orphans.join(", "))
                    }
                };
                let property = shared.property();
                format!("{first}; or set `{property}: false` and add this by hand: {entry}")
            }
            Self::OutOfTime(_) => {
                "repeat the deployment; if it happens again raise the function's Timeout".to_owned()
            }
            Self::Unsettled(_) => "repeat the deployment when nothing else edits it".to_owned(),
            Self::Overtaken(_) => {
                "what it had written was undone; repeat the deployment if it is still wanted"
                    .to_owned()
            }
            Self::Bug(_) => {
                "repeat the deployment; if it happens again report it with the function's log"
                    .to_owned()
            }
        }
    }
}

fn call_remedy(error: &CallError, trace: &Trace) -> String {
    let CallError { action, resource, .. } = error;
    match error.kind {
        CallErrorKind::Denied => {
            let role = principal(&error.message).map_or_else(
                || format!("the role of function `{}`", trace.function),
                |role| format!("role `{role}`"),
            );
            format!(
                "grant `{action}` on `{resource}` to {role}, and look for a deny in its policy or the organization's"
            )
        }
        CallErrorKind::NotFound => "create it, or correct the property that names it".to_owned(),
        CallErrorKind::Exists => "choose another name, or delete what has it".to_owned(),
        CallErrorKind::Conflict if *action == "iam:DeletePolicy" => {
            "it is the permissions boundary of a user or a role: remove that first".to_owned()
        }
        CallErrorKind::Conflict => "repeat the deployment when nothing else changes it".to_owned(),
        CallErrorKind::InvalidPrincipal => {
            "correct `AssumeRoleArn` after Illumina's Role ARN table".to_owned()
        }
        CallErrorKind::Lockout => {
            "let the function's role keep `kms:PutKeyPolicy` in the key policy itself".to_owned()
        }
        CallErrorKind::Limit => "make room for it, or ask for a higher quota".to_owned(),
        CallErrorKind::Throttled => "repeat the deployment later".to_owned(),
        CallErrorKind::Unavailable | CallErrorKind::Network => "repeat the deployment".to_owned(),
        CallErrorKind::InvalidState => "enable the key, or cancel its deletion".to_owned(),
        CallErrorKind::Other => {
            "correct what the message names, then repeat the deployment".to_owned()
        }
    }
}

/// The role in `User: arn:aws:sts::…:assumed-role/<role>/<session> is not authorized to perform`.
fn principal(message: &str) -> Option<&str> {
    message.split(":assumed-role/").nth(1)?.split('/').next()
}
