//! A shared document as it stands, as a value that can be settled and written back.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::policy::{self, Edit, PolicyDocument};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::shared::{self, Shared};

/// Largest key policy, in bytes (KMS API reference, `PutKeyPolicy`).
const KEY_POLICY_MAX: usize = 32_768;

/// Largest bucket policy, in bytes (S3 user guide, *Bucket policies*).
const BUCKET_POLICY_MAX: usize = 20_480;

/// Most CORS rules of a bucket (S3 API reference, `PutBucketCors`).
const CORS_RULES_MAX: usize = 100;

/// A shared document.
#[derive(Clone, Debug)]
pub enum Document {
    /// A key's or a bucket's policy; a bucket may have none.
    Policy(Option<PolicyDocument>),
    /// The CORS rules of a bucket.
    Rules(Vec<Value>),
}

/// A document, what it is to become, and how the connection then stands to it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The document to write; `None` if it is right as it is.
    pub document: Option<Document>,
    /// What to record.
    pub claim: shared::Claim,
}

impl Document {
    /// Reads a policy, or the lack of one.
    ///
    /// # Errors
    /// The text is no policy document.
    pub fn policy(text: Option<&str>) -> Result<Self, serde_json::Error> {
        text.map(PolicyDocument::parse).transpose().map(Self::Policy)
    }

    /// Its statements or rules.
    pub fn entries(&self) -> &[Value] {
        match self {
            Self::Policy(policy) => policy.as_ref().map_or(&[], PolicyDocument::statements),
            Self::Rules(rules) => rules,
        }
    }

    /// What stands there, to be shown: nothing where the service has nothing.
    pub fn shown(&self) -> Option<Value> {
        match self {
            Self::Policy(policy) => {
                let policy = policy.as_ref().filter(|policy| !policy.statements().is_empty())?;
                serde_json::from_str(policy.text()).ok()
            }
            Self::Rules(rules) => (!rules.is_empty()).then(|| rules.clone().into()),
        }
    }

    /// Principals that no longer exist, each with its statement; CORS rules name none.
    pub fn orphans(&self) -> Vec<String> {
        match self {
            Self::Policy(policy) => {
                policy.as_ref().map(PolicyDocument::orphans).unwrap_or_default()
            }
            Self::Rules(_) => vec![],
        }
    }

    /// Brings our entry to what is wanted; see [`shared::settle`].
    ///
    /// # Errors
    /// An edit that leaves no document: a defect.
    pub fn settle(
        &self,
        kind: Shared,
        wanted: Option<&Value>,
        managed: &BTreeSet<String>,
    ) -> Result<Settled, serde_json::Error> {
        let settlement = shared::settle(kind, self.entries(), wanted, managed);
        let edits = settlement.edits.as_slice();
        let document = match (self, edits) {
            (_, []) => None,
            (Self::Policy(Some(policy)), edits) => Some(Self::Policy(Some(policy.edited(edits)?))),
            (Self::Policy(None), edits) => Some(Self::Policy(first(edits))),
            (Self::Rules(rules), edits) => Some(Self::Rules(edited(rules, edits))),
        };
        Ok(Settled { document, claim: settlement.claim })
    }

    /// Why this document is not to become that one: somebody would lose the right to edit the key
    /// policy (a statement of ours that was edited by hand may hold it), or it has no room.
    pub fn unfit(&self, kind: Shared, of: &str, after: &Self, entry: &Value) -> Option<Refusal> {
        let property = kind.property();
        if let Some(sid) = self.loses_control(kind, after) {
            return Some(Refusal::invalid(
                property,
                format!(
                    "statement `{sid}` of the {kind} of `{of}` was edited and lets somebody do `kms:PutKeyPolicy`, which would be lost"
                ),
                "move that into a statement with another Sid",
            ));
        }
        let (length, limit, unit) = after.excess(kind)?;
        Some(Refusal::new(
            Code::ServiceLimitExceeded,
            property,
            format!("the {kind} of `{of}` would have {length} of at most {limit} {unit}"),
            format!("make room in it, or set `{property}: false` and add this by hand: {entry}"),
        ))
    }

