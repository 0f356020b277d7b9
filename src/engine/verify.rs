//! Verify: for every connection of the register, what its next Update would do. Writes nothing.

use futures::future::{join_all, ready};
use tokio::time::{Instant, timeout_at};

use crate::domain::identity::Home;
use crate::domain::preflight::Ask;
use crate::domain::recorded;
use crate::domain::register::{Entry, Record, State};
use crate::domain::report::{Connection, Finding, Report, Status};
use crate::domain::seen::Policy;
use crate::engine::decide::{self, Case};
use crate::engine::failure::Failure;
use crate::engine::observe::observe_beside;
use crate::engine::{Context, preview};
use crate::ports::{Call, World};

/// Records read at once: IAM's quota for reads is shared with everything in the account.
const RECORDS_AT_ONCE: usize = 10;

/// Connections looked at at once, each with some dozen calls.
const CONNECTIONS_AT_ONCE: usize = 4;

/// Which connections to look at; all, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// ARN or name of a stack.
    pub stack: Option<String>,
    /// Name of a resource in its template.
    pub logical_id: Option<String>,
    /// Name of a bucket.
    pub bucket: Option<String>,
}

impl Filter {
    /// What can be told without the record.
    fn admits(&self, entry: &Entry) -> bool {
        self.bucket.as_ref().is_none_or(|bucket| *bucket == entry.bucket)
    }

    /// A policy whose record cannot be read is left out where a certain stack is asked for.
    fn takes(&self, record: Option<&Record>) -> bool {
        let owner = record.map(|record| &record.owner);
        let is = |asked: &Option<String>, is: &dyn Fn(&str) -> bool| match asked {
            Some(asked) => is(asked),
            None => true,
        };
        is(&self.stack, &|stack| {
            owner.is_some_and(|owner| owner.stack_id == stack || owner.stack_name() == stack)
        }) && is(&self.logical_id, &|name| owner.is_some_and(|owner| owner.logical_id == name))
    }
}

/// Looks at the connections of the stacks of a region.
///
/// # Guarantees
/// Not one write call. A connection is healthy if and only if an Update with the properties its
/// record stands for would write nothing; what the record does not hold is not looked at: the tags
/// of the template.
///
/// # Errors
/// The register cannot be read, or the time is up. What goes wrong over one connection is told
/// with that connection.
pub async fn verify<W: World>(
    world: &W,
    home: &Home,
    filter: &Filter,
    context: &Context,
) -> Result<Report, Failure> {
    let started = Instant::now();
    let looked = timeout_at(context.deadline, look(world, home, filter, context)).await;
    looked.unwrap_or_else(|_| Err(Failure::OutOfTime(started.elapsed())))
}

async fn look<W: World>(
    world: &W,
    home: &Home,
    filter: &Filter,
    context: &Context,
) -> Result<Report, Failure> {
    let entries = world.list().await?;
    let asked = entries.iter().filter(|entry| filter.admits(entry)).cloned().collect();
    let registered = read(world, asked).await?;
    let known = registered.iter().filter_map(Registered::known).collect();
    let (here, elsewhere): (Vec<_>, Vec<_>) = registered
        .into_iter()
        .filter(|registered| filter.takes(registered.record.as_ref()))
        .partition(|registered| {
            let reach = &context.bucket_name_pattern;
            registered.is_in(&home.region) && matches(reach, &registered.entry.bucket)
        });
    let examination = Examination { world, context, entries, known };
    let mut connections = vec![];
    for some in here.chunks(CONNECTIONS_AT_ONCE) {
        connections.extend(join_all(some.iter().map(|one| examination.examine(one))).await);
    }
    Ok(Report::of(connections, elsewhere.len()))
}

/// Whether a name is one of a pattern's, as IAM matches resources; an empty pattern has all.
fn matches(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    // After which characters of the name the pattern may be as far as it was read.
    let mut reached: Vec<bool> = std::iter::once(true).chain(name.iter().map(|_| false)).collect();
    for wanted in pattern.chars() {
        let mut is_open = false;
        reached = if wanted == '*' {
            let open = |was: &bool| {
                is_open |= *was;
                is_open
            };
            reached.iter().map(open).collect()
        } else {
            let fits = |is: &char| wanted == '?' || wanted == *is;
            let next = reached.iter().zip(&name).map(|(was, is)| *was && fits(is));
            std::iter::once(false).chain(next).collect()
        };
    }
    pattern.is_empty() || reached.last() == Some(&true)
}

/// A policy of the register with what its tags say.
struct Registered {
    entry: Entry,
    policy: Policy,
    record: Option<Record>,
}

impl Registered {
    fn known(&self) -> Option<(Entry, Record)> {
        Some((self.entry.clone(), self.record.clone()?))
    }

    fn home(&self) -> Option<Home> {
        Home::of(&self.record.as_ref()?.owner.stack_id)
    }

