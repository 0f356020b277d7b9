//! What CloudWatch counts: one line a request in the Embedded Metric Format.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::refusal::Code;
use crate::domain::report::Counts;

/// Namespace of the metrics.
const NAMESPACE: &str = "IcaStorage";

/// The highest of the template's log levels: Lambda takes a line without a level for INFO, so that
/// with a log level above it no metric would reach CloudWatch. It says nothing about the request.
///
/// SOURCE: Lambda developer guide, *Log-level filtering*: a custom runtime's JSON lines need a
/// valid `level`, and a `timestamp` in the format of RFC 3339.
const LEVEL: &str = "ERROR";

/// `Requests` and `Duration` by request type; `Failures` by request type and code.
///
/// SOURCE: CloudWatch user guide, *Embedded metric format specification*.
pub fn line(request_type: &str, failure: Option<Code>, took: Duration, now: SystemTime) -> Value {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut metrics = vec![json!({
        "Namespace": NAMESPACE,
        "Dimensions": [["RequestType"]],
        "Metrics": [
            {"Name": "Requests", "Unit": "Count"},
            {"Name": "Duration", "Unit": "Milliseconds"},
        ],
    })];
    let timestamp = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    let date = OffsetDateTime::from(SystemTime::UNIX_EPOCH + Duration::from_millis(timestamp));
    let mut line = Map::from_iter([
        ("timestamp".to_owned(), json!(date.format(&Rfc3339).unwrap_or_default())),
        ("level".to_owned(), json!(LEVEL)),
        ("RequestType".to_owned(), json!(request_type)),
        ("Requests".to_owned(), json!(1)),
        ("Duration".to_owned(), json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))),
    ]);
    if let Some(code) = failure {
        metrics.push(json!({
            "Namespace": NAMESPACE,
            "Dimensions": [["RequestType"], ["RequestType", "Code"]],
            "Metrics": [{"Name": "Failures", "Unit": "Count"}],
        }));
        line.insert("Code".to_owned(), json!(code.to_string()));
        line.insert("Failures".to_owned(), json!(1));
    }
    let directives = json!({"Timestamp": timestamp, "CloudWatchMetrics": metrics});
    line.insert("_aws".to_owned(), directives);
    Value::Object(line)
}

/// The same for a look at all connections: `Connections`, `Healthy`, `Drifted`, `Broken`, and the
/// last two together as `Unhealthy`, for the alarm of this function.
pub fn verified(function: &str, counts: &Counts, took: Duration, now: SystemTime) -> Value {
    let values = [
        ("Connections", counts.connections),
        ("Healthy", counts.healthy),
        ("Drifted", counts.drifted),
        ("Broken", counts.broken),
        ("Unhealthy", counts.drifted + counts.broken),
    ];
    by_function(line("Verify", None, took, now), function, &values)
}

/// The same for a look at all connections that failed: the alarm has to hear of that as well.
pub fn unverified(function: &str, failure: Code, took: Duration, now: SystemTime) -> Value {
    by_function(line("Verify", Some(failure), took, now), function, &[("Unhealthy", 1)])
}

/// A line with more values. Several providers of an account each have an alarm of their own.
fn by_function(mut line: Value, function: &str, values: &[(&str, usize)]) -> Value {
    let names: Vec<Value> =
        values.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    let directive = json!({
        "Namespace": NAMESPACE,
        "Dimensions": [["RequestType", "FunctionName"]],
        "Metrics": names,
    });
    let directives = line.pointer_mut("/_aws/CloudWatchMetrics").and_then(Value::as_array_mut);
    if let Some(directives) = directives {
        directives.push(directive);
    }
    if let Some(members) = line.as_object_mut() {
        members.insert("FunctionName".to_owned(), json!(function));
        members.extend(values.iter().map(|(name, count)| ((*name).to_owned(), json!(count))));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "1970-01-01T00:00:01.5Z";

    /// A metric or a dimension without its value is lost without a word, and so is a line that the
    /// log level filters out.
    fn assert_sound(line: &Value) {
        assert_eq!((&line["level"], &line["timestamp"]), (&json!("ERROR"), &json!(NOW)));
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            for metric in directive["Metrics"].as_array().unwrap() {
                assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
            }
            let sets = directive["Dimensions"].as_array().unwrap();
            for dimension in sets.iter().flat_map(|set| set.as_array().unwrap()) {
                assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
            }
        }
    }

    #[test]
    fn every_metric_and_dimension_has_its_value() {
        let (took, now) = (Duration::from_millis(120), SystemTime::UNIX_EPOCH);
        let now = now + Duration::from_micros(1_500_001);
        for failure in [None, Some(Code::AccessDenied)] {
            let line = line("Create", failure, took, now);
            assert_sound(&line);
            assert_eq!(line["Duration"], 120);
            assert_eq!(line.get("Failures").is_some(), failure.is_some());
        }
        let counts = Counts { connections: 6, healthy: 3, drifted: 2, broken: 1, elsewhere: 0 };
        let line = verified("provider", &counts, took, now);
        assert_sound(&line);
        assert_eq!(line["FunctionName"], "provider");
        let told = ["Connections", "Healthy", "Drifted", "Broken", "Unhealthy"];
        assert_eq!(told.map(|name| line[name].as_u64().unwrap()), [6, 3, 2, 1, 3]);
        let metrics = line["_aws"]["CloudWatchMetrics"].as_array().unwrap().iter();
        let names = metrics.flat_map(|directive| directive["Metrics"].as_array().unwrap());
        let names: Vec<&str> = names.map(|metric| metric["Name"].as_str().unwrap()).collect();
        assert_eq!(names, [&["Requests", "Duration"] as &[&str], &told].concat());
        let line = unverified("provider", Code::AccessDenied, took, now);
        assert_sound(&line);
        assert_eq!((&line["Unhealthy"], &line["Failures"]), (&json!(1), &json!(1)));
        let sets = |line: &Value| line["_aws"]["CloudWatchMetrics"].as_array().unwrap().clone();
        let of_alarm = sets(&line).pop().unwrap();
        assert_eq!(of_alarm["Metrics"][0]["Name"], "Unhealthy");
        assert_eq!(of_alarm["Dimensions"], json!([["RequestType", "FunctionName"]]));
    }
}
