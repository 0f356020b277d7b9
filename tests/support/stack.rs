//! CloudFormation's side of the deal: one resource of a stack, from its template to its end.

use std::time::Duration;

use ica_storage::cloudformation::request::{Kind, Request};
use ica_storage::domain::attributes;
use ica_storage::engine::failure::Trace;
use ica_storage::engine::{self, Context};
use ica_storage::ports::StackResource;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::support::account::{ACCOUNT, Account};
use crate::support::chance::Chance;
use crate::support::session::{Session, Weather};
use crate::support::state::State;

/// What an invocation has for its work.
const WORK: Duration = Duration::from_secs(280);

/// How often CloudFormation repeats a Delete or a rollback that failed.
const TRIES: usize = 3;

/// A resource of a stack.
#[derive(Debug)]
pub(crate) struct Stack<'a> {
    pub(crate) account: &'a Account,
    pub(crate) id: String,
    pub(crate) logical_id: String,
    /// What CloudFormation believes to stand.
    pub(crate) standing: Option<Standing>,
    /// Whether the id of a failed Update's answer is believed.
    pub(crate) believes_failures: bool,
    /// What the whole stack does while this resource is deleted.
    pub(crate) deleting: &'static str,
    /// How the requests fare that no test gives a weather of their own.
    pub(crate) pace: Option<Chance>,
    /// Where this provider left CloudFormation in a lurch.
    complaints: Vec<String>,
    requests: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    pub(crate) physical_id: String,
    pub(crate) properties: Value,
}

/// What CloudFormation reads of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) physical_id: String,
    pub(crate) reason: String,
    pub(crate) data: Map<String, Value>,
}

impl<'a> Stack<'a> {
    pub(crate) fn new(account: &'a Account, name: &str, logical_id: &str) -> Self {
        let guid = "0f0f0f0f-1111-2222-3333-444444444444";
        Self {
            account,
            id: format!("arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/{name}/{guid}"),
            logical_id: logical_id.to_owned(),
            standing: None,
            believes_failures: true,
            deleting: "DELETE_IN_PROGRESS",
            pace: None,
            complaints: vec![],
            requests: 0,
        }
    }

    /// The weather of a request nobody looks at.
    fn weather(&mut self) -> Weather {
        self.pace.as_mut().map_or_else(Weather::fair, Weather::paced)
    }

    /// Brings the resource to these properties; whether that worked out, or was rolled back.
    pub(crate) async fn deploy(&mut self, properties: &Value) -> bool {
        let weather = self.weather();
        self.deploy_in(weather, properties).await.success
    }

    /// The same, and how its first request fares.
    pub(crate) async fn deploy_in(&mut self, weather: Weather, properties: &Value) -> Answer {
        match self.standing.clone() {
            None => self.create_in(weather, properties).await,
            Some(standing) => self.update_in(weather, properties, standing).await,
        }
    }

    async fn create_in(&mut self, weather: Weather, properties: &Value) -> Answer {
        self.status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS");
        let answer = self.send(weather, &self.request("Create", None, properties, None)).await;
        let physical_id = answer.physical_id.clone();
        self.standing = Some(Standing { physical_id, properties: properties.clone() });
        if answer.success {
            self.status("CREATE_COMPLETE", "CREATE_COMPLETE");
        } else {
            self.status("CREATE_FAILED", "ROLLBACK_IN_PROGRESS");
            let deleted = self.delete_calmly().await;
            self.expect("the Delete after a failed Create", &deleted);
        }
        answer
    }

    async fn update_in(&mut self, weather: Weather, properties: &Value, old: Standing) -> Answer {
        self.status("UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS");
        let received = old.physical_id.as_str();
        let request = self.request("Update", Some(received), properties, Some(&old.properties));
        let answer = self.send(weather, &request).await;
        let believed = answer.success || self.believes_failures;
        let physical_id = if believed { answer.physical_id.clone() } else { received.to_owned() };
        let new = Standing { physical_id, properties: properties.clone() };
        if answer.success {
            self.standing = Some(new.clone());
            self.status("UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS");
            self.clean_up(&old, &new).await;
            self.status("UPDATE_COMPLETE", "UPDATE_COMPLETE");
        } else {
            self.status("UPDATE_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS");
            self.roll_back(new, old).await;
        }
        answer
    }

    /// The resource is updated, but another one of its stack fails.
    pub(crate) async fn update_in_vain(&mut self, properties: &Value) {
        let old = self.standing.clone().unwrap();
        self.status("UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS");
        let request =
            self.request("Update", Some(&old.physical_id), properties, Some(&old.properties));
        let weather = self.weather();
        let answer = self.send(weather, &request).await;
        let physical_id = answer.physical_id;
        self.status("UPDATE_COMPLETE", "UPDATE_ROLLBACK_IN_PROGRESS");
        self.roll_back(Standing { physical_id, properties: properties.clone() }, old).await;
    }

    /// An Update with the properties swapped, then the Delete of what it no longer is.
    async fn roll_back(&mut self, from: Standing, to: Standing) {
        self.status("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS");
        let request =
            self.request("Update", Some(&from.physical_id), &to.properties, Some(&from.properties));
        let answer = self.insist(&request).await;
        self.expect("the rollback", &answer);
        let physical_id = answer.physical_id;
        let back = Standing { physical_id, properties: to.properties };
        self.standing = Some(back.clone());
        self.status("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS");
        self.clean_up(&from, &back).await;
        self.status("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE");
    }

    async fn clean_up(&mut self, old: &Standing, new: &Standing) {
        if old.physical_id != new.physical_id {
            let request = self.request("Delete", Some(&old.physical_id), &old.properties, None);
            let answer = self.insist(&request).await;
            self.expect("the clean-up", &answer);
        }
    }

