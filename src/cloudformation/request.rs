//! Event → [`Request`]; what cannot be read is salvaged for its answer, never silence.

use std::collections::BTreeMap;

use aws_lambda_events::cloudformation::CloudFormationCustomResourceRequest as Event;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cloudformation::response_url::ResponseUrl;
use crate::domain::identity::{Owner, PhysicalId};

/// What CloudFormation asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Make it.
    Create,
    /// Make it so.
    Update {
        /// The properties before: a hint, since a rollback swaps them.
        old_properties: Value,
    },
    /// Unmake it.
    Delete,
}

impl Kind {
    /// As CloudFormation spells it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update { .. } => "Update",
            Self::Delete => "Delete",
        }
    }
}

/// A request that can be worked on.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked.
    pub kind: Kind,
    /// Whom to answer.
    pub envelope: Envelope,
    /// The properties as they arrived.
    pub properties: Value,
}

/// What every answer needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Where the answer goes.
    pub response_url: ResponseUrl,
    /// Whose resource it is.
    pub owner: Owner,
    /// Id of the request; CloudFormation reuses it when a deployment is repeated.
    pub request_id: String,
    /// The id received, if there is one that can be sent back.
    pub physical_id: Option<PhysicalId>,
}

/// An event that is no request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// It can be answered, and only that.
    #[error("the event cannot be read: {problem}")]
    Answerable {
        /// Whom to answer.
        envelope: Box<Envelope>,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody can be answered.
    #[error("the event has no usable ResponseURL: {0}")]
    Unanswerable(String),
}

impl Request {
    /// Reads the text of an event. A member with what no value can hold (too deep a nesting, half a
    /// surrogate pair, a number beyond all bounds) costs a sentence in the answer as well.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, Unreadable> {
        let error = match serde_json::from_str(text) {
            Ok(event) => return Self::read(event, allow_http),
            Err(error) => error,
        };
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
        let sound =
            |(name, member): (_, &RawValue)| Some((name, serde_json::from_str(member.get()).ok()?));
        let event = members.into_iter().filter_map(sound).collect();
        let envelope = match Self::read(Value::Object(event), allow_http) {
            Ok(request) if request.kind != Kind::Delete => request.envelope,
            Err(Unreadable::Answerable { envelope, .. }) => *envelope,
            deletion_or_nobody => return deletion_or_nobody,
        };
        Err(unreadable(envelope, &error.to_string()))
    }

    /// Reads an event.
    ///
    /// `allow_http` lets an answer go to an address without TLS, as a local stand-in has.
    ///
    /// # Errors
    /// The event is of an unknown type, or lacks what its type needs. A Delete lacks nothing but
    /// its address: it has to be carried out whatever became of the event.
    pub fn read(event: Value, allow_http: bool) -> Result<Self, Unreadable> {
        let envelope = Envelope::salvage(&event, allow_http)?;
        let is_delete = event.get("RequestType").and_then(Value::as_str) == Some("Delete");
        let properties = event.get("ResourceProperties").cloned().unwrap_or_default();
        match serde_json::from_value::<Event<Value, Value>>(event) {
            Ok(Event::Create(create)) => {
                Ok(Self { kind: Kind::Create, envelope, properties: create.resource_properties })
            }
            Ok(Event::Update(update)) => {
                let kind = Kind::Update { old_properties: update.old_resource_properties };
                Ok(Self { kind, envelope, properties: update.resource_properties })
            }
            Ok(Event::Delete(_)) => Ok(Self { kind: Kind::Delete, envelope, properties }),
            Err(_) if is_delete => Ok(Self { kind: Kind::Delete, envelope, properties }),
            Ok(_) => Err(unreadable(envelope, "its RequestType is unknown")),
            Err(error) => Err(unreadable(envelope, &error.to_string())),
        }
    }
}

fn unreadable(envelope: Envelope, problem: &str) -> Unreadable {
    Unreadable::Answerable { envelope: Box::new(envelope), problem: problem.to_owned() }
}

