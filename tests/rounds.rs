//! How often each operation waits for AWS, and for what: one line a round, whose calls run at once.
//!
//! A round is what must wait for the one before. A call that is added shows here, and changes the snapshot.

use std::fmt::Write;
use std::time::Duration;

use ica_storage::domain::ica::Versioning;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::account::Account;
use crate::support::lab::{self, KEY, OTHER_KEY, folder, with};
use crate::support::session::Weather;
use crate::support::stack::{Answer, Stack};

/// Longer than all pauses of a request together, which so never look like a round.
const LATENCY: Duration = Duration::from_secs(10);

/// What a request does, as a table.
async fn rounds(account: &Account, request: impl Future<Output = Answer>) -> String {
    let (before, started) = (account.calls().len(), Instant::now());
    let opened = account.age();
    let answer = request.await;
    assert!(answer.success, "{}", answer.reason);
    let calls = account.calls().split_off(before);
    let round = |time: Duration| time.as_secs() / LATENCY.as_secs();
    let count = round(started.elapsed());
    let pause = Duration::from_secs_f64(started.elapsed().as_secs_f64() % LATENCY.as_secs_f64());
    let mut table = format!("{count} rounds, {} calls", calls.len());
    if pause > Duration::ZERO {
        write!(table, ", and {pause:?} of waiting").unwrap();
    }
    for number in 0..count {
        let mut actions: Vec<&str> = calls
            .iter()
            .filter(|call| round(call.at.saturating_sub(opened)) == number)
            .map(|call| call.action)
            .collect();
        actions.sort_unstable();
        write!(table, "\n{:2}", number + 1).unwrap();
        for same in actions.chunk_by(|one, other| one == other) {
            let times = if same.len() > 1 { format!(" ×{}", same.len()) } else { String::new() };
            write!(table, "  {}{times}\n  ", same[0]).unwrap();
        }
        table.truncate(table.trim_end().len());
    }
    table
}

fn named(prefix: &str) -> Value {
    with(folder(prefix), &[("KmsKeyId", KEY.into())])
}

/// Creates, updates or deletes, and tells how.
async fn shape(stack: &mut Stack<'_>, name: &str, properties: Option<Value>) -> String {
    let account = stack.account;
    let steady = Weather { latency: Some(LATENCY), ..Weather::fair() };
    let table = match properties {
        Some(properties) => rounds(account, stack.deploy_in(steady, &properties)).await,
        None => rounds(account, stack.delete_in(steady)).await,
    };
    format!("{name}: {table}\n\n")
}

#[tokio::test(start_paused = true)]
async fn every_operation_waits_as_rarely_as_it_can() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let mut shapes =
        shape(&mut stack, "Create, the key by its ARN", Some(named("project-a"))).await;
    let patient = with(named("project-a"), &[("ServiceTimeout", "600".into())]);
    shapes += &shape(&mut stack, "Update of which nothing comes", Some(patient)).await;
    account.foreign(|state| *state = lab::versioned(state.clone(), Versioning::Enabled));
    let name = "Update after versioning was switched on";
    shapes += &shape(&mut stack, name, Some(named("project-a"))).await;
    let moved = with(folder("project-a"), &[("KmsKeyId", OTHER_KEY.into())]);
    shapes += &shape(&mut stack, "Update to another key", Some(moved)).await;
    shapes += &shape(&mut stack, "Delete, the last", None).await;

    let account = Account::new(lab::lived_in());
    let mut first = Stack::new(&account, "one", "Connection");
    let name = "Create, the key of the default encryption";
    shapes += &shape(&mut first, name, Some(folder("project-a"))).await;
    let mut second = Stack::new(&account, "two", "Connection");
    shapes += &shape(&mut second, "Create beside another", Some(named("project-b"))).await;
    shapes += &shape(&mut second, "Delete beside another", None).await;
    insta::assert_snapshot!(shapes.trim_end());
}