    async fn delete_calmly(&mut self) -> Answer {
        let weather = self.weather();
        Box::pin(self.delete_in(weather)).await
    }

    /// Deletes the resource, however often it takes; whether that worked out.
    pub(crate) async fn delete(&mut self) -> bool {
        self.delete_calmly().await.success
    }

    /// The same, and how its first request fares.
    pub(crate) async fn delete_in(&mut self, weather: Weather) -> Answer {
        let Some(Standing { physical_id, properties }) = self.standing.clone() else {
            panic!("there is nothing to delete");
        };
        self.status("DELETE_IN_PROGRESS", self.deleting);
        let request = self.request("Delete", Some(&physical_id), &properties, None);
        let mut answer = self.send(weather, &request).await;
        if !answer.success {
            self.status("DELETE_FAILED", "DELETE_FAILED");
            self.status("DELETE_IN_PROGRESS", self.deleting);
            answer = self.insist(&request).await;
        }
        if answer.success {
            self.status("DELETE_COMPLETE", self.deleting);
            self.standing = None;
        }
        answer
    }

    /// What CloudFormation could not bring to an end, if anything.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        (!self.complaints.is_empty()).then(|| self.complaints.drain(..).collect())
    }

    fn expect(&mut self, what: &str, answer: &Answer) {
        if !answer.success {
            self.complaints.push(format!("{what} failed: {}", answer.reason));
        }
    }

    async fn insist(&mut self, request: &Request) -> Answer {
        let mut weather = self.weather();
        for _ in 1..TRIES {
            let answer = self.send(weather, request).await;
            if answer.success {
                return answer;
            }
            weather = self.weather();
        }
        self.send(weather, request).await
    }

    pub(crate) fn status(&self, resource: &str, stack: &str) {
        let standing = self.standing.as_ref();
        let physical_id = standing.map(|it| it.physical_id.clone()).unwrap_or_default();
        let resource = StackResource { status: resource.to_owned(), physical_id };
        self.account.set_status(&self.id, &self.logical_id, resource, stack);
    }

    /// What CloudFormation says before it sends a request.
    pub(crate) fn starts(&self, kind: &str) {
        let status = format!("{}_IN_PROGRESS", kind.to_uppercase());
        self.status(&status, &status);
    }

    /// An event, read as the provider reads it.
    pub(crate) fn request(
        &self,
        kind: &str,
        physical_id: Option<&str>,
        properties: &Value,
        old: Option<&Value>,
    ) -> Request {
        let mut event = json!({
            "RequestType": kind,
            "ResponseURL": "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/answer?X-Amz-Signature=secret",
            "StackId": self.id,
            "RequestId": format!("request-{}", self.requests),
            "LogicalResourceId": self.logical_id,
            "ResourceType": "Custom::IcaStorage",
            "ServiceToken": properties["ServiceToken"],
            "ResourceProperties": properties,
        });
        if let Some(physical_id) = physical_id {
            event["PhysicalResourceId"] = physical_id.into();
        }
        if let Some(old) = old {
            event["OldResourceProperties"] = old.clone();
        }
        Request::read(event, false).expect("the event can be read")
    }

    /// Sends an event and takes its one answer.
    pub(crate) async fn send(&mut self, weather: Weather, request: &Request) -> Answer {
        self.requests += 1;
        answer(&Session::new(self.account, weather), request).await
    }
}

/// The account after these deployments of one resource, nothing going wrong.
pub(crate) async fn after(state: &State, deployments: &[&Value]) -> State {
    let account = Account::new(state.clone());
    let mut stack = Stack::new(&account, "lab", "Connection");
    for properties in deployments {
        assert!(stack.deploy(properties).await);
    }
    account.state()
}

/// What an invocation has and knows.
pub(crate) fn context() -> Context {
    let trace = Trace { function: "ica-storage".to_owned(), log_stream: "2026/01/01".to_owned() };
    Context {
        principal_accounts: vec![],
        bucket_name_pattern: String::new(),
        deadline: Instant::now() + WORK,
        trace,
    }
}

/// Has a request answered, and holds the answer to what CloudFormation takes.
pub(crate) async fn answer(session: &Session<'_>, request: &Request) -> Answer {
    let context = context();
    let response = engine::handle(session, request, &context).await;
    assert!(
        Instant::now() <= context.deadline + Duration::from_millis(1),
        "the answer came too late"
    );
    let body = response.body();
    assert!(body.len() <= 4096, "the answer has {} bytes: {body}", body.len());
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["StackId"], *request.envelope.owner.stack_id);
    assert_eq!(body["RequestId"], *request.envelope.request_id);
    assert_eq!(body["LogicalResourceId"], *request.envelope.owner.logical_id);
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let physical_id = text("PhysicalResourceId");
    assert!((1..=1024).contains(&physical_id.len()), "the id is `{physical_id}`");
    let success = body["Status"] == "SUCCESS";
    assert!(success || (body["Status"] == "FAILED" && !text("Reason").is_empty()), "{body}");
    let data = body["Data"].as_object().unwrap().clone();
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    let expected: &[&str] =
        if success && request.kind != Kind::Delete { &attributes::NAMES } else { &[] };
    assert_eq!(keys, expected, "{body}");
    assert!(data.values().all(Value::is_string), "{body}");
    let is_dry_run = request.properties["DryRun"] == "true" && request.kind != Kind::Delete;
    let tells_changes = data.get("Changes").is_some_and(|changes| changes != "");
    assert_eq!(tells_changes, is_dry_run && success, "{body}");
    if let (Kind::Delete, Some(received)) = (&request.kind, &request.envelope.physical_id) {
        assert_eq!(physical_id, received.as_str(), "a Delete keeps its id");
    }
    Answer { success, physical_id, reason: text("Reason"), data }
}
