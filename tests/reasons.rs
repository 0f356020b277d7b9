//! Every way to fail → the sentence its author reads: `docs/troubleshooting.md` has them all.

use std::time::Duration;

use ica_storage::cloudformation::request::Request;
use ica_storage::domain::attributes::Attributes;
use ica_storage::domain::document::Document;
use ica_storage::domain::identity::{Home, Identity, Owner};
use ica_storage::domain::policy::PolicyDocument;
use ica_storage::domain::preflight::{self, Ask, Goal};
use ica_storage::domain::refusal::{Code, Refusal};
use ica_storage::domain::seen::{Encryption, Folder, Key, KeyFound, Seen, Unseen};
use ica_storage::domain::shared::Shared;
use ica_storage::domain::spec::{Place, Spec};
use ica_storage::engine::failure::{Failure, Trace};
use ica_storage::ports::{CallError, CallErrorKind};
use ica_storage::provider::{self, Settings};
use serde_json::{Value, json};

const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// A sound connection, and the account it needs.
struct Case {
    properties: Value,
    region: &'static str,
    seen: Seen,
}

fn sound() -> Case {
    let root = json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"});
    Case {
        properties: json!({"BucketName": "my-bucket", "KeyPrefix": "project-a/", "KmsKeyId": KEY}),
        region: "us-east-1",
        seen: Seen {
            region: Ok(Some("us-east-1".into())),
            versioning: Ok(ica_storage::domain::ica::Versioning::Unversioned),
            encryption: Ok(Some(Encryption {
                algorithm: "aws:kms".into(),
                key: Some(KEY.into()),
                bucket_key: true,
            })),
            ownership: Ok(Some("BucketOwnerEnforced".into())),
            public_access_off: Ok(vec![]),
            notifications: Ok(vec![]),
            folder: Ok(None),
            key: Ok(KeyFound::Found(key())),
            key_policy: Ok(Some(PolicyDocument::of(&root).unwrap().text().to_owned())),
            bucket_policy: Ok(None),
            cors: Ok(vec![]),
        },
    }
}

fn key() -> Key {
    Key {
        arn: KEY.into(),
        state: "Enabled".into(),
        aws_managed: false,
        spec: "SYMMETRIC_DEFAULT".into(),
        usage: "ENCRYPT_DECRYPT".into(),
    }
}

fn denied<T>(action: &'static str) -> Result<T, Unseen> {
    Err(Unseen {
        action,
        message: "User: arn:aws:sts::123456789012:assumed-role/provider/f is not authorized".into(),
    })
}

fn goal(case: &Case) -> Result<Goal, Vec<Refusal>> {
    let stack_id = format!("arn:aws:cloudformation:{}:123456789012:stack/lab/1", case.region);
    let spec = Spec::parse(&case.properties)?;
    let home = Home::of(&stack_id).unwrap();
    let owner = Owner { stack_id, logical_id: "Connection".into() };
    let identity = Identity { owner, place: Place::from(&spec) };
    let ask = Ask { spec: &spec, identity: &identity, home: &home, principal_accounts: &[] };
    preflight::goal(ask, &case.seen)
}

/// What the case is judged to be.
fn judge(change: impl Fn(&mut Case)) -> Result<Vec<String>, Vec<Refusal>> {
    let mut case = sound();
    change(&mut case);
    goal(&case).map(|goal| goal.warnings)
}

/// What is wrong with a document of the case.
fn refusal_of(change: impl Fn(&mut Case), shared: Shared) -> Refusal {
    let mut case = sound();
    change(&mut case);
    preflight::document(&goal(&case).unwrap(), shared, &case.seen).unwrap_err()
}

fn refusal(change: impl Fn(&mut Case)) -> String {
    let refusals = judge(change).expect_err("it should be refused");
    Failure::Refused(refusals).reason(&Trace::default()).as_str().to_owned()
}

fn property(name: &'static str, value: Value) -> impl Fn(&mut Case) {
    move |case| case.properties[name] = value.clone()
}

fn the_key(change: impl Fn(&mut Key)) -> impl Fn(&mut Case) {
    move |case| {
        let mut key = key();
        change(&mut key);
        case.seen.key = Ok(KeyFound::Found(key));
    }
}

/// The refusals of documents that others wrote.
fn of_documents() -> Vec<String> {
    let statement = |sid: &str| json!({"Sid": sid, "Effect": "Allow", "Action": "kms:*"});
    let policy = |statement: &Value| Document::Policy(PolicyDocument::of(statement));
    let (edited, right) = (policy(&statement("AllowCrossAccountAccess")), policy(&json!({})));
    let full = policy(&statement(&"x".repeat(32_768)));
    let entry = json!({"Sid": "AllowCrossAccountAccess"});
    let none =
        refusal_of(|case| case.seen.bucket_policy = Ok(Some("{".into())), Shared::BucketPolicy);
    [
        edited.unfit(Shared::KeyPolicy, KEY, &right, &entry),
        right.unfit(Shared::KeyPolicy, KEY, &full, &entry),
        Some(none),
        Some(Attributes::too_long()),
    ]
    .map(|refusal| {
        let failure = Failure::Refused(vec![refusal.unwrap()]);
        failure.reason(&Trace::default()).as_str().to_owned()
    })
    .to_vec()
}

