//! What CloudWatch counts: one line a request in the Embedded Metric Format.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::domain::refusal::Code;
use crate::domain::report::Counts;

/// Namespace of the metrics.
const NAMESPACE: &str = "IcaStorage";

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
    let mut line = Map::from_iter([
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
    let timestamp = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    let directives = json!({"Timestamp": timestamp, "CloudWatchMetrics": metrics});
    line.insert("_aws".to_owned(), directives);
    Value::Object(line)
}

/// The same for a look at all connections: `Connections`, `Healthy`, `Drifted`, `Broken`, and the
/// last two together as `Unhealthy`, for an alarm.
pub fn verified(counts: &Counts, took: Duration, now: SystemTime) -> Value {
    let values = [
        ("Connections", counts.connections),
        ("Healthy", counts.healthy),
        ("Drifted", counts.drifted),
        ("Broken", counts.broken),
        ("Unhealthy", counts.drifted + counts.broken),
    ];
    let mut line = line("Verify", None, took, now);
    let names: Vec<Value> =
        values.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    let directive =
        json!({"Namespace": NAMESPACE, "Dimensions": [["RequestType"]], "Metrics": names});
    let directives = line.pointer_mut("/_aws/CloudWatchMetrics").and_then(Value::as_array_mut);
    if let Some(directives) = directives {
        directives.push(directive);
    }
    if let Some(members) = line.as_object_mut() {
        members.extend(values.map(|(name, count)| (name.to_owned(), json!(count))));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A metric or a dimension without its value is lost without a word.
    fn assert_sound(line: &Value) {
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
        for failure in [None, Some(Code::AccessDenied)] {
            let line = line("Create", failure, took, now);
            assert_sound(&line);
            assert_eq!(line["Duration"], 120);
            assert_eq!(line.get("Failures").is_some(), failure.is_some());
        }
        let counts = Counts { connections: 6, healthy: 3, drifted: 2, broken: 1, other_regions: 0 };
        let line = verified(&counts, took, now);
        assert_sound(&line);
        let told = ["Connections", "Healthy", "Drifted", "Broken", "Unhealthy"];
        assert_eq!(told.map(|name| line[name].as_u64().unwrap()), [6, 3, 2, 1, 3]);
        let metrics = line["_aws"]["CloudWatchMetrics"].as_array().unwrap().iter();
        let names = metrics.flat_map(|directive| directive["Metrics"].as_array().unwrap());
        let names: Vec<&str> = names.map(|metric| metric["Name"].as_str().unwrap()).collect();
        assert_eq!(names, [&["Requests", "Duration"] as &[&str], &told].concat());
    }
}
