//! `SdkError` → [`CallError`]: the only place that knows the services' error codes.

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;

use crate::aws::actions::Action;
use crate::ports::{Call, CallError, CallErrorKind};

/// Names the call that failed.
pub(super) trait Named<T> {
    /// The permission it needs and what it was made on.
    fn named(self, action: Action, resource: &str) -> Call<T>;
}

impl<T, E> Named<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn named(self, action: Action, resource: &str) -> Call<T> {
        self.map_err(|error| call_error(action, resource, &error))
    }
}

fn call_error<E>(action: Action, resource: &str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default();
    let status = error.raw_response().map(|response| response.status().as_u16());
    let message = match (error.message(), status) {
        (Some(message), _) => message.to_owned(),
        // An answer to a HEAD has no body to tell more.
        (None, Some(status)) => format!("HTTP status {status}"),
        (None, None) => in_words(error),
    };
    CallError {
        action: action.as_granted(),
        resource: resource.to_owned(),
        kind: kind(code, &message, status),
        code: code.to_owned(),
        message,
        request_id: error.request_id().unwrap_or_default().to_owned(),
    }
}

/// An error and what is behind it, for a reader of a stack's events: no structures of Rust.
fn in_words(error: &dyn std::error::Error) -> String {
    let behind = std::iter::successors(error.source(), |error| error.source());
    let words = behind.map(ToString::to_string);
    std::iter::once(error.to_string()).chain(words).collect::<Vec<_>>().join(": ")
}

/// By the code; by the status where there is none; by the message where KMS has one code for two things.
fn kind(code: &str, message: &str, status: Option<u16>) -> CallErrorKind {
    match code {
        "NoSuchBucket"
        | "NoSuchKey"
        | "NotFound"
        | "NoSuchEntity"
        | "NotFoundException"
        | "NoSuchBucketPolicy"
        | "NoSuchCORSConfiguration"
        | "InvalidArnException"
        | "ServerSideEncryptionConfigurationNotFoundError"
        | "NoSuchPublicAccessBlockConfiguration"
        | "OwnershipControlsNotFoundError"
        | "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => CallErrorKind::NotFound,
        "EntityAlreadyExists" | "EntityAlreadyExistsException" | "PreconditionFailed" => {
            CallErrorKind::Exists
        }
        "AccessDenied"
        | "AccessDeniedException"
        | "Forbidden"
        | "UnauthorizedOperation"
        | "KMS.AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "ExpiredTokenException" => CallErrorKind::Denied,
        "DeleteConflict"
        | "ConcurrentModification"
        | "ConditionalRequestConflict"
        | "OperationAborted"
        | "EntityTemporarilyUnmodifiable" => CallErrorKind::Conflict,
        "KMSInvalidStateException"
        | "DisabledException"
        | "KMS.DisabledException"
        | "KMS.KMSInvalidStateException" => CallErrorKind::InvalidState,
        "LimitExceeded" | "LimitExceededException" | "PolicyTooLarge" => CallErrorKind::Limit,
        "Throttling"
        | "ThrottlingException"
        | "SlowDown"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => CallErrorKind::Throttled,
        // SOURCE: re:Post, *kms-policy-error-invalid-principals*; KMS API reference, `PutKeyPolicy`.
        "MalformedPolicyDocumentException" | "MalformedPolicy" => {
            let message = message.to_lowercase();
            if message.contains("invalid principal") {
                CallErrorKind::InvalidPrincipal
            } else if message.contains("in the future") {
                CallErrorKind::Lockout
            } else {
                CallErrorKind::Other
            }
        }
        _ => match status {
            None => CallErrorKind::Network,
            Some(403) => CallErrorKind::Denied,
            // 301: a bucket of another region is not there for this one.
            Some(301 | 404) => CallErrorKind::NotFound,
            Some(409) => CallErrorKind::Conflict,
            Some(412) => CallErrorKind::Exists,
            Some(429) => CallErrorKind::Throttled,
            Some(500..) => CallErrorKind::Unavailable,
            Some(_) => CallErrorKind::Other,
        },
    }
}

/// What is not there is no error.
pub(super) fn absent<T>(call: Call<T>) -> Call<Option<T>> {
    match call {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == CallErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a bucket does not have is no error; that there is no bucket is.
pub(super) fn unset<T>(call: Call<T>) -> Call<Option<T>> {
    match call {
        Err(error) if error.kind == CallErrorKind::NotFound && error.code != "NoSuchBucket" => {
            Ok(None)
        }
        call => call.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_of_kms_means_three_things() {
        let code = "MalformedPolicyDocumentException";
        for (message, expected) in [
            (
                "Policy contains a statement with one or more invalid principals.",
                CallErrorKind::InvalidPrincipal,
            ),
            (
                "The new key policy will not allow you to update the key policy in the future.",
                CallErrorKind::Lockout,
            ),
            ("Syntax errors in policy.", CallErrorKind::Other),
        ] {
            assert_eq!(kind(code, message, Some(400)), expected);
        }
    }

    #[test]
    fn a_bucket_of_another_region_is_not_there() {
        for code in [
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ] {
            assert_eq!(kind(code, "", Some(400)), CallErrorKind::NotFound);
        }
    }

    #[test]
    fn without_a_code_the_status_tells() {
        for (status, expected) in [
            (None, CallErrorKind::Network),
            (Some(403), CallErrorKind::Denied),
            (Some(404), CallErrorKind::NotFound),
            (Some(301), CallErrorKind::NotFound),
            (Some(503), CallErrorKind::Unavailable),
            (Some(400), CallErrorKind::Other),
        ] {
            assert_eq!(kind("", "", status), expected);
        }
    }
}
