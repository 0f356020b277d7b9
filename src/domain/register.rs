//! The register of connections: the IAM policies under `/ica-storage/` and their tags.
//!
//! A policy's path names the bucket and the prefix, so one listing shows every connection; the
//! tags record the rest and are read only where a decision needs them.

use std::collections::BTreeSet;

use crate::domain::identity::{Identity, Owner, REGISTER_PATH};
use crate::domain::shared::{Claim, Shared};
use crate::domain::spec::{Place, Spec, Tag};

/// A policy as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// ARN of the policy.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// The bucket, from its path.
    pub bucket: String,
    /// The prefix with its slash, from its path.
    pub prefix: String,
    /// When it was made, in milliseconds since 1970.
    pub created: i64,
}

impl Entry {
    /// Reads a listed policy; `None` if its path is none of the register's.
    pub fn new(arn: &str, name: &str, path: &str, created: i64) -> Option<Self> {
        let (bucket, prefix) = path.strip_prefix(REGISTER_PATH)?.split_once('/')?;
        Some(Self {
            arn: arn.to_owned(),
            name: name.to_owned(),
            bucket: bucket.to_owned(),
            prefix: prefix.replace(',', ":"),
            created,
        })
    }

    /// Where it is, as S3 writes it.
    pub fn address(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Whether ICA would see both prefixes as one path: the same, enclosing, or enclosed.
    pub fn overlaps(&self, place: &Place) -> bool {
        let (a, b) = (&self.prefix, &place.prefix);
        self.bucket == place.bucket && (a.starts_with(b.as_str()) || b.starts_with(a.as_str()))
    }

    /// Whether this is the connection with this digest, by whatever name its policy has: the
    /// digest covers the name, so it needs no properties.
    pub fn is(&self, owner: &Owner, digest: &str) -> bool {
        [None, Some(self.name.clone())].into_iter().any(|policy_name| {
            let (bucket, prefix) = (self.bucket.clone(), self.prefix.clone());
            let place = Place { bucket, prefix, policy_name };
            let identity = Identity { owner: owner.clone(), place };
            identity.policy_name() == self.name && identity.digest() == digest
        })
    }
}

/// Whether a connection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It stands, or is being made.
    Active,
    /// It is being deleted: it wants nothing any more, but still owns what it manages.
    Deleting,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleting => "deleting",
        }
    }
}

/// What the tags of a connection's policy record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub owner: Owner,
    /// ARN of its key.
    pub key_arn: String,
    /// Where the key comes from; `None` if a version that did not record it made the connection.
    pub key_source: Option<KeySource>,
    /// The key it had before, until the statement there is settled.
    pub former: Option<Former>,
    /// Illumina's role, if it may copy across accounts.
    pub role: Option<String>,
    /// Whether it counts.
    pub state: State,
    /// How it stands to the key's policy.
    pub key_policy: Claim,
    /// How it stands to the bucket's policy.
    pub bucket_policy: Claim,
    /// How it stands to the bucket's CORS rules.
    pub cors: Claim,
}

/// Where a connection's key comes from: whether it follows the bucket, an alias, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The property `KmsKeyId`, as the template has it: an alias may come to name another key.
    Property(String),
    /// The default encryption of the bucket.
    DefaultEncryption,
}

/// As the tag spells what no key is called.
const DEFAULT_ENCRYPTION: &str = "default-encryption";

impl KeySource {
    /// That of a template. A name that no tag can hold is recorded as the key it names.
    pub fn of(spec: &Spec, key_arn: &str) -> Self {
        /// Longest value of a tag, in characters (IAM quotas).
        const VALUE_MAX: usize = 256;
        let Some(name) = &spec.kms_key_id else { return Self::DefaultEncryption };
        let fits = name.as_str().chars().count() <= VALUE_MAX;
        Self::Property(if fits { name.as_str() } else { key_arn }.to_owned())
    }

    fn parse(text: &str) -> Self {
        match text {
            DEFAULT_ENCRYPTION => Self::DefaultEncryption,
            name => Self::Property(name.to_owned()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Property(name) => name,
            Self::DefaultEncryption => DEFAULT_ENCRYPTION,
        }
    }
}

/// A key that a connection has left, and how it stood to that key's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// ARN of the key.
    pub key_arn: String,
    /// What is still to be settled there.
    pub claim: Claim,
}

