//! `template.yaml` and the code say the same.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use ica_storage::aws::actions::{CALLED, ON_ITS_BEHALF, Permission};
use ica_storage::domain::attributes;
use ica_storage::domain::report::Counts;
use ica_storage::domain::spec::PROPERTIES;
use ica_storage::metrics;

const TEMPLATE: &str = include_str!("../template.yaml");

/// The lines of a resource, up to the next one.
fn resource(name: &str) -> Vec<&'static str> {
    let mut lines = TEMPLATE.lines().skip_while(|line| *line != format!("  {name}:"));
    lines.next().expect("the resource is there");
    lines.take_while(|line| line.starts_with("    ") || line.trim().is_empty()).collect()
}

/// `service:Action`, as a policy names an action.
fn is_action(word: &str) -> bool {
    word.split_once(':').is_some_and(|(service, action)| {
        !service.is_empty()
            && service.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            && action.starts_with(|c: char| c.is_ascii_uppercase())
            && action.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

fn granted() -> BTreeSet<&'static str> {
    let actions = resource("ProviderPolicy").into_iter().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix("- ").or_else(|| line.strip_prefix("Action: "))
    });
    actions.filter(|word| is_action(word)).collect()
}

#[test]
fn the_role_holds_exactly_what_is_declared() {
    let permissions = || CALLED.iter().chain(ON_ITS_BEHALF);
    let declared: BTreeSet<&str> = permissions().map(|permission| permission.action).collect();
    assert_eq!(granted(), declared);
    // An action twice, or a purpose copied along with its neighbour, would go unseen.
    assert_eq!(permissions().count(), declared.len());
    let purposes: BTreeSet<&str> = permissions().map(|permission| permission.purpose).collect();
    assert_eq!(purposes.len(), declared.len());
}

