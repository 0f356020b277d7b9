//! What CloudWatch counts: one line a request in the Embedded Metric Format.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::domain::refusal::Code;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_and_dimension_has_its_value() {
        for failure in [None, Some(Code::AccessDenied)] {
            let line = line("Create", failure, Duration::from_millis(120), SystemTime::UNIX_EPOCH);
            assert_eq!(line["Duration"], 120);
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                for metric in directive["Metrics"].as_array().unwrap() {
                    assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
                }
                for dimension in directive["Dimensions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|set| set.as_array().unwrap())
                {
                    assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
                }
            }
            assert_eq!(line.get("Failures").is_some(), failure.is_some());
        }
    }
}
