//! The documents that many hands edit: how one entry is kept in each, beside anything else.
//!
//! A key policy, a bucket policy and a bucket's CORS rules are lists of entries with names. Per
//! key or bucket there is one entry of ours, however many connections share it.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::domain::ica;
use crate::domain::policy::{self, Edit};

/// A document that others share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shared {
    /// The policy of the key.
    KeyPolicy,
    /// The policy of the bucket.
    BucketPolicy,
    /// The CORS rules of the bucket.
    Cors,
}

impl Shared {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KeyPolicy, Self::BucketPolicy, Self::Cors];

    /// The property that switches it off.
    pub fn property(self) -> &'static str {
        match self {
            Self::KeyPolicy => "ConfigureKeyPolicy",
            Self::BucketPolicy => "ConfigureBucketPolicy",
            Self::Cors => "ConfigureCors",
        }
    }

    /// The member that names an entry.
    fn name_member(self) -> &'static str {
        match self {
            Self::KeyPolicy | Self::BucketPolicy => "Sid",
            Self::Cors => "ID",
        }
    }

    /// The name of an entry.
    pub fn name(self, entry: &Value) -> Option<&str> {
        entry.get(self.name_member())?.as_str()
    }

    /// Names for our entry, the best first.
    fn names(self) -> impl Iterator<Item = String> {
        let (best, next) = match self {
            Self::KeyPolicy | Self::BucketPolicy => (ica::SID, "AllowCrossAccountAccessIca"),
            Self::Cors => ("ica-storage", "ica-storage-rule"),
        };
        let numbered = (2..).map(move |number| format!("{next}{number}"));
        [best.to_owned(), next.to_owned()].into_iter().chain(numbered)
    }

    /// The name of an entry that means the same, if it is a name this program gives.
    pub fn find_ours(self, entries: &[Value], wanted: &Value) -> Option<String> {
        let ours = |name: &&str| self.names().take(entries.len() + 1).any(|ours| ours == *name);
        let equal = entries.iter().filter(|entry| self.same(entry, wanted));
        equal.filter_map(|entry| self.name(entry)).find(ours).map(str::to_owned)
    }

    /// Whether two entries mean the same, whatever their names.
    fn same(self, a: &Value, b: &Value) -> bool {
        match self {
            Self::KeyPolicy | Self::BucketPolicy => policy::same(a, b),
            Self::Cors => rule(a) == rule(b),
        }
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyPolicy => "key policy",
            Self::BucketPolicy => "bucket policy",
            Self::Cors => "CORS configuration",
        })
    }
}

/// A CORS rule without its ID, the order of its lists aside.
fn rule(rule: &Value) -> Vec<(&str, Vec<String>)> {
    let mut members: Vec<(&str, Vec<String>)> = rule
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "ID")
        .map(|(name, value)| {
            let mut values: Vec<String> = match value {
                Value::Array(values) => values.iter().map(Value::to_string).collect(),
                one => vec![one.to_string()],
            };
            values.sort();
            (name.as_str(), values)
        })
        .filter(|(_, values)| !values.is_empty())
        .collect();
    members.sort();
    members
}

/// How a connection stands to one shared document, as its register entry records it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// It does not ask for the entry.
    #[default]
    Off,
    /// The entry is somebody else's and serves: used, never removed.
    Adopted,
    /// The entry under this name is ours: kept right, and removed after the last.
    Managed(String),
    /// It managed the entry under this name and is about to let go: it owns it still, and wants
    /// it no more.
    Released(String),
}

impl Claim {
    /// Reads what its `Display` wrote; anything else is no claim.
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some(("managed", name)) => Self::Managed(name.to_owned()),
            Some(("released", name)) => Self::Released(name.to_owned()),
            None if text == "adopted" => Self::Adopted,
            Some(_) | None => Self::Off,
        }
    }

    /// The name of the entry that is owned.
    pub fn owned(&self) -> Option<&str> {
        match self {
            Self::Managed(name) | Self::Released(name) => Some(name),
            Self::Off | Self::Adopted => None,
        }
    }

    /// Whether it asks for the entry.
    pub fn is_wanted(&self) -> bool {
        matches!(self, Self::Adopted | Self::Managed(_))
    }

    /// The claim of a connection that lets go.
    #[must_use]
    pub fn released(&self) -> Self {
        self.owned().map_or(Self::Off, |name| Self::Released(name.to_owned()))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Adopted => f.write_str("adopted"),
            Self::Managed(name) => write!(f, "managed:{name}"),
            Self::Released(name) => write!(f, "released:{name}"),
        }
    }
}

/// What has to change in a document, and how the connection then stands to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// Changes, in the order they are to be made. None: the document is right.
    pub edits: Vec<Edit>,
    /// What to record.
    pub claim: Claim,
}

