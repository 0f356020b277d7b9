//! What a plan would write, as changes that can be shown. Reads, and writes nothing.

use serde_json::{Map, Value, json};

use crate::domain::change::{Change, Part};
use crate::domain::ica;
use crate::domain::plan::{self, Registration};
use crate::domain::register::FORMER_KMS_KEY;
use crate::domain::spec::Tag;
use crate::engine::decide::{Case, Plan};
use crate::engine::documents::{self, Party, Task};
use crate::engine::failure::Failure;
use crate::engine::observe::Observed;
use crate::ports::World;

/// Everything that would be written, and let go of. None if the plan is nothing.
pub(super) async fn changes<W: World>(
    world: &W,
    case: &Case<'_>,
    observed: &Observed,
    plan: &Plan,
) -> Result<Vec<Change>, Failure> {
    let mut changes = registration(observed, plan);
    for task in &plan.tasks {
        changes.extend(of_document(task)?);
    }
    let overdue = plan.overdue.as_ref().map(|former| plan.record.only(Some(former)));
    let bucket = plan.goal.spec.bucket.as_str();
    let arn = plan.goal.policy_arn();
    let party = Party { wants: false, ..Party::of(&plan.goal, &arn) };
    for record in overdue.iter().chain([&plan.record]) {
        for (target, name) in record.released_entries(bucket) {
            let document = documents::read(world, &target, party.account).await?;
            let mut others = case.others(observed, &arn);
            let about = (target, document);
            changes.extend(of_document(
                &Task::decide(world, &party, &mut others, about, [name]).await?,
            )?);
        }
    }
    changes.extend(plan.writes_folder.then(|| folder(plan)));
    Ok(changes)
}

fn of_document(task: &Task) -> Result<Option<Change>, Failure> {
    let after = task.settle(&task.document)?.document;
    let shown = |after| Change::of_shared(&task.target, task.document.shown(), after);
    Ok(after.map(|after| shown(after.shown())))
}

/// The policy and its tags.
fn registration(observed: &Observed, plan: &Plan) -> Vec<Change> {
    let Plan { goal, record, registration, .. } = plan;
    let document = goal.storage().policy();
    let change = |part, before, after| Change { part, of: goal.policy_arn(), before, after };
    let concluded = plan::tags(goal, &record.clone().concluded());
    let (own, Registration::Change { document: differs, unset, .. }) =
        (observed.own.as_ref(), registration)
    else {
        return vec![
            change(Part::Policy, None, Some(document)),
            change(Part::Tags, None, Some(shown(&concluded))),
        ];
    };
    let before: &[Tag] = own.map_or(&[], |own| &own.policy.tags);
    let is = |tag: &Tag, key: &str| tag.key.eq_ignore_ascii_case(key);
    let goes = |tag: &Tag| unset.contains(&tag.key) || is(tag, FORMER_KMS_KEY);
    let stays = |tag: &&Tag| !goes(tag) && !concluded.iter().any(|new| is(tag, &new.key));
    let after: Vec<Tag> = before.iter().filter(stays).chain(&concluded).cloned().collect();
    let (before, after) = (shown(before), shown(&after));
    let mut changes = vec![];
    if *differs {
        let stands = own.map(|own| own.document.clone());
        changes.push(change(Part::Policy, stands, Some(document)));
    }
    if before != after {
        changes.push(change(Part::Tags, Some(before), Some(after)));
    }
    changes
}

/// Tags as a map, sorted: their order means nothing.
fn shown(tags: &[Tag]) -> Value {
    let mut tags = tags.to_vec();
    tags.sort();
    let members = tags.into_iter().map(|tag| (tag.key, tag.value.into()));
    Value::Object(members.collect::<Map<_, _>>())
}

fn folder(plan: &Plan) -> Change {
    let goal = &plan.goal;
    let (bucket, prefix) = (goal.spec.bucket.as_str(), goal.spec.prefix.as_str());
    Change {
        part: Part::Folder,
        of: format!("s3://{bucket}/{prefix}"),
        before: None,
        after: Some(json!({
            "Key": prefix,
            "ServerSideEncryption": ica::ALGORITHM,
            "SSEKMSKeyId": goal.key_arn,
        })),
    }
}