impl Former {
    fn read(text: &str) -> Option<Self> {
        let (key_arn, claim) = text.split_once(' ')?;
        Some(Self { key_arn: key_arn.to_owned(), claim: Claim::parse(claim) })
    }
}

const STACK_ID: &str = "ica-storage:stack-id";
const LOGICAL_ID: &str = "ica-storage:logical-id";
const KMS_KEY: &str = "ica-storage:kms-key";
const KMS_KEY_SOURCE: &str = "ica-storage:kms-key-source";
/// Tag that records [`Former`].
pub const FORMER_KMS_KEY: &str = "ica-storage:former-kms-key";
const ASSUME_ROLE: &str = "ica-storage:assume-role";
const STATE: &str = "ica-storage:state";

fn claim_key(shared: Shared) -> &'static str {
    match shared {
        Shared::KeyPolicy => "ica-storage:key-policy",
        Shared::BucketPolicy => "ica-storage:bucket-policy",
        Shared::Cors => "ica-storage:cors",
    }
}

impl Record {
    /// The keys of its tags.
    pub const KEYS: [&'static str; 10] = [
        STACK_ID,
        LOGICAL_ID,
        KMS_KEY,
        KMS_KEY_SOURCE,
        FORMER_KMS_KEY,
        ASSUME_ROLE,
        STATE,
        "ica-storage:key-policy",
        "ica-storage:bucket-policy",
        "ica-storage:cors",
    ];

    /// The tags that say this.
    pub fn tags(&self) -> Vec<Tag> {
        let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
        let mut tags = vec![
            tag(STACK_ID, &self.owner.stack_id),
            tag(LOGICAL_ID, &self.owner.logical_id),
            tag(KMS_KEY, &self.key_arn),
            tag(ASSUME_ROLE, self.role.as_deref().unwrap_or_default()),
            tag(STATE, self.state.as_str()),
        ];
        tags.extend(self.key_source.as_ref().map(|source| tag(KMS_KEY_SOURCE, source.as_str())));
        let former = |former: &Former| format!("{} {}", former.key_arn, former.claim);
        tags.extend(self.former.as_ref().map(|left| tag(FORMER_KMS_KEY, &former(left))));
        tags.extend(
            Shared::ALL.map(|shared| tag(claim_key(shared), &self.claim(shared).to_string())),
        );
        tags
    }

    /// The same connection, letting go of everything it owns.
    #[must_use]
    pub fn released(mut self) -> Self {
        for shared in Shared::ALL {
            self.set_claim(shared, self.claim(shared).released());
        }
        self
    }

    /// Reads tags; `None` if they name no owner.
    pub fn read(tags: &[Tag]) -> Option<Self> {
        let text = |key: &str| {
            let tag = tags.iter().find(|tag| tag.key.eq_ignore_ascii_case(key))?;
            (!tag.value.is_empty()).then(|| tag.value.clone())
        };
        let claim = |shared| text(claim_key(shared)).map_or(Claim::Off, |text| Claim::parse(&text));
        let deleting = text(STATE).as_deref() == Some(State::Deleting.as_str());
        Some(Self {
            owner: Owner { stack_id: text(STACK_ID)?, logical_id: text(LOGICAL_ID)? },
            key_arn: text(KMS_KEY).unwrap_or_default(),
            key_source: text(KMS_KEY_SOURCE).map(|text| KeySource::parse(&text)),
            former: text(FORMER_KMS_KEY).and_then(|text| Former::read(&text)),
            role: text(ASSUME_ROLE),
            state: if deleting { State::Deleting } else { State::Active },
            key_policy: claim(Shared::KeyPolicy),
            bucket_policy: claim(Shared::BucketPolicy),
            cors: claim(Shared::Cors),
        })
    }

    /// Whether tags that record a connection no longer say how it stands to a shared document.
    pub fn lacks_claim(tags: &[Tag], shared: Shared) -> bool {
        let is_claim = |tag: &Tag| Claim::parse(&tag.value).to_string() == tag.value;
        let key = claim_key(shared);
        !tags.iter().any(|tag| tag.key.eq_ignore_ascii_case(key) && is_claim(tag))
    }