/// Decides what becomes of our entry in a document.
///
/// - `wanted`: the entry that is to stand there, or none.
/// - `managed`: the names under which connections of the register manage an entry there.
///
/// # Guarantees
/// No edit names an entry that is not managed (`foreign_entries_are_left_alone`). What comes out
/// is right: settling it again changes nothing (`settling_twice_is_settling_once`).
pub fn settle(
    shared: Shared,
    entries: &[Value],
    wanted: Option<&Value>,
    managed: &BTreeSet<String>,
) -> Settlement {
    let is_ours = |entry: &Value| shared.name(entry).is_some_and(|name| managed.contains(name));
    let mut ours: Vec<usize> =
        entries.iter().enumerate().filter(|(_, entry)| is_ours(entry)).map(|(at, _)| at).collect();
    let Some(wanted) = wanted else {
        return Settlement { edits: remove(&ours), claim: Claim::Off };
    };
    let named = |name: &str| {
        let mut entry = wanted.clone();
        if let Some(members) = entry.as_object_mut() {
            members.insert(shared.name_member().to_owned(), name.into());
        }
        entry
    };
    if let Some(first) = (!ours.is_empty()).then(|| ours.remove(0)) {
        let entry = entries.get(first).unwrap_or(&Value::Null);
        let name = shared.name(entry).unwrap_or_default();
        let mut edits = remove(&ours);
        if !shared.same(entry, wanted) {
            edits.push(Edit::Replace(first, named(name)));
        }
        return Settlement { edits, claim: Claim::Managed(name.to_owned()) };
    }
    if managed.is_empty() && entries.iter().any(|entry| shared.same(entry, wanted)) {
        return Settlement { edits: vec![], claim: Claim::Adopted };
    }
    let free = |name: &String| !entries.iter().any(|entry| shared.name(entry) == Some(name));
    let name = managed.iter().find(|name| free(name)).cloned();
    let name = name.or_else(|| shared.names().find(free)).unwrap_or_default();
    Settlement { edits: vec![Edit::Append(named(&name))], claim: Claim::Managed(name) }
}

