//! Whose call is next: requests that run at once, in an order that a test chooses.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use futures::future::join;
use ica_storage::cloudformation::request::Request;

use crate::support::account::Account;
use crate::support::session::{Session, Weather};
use crate::support::stack::{Answer, answer};

/// A plan of turns, so many calls each. When it is used up everyone is free.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<Plan>);

#[derive(Debug)]
struct Plan {
    turns: VecDeque<(usize, usize)>,
    waiting: Vec<Waker>,
}

impl Turns {
    /// `(who, calls)`, one behind the other.
    pub(crate) fn new(turns: &[(usize, usize)]) -> Self {
        let turns = turns.iter().copied().filter(|(_, calls)| *calls > 0).collect();
        Self(Mutex::new(Plan { turns, waiting: vec![] }))
    }

    /// Waits until it is this one's turn, without using any of it.
    pub(crate) async fn wait(&self, who: usize) {
        poll_fn(|context| self.poll(who, 0, context)).await;
    }

    /// Waits for a turn and uses it.
    pub(crate) async fn pass(&self, who: usize) {
        poll_fn(|context| self.poll(who, 1, context)).await;
    }

    /// Gives up what is left of one's turns: the work is over.
    pub(crate) fn leave(&self, who: usize) {
        let mut plan = self.0.lock().unwrap();
        plan.turns.retain(|(turn, _)| *turn != who);
        plan.waiting.drain(..).for_each(Waker::wake);
    }

    fn poll(&self, who: usize, calls: usize, context: &Context<'_>) -> Poll<()> {
        let mut plan = self.0.lock().unwrap();
        match plan.turns.front_mut() {
            Some((turn, _)) if *turn != who => {
                plan.waiting.push(context.waker().clone());
                Poll::Pending
            }
            Some((_, left)) => {
                *left -= calls;
                if *left == 0 {
                    plan.turns.pop_front();
                    plan.waiting.drain(..).for_each(Waker::wake);
                }
                Poll::Ready(())
            }
            None => Poll::Ready(()),
        }
    }
}

/// No request makes more calls than this.
pub(crate) const ALL: usize = 1_000;

/// Two requests: the later one begins when the turns say so, and `turned` is called before it.
pub(crate) async fn both(
    account: &Account,
    turns: &Turns,
    weathers: [Weather; 2],
    requests: [&Request; 2],
    turned: impl Fn(),
) -> [Answer; 2] {
    let [first_weather, second_weather] = weathers;
    let first = async {
        let session = Session::new(account, first_weather).in_turns(turns, 0);
        let answer = answer(&session, requests[0]).await;
        turns.leave(0);
        answer
    };
    let second = async {
        turns.wait(1).await;
        turned();
        let session = Session::new(account, second_weather).in_turns(turns, 1);
        let answer = answer(&session, requests[1]).await;
        turns.leave(1);
        answer
    };
    let (first, second) = join(first, second).await;
    [first, second]
}