/// The refusals before the first write.
fn refusals() -> Vec<String> {
    let without_key = |case: &mut Case| {
        case.properties.as_object_mut().unwrap().remove("KmsKeyId");
    };
    vec![
        refusal(property("BucketNme", json!("my-bucket"))),
        refusal(property("BucketName", json!("s3://my-bucket/x"))),
        refusal(property("KeyPrefix", json!("a/*"))),
        refusal(property("KeyPrefix", json!("./run"))),
        refusal(property("KeyPrefix", json!(""))),
        refusal(property("AllowBucketRoot", json!("true"))),
        refusal(property("KmsKeyId", json!("my-key"))),
        refusal(property("KmsKeyId", json!("alias/aws/s3"))),
        refusal(property("ConfigureCors", json!("yes"))),
        refusal(property("PolicyName", json!("a b"))),
        refusal(property("AssumeRoleArn", json!("*"))),
        refusal(property("AssumeRoleArn", json!("arn:aws:iam::111122223333:role/r"))),
        refusal(property("Tags", json!([{"Key": "ica-storage:state", "Value": "x"}]))),
        refusal(|case| {
            case.region = "eu-north-1";
            case.seen.region = Ok(Some("eu-north-1".into()));
            case.properties["KmsKeyId"] = json!("alias/lab");
            let arn = KEY.replace("us-east-1", "eu-north-1");
            case.seen.key = Ok(KeyFound::Found(Key { arn, ..key() }));
        }),
        refusal(|case| case.seen.region = Ok(None)),
        refusal(|case| case.seen.region = Ok(Some("eu-west-2".into()))),
        refusal(|case| case.seen.region = denied("s3:ListBucket")),
        refusal(|case| case.seen.versioning = denied("s3:GetBucketVersioning")),
        refusal(|case| case.seen.key = denied("kms:DescribeKey")),
        refusal(|case| case.seen.key = Ok(KeyFound::Missing(KEY.into()))),
        refusal(|case| {
            without_key(case);
            case.seen.key = Ok(KeyFound::Unnamed);
        }),
        refusal(the_key(|key| key.aws_managed = true)),
        refusal(the_key(|key| key.state = "Disabled".into())),
        refusal(the_key(|key| key.state = "PendingDeletion".into())),
        refusal(the_key(|key| key.spec = "RSA_2048".into())),
        refusal(property("KmsKeyId", json!(KEY.replace("us-east-1", "eu-west-2")))),
        refusal(property("KmsKeyId", json!(KEY.replace("123456789012", "111122223333")))),
    ]
}

fn call(action: &'static str, resource: &str, kind: CallErrorKind, message: &str) -> Failure {
    Failure::Call(CallError {
        action,
        resource: resource.into(),
        kind,
        code: String::new(),
        message: message.into(),
        request_id: "7f3c".into(),
    })
}

/// A stack that names the provider of another account.
fn of_a_stack_elsewhere() -> String {
    let event = json!({
        "RequestType": "Create", "RequestId": "r", "LogicalResourceId": "Connection",
        "ResourceType": "Custom::IcaStorage",
        "StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/lab/1",
        "ResponseURL": "https://example.com/", "ResourceProperties": {},
    });
    let request = Request::read(event, false).unwrap();
    let home = Home::of_function("arn:aws:lambda:us-east-1:123456789012:function:ica-storage");
    let refusal = provider::elsewhere(&Settings { home, ..Settings::default() }, &request);
    Failure::Refused(vec![refusal.unwrap()]).reason(&Trace::default()).as_str().to_owned()
}

fn all_refusals() -> Vec<String> {
    refusals().into_iter().chain(of_documents()).chain([of_a_stack_elsewhere()]).collect()
}

