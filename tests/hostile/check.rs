//! What holds for any input whatever. Called by the random tests beside this file and by the fuzz
//! targets in `fuzz/`, so that both hold the code to the same.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ica_storage::cloudformation::request::{Request, Unreadable};
use ica_storage::cloudformation::response::{BODY_MAX, Response};
use ica_storage::domain::document::Document;
use ica_storage::domain::ica::{self, Storage, Versioning};
use ica_storage::domain::policy::{self, Edit, PolicyDocument};
use ica_storage::domain::shared::{Claim, Shared};
use ica_storage::domain::spec::{PROPERTIES, Place, Spec};
use ica_storage::log::OneLine;
use ica_storage::provider::{self, Settings};
use lambda_runtime::tracing::Subscriber;
use lambda_runtime::tracing::subscriber::fmt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::subscriber::with_default;

use crate::support::account::{ACCOUNT, Account};
use crate::support::lab::{self, BUCKET, KEY, ROLE};
use crate::support::session::{Session, Weather};

/// Of every address here: where it shows, the address leaks.
pub(crate) const SECRET: &str = "5ec4e7";

/// Longest the ids of an event can be together (their limits in CloudFormation, 1,024 for the
/// physical id), so that an answer has room for a word. They are sent back as they came.
const IDS_MAX: usize = 2_500;

/// The documents as Illumina prints them, with its placeholders.
const GOLDEN: [&str; 5] = [
    include_str!("../golden/policy-unversioned.json"),
    include_str!("../golden/policy-versioned.json"),
    include_str!("../golden/bucket-policy-statement-unversioned.json"),
    include_str!("../golden/bucket-policy-statement-versioned.json"),
    include_str!("../golden/key-policy-statement.json"),
];

/// Any text as an event: it is answered if it can be, within the limits, and gives nothing away.
pub(crate) fn event(text: &str) {
    let account = Account::new(lab::lived_in());
    let log = Log::default();
    let answered = log.of(|| answer(&account, text));
    let told = format!("{answered:?} {} {}", log.text(), body(&answered).unwrap_or_default());
    assert!(!told.contains(SECRET) || is_told_elsewhere(text), "the address shows: {told}");
    log.assert_one_line_each();
    assert_eq!(account.harm(), None);
    assert_documents_are_illuminas(&account);
    let Ok(Some(response)) = &answered else {
        assert!(!is_usable(&address(text).unwrap_or_default()), "not answered: {text}");
        assert_eq!(account.calls(), [], "work for nobody");
        return;
    };
    assert_answer_is_sound(response);
}

/// Any properties: refused, or of documents that say Illumina's words about this folder only.
pub(crate) fn properties(properties: &Value) {
    documents(properties);
    for request_type in ["Create", "Update", "Delete"] {
        event(&request(request_type, properties).to_string());
    }
}

fn documents(properties: &Value) {
    if let Ok(spec) = Spec::parse(properties) {
        let place = Place::from(&spec);
        assert_eq!(Place::of(properties), Some(place.clone()), "a Delete would look elsewhere");
        assert!(spec.prefix.is_root() || spec.prefix.as_str().ends_with('/'));
        let role = spec.assume_role_arn.as_ref().map_or(ROLE, |role| role.as_str());
        let [bucket, prefix] = [place.bucket.as_str(), place.prefix.as_str()];
        for versioning in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
            let partition = "aws";
            let storage = Storage { partition, bucket, prefix, key_arn: KEY, versioning };
            let roles = [role.to_owned()];
            for (document, golden) in [
                (storage.policy(), &GOLDEN[..2]),
                (storage.bucket_policy_statement(&roles), &GOLDEN[2..4]),
                (ica::key_policy_statement(&roles), &GOLDEN[4..]),
            ] {
                assert_says_as_much(&document, golden);
                assert_stays_within(&document, bucket, prefix);
            }
        }
    }
}

/// A text as the value of each property in turn, the others being sound.
pub(crate) fn value(text: &str) {
    for property in PROPERTIES {
        let mut sound = lab::folder("project-a");
        if ["KeyPrefix", "AllowBucketRoot"].contains(&property) {
            sound.as_object_mut().unwrap().remove("KeyPrefix");
        }
        sound[property] = match property {
            "Tags" => json!([{"Key": text, "Value": text}]),
            _ => text.into(),
        };
        documents(&sound);
        event(&request("Create", &sound).to_string());
    }
}

