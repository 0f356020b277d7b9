//! An invocation from its event to its answer: one PUT whatever happens, or an error that says why not.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ica_storage::callback::{Callback, Undelivered};
use ica_storage::cloudformation::request::Request;
use ica_storage::engine;
use ica_storage::ports::CallErrorKind;
use ica_storage::provider::{self, Settings, Unanswered};
use lambda_runtime::tracing::Level;
use lambda_runtime::tracing::subscriber::fmt;
use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::account::Account;
use crate::support::lab::{self, folder, with};
use crate::support::session::{Mishap, Session, Weather};
use crate::support::stack::{self, Stack};

const SECRET: &str = "X-Amz-Signature=5ec4e7";

/// Long enough for all that is done here; an answer has 20 seconds of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// CloudFormation's end, which says this to every answer.
async fn receiver(status: u16) -> MockServer {
    let server = MockServer::start().await;
    let reply = ResponseTemplate::new(status);
    Mock::given(method("PUT")).respond_with(reply).mount(&server).await;
    server
}

/// Every answer that arrived.
async fn answers(receiver: &MockServer) -> Vec<Value> {
    let requests = receiver.received_requests().await.unwrap();
    requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

fn event(kind: &str, host: &str, properties: &Value) -> Value {
    json!({
        "RequestType": kind,
        "ResponseURL": format!("{host}/answer?X-Amz-Expires=7200&{SECRET}"),
        "StackId": Stack::new(&Account::new(lab::bare()), "lab", "").id,
        "RequestId": "request",
        "LogicalResourceId": "Connection",
        "ResourceType": "Custom::IcaStorage",
        "PhysicalResourceId": if kind == "Create" { Value::Null } else { "s3://lab-data/was/#0123456789abcdef".into() },
        "ServiceToken": properties["ServiceToken"],
        "ResourceProperties": properties,
        "OldResourceProperties": folder("was"),
    })
}

/// The same event with one member changed, or without it.
fn changed(event: &Value, member: &str, value: Option<Value>) -> Value {
    let mut event = event.clone();
    match value {
        Some(value) => event[member] = value,
        None => drop(event.as_object_mut().unwrap().remove(member)),
    }
    event
}

async fn invoke_until(
    account: &Account,
    weather: Weather,
    event: Value,
    patience: Duration,
) -> Result<(), Unanswered> {
    let settings = Settings { allow_http: true, ..Settings::default() };
    let (session, callback) = (Session::new(account, weather), Callback::default());
    let deadline = Instant::now() + patience;
    provider::invoke(&session, &callback, &settings, &event.to_string(), deadline).await
}

async fn invoke(account: &Account, weather: Weather, event: Value) -> Result<(), Unanswered> {
    invoke_until(account, weather, event, PATIENCE).await
}

/// The id under which a failed request of this event is answered.
fn own_id(event: Value) -> String {
    let request = Request::read(event, true).unwrap();
    engine::id_of_failure(&request).as_str().to_owned()
}

#[tokio::test]
async fn a_panic_is_answered_once_under_an_id_that_a_delete_can_be_sent_to() {
    for (kind, calls) in
        [("Create", vec![1, 10, 17, 20]), ("Update", vec![1, 17]), ("Delete", vec![1])]
    {
        for call in calls {
            let (account, receiver) = (Account::new(lab::lived_in()), receiver(200).await);
            let event = event(kind, &receiver.uri(), &folder("project-a"));
            invoke(&account, Weather::at(call, Mishap::Panic), event.clone()).await.unwrap();
            let answers = answers(&receiver).await;
            let [answer] = answers.as_slice() else { panic!("{kind}, call {call}: {answers:?}") };
            assert_eq!(answer["Status"], "FAILED");
            assert_eq!(answer["PhysicalResourceId"], own_id(event).as_str(), "{kind}, call {call}");
            let reason = answer["Reason"].as_str().unwrap();
            assert!(reason.starts_with("InternalFailure: unexpected: a defect; "), "{reason}");
        }
    }
}

/// A panic is no end: what it left, the Delete finds.
#[tokio::test]
async fn a_create_that_panics_anywhere_leaves_nothing_its_delete_does_not_find() {
    for call in 1.. {
        let (account, receiver) = (Account::new(lab::lived_in()), receiver(200).await);
        let create = event("Create", &receiver.uri(), &folder("project-a"));
        invoke(&account, Weather::at(call, Mishap::Panic), create.clone()).await.unwrap();
        let answer = answers(&receiver).await.remove(0);
        if answer["Status"] == "SUCCESS" {
            assert!(call > 20, "a Create makes {call} calls");
            return;
        }
        let mut delete = event("Delete", &receiver.uri(), &folder("project-a"));
        delete["PhysicalResourceId"] = answer["PhysicalResourceId"].clone();
        tokio::time::pause();
        let request = Request::read(delete, true).unwrap();
        let deleted = stack::answer(&Session::new(&account, Weather::fair()), &request).await;
        tokio::time::resume();
        assert!(deleted.success, "{}", deleted.reason);
        assert_eq!(account.trace(), None, "call {call}");
    }
}

/// Members that are missing, or are no texts; a type there is none of; properties that are none.
fn malformed(host: &str) -> Vec<Value> {
    let mut events = vec![];
    for kind in ["Create", "Update", "Delete", "Import"] {
        let event = event(kind, host, &json!({"BucketName": "lab-data", "Bogus": [7]}));
        for member in ["StackId", "RequestId", "LogicalResourceId", "ResourceType"] {
            events.push(changed(&event, member, None));
            events.push(changed(&event, member, Some(json!({"a": [7]}))));
        }
        for properties in [None, Some(json!(null)), Some(json!("text"))] {
            events.push(changed(&event, "ResourceProperties", properties));
        }
        events.push(changed(&event, "PhysicalResourceId", Some("x".repeat(1025).into())));
        events.push(event);
    }
    events
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_answered_once() {
    let (account, receiver) = (Account::new(lab::lived_in()), receiver(200).await);
    let events = malformed(&receiver.uri());
    for event in &events {
        invoke(&account, Weather::fair(), event.clone()).await.unwrap();
    }
    let answers = answers(&receiver).await;
    assert_eq!(answers.len(), events.len());
    for (answer, event) in answers.iter().zip(events) {
        // A Delete of what was never made is done.
        let status = if event["RequestType"] == "Delete" { "SUCCESS" } else { "FAILED" };
        assert_eq!(answer["Status"], status, "{event}");
        assert_eq!(answer["Reason"].is_string(), status == "FAILED", "{event}");
        for member in ["StackId", "RequestId", "LogicalResourceId"] {
            assert_eq!(answer[member], event[member].as_str().unwrap_or_default(), "{event}");
        }
        let id = answer["PhysicalResourceId"].as_str().unwrap();
        assert!((1..=1024).contains(&id.len()), "{event}");
    }
    assert_eq!(account.writes_since(0), []);
}

#[tokio::test]
async fn an_address_that_has_expired_means_no_work_and_no_answer() {
    let (account, receiver) = (Account::new(lab::lived_in()), receiver(200).await);
    for kind in ["Create", "Update", "Delete"] {
        let event = event(kind, &receiver.uri(), &folder("project-a"));
        let url = event["ResponseURL"].as_str().unwrap();
        for expired in [
            format!("{url}&X-Amz-Date=20200101T000000Z"),
            format!("{}/answer?Expires=1577836800&{SECRET}", receiver.uri()),
        ] {
            let event = changed(&event, "ResponseURL", Some(expired.into()));
            invoke(&account, Weather::fair(), event).await.unwrap();
        }
    }
    assert_eq!(account.calls(), []);
    assert_eq!(answers(&receiver).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_event_with_nobody_to_answer_is_an_error_and_no_work() {
    let account = Account::new(lab::lived_in());
    let create = event("Create", "ftp://example.com", &folder("project-a"));
    for event in [
        json!(null),
        json!([]),
        changed(&create, "ResponseURL", None),
        changed(&create, "ResponseURL", Some(json!({"url": SECRET}))),
        create,
    ] {
        let error = invoke(&account, Weather::fair(), event).await.unwrap_err();
        assert!(matches!(error, Unanswered::Unreadable(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }
    assert_eq!(account.calls(), []);
}

/// Lambda repeats an invocation that fails, and the repetition finds its work done.
#[tokio::test]
async fn an_answer_that_is_refused_fails_the_invocation_whose_repetition_answers() {
    let (account, refuses) = (Account::new(lab::lived_in()), receiver(403).await);
    let create = event("Create", &refuses.uri(), &folder("project-a"));
    let error = invoke(&account, Weather::fair(), create.clone()).await.unwrap_err();
    assert!(matches!(error, Unanswered::Undelivered(Undelivered::Refused(_))), "{error}");
    let (takes, calls) = (receiver(200).await, account.calls().len());
    let again = event("Create", &takes.uri(), &folder("project-a"));
    invoke(&account, Weather::fair(), again).await.unwrap();
    assert_eq!(answers(&takes).await, answers(&refuses).await);
    assert_eq!(account.writes_since(calls), []);
}

/// What was logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that can go wrong, at the most talkative level there is: `template.yaml` has no TRACE.
#[tokio::test]
async fn the_log_tells_every_failure_and_never_the_address() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        fmt().json().with_max_level(Level::DEBUG).with_writer(move || writer.clone()).finish();
    // Of a lone subscriber only its own thread is asked, and another test may log first.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (takes, refuses) = (receiver(200).await, receiver(403).await);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let create = |host: &str| event("Create", host, &folder("project-a"));
    let soon = Duration::from_millis(20_300);
    let denied = Weather::on("s3:PutBucketPolicy", Mishap::Before(CallErrorKind::Denied));
    let account = || Account::new(lab::lived_in());
    let mut answered = vec![];
    for (weather, event) in [
        (Weather::fair(), with(create(&takes.uri()), &[("RequestType", "Import".into())])),
        (Weather::fair(), event("Create", &takes.uri(), &with(folder("a/*"), &[]))),
        (Weather::at(20, Mishap::Panic), create(&takes.uri())),
        (Weather::at(20, Mishap::Hang), create(&takes.uri())),
        (denied, create(&takes.uri())),
        (Weather::fair(), create(&takes.uri())),
    ] {
        answered.push(invoke_until(&account(), weather, event, soon).await);
    }
    assert!(answered.iter().all(Result::is_ok), "{answered:?}");
    let overtaken = account();
    Stack::new(&overtaken, "lab", "Connection").status("DELETE_IN_PROGRESS", "DELETE_IN_PROGRESS");
    invoke(&overtaken, Weather::fair(), create(&takes.uri())).await.unwrap();
    let expired = format!("{}/answer?Expires=1&{SECRET}", takes.uri());
    let expired = changed(&create(""), "ResponseURL", Some(expired.into()));
    invoke(&account(), Weather::fair(), expired).await.unwrap();
    for event in [create(&refuses.uri()), create(&format!("http://{closed}")), create("ftp://x")] {
        let patience = Duration::from_secs(2);
        let error = invoke_until(&account(), Weather::fair(), event, patience).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("5ec4e7"), "{error:?}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for told in [
        "InvalidRequest",
        "InternalFailure",
        "NotStabilized",
        "AccessDenied",
        "ResourceConflict",
        "has expired",
        "answered",
        "\"logical_id\":\"Connection\"",
        "\"stack\":\"lab\"",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(!log.contains("Signature") && !log.contains("5ec4e7"), "{log}");
}