/// What AWS can refuse after that.
fn calls() -> Vec<Failure> {
    let policy = "arn:aws:iam::123456789012:policy/ica-storage/my-bucket/project-a/p";
    vec![
        call(
            "kms:PutKeyPolicy",
            KEY,
            CallErrorKind::Denied,
            "User: arn:aws:sts::123456789012:assumed-role/provider/f is not authorized to perform: kms:PutKeyPolicy",
        ),
        call("s3:PutBucketPolicy", "my-bucket", CallErrorKind::Denied, "Access Denied"),
        call(
            "kms:PutKeyPolicy",
            KEY,
            CallErrorKind::InvalidPrincipal,
            "Policy contains a statement with one or more invalid principals.",
        ),
        call(
            "kms:PutKeyPolicy",
            KEY,
            CallErrorKind::Lockout,
            "The new key policy will not allow you to update the key policy in the future.",
        ),
        call("kms:PutKeyPolicy", KEY, CallErrorKind::InvalidState, "The key is pending deletion."),
        call("iam:CreatePolicy", "p", CallErrorKind::Exists, "A policy called p already exists."),
        call(
            "iam:CreatePolicy",
            "p",
            CallErrorKind::Limit,
            "Cannot exceed quota for PoliciesPerAccount: 1500",
        ),
        call(
            "iam:DeletePolicy",
            policy,
            CallErrorKind::Conflict,
            "Cannot delete a policy attached to entities.",
        ),
        call("iam:CreatePolicyVersion", policy, CallErrorKind::NotFound, "Policy does not exist."),
        call(
            "s3:PutBucketCORS",
            "my-bucket",
            CallErrorKind::Conflict,
            "A conflicting operation is in progress.",
        ),
        call("iam:ListPolicies", "/ica-storage/", CallErrorKind::Throttled, "Rate exceeded"),
        call(
            "s3:PutObject",
            "s3://my-bucket/project-a/",
            CallErrorKind::Unavailable,
            "We encountered an internal error.",
        ),
        call("kms:GetKeyPolicy", KEY, CallErrorKind::Network, "dispatch failure: timeout"),
        call(
            "s3:PutObject",
            "s3://my-bucket/project-a/",
            CallErrorKind::Other,
            "The request is malformed.",
        ),
    ]
}

/// What else can go wrong.
fn findings() -> Vec<Failure> {
    let policy = "arn:aws:iam::123456789012:policy/ica-storage/my-bucket/project-a/p";
    vec![
        Failure::OutOfTime(Duration::from_secs(280)),
        Failure::Unsettled(Shared::KeyPolicy),
        Failure::Overtaken("DELETE_IN_PROGRESS".into()),
        Failure::GaveWay(Refusal::new(
            Code::AlreadyExists,
            "KeyPrefix",
            "`a/` in bucket `my-bucket` overlaps `a/b/`, which stack `other` connects as `Connection`",
            "choose a prefix that neither encloses another connection's nor lies within it",
        )),
        Failure::Unwritten {
            error: Box::new(CallError {
                action: "s3:PutBucketPolicy",
                resource: "my-bucket".into(),
                kind: CallErrorKind::Denied,
                code: "AccessDenied".into(),
                message: "Access Denied".into(),
                request_id: "7f3c".into(),
            }),
            shared: Shared::BucketPolicy,
            entry: r#"{"Sid":"AllowCrossAccountAccess",…}"#.into(),
            orphans: vec![],
        },
        Failure::Unwritten {
            error: Box::new(CallError {
                action: "kms:PutKeyPolicy",
                resource: KEY.into(),
                kind: CallErrorKind::InvalidPrincipal,
                code: "MalformedPolicyDocumentException".into(),
                message: "Policy contains a statement with one or more invalid principals.".into(),
                request_id: "7f3c".into(),
            }),
            shared: Shared::KeyPolicy,
            entry: r#"{"Sid":"AllowCrossAccountAccess",…}"#.into(),
            orphans: vec!["`AROAEXAMPLE` in statement `audit`".into()],
        },
        Failure::Remains {
            cause: Box::new(call(
                "s3:PutBucketPolicy",
                "my-bucket",
                CallErrorKind::Denied,
                "Access Denied",
            )),
            what: format!(
                "policy `{policy}`, statement `AllowCrossAccountAccess` of the bucket policy of `my-bucket`"
            ),
        },
        Failure::Unreadable("missing field `StackId`".into()),
        Failure::Bug("index out of bounds".into()),
    ]
}

/// All of it, as it is answered.
fn failures() -> Vec<String> {
    let trace =
        Trace { function: "ica-storage".into(), log_stream: "2026/01/31/[$LATEST]0f".into() };
    calls()
        .iter()
        .chain(&findings())
        .map(|failure| failure.reason(&trace).as_str().to_owned())
        .collect()
}

#[test]
fn every_refusal_names_the_property_and_the_way_out() {
    insta::assert_snapshot!("refusals", all_refusals().join("\n"));
}

#[test]
fn every_failure_names_the_action_and_the_way_out() {
    insta::assert_snapshot!("failures", failures().join("\n"));
}