    /// The name of a statement that lets somebody edit the key policy, and that would be lost.
    fn loses_control(&self, kind: Shared, after: &Self) -> Option<String> {
        let holds =
            |entry: &&Value| kind == Shared::KeyPolicy && policy::grants(entry, "kms:PutKeyPolicy");
        let lost =
            self.entries().iter().filter(holds).find(|entry| !after.entries().contains(entry))?;
        Some(kind.name(lost).unwrap_or_default().to_owned())
    }

    /// What is over the service's limit, if anything: how much it has and may have.
    fn excess(&self, kind: Shared) -> Option<(usize, usize, &'static str)> {
        let (length, limit, unit) = match (self, kind) {
            (Self::Policy(policy), kind) => {
                let limit =
                    if kind == Shared::KeyPolicy { KEY_POLICY_MAX } else { BUCKET_POLICY_MAX };
                (policy.as_ref().map_or(0, |policy| policy.text().len()), limit, "bytes")
            }
            (Self::Rules(rules), _) => (rules.len(), CORS_RULES_MAX, "rules"),
        };
        (length > limit).then_some((length, limit, unit))
    }
}

/// A policy that begins with our statement.
fn first(edits: &[Edit]) -> Option<PolicyDocument> {
    edits.iter().find_map(|edit| match edit {
        Edit::Append(statement) => PolicyDocument::of(statement),
        Edit::Replace(..) | Edit::Remove(_) => None,
    })
}

/// The edits on a list that is no text.
pub fn edited(entries: &[Value], edits: &[Edit]) -> Vec<Value> {
    let mut entries = entries.to_vec();
    for edit in edits {
        match edit {
            Edit::Append(entry) => entries.push(entry.clone()),
            Edit::Replace(index, entry) => {
                if let Some(place) = entries.get_mut(*index) {
                    place.clone_from(entry);
                }
            }
            Edit::Remove(index) => {
                if *index < entries.len() {
                    entries.remove(*index);
                }
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ica;

    fn wanted() -> Value {
        ica::key_policy_statement(&["role".to_owned()])
    }

    #[test]
    fn a_bucket_without_a_policy_gets_one() {
        let none = Document::policy(None).unwrap();
        let settled = none.settle(Shared::BucketPolicy, Some(&wanted()), &BTreeSet::new()).unwrap();
        assert_eq!(settled.document.unwrap().entries(), [wanted()]);
        let settled = none.settle(Shared::BucketPolicy, None, &BTreeSet::new()).unwrap();
        assert!(settled.document.is_none());
    }

    #[test]
    fn who_may_edit_the_key_policy_is_not_lost_unseen() {
        let document = |statement: Value| Document::Policy(PolicyDocument::of(&statement));
        let edited_by_hand = serde_json::json!({"Sid": "x", "Effect": "Allow", "Action": ["kms:Put*", "kms:Decrypt"]});
        let (before, after) = (document(edited_by_hand), document(wanted()));
        assert_eq!(before.loses_control(Shared::KeyPolicy, &after), Some("x".to_owned()));
        assert_eq!(before.loses_control(Shared::KeyPolicy, &before), None);
        assert_eq!(after.loses_control(Shared::KeyPolicy, &before), None);
        assert_eq!(before.loses_control(Shared::BucketPolicy, &after), None);
    }

    #[test]
    fn sizes_are_those_of_the_services() {
        let statement = |length: usize| serde_json::json!({"Sid": "x".repeat(length)});
        let of = |length| Document::Policy(PolicyDocument::of(&statement(length)));
        let overhead = PolicyDocument::of(&statement(0)).unwrap().text().len();
        for (kind, limit) in
            [(Shared::KeyPolicy, KEY_POLICY_MAX), (Shared::BucketPolicy, BUCKET_POLICY_MAX)]
        {
            assert_eq!(of(limit - overhead).excess(kind), None);
            assert_eq!(of(limit - overhead + 1).excess(kind), Some((limit + 1, limit, "bytes")));
        }
        assert_eq!(Document::Rules(vec![Value::Null; 100]).excess(Shared::Cors), None);
        assert!(Document::Rules(vec![Value::Null; 101]).excess(Shared::Cors).is_some());
    }
}
