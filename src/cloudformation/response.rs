//! The one answer to a request, within what CloudFormation takes.

use serde_json::{Map, Value, json};

use crate::cloudformation::request::Envelope;
use crate::domain::identity::PhysicalId;
use crate::domain::refusal::Code;

/// Largest body of an answer, in bytes (CloudFormation user guide, *Custom resource response objects*).
pub const BODY_MAX: usize = 4_096;

/// Why a request failed: one line, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    code: Code,
    line: String,
}

impl Reason {
    /// Makes one line of a text, no longer than any answer: a control character would cost six
    /// bytes and break the page.
    pub fn new(code: Code, text: &str) -> Self {
        let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let line: String = line.take(BODY_MAX).collect();
        let line = line.trim().to_owned();
        Self { code, line: if line.is_empty() { code.to_string() } else { line } }
    }

    /// The class of the failure.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The line.
    pub fn as_str(&self) -> &str {
        &self.line
    }

    /// All but the last `count` characters.
    fn cut(&self, count: usize) -> Self {
        let keep = self.line.chars().count().saturating_sub(count);
        let line = format!("{}…", self.line.chars().take(keep).collect::<String>());
        Self { code: self.code, line }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Well, with these attributes.
    Success(Map<String, Value>),
    /// Not, for this reason.
    Failed(Reason),
}

impl Outcome {
    /// The class of the failure, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Success(_) => None,
            Self::Failed(reason) => Some(reason.code()),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Whom it is for.
    pub envelope: Envelope,
    /// What CloudFormation is to call the resource from now on.
    pub physical_id: PhysicalId,
    /// How it ended.
    pub outcome: Outcome,
}

impl Response {
    /// The body to PUT. A reason is cut until the body fits; a success is not (see [`Self::fits`]).
    pub fn body(&self) -> String {
        match &self.outcome {
            Outcome::Success(_) => self.json(&self.outcome),
            Outcome::Failed(reason) => {
                let mut cut = 0;
                loop {
                    let shorter = if cut == 0 { reason.clone() } else { reason.cut(cut) };
                    let body = self.json(&Outcome::Failed(shorter));
                    let over = body.len().saturating_sub(BODY_MAX);
                    if over == 0 || cut >= reason.line.len() {
                        return body;
                    }
                    // A character costs at most six bytes, and at least one is to go.
                    cut += (over / 6).max(1);
                }
            }
        }
    }

    /// Whether the body is within [`BODY_MAX`].
    pub fn fits(&self) -> bool {
        self.room().is_some()
    }

    /// How many bytes more the body may have; `None` if it has too many.
    pub fn room(&self) -> Option<usize> {
        BODY_MAX.checked_sub(self.body().len())
    }

    fn json(&self, outcome: &Outcome) -> String {
        let (status, reason, data) = match outcome {
            Outcome::Success(data) => ("SUCCESS", None, data.clone()),
            Outcome::Failed(reason) => ("FAILED", Some(reason.as_str()), Map::new()),
        };
        let mut body = json!({
            "Status": status,
            "PhysicalResourceId": self.physical_id.as_str(),
            "StackId": self.envelope.owner.stack_id,
            "RequestId": self.envelope.request_id,
            "LogicalResourceId": self.envelope.owner.logical_id,
            "NoEcho": false,
            "Data": data,
        });
        if let (Some(reason), Some(members)) = (reason, body.as_object_mut()) {
            members.insert("Reason".to_owned(), reason.into());
        }
        body.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cloudformation::response_url::ResponseUrl;
    use crate::domain::identity::Owner;

    fn response(outcome: Outcome) -> Response {
        Response {
            envelope: Envelope {
                response_url: ResponseUrl::parse("https://example.com/?X-Amz-Signature=s", false)
                    .unwrap(),
                owner: Owner { stack_id: "stack".into(), logical_id: "Connection".into() },
                request_id: "request".into(),
                physical_id: None,
            },
            physical_id: PhysicalId::received("id").unwrap(),
            outcome,
        }
    }

    #[test]
    fn the_bodies_are_pinned() {
        let data = Map::from_iter([("A".to_owned(), Value::from("1"))]);
        insta::assert_snapshot!(response(Outcome::Success(data)).body(), @r#"{"Status":"SUCCESS","PhysicalResourceId":"id","StackId":"stack","RequestId":"request","LogicalResourceId":"Connection","NoEcho":false,"Data":{"A":"1"}}"#);
        insta::assert_snapshot!(response(Outcome::Failed(Reason::new(Code::InternalFailure, "a\0b\nc"))).body(), @r#"{"Status":"FAILED","PhysicalResourceId":"id","StackId":"stack","RequestId":"request","LogicalResourceId":"Connection","NoEcho":false,"Data":{},"Reason":"a b c"}"#);
    }

    #[test]
    fn a_success_of_4096_bytes_fits_and_of_4097_does_not() {
        let with = |length: usize| {
            response(Outcome::Success(Map::from_iter([(
                "A".to_owned(),
                "x".repeat(length).into(),
            )])))
        };
        let overhead = with(0).body().len();
        assert!(with(BODY_MAX - overhead).fits());
        assert!(!with(BODY_MAX - overhead + 1).fits());
    }

    #[test]
    fn a_reason_is_never_empty() {
        for text in ["", " ", "\n\0"] {
            assert!(!Reason::new(Code::InternalFailure, text).as_str().is_empty());
        }
    }

    proptest! {
        #[test]
        fn a_failure_always_fits(reason in "\\PC{0,3000}|[\"\\\\\u{0}-\u{1f}é😀]{0,3000}") {
            let response = response(Outcome::Failed(Reason::new(Code::InternalFailure, &reason)));
            prop_assert!(response.fits());
            let body: Value = serde_json::from_str(&response.body()).unwrap();
            prop_assert_eq!(&body["Status"], "FAILED");
            prop_assert!(!body["Reason"].as_str().unwrap().is_empty());
        }
    }
}