    /// One that cannot be told is everywhere.
    fn is_in(&self, region: &str) -> bool {
        self.home().is_none_or(|home| home.region == region)
    }
}

async fn read<W: World>(world: &W, entries: Vec<Entry>) -> Call<Vec<Registered>> {
    let mut registered = vec![];
    for some in entries.chunks(RECORDS_AT_ONCE) {
        let policies = join_all(some.iter().map(|entry| world.read(&entry.arn))).await;
        for (entry, policy) in some.iter().zip(policies) {
            // One that is gone by now was deleted in the meantime.
            let Some(policy) = policy? else { continue };
            let record = Record::read(&policy.tags);
            registered.push(Registered { entry: entry.clone(), policy, record });
        }
    }
    Ok(registered)
}

/// The register, read once for all connections, and where the rest is read.
struct Examination<'a, W> {
    world: &'a W,
    context: &'a Context,
    entries: Vec<Entry>,
    known: Vec<(Entry, Record)>,
}

impl<W: World> Examination<'_, W> {
    async fn examine(&self, registered: &Registered) -> Connection {
        let Registered { entry, record, .. } = registered;
        let connection = Connection::new(entry, record.as_ref().map(|record| &record.owner));
        let (Some(record), Some(home)) = (record, registered.home()) else {
            let remedy = "update the stack that made it with any change; if there is none any more, delete the policy";
            let finding = of_record(entry, "no readable record", remedy);
            return connection.with(Status::Broken, vec![finding]);
        };
        if let Some(finding) = irregularity(entry, record) {
            return connection.with(Status::Broken, vec![finding]);
        }
        match Box::pin(self.compare(registered, record, &home)).await {
            Ok((findings, warnings)) => {
                Connection { warnings, ..connection.with(Status::Drifted, findings) }
            }
            Err(Failure::Refused(refusals)) => {
                let findings = refusals.iter().map(|refusal| Finding::refusal(refusal, entry));
                connection.with(Status::Broken, findings.collect())
            }
            Err(failure) => {
                let remedy = failure.remedy(&self.context.trace);
                let found = format!("not verified: {}: {failure}", failure.code());
                connection.with(Status::Broken, vec![of_record(entry, &found, &remedy)])
            }
        }
    }

    /// What the next Update of a connection would write, and what works but should be looked at.
    async fn compare(
        &self,
        registered: &Registered,
        record: &Record,
        home: &Home,
    ) -> Result<(Vec<Finding>, Vec<String>), Failure> {
        let Registered { entry, policy, .. } = registered;
        let (spec, identity) =
            recorded::connection(entry, record, policy, home).map_err(Failure::Refused)?;
        let listed = ready(Call::Ok(self.entries.clone()));
        let principal_accounts = &self.context.principal_accounts;
        let ask = Ask { spec: &spec, identity: &identity, home, principal_accounts };
        let observed = observe_beside(self.world, ask, true, listed).await?;
        let known = self.known.as_slice();
        let case =
            Case { ask, old_properties: None, is_standing: true, owned: None, leaves: None, known };
        let mut plan = decide::decide(self.world, &case, &observed, None).await?;
        if record.key_source.is_none() {
            // Whether the template names the key is not known, so this is not called drift.
            plan.record.key_source = None;
            plan.registration = decide::registration(&case, &observed, &plan.goal, &plan.record);
            plan.goal.warnings.push(
                "not recorded whether the key is that of the default encryption: the next update does"
                    .to_owned(),
            );
        }
        let changes = preview::changes(self.world, &case, &observed, &plan).await?;
        let findings = changes.iter().map(|change| Finding::drift(change, &record.owner));
        Ok((findings.collect(), plan.goal.warnings))
    }
}

/// Why an Update is not what a connection needs.
fn irregularity(entry: &Entry, record: &Record) -> Option<Finding> {
    if recorded::names_another(entry, record) {
        let found = "the tags name another connection than the name of the policy";
        let remedy = "put the tags `ica-storage:stack-id` and `ica-storage:logical-id` right";
        return Some(of_record(entry, found, remedy));
    }
    let is_deleting = record.state == State::Deleting;
    is_deleting.then(|| {
        let remedy = format!("delete stack `{}` again", record.owner.stack_name());
        of_record(entry, "an unfinished Delete: the state is `deleting`", &remedy)
    })
}

fn of_record(entry: &Entry, found: &str, remedy: &str) -> Finding {
    Finding {
        what: "record in the tags of the IAM policy".to_owned(),
        r#where: entry.arn.clone(),
        expected: "the record of an active connection".into(),
        found: found.into(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_the_names_that_iam_would_match() {
        for (pattern, name) in [
            ("", "lab"),
            ("*", "lab"),
            ("lab", "lab"),
            ("l?b", "lab"),
            ("lab-*", "lab-"),
            ("*a*", "lab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("lab", "lab-2"), ("l?b", "lb"), ("lab-*", "lab"), ("*-x", "x"), ("?", "lab")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