impl Envelope {
    /// Reads field by field; only the address is indispensable.
    fn salvage(event: &Value, allow_http: bool) -> Result<Self, Unreadable> {
        let text = |name| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let response_url = ResponseUrl::parse(text("ResponseURL"), allow_http)
            .map_err(|problem| Unreadable::Unanswerable(problem.to_owned()))?;
        Ok(Self {
            response_url,
            owner: Owner {
                stack_id: text("StackId").to_owned(),
                logical_id: text("LogicalResourceId").to_owned(),
            },
            request_id: text("RequestId").to_owned(),
            physical_id: PhysicalId::received(text("PhysicalResourceId")),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(request_type: &str) -> Value {
        json!({
            "RequestType": request_type,
            "ResponseURL": "https://example.com/answer?X-Amz-Signature=secret",
            "StackId": "stack", "RequestId": "request", "LogicalResourceId": "Connection",
            "ResourceType": "Custom::IcaStorage", "PhysicalResourceId": "id",
            "ResourceProperties": {"BucketName": "b"}, "OldResourceProperties": {"BucketName": "a"},
        })
    }

    fn without(request_type: &str, field: &str) -> Value {
        let mut event = event(request_type);
        event.as_object_mut().unwrap().remove(field);
        event
    }

    #[test]
    fn each_type_is_read() {
        for (request_type, kind) in [
            ("Create", Kind::Create),
            ("Update", Kind::Update { old_properties: json!({"BucketName": "a"}) }),
            ("Delete", Kind::Delete),
        ] {
            let request = Request::read(event(request_type), false).unwrap();
            assert_eq!(request.kind, kind);
            assert_eq!(request.properties, json!({"BucketName": "b"}));
            assert_eq!(request.envelope.physical_id.unwrap().as_str(), "id");
        }
    }

    #[test]
    fn a_create_or_update_that_lacks_something_is_answerable() {
        for request_type in ["Create", "Update", "Nonsense"] {
            for field in [
                "RequestType",
                "StackId",
                "RequestId",
                "ResourceType",
                "LogicalResourceId",
                "ResourceProperties",
            ] {
                let unreadable = Request::read(without(request_type, field), false).unwrap_err();
                assert!(
                    matches!(unreadable, Unreadable::Answerable { .. }),
                    "{field}: {unreadable}"
                );
            }
        }
    }

    #[test]
    fn a_delete_is_read_whatever_it_lacks() {
        for field in [
            "StackId",
            "RequestId",
            "ResourceType",
            "LogicalResourceId",
            "ResourceProperties",
            "PhysicalResourceId",
        ] {
            assert_eq!(Request::read(without("Delete", field), false).unwrap().kind, Kind::Delete);
        }
    }

    /// JSON that Lambda lets through and no value can hold.
    const UNHOLDABLE: [&str; 3] = [r#""\ud800""#, "1e999", "[DEEP]"];

    fn with_unholdable(event: &Value, value: &str) -> String {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let value = value.replace("[DEEP]", &deep);
        event.to_string().replace(
            r#""ResourceProperties":{"BucketName":"b"}"#,
            &format!(r#""ResourceProperties":{{"BucketName":{value}}}"#),
        )
    }

    #[test]
    fn what_no_value_can_hold_costs_a_sentence_and_a_delete_nothing() {
        for value in UNHOLDABLE {
            for request_type in ["Create", "Update", "Nonsense"] {
                let text = with_unholdable(&event(request_type), value);
                let unreadable = Request::parse(&text, false).unwrap_err();
                let Unreadable::Answerable { envelope, problem } = unreadable else {
                    panic!("{unreadable}");
                };
                assert_eq!(envelope.request_id, "request");
                assert!(problem.contains(" at line 1 column "), "{problem}");
            }
            let text = with_unholdable(&event("Delete"), value);
            let delete = Request::parse(&text, false).unwrap();
            assert_eq!((delete.kind, delete.properties), (Kind::Delete, Value::Null));
        }
        assert!(matches!(Request::parse("{", false), Err(Unreadable::Unanswerable(_))));
    }

    #[test]
    fn without_an_address_nobody_is_answered() {
        for event in [json!(null), json!([]), json!("x"), without("Delete", "ResponseURL")] {
            assert!(matches!(Request::read(event, true), Err(Unreadable::Unanswerable(_))));
        }
    }
}
