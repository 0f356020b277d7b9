//! Single events of ill will, through the whole provider to the wire.

use ica_storage::callback::Callback;
use ica_storage::domain::identity::Home;
use ica_storage::ports::CallErrorKind;
use ica_storage::provider::{self, Settings};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::check;
use crate::support::account::{ACCOUNT, Account};
use crate::support::lab::{self, folder, with};
use crate::support::session::{Mishap, Session, Weather};

const STRANGER: &str = "111122223333";

fn stack(partition: &str, region: &str, account: &str) -> Value {
    format!("arn:{partition}:cloudformation:{region}:{account}:stack/lab/0f0f0f0f").into()
}

/// The answer that arrives; the function is in the account of the tests.
async fn answer(account: &Account, mut event: Value) -> Value {
    let receiver = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&receiver).await;
    event["ResponseURL"] = format!("{}/answer?{}", receiver.uri(), check::SECRET).into();
    let function = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:ica-storage");
    let settings =
        Settings { home: Home::of_function(&function), allow_http: true, ..Settings::default() };
    let (session, callback) = (Session::new(account, Weather::fair()), Callback::default());
    let deadline = Instant::now() + Duration::from_mins(1);
    let event = event.to_string();
    provider::invoke(&session, &callback, &settings, &event, deadline).await.unwrap();
    let arrived = receiver.received_requests().await.unwrap();
    let [one] = arrived.as_slice() else { panic!("{} answers", arrived.len()) };
    assert!(one.body.len() <= 4096, "{} bytes", one.body.len());
    serde_json::from_slice(&one.body).unwrap()
}

#[tokio::test]
async fn a_stack_of_another_account_region_or_partition_is_turned_away_before_anything_is_read() {
    let account = Account::new(lab::lived_in());
    for there in [
        stack("aws", "us-east-1", STRANGER),
        stack("aws", "eu-west-2", ACCOUNT),
        stack("aws-cn", "us-east-1", ACCOUNT),
    ] {
        for kind in ["Create", "Update", "Delete"] {
            let event = check::request(kind, &folder("project-a"));
            let answer = answer(&account, with(event, &[("StackId", there.clone())])).await;
            assert_eq!(answer["StackId"], there);
            // What was never made is deleted, or the stack could not be.
            if kind == "Delete" {
                assert_eq!(answer["Status"], "SUCCESS", "{answer}");
                continue;
            }
            let reason = answer["Reason"].as_str().unwrap();
            let begins = "AccessDenied: property `ServiceToken`: the stack is in ";
            assert!(reason.starts_with(begins), "{reason}");
            assert!(reason.ends_with("; name the provider of the stack's own account and region"));
        }
    }
    assert_eq!(account.calls(), []);
    let ours = answer(&account, check::request("Create", &folder("project-a"))).await;
    assert_eq!(ours["Status"], "SUCCESS", "{ours}");
}

#[test]
fn the_documents_carry_the_partition_of_the_stack() {
    for partition in ["aws-cn", "aws-us-gov"] {
        let account = Account::new(lab::lived_in());
        let role = format!("arn:{partition}:iam::079623148045:role/r");
        let properties = with(folder("project-a"), &[("AssumeRoleArn", role.clone().into())]);
        let event = check::request("Create", &properties);
        let event = with(event, &[("StackId", stack(partition, "us-east-1", ACCOUNT))]);
        let response = check::answer(&account, &event.to_string()).unwrap().unwrap();
        let answer: Value = serde_json::from_str(&response.body()).unwrap();
        assert_eq!(answer["Status"], "SUCCESS", "{answer}");
        let data = &answer["Data"];
        let bucket = format!("\"arn:{partition}:s3:::lab-data\"");
        assert!(data["BucketPolicyStatement"].as_str().unwrap().contains(&bucket), "{data}");
        assert!(data["PolicyArn"].as_str().unwrap().starts_with(&format!("arn:{partition}:iam:")));
        let state = account.state();
        let (_, document) = &state.policies.values().next().unwrap().versions[0];
        assert!(
            document.to_string().contains(&bucket) && !document.to_string().contains(":aws:s3")
        );
    }
}