#[test]
fn every_permission_is_told_with_what_it_is_for() {
    let page = include_str!("../SECURITY.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let told: Vec<(&str, &str)> = rows.filter(|(word, _)| is_action(word)).collect();
    let row = |Permission { action, purpose }: &Permission| format!("{action} {purpose} |");
    let expected: Vec<String> = CALLED.iter().chain(ON_ITS_BEHALF).map(row).collect();
    let told: Vec<String> = told.iter().map(|(action, why)| format!("{action} {why}")).collect();
    assert_eq!(told, expected);
}

#[test]
fn only_what_knows_no_resource_is_allowed_on_everything() {
    let lines = resource("ProviderPolicy");
    let everything = lines.iter().filter(|line| line.trim() == r#"Resource: "*""#).count();
    assert_eq!(everything, 1);
    let at = lines.iter().position(|line| line.trim() == r#"Resource: "*""#).unwrap();
    assert_eq!(lines[at - 1].trim(), "Action: iam:ListPolicies");
}

#[test]
fn the_connection_outlives_nothing_it_needs_and_is_not_waited_for_in_vain() {
    let connection = resource("Connection").join("\n");
    assert!(connection.contains("DependsOn: [ProviderPolicy,"), "{connection}");
    assert!(connection.contains("ServiceTimeout: !Ref ServiceTimeout"));
    let number = |name: &str, lines: Vec<&str>| -> u32 {
        let value =
            lines.iter().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        value.unwrap().trim_matches('"').parse().unwrap()
    };
    let timeout = number("Timeout", resource("Provider"));
    assert!(number("Default", resource("ServiceTimeout")) >= timeout + 60);
    assert!(number("MaximumEventAgeInSeconds", resource("Provider")) <= 3600);
    assert!(number("MinValue", resource("ServiceTimeout")) >= timeout);
}

#[test]
fn what_could_not_be_answered_is_kept() {
    let provider = resource("Provider").join("\n");
    assert!(provider.contains("MaximumRetryAttempts: 2"), "{provider}");
    assert!(provider.contains("Destination: !GetAtt UnansweredEvents.Arn"), "{provider}");
    assert!(resource("UnansweredEvents").join("").contains("MessageRetentionPeriod: 1209600 "));
    let log = resource("ProviderLogGroup").join("\n");
    assert!(log.contains("DeletionPolicy: Retain") && log.contains("RetentionInDays: "), "{log}");
}

/// At that level HTTP libraries print addresses.
#[test]
fn the_log_cannot_be_set_to_trace() {
    let levels = "    AllowedValues: [DEBUG, INFO, WARN, ERROR]";
    assert!(TEMPLATE.lines().any(|line| line == levels));
}

#[test]
fn it_is_published_under_the_version_of_the_code() {
    let version = format!("    SemanticVersion: {}", env!("CARGO_PKG_VERSION"));
    assert!(TEMPLATE.lines().any(|line| line == version), "{version}");
}

/// Many accounts have no concurrency to reserve.
#[test]
fn concurrency_is_reserved_only_on_request() {
    let provider = resource("Provider").join("\n");
    assert!(provider.contains("!If [HasReservedConcurrency, "), "{provider}");
    assert!(TEMPLATE.contains("  ReservedConcurrency:\n    Type: String\n    Default: \"\"\n"));
}

#[test]
fn the_role_cannot_skip_the_check_that_keeps_a_key_manageable() {
    let policy = resource("ProviderPolicy").join("\n");
    assert!(policy.contains("kms:BypassPolicyLockoutSafetyCheck: \"false\""), "{policy}");
}

#[test]
fn the_role_reaches_only_objects_that_are_folders() {
    let lines = resource("ProviderPolicy");
    let objects: Vec<&&str> =
        lines.iter().filter(|line| line.contains("${BucketNamePattern}/")).collect();
    assert_eq!(objects.len(), 2);
    assert!(objects.iter().all(|line| line.ends_with(":s3:::${BucketNamePattern}/*/")));
}

#[test]
fn a_schedule_may_only_invoke_the_function_and_drift_raises_an_alarm() {
    for name in ["VerifySchedulerRole", "VerifyConnections", "ConnectionsDrifted"] {
        let lines = resource(name);
        assert!(lines.contains(&"    Condition: HasVerifySchedule"), "{name} is there unasked");
    }
    let role = resource("VerifySchedulerRole");
    let actions: Vec<&str> =
        role.iter().filter_map(|line| line.trim().strip_prefix("Action: ")).collect();
    assert_eq!(actions, ["sts:AssumeRole", "lambda:InvokeFunction"]);
    assert!(role.contains(&"                Resource: !GetAtt Provider.Arn"));
    let schedule = resource("VerifyConnections").join("\n");
    assert!(schedule.contains(r#"Input: '{"Action":"Verify"}'"#), "{schedule}");
    // What the alarm looks at is what is counted.
    let counts = Counts::default();
    let line = metrics::verified("provider", &counts, Duration::ZERO, SystemTime::UNIX_EPOCH);
    let counted = &line["_aws"]["CloudWatchMetrics"][1];
    let alarm = resource("ConnectionsDrifted").join("\n");
    assert!(alarm.contains(&format!("Namespace: {}\n", counted["Namespace"].as_str().unwrap())));
    assert!(alarm.contains("MetricName: Unhealthy\n"), "{alarm}");
    let mut metrics = counted["Metrics"].as_array().unwrap().iter();
    assert!(metrics.any(|metric| metric["Name"] == "Unhealthy"));
    assert_eq!(counted["Dimensions"], serde_json::json!([["RequestType", "FunctionName"]]));
    let dimensions = "
      Dimensions:
        - Name: RequestType
          Value: Verify
        - Name: FunctionName
          Value: !Ref Provider
";
    assert_eq!((alarm.matches(dimensions).count(), &line["RequestType"]), (1, &"Verify".into()));
    assert!(alarm.contains("TreatMissingData: ignore"), "an alarm lasts until the next look");
}

#[test]
fn every_property_but_the_list_is_a_parameter_and_is_passed_on() {
    let connection = resource("Connection").join("\n");
    for property in PROPERTIES {
        // A list of maps cannot be a parameter.
        let is_parameter = TEMPLATE.contains(&format!("\n  {property}:\n    Type: "));
        assert_eq!(is_parameter, property != "Tags", "{property}");
        assert_eq!(
            connection.contains(&format!(" {property}: ")),
            property != "Tags",
            "{property}"
        );
    }
}

#[test]
fn every_attribute_is_an_output() {
    for name in attributes::NAMES {
        assert!(TEMPLATE.contains(&format!("!GetAtt Connection.{name}")), "{name}");
        // CloudFormation refuses an empty export, and these are empty at best.
        let is_exported = TEMPLATE.contains(&format!("Name: !Sub ${{AWS::StackName}}-{name}\n"));
        assert_eq!(is_exported, !["Warnings", "Changes"].contains(&name), "{name}");
    }
}

#[test]
fn the_patterns_of_the_parameters_are_those_of_the_parser() {
    let characters =
        TEMPLATE.contains("A-Za-z0-9/_.=+@:-") || TEMPLATE.contains("A-Za-z0-9_.=+@:-");
    assert!(characters, "the characters of KeyPrefix");
}
