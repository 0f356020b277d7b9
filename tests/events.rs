//! Every `events/*.json` → what it is read as.

use ica_storage::cloudformation::request::{Kind, Request};
use ica_storage::domain::identity::{Identity, PhysicalId};
use ica_storage::domain::spec::{Place, Spec};
use serde_json::Value;

/// Kind, id and, for what is refused, every problem.
fn reading(event: Value) -> String {
    let received = event["PhysicalResourceId"].as_str().map(str::to_owned);
    let request = match Request::read(event, false) {
        Ok(request) => request,
        Err(unreadable) => return unreadable.to_string(),
    };
    let owner = request.envelope.owner.clone();
    let own = match Place::of(&request.properties) {
        Some(place) => Identity { owner, place }.physical_id(),
        None => PhysicalId::nowhere(&owner),
    };
    let mut lines = vec![format!("{} {}", request.kind.as_str(), own.as_str())];
    match &request.kind {
        Kind::Create => {}
        Kind::Update { .. } if received.as_deref() == Some(own.as_str()) => {
            lines.push("in place".into());
        }
        Kind::Update { .. } | Kind::Delete => lines.push(format!("received {received:?}")),
    }
    if request.kind != Kind::Delete {
        match Spec::parse(&request.properties) {
            Ok(spec) => lines.push(format!("{spec:#?}")),
            Err(refusals) => lines.extend(refusals.iter().map(ToString::to_string)),
        }
    }
    lines.join("\n")
}

#[test]
fn every_event_is_read_as_reviewed() {
    insta::glob!("../events", "*.json", |path| {
        let event = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        insta::assert_snapshot!(reading(event));
    });
}

/// A Delete of any age is carried out, and so are the events named for a property set.
#[test]
fn every_delete_is_accepted() {
    insta::glob!("../events", "delete*.json", |path| {
        let event = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(Request::read(event, false).unwrap().kind, Kind::Delete);
    });
}
