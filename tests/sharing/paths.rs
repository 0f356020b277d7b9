//! One connection per path: whoever is first has it, and the other leaves nothing.

use futures::future::join;

use crate::support::account::Account;
use crate::support::broken::Broken;
use crate::support::chance::Chance;
use crate::support::lab::{self, OTHER_BUCKET, folder, with};
use crate::support::session::{Mishap, Weather};
use crate::support::stack::Stack;
use crate::support::state::difference;

/// Prefixes of two connections that ICA would take for one path.
const OVERLAPS: [[&str; 2]; 3] = [["a", "a/"], ["a", "a/b"], ["a/b/c", "a"]];

/// Two stacks, and how they are called.
fn stacks<'a>(account: &'a Account, names: [&str; 2]) -> [Stack<'a>; 2] {
    names.map(|name| Stack::new(account, name, "Connection"))
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_taken_is_refused_and_names_who_has_it() {
    for [first, second] in OVERLAPS {
        let account = Account::new(lab::lived_in());
        let [mut one, mut two] = stacks(&account, ["first", "second"]);
        assert!(one.deploy(&folder(first)).await);
        let (before, calls) = (account.state(), account.calls().len());
        let refused = two.deploy_in(Weather::fair(), &folder(second)).await;
        assert!(refused.reason.starts_with("AlreadyExists: "), "{}", refused.reason);
        assert!(refused.reason.contains("stack `first`"), "{}", refused.reason);
        assert!(refused.reason.contains("`Connection`"), "{}", refused.reason);
        assert_eq!(account.writes_since(calls), [], "{first} and {second}");
        assert_eq!(account.state(), before);
        assert!(one.delete().await);
        assert!(two.deploy(&folder(second)).await);
        assert!(two.delete().await);
        assert_eq!(account.trace(), None);
    }
}

/// Its Delete has begun, and CloudFormation has to send it again.
#[tokio::test(start_paused = true)]
async fn a_path_that_is_being_given_up_is_free() {
    let account = Account::new(lab::lived_in());
    let [mut one, mut two] = stacks(&account, ["first", "second"]);
    assert!(one.deploy(&folder("a")).await);
    let id = one.standing.clone().unwrap().physical_id;
    let delete = one.request("Delete", Some(&id), &folder("a"), None);
    let hanging = Weather::on("iam:DeletePolicy", Mishap::Hang);
    assert!(!one.send(hanging, &delete).await.success);
    let answer = two.deploy_in(Weather::fair(), &folder("a")).await;
    assert!(answer.success, "{}", answer.reason);
    assert!(one.delete().await);
    assert_eq!(account.state().policies.len(), 1);
    assert_eq!(account.harm(), None);
    assert!(two.delete().await);
    assert_eq!(account.trace(), None);
}

#[tokio::test(start_paused = true)]
async fn neighbours_are_no_overlap() {
    let account = Account::new(lab::lived_in());
    let [mut one, mut two] = stacks(&account, ["first", "second"]);
    assert!(one.deploy(&folder("team")).await);
    assert!(two.deploy(&folder("team-x")).await);
    let mut elsewhere = Stack::new(&account, "third", "Connection");
    let other = with(folder("team"), &[("BucketName", OTHER_BUCKET.into())]);
    assert!(elsewhere.deploy(&other).await);
    for stack in [&mut one, &mut two, &mut elsewhere] {
        assert!(stack.delete().await);
    }
    assert_eq!(account.trace(), None);
}

/// Two deployments race for one path. One wins; of the other nothing is left, as if it had never been.
async fn race(seed: u64, broken: &mut Broken) {
    let mut chance = Chance::new(seed);
    let [here, there] = OVERLAPS[usize::try_from(chance.below(3)).unwrap()];
    let history = format!("seed {seed}, `{here}` and `{there}`");
    let account = Account::new(lab::lived_in());
    // Whose policy has the first name, and so wins a draw, differs from seed to seed.
    let names = [format!("first-{seed}"), format!("second-{seed}")];
    let [mut one, mut two] = stacks(&account, [&names[0], &names[1]]);
    let weathers = (Weather::paced(&mut chance), Weather::paced(&mut chance));
    let (here, there) = (folder(here), folder(there));
    let answers = join(one.deploy_in(weathers.0, &here), two.deploy_in(weathers.1, &there)).await;
    let (mut winner, loser) = match (answers.0.success, answers.1.success) {
        (true, false) => (one, answers.1),
        (false, true) => (two, answers.0),
        (true, true) => return broken.note("not both win", &history, Some(String::new())),
        (false, false) => {
            let reasons = format!("{}\n{}", answers.0.reason, answers.1.reason);
            return broken.note("one of them wins", &history, Some(reasons));
        }
    };
    let taken = loser.reason.starts_with("AlreadyExists: ");
    broken.note("the other hears why", &history, (!taken).then_some(loser.reason));
    let alone = Account::new(lab::lived_in());
    let mut again = Stack::new(&alone, "", &winner.logical_id);
    again.id.clone_from(&winner.id);
    assert!(again.deploy(&winner.standing.clone().unwrap().properties).await);
    let left = difference(&account.state().essence(), &alone.state().essence());
    broken.note("the other leaves nothing", &history, left);
    assert!(winner.delete().await);
    broken.note("no trace", &history, account.trace());
}

#[tokio::test(start_paused = true)]
async fn of_two_that_race_for_one_path_exactly_one_wins_and_the_other_leaves_nothing() {
    let mut broken = Broken::default();
    for seed in 0..100 {
        race(seed, &mut broken).await;
    }
    broken.assert_none();
}
