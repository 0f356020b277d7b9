//! What the function is asked directly: a result, and no answer to anybody.

use std::time::Duration;

use ica_storage::actions::{self, Invocation, NoResult};
use ica_storage::callback::Callback;
use ica_storage::domain::identity::Home;
use ica_storage::provider::Settings;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::account::Account;
use crate::support::lab::{self, BUCKET, folder, with};
use crate::support::session::{Mishap, Session, Weather};
use crate::support::stack::Stack;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:ica-storage";

async fn invoke_as(
    function_arn: &str,
    account: &Account,
    weather: Weather,
    event: Value,
) -> Result<Value, NoResult> {
    let (session, callback) = (Session::new(account, weather), Callback::default());
    let deadline = Instant::now() + Duration::from_mins(1);
    let invocation = Invocation { function_arn, deadline };
    actions::invoke(&session, &callback, &Settings::default(), &event.to_string(), invocation).await
}

async fn invoke(account: &Account, event: Value) -> Result<Value, NoResult> {
    invoke_as(FUNCTION, account, Weather::fair(), event).await
}

/// The class of the error that Lambda shows, and its sentence.
async fn refusal(account: &Account, event: Value) -> (String, String) {
    let error = invoke(account, event).await.unwrap_err();
    (error.error_type(), error.to_string())
}

#[tokio::test(start_paused = true)]
async fn verify_answers_with_every_connection() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("project-a")).await);
    account.foreign(|state| state.bucket(BUCKET).cors.retain(|rule| rule["ID"] != "ica-storage"));
    for event in [
        json!({"Action": "Verify"}),
        json!({"Action": "Verify", "StackId": stack.id, "LogicalResourceId": "Connection"}),
        json!({"Action": "Verify", "BucketName": BUCKET, "StackId": null}),
    ] {
        let report = invoke(&account, event).await.unwrap();
        assert_eq!(report["Status"], "drifted");
        let counts =
            json!({"Connections": 1, "Healthy": 0, "Drifted": 1, "Broken": 0, "Elsewhere": 0});
        assert_eq!(report["Counts"], counts);
        let connection = &report["Connections"][0];
        assert_eq!(connection["StackId"], stack.id.as_str());
        assert_eq!(connection["Findings"][0]["What"], "CORS configuration");
        assert_eq!(connection["Findings"][0]["Found"], Value::Null);
    }
    let none = invoke(&account, json!({"Action": "Verify", "BucketName": "other"})).await.unwrap();
    assert_eq!((&none["Status"], &none["Connections"]), (&"healthy".into(), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn plan_answers_with_the_changes_or_the_refusals() {
    let account = Account::new(lab::lived_in());
    let plan = |properties: Value| json!({"Action": "Plan", "ResourceProperties": properties});
    let planned = invoke(&account, plan(folder("project-a"))).await.unwrap();
    assert_eq!((&planned["PolicyArn"], &planned["Refusals"]), (&Value::Null, &json!([])));
    assert_eq!(planned["Changes"].as_array().unwrap().len(), 6);
    assert!(
        planned["Changes"][0]["Diff"]
            .as_str()
            .unwrap()
            .starts_with("--- /dev/null\n+++ IAM policy")
    );
    assert_eq!(account.writes_since(0), []);

    let mut stack = Stack::new(&account, "lab", "Connection");
    assert!(stack.deploy(&folder("project-a")).await);
    let calls = account.calls().len();
    // Whoever has the place is who would be updated.
    let planned = invoke(&account, plan(folder("project-a"))).await.unwrap();
    assert_eq!(planned["Changes"], json!([]));
    assert!(
        planned["PolicyArn"].as_str().unwrap().starts_with("arn:aws:iam::123456789012:policy/")
    );
    // Somebody else's connection could not have it.
    let mut other = plan(folder("project-a"));
    other["StackId"] = stack.id.replace("stack/lab/", "stack/other/").into();
    let refused = invoke(&account, other).await.unwrap();
    assert_eq!(refused["Refusals"][0]["Code"], "AlreadyExists");
    let odd = with(folder("*"), &[("Configurecors", "no".into())]);
    let refused = invoke(&account, plan(odd)).await.unwrap();
    assert_eq!(refused["Refusals"].as_array().unwrap().len(), 2);
    let nothing = invoke(&account, json!({"Action": "Plan"})).await.unwrap();
    assert_eq!(nothing["Refusals"].as_array().unwrap().len(), 2);
    assert_eq!(account.writes_since(calls), []);
}

/// A request is a request, whatever else it says.
#[tokio::test(start_paused = true)]
async fn an_event_with_a_request_type_is_never_an_action() {
    let account = Account::new(lab::lived_in());
    for event in [
        json!({"RequestType": "Create", "Action": "Verify"}),
        json!({"RequestType": null, "Action": "Verify"}),
        json!({"ResponseURL": "none", "Action": "Verify"}),
        json!({"Action": ["Verify"]}),
        json!({}),
    ] {
        let (class, sentence) = refusal(&account, event).await;
        assert_eq!(class, "Unanswered");
        assert!(sentence.starts_with("the event has no usable ResponseURL"), "{sentence}");
    }
    assert_eq!(account.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_wrongly_is_an_error_that_says_so() {
    let account = Account::new(lab::lived_in());
    for (event, expected) in [
        (json!({"Action": "Destroy"}), "property `Action`: `Destroy` is none; write "),
        (json!({"Action": "Verify", "BucketName": 7}), "property `BucketName`: `7` is no string; "),
    ] {
        let (class, sentence) = refusal(&account, event).await;
        assert_eq!(class, "InvalidRequest");
        assert!(sentence.contains(expected), "{sentence}");
    }
    let event = json!({"Action": "Verify"});
    let failed =
        Weather::on("iam:ListPolicies", Mishap::Before(ica_storage::ports::CallErrorKind::Denied));
    let error = invoke_as(FUNCTION, &account, failed, event.clone()).await.unwrap_err();
    assert_eq!(error.error_type(), "AccessDenied");
    // An emulator's function may have an odd name; a stack tells the account as well.
    let error = invoke_as("function", &account, Weather::fair(), event).await.unwrap_err();
    assert!(error.to_string().contains("property `StackId`: "), "{error}");
    let stack = Stack::new(&account, "lab", "Connection").id;
    let event = json!({"Action": "Verify", "StackId": stack});
    assert!(invoke_as("function", &account, Weather::fair(), event).await.is_ok());
}

/// The clients are the function's: they would look for another account's bucket in their own.
#[tokio::test(start_paused = true)]
async fn a_stack_of_another_account_or_region_is_refused() {
    let account = Account::new(lab::lived_in());
    let stack = Stack::new(&account, "lab", "Connection").id;
    let settings = Settings { home: Home::of_function(FUNCTION), ..Settings::default() };
    for (stack, is_done) in [
        (stack.clone(), true),
        (stack.replace(":us-east-1:", ":eu-west-2:"), false),
        (stack.replace(":123456789012:", ":210987654321:"), false),
    ] {
        for action in ["Verify", "Plan"] {
            let event = json!({"Action": action, "StackId": stack}).to_string();
            let (session, callback) =
                (Session::new(&account, Weather::fair()), Callback::default());
            let deadline = Instant::now() + Duration::from_mins(1);
            let invocation = Invocation { function_arn: FUNCTION, deadline };
            let done = actions::invoke(&session, &callback, &settings, &event, invocation).await;
            assert_eq!(done.is_ok(), is_done, "{event}");
            if let Err(error) = done {
                assert!(error.to_string().contains("property `StackId`: the stack is in "));
            }
        }
    }
}