/// Any text as a policy that stands: nothing of it is lost but what an edit names.
pub(crate) fn policy(text: &str) {
    let Ok(document) = PolicyDocument::parse(text) else { return };
    let ours = ica::key_policy_statement(&[ROLE.to_owned()]);
    let statements = document.statements();
    let with = document.edited(&[Edit::Append(ours.clone())]).unwrap();
    assert_eq!(with.statements(), [statements, std::slice::from_ref(&ours)].concat());
    let undone = with.edited(&[Edit::Remove(statements.len())]).unwrap();
    let is_list = undone.text() == text;
    assert!(is_list || undone.text().replacen('[', "", 1).replacen(']', "", 1).len() <= text.len());
    for index in 0..=statements.len() {
        let mut rest = statements.to_vec();
        let removed = document.edited(&[Edit::Remove(index)]).unwrap();
        if index < rest.len() {
            rest.remove(index);
        }
        assert_eq!(removed.statements(), rest);
        assert!(index >= statements.len() || is_cut(text, removed.text()) || !is_list);
        let replaced = document.edited(&[Edit::Replace(index, ours.clone())]).unwrap();
        assert!(is_swapped(text, replaced.text(), &ours.to_string(), statements.get(index)));
    }
    for statement in statements {
        assert!(policy::same(statement, statement) || !statement.is_object());
    }
    let _ = (document.orphans(), document.delegates_to_iam(ACCOUNT, &["kms:Decrypt"]));
    settles(text, &ours, is_list);
}

/// What a connection writes, its end takes back, to the byte.
fn settles(text: &str, ours: &Value, is_list: bool) {
    let nobody = std::collections::BTreeSet::new();
    let before = Document::policy(Some(text)).unwrap();
    let written = before.settle(Shared::KeyPolicy, Some(ours), &nobody).unwrap();
    let Claim::Managed(sid) = written.claim else { return };
    let managed = [sid].into();
    let after = written.document.expect("it is written");
    assert!(after.settle(Shared::KeyPolicy, Some(ours), &managed).unwrap().document.is_none());
    let gone = after.settle(Shared::KeyPolicy, None, &managed).unwrap().document;
    let Some(Document::Policy(Some(gone))) = gone else { panic!("it is not taken back") };
    assert!(gone.text() == text || !is_list, "{} {text}", gone.text());
}

/// Whether the one is the other without one stretch of it.
fn is_cut(whole: &str, cut: &str) -> bool {
    let alike = whole.bytes().zip(cut.bytes()).take_while(|(a, b)| a == b).count();
    cut.len() < whole.len() && whole.as_bytes().ends_with(&cut.as_bytes()[alike..])
}

/// Whether the one is the other with this entry in the place of that one, and nothing else.
fn is_swapped(before: &str, after: &str, new: &str, old: Option<&Value>) -> bool {
    let Some(old) = old else { return before == after };
    after.match_indices(new).any(|(at, _)| {
        let (head, rest) = after.split_at(at);
        let (_, tail) = rest.split_at(new.len());
        let rest = before.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
        rest.is_some_and(|rest| serde_json::from_str::<Value>(rest).is_ok_and(|rest| rest == *old))
    })
}

/// An event of a stack in the account of the tests.
pub(crate) fn request(request_type: &str, properties: &Value) -> Value {
    json!({
        "RequestType": request_type,
        "ResponseURL": format!("https://example.com/answer?X-Amz-Signature={SECRET}"),
        "StackId": format!("arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/lab/0f0f0f0f"),
        "RequestId": "request",
        "LogicalResourceId": "Connection",
        "ResourceType": "Custom::IcaStorage",
        "PhysicalResourceId": format!("s3://{BUCKET}/was/#0123456789abcdef"),
        "ResourceProperties": properties,
        "OldResourceProperties": lab::folder("was"),
    })
}

type Answered = Result<Option<Response>, Unreadable>;

/// The provider's answer, when all goes well.
pub(crate) fn answer(account: &Account, text: &str) -> Answered {
    answer_in(Weather::fair(), account, text)
}

/// The provider's answer, in time that does not pass.
pub(crate) fn answer_in(weather: Weather, account: &Account, text: &str) -> Answered {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_mins(5);
        let (session, settings) = (Session::new(account, weather), Settings::default());
        let read = Request::parse(text, false);
        provider::answer(&session, &settings, &read, deadline).await
    })
}

fn body(answered: &Answered) -> Option<String> {
    answered.as_ref().ok()?.as_ref().map(Response::body)
}

/// The address in an event, read without the code that is tested.
fn address(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "ResponseURL")]
        response_url: String,
    }
    serde_json::from_str::<Event>(text).ok().map(|event| event.response_url)
}