/// From the last to the first, so that no index moves.
fn remove(indices: &[usize]) -> Vec<Edit> {
    indices.iter().rev().map(|index| Edit::Remove(*index)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::document::edited;

    /// The entries that nobody here manages.
    fn foreign(shared: Shared, entries: &[Value], managed: &BTreeSet<String>) -> Vec<Value> {
        let is_ours = |entry: &Value| shared.name(entry).is_some_and(|name| managed.contains(name));
        entries.iter().filter(|entry| !is_ours(entry)).cloned().collect()
    }

    const ROLE: &str = "arn:aws:iam::079623148045:role/ica_use1_crossacct";

    fn wanted() -> Value {
        ica::key_policy_statement(&[ROLE.into()])
    }

    fn named(sid: &str, roles: &[&str]) -> Value {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let mut statement = ica::key_policy_statement(&roles);
        statement["Sid"] = sid.into();
        statement
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn key_policy(
        entries: &[Value],
        wanted: Option<&Value>,
        managed: &[&str],
    ) -> (Vec<Edit>, String) {
        let settlement = settle(Shared::KeyPolicy, entries, wanted, &names(managed));
        (settlement.edits, settlement.claim.to_string())
    }

    #[test]
    fn an_absent_statement_is_appended_under_illuminas_sid() {
        let (edits, claim) = key_policy(&[json!({"Sid": "root"})], Some(&wanted()), &[]);
        assert_eq!(edits, [Edit::Append(wanted())]);
        assert_eq!(claim, "managed:AllowCrossAccountAccess");
    }

    #[test]
    fn an_equal_statement_nobody_manages_is_adopted() {
        let theirs = named("hand made", &[ROLE]);
        assert_eq!(key_policy(&[theirs], Some(&wanted()), &[]), (vec![], "adopted".into()));
    }

    #[test]
    fn a_managed_statement_is_shared() {
        let (edits, claim) = key_policy(&[wanted()], Some(&wanted()), &[ica::SID]);
        assert_eq!((edits, &*claim), (vec![], "managed:AllowCrossAccountAccess"));
    }

    #[test]
    fn a_sid_taken_by_another_meaning_is_left_alone() {
        let entries = [named(ica::SID, &["other"]), json!({"Sid": "AllowCrossAccountAccessIca"})];
        let (edits, claim) = key_policy(&entries, Some(&wanted()), &[]);
        assert_eq!(edits, [Edit::Append(named("AllowCrossAccountAccessIca2", &[ROLE]))]);
        assert_eq!(claim, "managed:AllowCrossAccountAccessIca2");
        let (edits, _) = key_policy(&entries[..1], Some(&wanted()), &[]);
        assert_eq!(edits, [Edit::Append(named("AllowCrossAccountAccessIca", &[ROLE]))]);
    }

    #[test]
    fn an_edited_managed_statement_is_put_right_in_its_place() {
        let entries = [json!({"Sid": "a"}), named(ica::SID, &["edited"]), json!({"Sid": "b"})];
        let (edits, _) = key_policy(&entries, Some(&wanted()), &[ica::SID]);
        assert_eq!(edits, [Edit::Replace(1, wanted())]);
    }

    #[test]
    fn several_managed_statements_become_one() {
        let entries = [named(ica::SID, &[ROLE]), json!({"Sid": "a"}), named(ica::SID, &["x"])];
        let (edits, _) = key_policy(&entries, Some(&wanted()), &[ica::SID]);
        assert_eq!(edits, [Edit::Remove(2)]);
    }

    #[test]
    fn what_nobody_wants_goes_and_what_is_adopted_stays() {
        let entries = [named(ica::SID, &[ROLE]), json!({"Sid": "a"})];
        assert_eq!(key_policy(&entries, None, &[ica::SID]).0, [Edit::Remove(0)]);
        assert_eq!(key_policy(&entries, None, &[]).0, []);
    }

    #[test]
    fn a_cors_rule_stands_beside_the_others() {
        let mut theirs = ica::cors_rule();
        theirs["ID"] = "uploads".into();
        theirs["AllowedMethods"] = json!(["DELETE", "POST", "PUT", "GET", "HEAD"]);
        let settlement =
            settle(Shared::Cors, &[theirs.clone()], Some(&ica::cors_rule()), &names(&[]));
        assert_eq!(settlement.claim, Claim::Adopted);
        theirs["MaxAgeSeconds"] = json!(3000);
        let settlement = settle(Shared::Cors, &[theirs], Some(&ica::cors_rule()), &names(&[]));
        assert_eq!(settlement.edits, [Edit::Append(ica::cors_rule())]);
        let taken = [json!({"ID": "ica-storage", "AllowedMethods": ["GET"]})];
        let settlement = settle(Shared::Cors, &taken, Some(&ica::cors_rule()), &names(&[]));
        assert_eq!(settlement.claim, Claim::Managed("ica-storage-rule".into()));
    }

    #[test]
    fn a_claim_survives_its_tag() {
        let managed = Claim::Managed("AllowCrossAccountAccessIca".into());
        for claim in [Claim::Off, Claim::Adopted, managed.released(), managed] {
            assert_eq!(Claim::parse(&claim.to_string()), claim);
        }
    }

    fn entry() -> impl Strategy<Value = Value> {
        let sid = prop_oneof![
            Just(ica::SID.to_owned()),
            Just("AllowCrossAccountAccessIca".to_owned()),
            "[a-c ]{0,2}",
        ];
        (sid, prop_oneof![Just(ROLE), Just("other")]).prop_map(|(sid, role)| named(&sid, &[role]))
    }

    proptest! {
        #[test]
        fn settling_twice_is_settling_once(
            entries in prop::collection::vec(entry(), 0..5),
            managed in prop::collection::btree_set(prop_oneof![Just(ica::SID.to_owned()), Just("a".to_owned())], 0..2),
            wants in any::<bool>(),
        ) {
            let wanted = wants.then(wanted);
            let first = settle(Shared::KeyPolicy, &entries, wanted.as_ref(), &managed);
            let after = edited(&entries, &first.edits);
            let mut managed = managed;
            managed.extend(first.claim.owned().map(str::to_owned));
            let second = settle(Shared::KeyPolicy, &after, wanted.as_ref(), &managed);
            prop_assert_eq!(second.edits, vec![]);
            prop_assert_eq!(second.claim, first.claim);
        }

        #[test]
        fn foreign_entries_are_left_alone(
            entries in prop::collection::vec(entry(), 0..5),
            managed in prop::collection::btree_set(prop_oneof![Just(ica::SID.to_owned()), Just("a".to_owned())], 0..2),
            wants in any::<bool>(),
        ) {
            let wanted = wants.then(wanted);
            let settlement = settle(Shared::KeyPolicy, &entries, wanted.as_ref(), &managed);
            let after = edited(&entries, &settlement.edits);
            let mut managed_after = managed.clone();
            managed_after.extend(settlement.claim.owned().map(str::to_owned));
            prop_assert_eq!(
                foreign(Shared::KeyPolicy, &after, &managed_after),
                foreign(Shared::KeyPolicy, &entries, &managed_after)
            );
        }
    }
}
