//! Plan: what a Create or an Update with certain properties would do. Writes nothing.

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::domain::identity::{Home, Identity, Owner};
use crate::domain::preflight::Ask;
use crate::domain::register::Record;
use crate::domain::report::{Objection, Proposal};
use crate::domain::spec::{Place, Spec};
use crate::engine::decide::{self, Case};
use crate::engine::failure::Failure;
use crate::engine::observe::observe;
use crate::engine::{Context, preview};
use crate::ports::World;

/// What a connection is called of which nobody says how.
pub const LOGICAL_ID: &str = "Connection";

/// What is to be planned.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The properties, as a template has them.
    pub properties: &'a Value,
    /// Whose connection it is. Without, it is that of whoever has the place, or of a new stack.
    pub owner: Option<Owner>,
    /// Where the stack is.
    pub home: &'a Home,
}

/// Plans.
///
/// # Errors
/// The account cannot be read, or the time is up. That the connection would be refused is an answer.
pub async fn plan<W: World>(
    world: &W,
    question: &Question<'_>,
    context: &Context,
) -> Result<Proposal, Failure> {
    let started = Instant::now();
    let planned = timeout_at(context.deadline, propose(world, question, context)).await;
    match planned.unwrap_or_else(|_| Err(Failure::OutOfTime(started.elapsed()))) {
        Err(Failure::Refused(refusals)) => Ok(Proposal {
            policy_arn: None,
            refusals: refusals.iter().map(Objection::from).collect(),
            changes: vec![],
            warnings: vec![],
        }),
        planned => planned,
    }
}

async fn propose<W: World>(
    world: &W,
    question: &Question<'_>,
    context: &Context,
) -> Result<Proposal, Failure> {
    let spec = Spec::parse(question.properties).map_err(Failure::Refused)?;
    let (place, home) = (Place::from(&spec), question.home);
    let owner = match question.owner.clone() {
        Some(owner) => owner,
        None => owner_of(world, &place).await?.unwrap_or_else(|| nobody(home)),
    };
    let identity = Identity { owner, place };
    let principal_accounts = &context.principal_accounts;
    let ask = Ask { spec: &spec, identity: &identity, home, principal_accounts };
    let observed = observe(world, ask, true).await?;
    let is_standing = observed.own.is_some();
    let case =
        Case { ask, old_properties: None, is_standing, owned: None, leaves: None, known: &[] };
    let plan = decide::decide(world, &case, &observed, None).await?;
    let changes = preview::changes(world, &case, &observed, &plan).await?;
    Ok(Proposal {
        policy_arn: is_standing.then(|| plan.goal.policy_arn()),
        refusals: vec![],
        changes: changes.into_iter().map(Into::into).collect(),
        warnings: plan.goal.warnings,
    })
}

/// Whose connection stands at the place under the name that it would have.
async fn owner_of<W: World>(world: &W, place: &Place) -> Result<Option<Owner>, Failure> {
    for entry in world.list().await? {
        if entry.bucket != place.bucket || entry.prefix != place.prefix {
            continue;
        }
        let record = world.read(&entry.arn).await?.and_then(|policy| Record::read(&policy.tags));
        let owner = record.map(|record| record.owner);
        let is_this = |owner: &Owner| {
            Identity { owner: owner.clone(), place: place.clone() }.policy_name() == entry.name
        };
        if let Some(owner) = owner.filter(is_this) {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

/// A stack that is not there yet: what is named after it shows another digest than it will have.
fn nobody(home: &Home) -> Owner {
    let Home { partition, region, account } = home;
    let guid = "00000000-0000-0000-0000-000000000000";
    Owner {
        stack_id: format!("arn:{partition}:cloudformation:{region}:{account}:stack/planned/{guid}"),
        logical_id: LOGICAL_ID.to_owned(),
    }
}
