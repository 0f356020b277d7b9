//! Why a request is refused before anything is written, in words its author can act on.

use std::fmt;

/// The outside's vocabulary for what went wrong: the handler error codes of CloudFormation's
/// resource providers, which monitoring already knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A permission is missing, or the thing belongs to another account.
    AccessDenied,
    /// A path or a name is taken.
    AlreadyExists,
    /// The service refused for a reason this program does not know.
    GeneralServiceException,
    /// A defect of this program.
    InternalFailure,
    /// A property, or what it names, is unusable.
    InvalidRequest,
    /// No answer from the service.
    NetworkFailure,
    /// What a property names does not exist.
    NotFound,
    /// The change did not settle in the time there was.
    NotStabilized,
    /// Something else uses or changes the same thing.
    ResourceConflict,
    /// The service failed.
    ServiceInternalError,
    /// A size or a count is over the service's limit.
    ServiceLimitExceeded,
    /// The service asked for fewer calls.
    Throttling,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One reason not to begin: what is wrong with which property, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its class.
    pub code: Code,
    /// Path of the property that brings it about, such as `Tags[2].Key`.
    pub property: String,
    /// What is wrong, with the value in backticks.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    /// A property whose value cannot be used.
    pub fn invalid(
        property: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Code::InvalidRequest, property, problem, remedy)
    }

    /// A refusal of any class.
    pub fn new(
        code: Code,
        property: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { code, property: property.into(), problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { property, problem, remedy, .. } = self;
        write!(f, "property `{property}`: {problem}; {remedy}")
    }
}