/// Whether the secret stands in another member of the event, which may be shown.
fn is_told_elsewhere(text: &str) -> bool {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(mut event)) => {
            event.remove("ResponseURL");
            Value::Object(event).to_string().contains(SECRET)
        }
        _ => text.matches(SECRET).count() > 1 || text.contains("\\u"),
    }
}

/// Whether an address surely is one, and does not say when it expires.
fn is_usable(address: &str) -> bool {
    address.strip_prefix("https://").is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric())
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || "./?=&-%".contains(c))
            && !rest.contains("Expires=")
    })
}

fn assert_answer_is_sound(response: &Response) {
    let (envelope, body) = (&response.envelope, response.body());
    let answer: Value = serde_json::from_str(&body).unwrap();
    let owner = &envelope.owner;
    let ids = [&owner.stack_id, &owner.logical_id, &envelope.request_id];
    let room = json!([ids, response.physical_id.as_str()]).to_string().len() <= IDS_MAX;
    assert!(body.len() <= BODY_MAX || !room, "{} bytes: {body}", body.len());
    assert!(!body.contains(['\n', '\r']), "{body}");
    assert!((1..=1024).contains(&response.physical_id.as_str().len()));
    assert!(answer["Data"].as_object().unwrap().values().all(Value::is_string), "{body}");
    if answer["Status"] == "SUCCESS" {
        return;
    }
    let reason = answer["Reason"].as_str().unwrap();
    assert!(!reason.is_empty() && !reason.chars().any(char::is_control), "{reason}");
    assert!(!reason.starts_with("InternalFailure"), "a panic: {reason}");
}

/// What now stands in the account under our names.
fn assert_documents_are_illuminas(account: &Account) {
    for policy in account.state().policies.values() {
        let (bucket, prefix) = place(&policy.path);
        for (_, document) in &policy.versions {
            assert_says_as_much(document, &GOLDEN[..2]);
            assert_stays_within(document, bucket, &prefix);
        }
    }
}

/// The bucket and the prefix of a path such as `/ica-storage/<bucket>/<prefix>`.
fn place(path: &str) -> (&str, String) {
    let (bucket, prefix) = path.strip_prefix("/ica-storage/").unwrap().split_once('/').unwrap();
    (bucket, prefix.replace(',', ":"))
}

/// It has no more wildcards and variables than Illumina's own.
fn assert_says_as_much(document: &Value, golden: &[&str]) {
    let count = |text: &str| ["*", "?", "${"].map(|wild| text.matches(wild).count());
    let allowed: Vec<_> = golden
        .iter()
        .map(|text| count(&serde_json::from_str::<Value>(text).unwrap().to_string()))
        .collect();
    assert!(allowed.contains(&count(&document.to_string())), "{document}");
}

/// It speaks of this bucket, of these objects in it, and of the key.
fn assert_stays_within(document: &Value, bucket: &str, prefix: &str) {
    let lone = std::slice::from_ref(document);
    for statement in document["Statement"].as_array().map_or(lone, Vec::as_slice) {
        let actions = statement["Action"].as_array().unwrap();
        let is_of_iam = document.get("Statement").is_some();
        for resource in strings(&statement["Resource"]) {
            let objects = if is_of_iam { prefix } else { "" };
            let partition = resource.split(':').nth(1).unwrap_or_default();
            let of_s3 = ["", &format!("/{objects}*")]
                .iter()
                .any(|rest| resource == format!("arn:{partition}:s3:::{bucket}{rest}"));
            let everything = actions.iter().all(|action| {
                let action = action.as_str().unwrap();
                action == "sts:GetFederationToken" || (action.starts_with("kms:") && !is_of_iam)
            });
            assert!(of_s3 || resource.starts_with("arn:aws:kms:") || everything, "{statement}");
        }
        for principal in strings(&statement["Principal"]["AWS"]) {
            assert!(
                principal.starts_with("arn:aws") && principal.contains(":role/"),
                "{principal}"
            );
        }
    }
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// What was logged, event by event, as text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Logs what something does.
    pub(crate) fn of<T>(&self, something: impl FnOnce() -> T) -> T {
        // Of a lone subscriber only its own thread is asked, and another test may log first.
        let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
        with_default(self.clone().subscriber(), something)
    }

    fn subscriber(self) -> impl Subscriber {
        fmt().with_ansi(false).with_writer(move || OneLine(self.clone())).finish()
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().concat()
    }

    pub(crate) fn assert_one_line_each(&self) {
        for event in self.0.lock().unwrap().iter() {
            let line = event.strip_suffix('\n').expect("a line ends");
            assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line:?}");
            assert!(line.len() <= 12_000, "a line of {} bytes", line.len());
        }
    }
}

impl io::Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8(event.to_vec()).unwrap());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