    /// What a connection lets go of in this bucket, or at a key it has or had: the documents, and
    /// the names of the entries there.
    pub fn released_entries(&self, bucket: &str) -> Vec<(Target, String)> {
        let former = self.former.as_ref().map(|former| {
            (Target { shared: Shared::KeyPolicy, of: former.key_arn.clone() }, &former.claim)
        });
        let own = Shared::ALL
            .map(|shared| (Target::of(shared, bucket, &self.key_arn), self.claim(shared)))
            .into_iter();
        let released = own.chain(former).filter_map(|(target, claim)| match claim {
            Claim::Released(name) => Some((target, name.clone())),
            Claim::Off | Claim::Adopted | Claim::Managed(_) => None,
        });
        released.collect()
    }

    /// The same connection after it has let go.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        for shared in Shared::ALL {
            if matches!(self.claim(shared), Claim::Released(_)) {
                self.set_claim(shared, Claim::Off);
            }
        }
        Self { former: None, ..self }
    }

    /// How the connection stands to a shared document.
    pub fn claim(&self, shared: Shared) -> &Claim {
        match shared {
            Shared::KeyPolicy => &self.key_policy,
            Shared::BucketPolicy => &self.bucket_policy,
            Shared::Cors => &self.cors,
        }
    }

    /// How the connection stands to one certain document: of the key it has, or the one it left.
    pub fn claim_on(&self, target: &Target) -> Claim {
        let former = self.former.as_ref().filter(|former| former.key_arn == target.of);
        match target.shared {
            Shared::KeyPolicy if self.key_arn == target.of => self.key_policy.clone(),
            Shared::KeyPolicy => former.map(|former| former.claim.clone()).unwrap_or_default(),
            Shared::BucketPolicy | Shared::Cors => self.claim(target.shared).clone(),
        }
    }

    /// The same connection with nothing to its name but, if any, a key it left.
    #[must_use]
    pub fn only(&self, former: Option<&Former>) -> Self {
        let (key_policy, bucket_policy, cors) = (Claim::Off, Claim::Off, Claim::Off);
        Self { former: former.cloned(), key_policy, bucket_policy, cors, ..self.clone() }
    }

    /// Records how it stands to a shared document.
    pub fn set_claim(&mut self, shared: Shared, claim: Claim) {
        match shared {
            Shared::KeyPolicy => self.key_policy = claim,
            Shared::BucketPolicy => self.bucket_policy = claim,
            Shared::Cors => self.cors = claim,
        }
    }
}

/// One document that connections share: which kind, of which key or bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub shared: Shared,
    /// ARN of the key, or name of the bucket.
    pub of: String,
}

/// What other connections mean for one shared document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Names under which an entry there is managed.
    pub managed: BTreeSet<String>,
    /// Whether an active connection manages the entry, and so wants it.
    pub wanted: bool,
    /// The roles they want in it.
    pub roles: BTreeSet<String>,
}

impl Target {
    /// The document of a connection with this bucket and this key.
    pub fn of(shared: Shared, bucket: &str, key_arn: &str) -> Self {
        let of = match shared {
            Shared::KeyPolicy => key_arn,
            Shared::BucketPolicy | Shared::Cors => bucket,
        };
        Self { shared, of: of.to_owned() }
    }

