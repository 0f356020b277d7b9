//! Connections made and deleted at the same moment, in any order, on slow replicas.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use crate::support::account::Account;
use crate::support::broken::Broken;
use crate::support::chance::Chance;
use crate::support::lab::{self, OTHER_ROLE, folder, with};
use crate::support::session::Weather;
use crate::support::stack::Stack;
use crate::support::state::difference;

/// One of many connections: its place in the account, and what its template says.
struct Connection<'a> {
    stack: Stack<'a>,
    properties: Value,
    weather: Weather,
}

impl<'a> Connection<'a> {
    /// In a stack of its own, or with all the others in one.
    fn new(account: &'a Account, number: usize, roles: u64, chance: &mut Chance) -> Self {
        let stack = if chance.one_in(2) { "lab".to_owned() } else { format!("lab-{number}") };
        let mut stack = Stack::new(account, &stack, &format!("Connection{number}"));
        stack.pace = Some(chance.split());
        let properties = match chance.below(roles) {
            1 => with(folder(&format!("p{number}")), &[("AssumeRoleArn", OTHER_ROLE.into())]),
            _ => folder(&format!("p{number}")),
        };
        Self { stack, properties, weather: Weather::paced(chance) }
    }

    async fn make(&mut self) -> Option<String> {
        let answer = self.stack.deploy_in(self.weather.clone(), &self.properties).await;
        (!answer.success).then_some(answer.reason)
    }

    async fn delete(&mut self) -> Option<String> {
        self.stack.standing.as_ref()?;
        let answer = self.stack.delete_in(self.weather.clone()).await;
        (!answer.success).then_some(answer.reason)
    }
}

/// What an account has to come to with these connections, made one behind the other.
async fn expected(account: &Account, connections: &[Connection<'_>]) -> Account {
    let quiet = Account::new(account.without_us());
    for connection in connections {
        let Stack { id, logical_id, .. } = &connection.stack;
        let mut stack = Stack::new(&quiet, "lab", logical_id);
        stack.id.clone_from(id);
        assert!(stack.deploy(&connection.properties).await);
    }
    quiet
}

async fn compare(account: &Account, connections: &[Connection<'_>]) -> Option<String> {
    let expected = expected(account, connections).await.state().meaning();
    difference(&account.state().meaning(), &expected).or_else(|| account.harm())
}

/// What makes a history hard.
#[derive(Clone, Copy, Debug)]
struct Hardship {
    /// How late a replica may be, in milliseconds.
    lag: u64,
    /// How many writes of a connection are overwritten by another program.
    overwrites: usize,
    /// How many roles of Illumina's are let in.
    roles: u64,
}

/// All made at once, then some deleted while others are made, then the rest deleted at once.
async fn history(seed: u64, hardship: Hardship, broken: &mut Broken) {
    let mut chance = Chance::new(seed);
    let states = lab::all();
    // Who adopts what was made by hand for one of two roles depends on who is first.
    let accounts = if hardship.roles > 1 { 3 } else { 4 };
    let (name, state) = states[usize::try_from(chance.below(accounts)).unwrap()].clone();
    let history = format!("seed {seed}, {name}, {hardship:?}");
    let account = Account::new(state);
    if hardship.lag > 0 {
        account.replicate_late(Duration::from_millis(hardship.lag), chance.split());
    }
    let count = 2 + usize::try_from(chance.below(4)).unwrap();
    let mut all: Vec<Connection<'_>> = (0..count)
        .map(|number| Connection::new(&account, number, hardship.roles, &mut chance))
        .collect();
    all[0].weather.overwrites = hardship.overwrites;
    let failed = join_all(all.iter_mut().map(Connection::make)).await;
    broken.note("made at once", &history, failed.into_iter().flatten().next());
    broken.note("made at once: the account", &history, compare(&account, &all).await);

    account.settle().await;
    chance.shuffle(&mut all);
    // Some, or all that there are.
    let staying = if chance.one_in(3) { 0 } else { count.div_ceil(2) };
    let mut going = all.split_off(staying);
    let mut coming: Vec<Connection<'_>> = (count..count + 2)
        .map(|number| Connection::new(&account, number, hardship.roles, &mut chance))
        .collect();
    for (number, connection) in coming.iter_mut().enumerate() {
        connection.stack.id = connection.stack.id.replace("/lab", &format!("/new-{number}"));
    }
    for connection in &mut going {
        connection.stack.deleting = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS";
    }
    let (made, gone) = futures::join!(
        join_all(coming.iter_mut().map(Connection::make)),
        join_all(going.iter_mut().map(Connection::delete)),
    );
    broken.note("made and deleted", &history, made.into_iter().chain(gone).flatten().next());
    all.append(&mut coming);
    if hardship.lag > 0 {
        // Whoever came when the last one went may have seen it where it no longer was, and been
        // seen by nobody: the next Update puts that right.
        account.settle().await;
        let failed = join_all(all.iter_mut().map(Connection::make)).await;
        broken.note("updated", &history, failed.into_iter().flatten().next());
    }
    broken.note("made and deleted: the account", &history, compare(&account, &all).await);

    account.settle().await;
    all[0].weather.overwrites = hardship.overwrites;
    let failed = join_all(all.iter_mut().map(Connection::delete)).await;
    broken.note("deleted at once", &history, failed.into_iter().flatten().next());
    broken.note("deleted at once: no trace", &history, account.trace());
}

async fn histories(seeds: std::ops::Range<u64>, hardship: Hardship) {
    let mut broken = Broken::default();
    for seed in seeds {
        history(seed, hardship, &mut broken).await;
    }
    broken.assert_none();
}

const PLAIN: Hardship = Hardship { lag: 0, overwrites: 0, roles: 1 };

#[tokio::test(start_paused = true)]
async fn connections_made_and_deleted_at_once_share_one_statement_to_the_last() {
    histories(0..60, PLAIN).await;
}

#[tokio::test(start_paused = true)]
async fn connections_made_and_deleted_at_once_share_one_statement_for_their_roles() {
    histories(100..140, Hardship { roles: 2, ..PLAIN }).await;
}

#[tokio::test(start_paused = true)]
async fn connections_survive_other_writers_of_their_documents() {
    histories(200..230, Hardship { overwrites: 2, ..PLAIN }).await;
}

#[tokio::test(start_paused = true)]
async fn connections_survive_replicas_that_are_late() {
    histories(470..500, Hardship { lag: 300, ..PLAIN }).await;
}