/// Ten thousand tags, a thousand unknown properties, more text than an invocation may bring.
fn excesses() -> Vec<Value> {
    let tags = (0..10_000).map(|number| json!({"Key": number.to_string(), "Value": "v"}));
    let unknown: serde_json::Map<String, Value> =
        (0..1_000).map(|number| (format!("Unknown{number}"), "x".repeat(300).into())).collect();
    let deep = (0..120).fold(json!("x"), |inner, _| json!({"a": inner}));
    let long = "x".repeat(1_000_000);
    vec![
        with(folder("project-a"), &[("Tags", tags.collect())]),
        with(unknown.into(), &[("BucketName", "lab-data".into())]),
        with(folder("project-a"), &[("Nested", deep)]),
        with(folder("project-a"), &[("BucketName", format!("arn:{long}").into())]),
        folder(&format!("a//{long}")),
    ]
}

#[tokio::test]
async fn what_is_too_much_is_answered_and_changes_nothing() {
    let account = Account::new(lab::lived_in());
    for properties in excesses() {
        let answer = answer(&account, check::request("Create", &properties)).await;
        assert_eq!(answer["Status"], "FAILED");
    }
    assert_eq!(account.writes_since(0), []);
}

#[test]
fn what_is_too_much_is_not_repeated_in_the_log() {
    for properties in excesses() {
        check::properties(&properties);
    }
}

/// One that carries credentials, one without TLS, one that breaks the line.
#[test]
fn an_address_of_ill_will_gets_no_answer_and_is_not_printed() {
    for address in [
        format!("https://user:{}@example.com/", check::SECRET),
        format!("https://{}@example.com/?x", check::SECRET),
        format!("http://example.com/?{}", check::SECRET),
        format!("https://example.com/?{}\r\nHost: elsewhere", check::SECRET),
        format!("https://example.com/?{}\u{1b}[2J", check::SECRET),
        format!("file:///etc/passwd?{}", check::SECRET),
    ] {
        let event = check::request("Create", &folder("project-a"));
        let event = with(event, &[("ResponseURL", address.into())]).to_string();
        check::event(&event);
        let account = Account::new(lab::lived_in());
        assert!(check::answer(&account, &event).is_err());
        assert_eq!(account.calls(), []);
    }
}

/// Partitions differ in their hosts, so none is asked for.
#[test]
fn any_host_is_answered_over_tls() {
    for host in ["cloudformation.s3.cn-north-1.amazonaws.com.cn", "example.com:8443", "[::1]"] {
        let event = check::request("Delete", &folder("project-a"));
        let address = format!("https://{host}/?{}", check::SECRET);
        let event = with(event, &[("ResponseURL", address.into())]).to_string();
        check::event(&event);
        let account = Account::new(lab::lived_in());
        assert!(check::answer(&account, &event).unwrap().is_some(), "{host}");
    }
}

/// A name that brings its own line, its own field or its own screen.
#[test]
fn no_name_forges_a_line_of_the_log() {
    let forged = "lab\r\n{\"level\":\"INFO\",\"stack\":\"other\"}\u{1b}[2J\u{85}\u{2028}\0";
    let stack = format!("arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/{forged}/x");
    for member in ["StackId", "LogicalResourceId", "RequestId", "PhysicalResourceId", "RequestType"]
    {
        for text in [forged, &stack, &forged.repeat(20_000)] {
            for kind in ["Create", "Update", "Delete"] {
                let event = check::request(kind, &folder("project-a"));
                check::event(&with(event, &[(member, text.into())]).to_string());
            }
        }
    }
}

/// What a service says goes into the log as well, and may quote what somebody wrote.
#[test]
fn no_word_of_a_service_begins_a_line_of_the_log() {
    let account = Account::new(lab::lived_in());
    let create = check::request("Create", &folder("project-a"));
    let created = check::answer(&account, &create.to_string()).unwrap().unwrap();
    let id = created.physical_id.as_str().to_owned();
    let denied = Weather::on("s3:DeleteObject", Mishap::Before(CallErrorKind::Denied));
    let weather = Weather { words: Some("no\r\nERROR request failed code=Forged"), ..denied };
    let delete = check::request("Delete", &folder("project-a"));
    let delete = with(delete, &[("PhysicalResourceId", id.into())]).to_string();
    let log = check::Log::default();
    log.of(|| check::answer_in(weather, &account, &delete)).unwrap().unwrap();
    assert!(log.text().contains("code=Forged"), "{}", log.text());
    log.assert_one_line_each();
}