    /// What these connections want of the document. Those that adopted an entry of somebody
    /// else's need none of ours.
    pub fn interest<'a>(&self, others: impl Iterator<Item = (&'a str, &'a Record)>) -> Interest {
        let mut interest = Interest::default();
        for (bucket, record) in others {
            let (stays, claim) = match self.shared {
                Shared::KeyPolicy if record.key_arn == self.of => (true, &record.key_policy),
                Shared::KeyPolicy => match &record.former {
                    Some(former) if former.key_arn == self.of => (false, &former.claim),
                    Some(_) | None => continue,
                },
                Shared::BucketPolicy | Shared::Cors if bucket != self.of => continue,
                Shared::BucketPolicy | Shared::Cors => (true, record.claim(self.shared)),
            };
            let Some(name) = claim.owned() else { continue };
            interest.managed.insert(name.to_owned());
            if stays && record.state == State::Active && matches!(claim, Claim::Managed(_)) {
                interest.wanted = true;
                interest.roles.extend(record.role.clone());
            }
        }
        interest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            stack_id: "arn:aws:cloudformation:us-east-1:123456789012:stack/lab/1".into(),
            logical_id: "Connection".into(),
        }
    }

    fn record() -> Record {
        Record {
            owner: owner(),
            key_arn: "key".into(),
            key_source: Some(KeySource::DefaultEncryption),
            former: None,
            role: Some("role".into()),
            state: State::Active,
            key_policy: Claim::Managed("Sid".into()),
            bucket_policy: Claim::Adopted,
            cors: Claim::Off,
        }
    }

    fn entry(path: &str) -> Entry {
        Entry::new("arn", "name", path, 0).unwrap()
    }

    #[test]
    fn a_record_survives_its_tags() {
        let left = Former { key_arn: "old".into(), claim: Claim::Managed("Sid".into()) };
        let former = Record { former: Some(left), role: None, ..record() };
        let named =
            Record { key_source: Some(KeySource::Property("alias/lab".into())), ..record() };
        let older = Record { key_source: None, ..record() };
        let deleting = Record { state: State::Deleting, ..record() };
        for record in [record(), former, named, older, deleting] {
            assert_eq!(Record::read(&record.tags()), Some(record));
        }
        assert_eq!(Record::read(&[]), None);
    }

    #[test]
    fn a_path_names_the_bucket_and_the_prefix() {
        let entry = entry("/ica-storage/my-bucket/a/b/");
        assert_eq!((&*entry.bucket, &*entry.prefix), ("my-bucket", "a/b/"));
        assert_eq!(Entry::new("", "", "/ica-storage/my-bucket/", 0).unwrap().prefix, "");
        assert_eq!(
            Entry::new("", "", "/ica-storage/my-bucket/run,1/", 0).unwrap().prefix,
            "run:1/"
        );
        assert_eq!(Entry::new("", "", "/other/", 0), None);
    }

    #[test]
    fn paths_overlap_when_one_encloses_the_other() {
        let place =
            |prefix: &str| Place { bucket: "b".into(), prefix: prefix.into(), policy_name: None };
        for (ours, theirs, overlap) in [
            ("team/", "team/", true),
            ("team/", "team/x/", true),
            ("team/x/", "team/", true),
            ("", "team/", true),
            ("team/", "", true),
            ("team/", "team-x/", false),
            ("team-x/", "team/", false),
            ("a/", "b/", false),
        ] {
            assert_eq!(
                entry(&format!("/ica-storage/b/{theirs}")).overlaps(&place(ours)),
                overlap,
                "{ours} {theirs}"
            );
        }
        assert!(!entry("/ica-storage/other/team/").overlaps(&place("team/")));
    }

    #[test]
    fn a_connection_is_found_by_its_digest_whatever_its_policy_is_called() {
        for policy_name in [None, Some("explicit".to_owned())] {
            let place = Place { bucket: "b".into(), prefix: "a/".into(), policy_name };
            let identity = Identity { owner: owner(), place };
            let path = identity.policy_path();
            let entry = Entry::new("", &identity.policy_name(), &path, 0).unwrap();
            assert!(entry.is(&owner(), &identity.digest()));
            assert!(
                !entry.is(&Owner { logical_id: "Other".into(), ..owner() }, &identity.digest())
            );
            let other = Entry::new("", "other", &path, 0).unwrap();
            assert!(!other.is(&owner(), &identity.digest()));
        }
    }

    #[test]
    fn a_document_is_wanted_while_an_active_connection_manages_it() {
        let target = Target { shared: Shared::KeyPolicy, of: "key".into() };
        let interest = |record: &Record| target.interest([("b", record)].into_iter());
        let (managed, roles) = (BTreeSet::from(["Sid".into()]), BTreeSet::from(["role".into()]));
        let nobody = Interest { managed: managed.clone(), ..Interest::default() };
        assert_eq!(interest(&record()), Interest { managed, wanted: true, roles });
        assert_eq!(interest(&Record { state: State::Deleting, ..record() }), nobody);
        assert_eq!(
            interest(&Record { key_policy: record().key_policy.released(), ..record() }),
            nobody
        );
        let former = Former { key_arn: "key".into(), claim: record().key_policy };
        let left = Record { key_arn: "new".into(), former: Some(former), ..record() };
        assert_eq!(interest(&left), nobody);
        for record in [
            Record { key_arn: "other".into(), ..record() },
            Record { key_policy: Claim::Adopted, ..record() },
            Record { key_policy: Claim::Off, ..record() },
        ] {
            assert_eq!(interest(&record), Interest::default());
        }
    }
}
