//! `CloudWatch` metrics: log lines in the embedded metric format, which `CloudWatch` extracts from
//! a function's log. Nothing is sent over the network, so publishing cannot fail or take time.

use serde_json::{Map, Value, json};

use crate::setup::Setup;
use crate::time::Timestamp;

/// The namespace of every metric.
const NAMESPACE: &str = "mPulse";

/// A value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricValue {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

impl MetricValue {
    /// A count.
    #[must_use]
    pub fn count(name: &'static str, value: f64) -> Self {
        let unit = "Count";
        Self { name, unit, value }
    }

    /// A duration.
    #[must_use]
    pub fn seconds(name: &'static str, value: f64) -> Self {
        let unit = "Seconds";
        Self { name, unit, value }
    }
}

/// Publishes the metrics of a function.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The function's name, if it runs in a Lambda runtime; elsewhere nothing reads the lines.
    function: Option<String>,
}

impl Metrics {
    /// Creates the publisher of the function that has these settings.
    #[must_use]
    pub fn from_setup(setup: &Setup) -> Self {
        let runs_in_lambda = setup.optional("AWS_LAMBDA_RUNTIME_API").is_some();
        let name = setup.optional("AWS_LAMBDA_FUNCTION_NAME");
        Self {
            function: name.filter(|_| runs_in_lambda).map(str::to_owned),
        }
    }

    /// Publishes metrics. `properties` are logged in the same line and are not dimensions: for
    /// example an id, to find the line by.
    pub fn publish(&self, metrics: &[MetricValue], properties: &[(&str, &str)]) {
        if let Some(function) = &self.function {
            println!("{}", line(function, metrics, properties, Timestamp::now()));
        }
    }
}

fn line(
    function: &str,
    metrics: &[MetricValue],
    properties: &[(&str, &str)],
    now: Timestamp,
) -> Value {
    let definitions: Vec<Value> = metrics
        .iter()
        .map(|metric| json!({"Name": metric.name, "Unit": metric.unit}))
        .collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": definitions,
            }],
        }),
    );
    line.insert("FunctionName".to_owned(), json!(function));
    for (name, text) in properties {
        line.insert((*name).to_owned(), json!(text));
    }
    for metric in metrics {
        line.insert(metric.name.to_owned(), json!(metric.value));
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_contains_the_values_that_its_directive_names() {
        let metrics = [
            MetricValue::count("Rows", 3.0),
            MetricValue::seconds("Age", 1.5),
        ];
        let line = line(
            "ingest",
            &metrics,
            &[("batch_id", "01K")],
            Timestamp::from_millis(7),
        );
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(line["_aws"]["Timestamp"], 7);
        for (metric, value) in directive["Metrics"]
            .as_array()
            .unwrap()
            .iter()
            .zip([3.0, 1.5])
        {
            assert_eq!(line[metric["Name"].as_str().unwrap()], value, "{metric}");
        }
        assert_eq!(
            line[directive["Dimensions"][0][0].as_str().unwrap()],
            "ingest"
        );
        assert_eq!(line["batch_id"], "01K");
    }
}