#[test]
fn every_sentence_keeps_to_the_grammar() {
    for sentence in all_refusals().into_iter().chain(failures()) {
        let (code, rest) = sentence.split_once(": ").unwrap();
        assert!(code.chars().all(char::is_alphabetic), "no code: {sentence}");
        assert!(rest.contains("; "), "no way out: {sentence}");
        assert!(!sentence.ends_with('.'), "a final period: {sentence}");
        assert_eq!(sentence.matches('`').count() % 2, 0, "a quote is left open: {sentence}");
    }
}

#[test]
fn the_page_on_troubleshooting_has_them_all() {
    let page = include_str!("../docs/troubleshooting.md");
    let catalogue: Vec<String> = all_refusals().into_iter().chain(failures()).collect();
    for sentence in &catalogue {
        assert!(page.contains(sentence), "not in docs/troubleshooting.md: {sentence}");
    }
    // The README quotes a few of them, to the letter.
    let readme = include_str!("../README.md").split("\n## When it fails\n").nth(1).unwrap();
    let quoted = readme.split("```").nth(1).unwrap().lines().skip(1);
    for line in quoted {
        assert!(catalogue.iter().any(|sentence| sentence == line), "not in the catalogue: {line}");
    }
}

#[test]
fn several_problems_are_answered_at_once() {
    let sentence = refusal(|case| {
        case.region = "eu-north-1";
        case.seen.region = Ok(None);
        case.seen.key = Ok(KeyFound::Missing(KEY.into()));
        case.properties["KmsKeyId"] = json!("alias/lab");
    });
    for part in
        ["NotFound: property `BucketName`", "property `KmsKeyId`", "property `AssumeRoleArn`"]
    {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
}

/// Each warning with the change that brings it about; none without.
#[test]
fn every_warning_is_given_when_it_is_due_and_only_then() {
    assert_eq!(judge(|_| {}).unwrap(), Vec::<String>::new());
    let encryption = |change: fn(&mut Encryption)| {
        move |case: &mut Case| {
            if let Ok(Some(encryption)) = &mut case.seen.encryption {
                change(encryption);
            }
        }
    };
    let folder = |algorithm: &str, key: &str| Folder {
        mark: None,
        algorithm: Some(algorithm.into()),
        key: Some(key.into()),
        version: None,
    };
    let mut warnings: Vec<String> = vec![];
    let mut warn = |change: &dyn Fn(&mut Case)| {
        let given = judge(change).unwrap();
        assert_eq!(given.len(), 1, "{given:?}");
        warnings.extend(given);
    };
    warn(&|case| case.seen.encryption = Ok(None));
    warn(&encryption(|encryption| encryption.key = Some(KEY.replace("1234abcd", "00000000"))));
    warn(&encryption(|encryption| encryption.bucket_key = false));
    warn(&|case| case.seen.encryption = denied("s3:GetEncryptionConfiguration"));
    warn(&|case| case.seen.key_policy = Ok(Some(r#"{"Statement":[]}"#.into())));
    warn(&|case| case.seen.key_policy = denied("kms:GetKeyPolicy"));
    warn(&|case| case.seen.ownership = Ok(None));
    warn(&|case| case.seen.ownership = denied("s3:GetBucketOwnershipControls"));
    warn(&|case| case.seen.public_access_off = Ok(vec!["BlockPublicPolicy"]));
    warn(&|case| case.seen.public_access_off = denied("s3:GetBucketPublicAccessBlock"));
    warn(&|case| case.seen.notifications = Ok(vec![String::new()]));
    warn(&|case| case.seen.notifications = Ok(vec!["project-a/reads/".into()]));
    warn(&|case| case.seen.notifications = denied("s3:GetBucketNotification"));
    warn(&|case| case.seen.folder = Ok(Some(folder("AES256", KEY))));
    warn(&|case| {
        case.properties =
            json!({"BucketName": "my-bucket", "AllowBucketRoot": "true", "KmsKeyId": KEY});
    });
    warn(&|case| {
        case.region = "eu-central-1";
        case.seen.region = Ok(Some("eu-central-1".into()));
        case.properties["KmsKeyId"] = json!("alias/lab");
        case.seen.key =
            Ok(KeyFound::Found(Key { arn: KEY.replace("us-east-1", "eu-central-1"), ..key() }));
        case.seen.encryption = Ok(Some(Encryption {
            algorithm: "aws:kms".into(),
            key: Some(KEY.replace("us-east-1", "eu-central-1")),
            bucket_key: true,
        }));
    });
    insta::assert_snapshot!("warnings", warnings.join("\n"));
    for quiet in [
        judge(|case| {
            case.seen.notifications = Ok(vec!["project-b/".into(), "project-a-2/".into()]);
        }),
        judge(|case| case.seen.folder = Ok(Some(folder("aws:kms", KEY)))),
    ] {
        assert_eq!(quiet.unwrap(), Vec::<String>::new());
    }
}
