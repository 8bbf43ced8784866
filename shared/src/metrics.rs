//! Figures that `CloudWatch` keeps: lines in its embedded metric format, which it reads from
//! a function's log. Nothing is sent, so nothing can fail or take time.

use serde_json::{Map, Value, json};

use crate::setup::Setup;
use crate::time::Timestamp;

/// The namespace of every metric.
const NAMESPACE: &str = "mPulse";

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

impl Figure {
    /// How many of something.
    #[must_use]
    pub fn count(name: &'static str, value: f64) -> Self {
        let unit = "Count";
        Self { name, unit, value }
    }

    /// How long something took.
    #[must_use]
    pub fn seconds(name: &'static str, value: f64) -> Self {
        let unit = "Seconds";
        Self { name, unit, value }
    }
}

/// Where a function's figures go.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The function, where it runs under a Lambda runtime; elsewhere nobody reads the lines.
    function: Option<String>,
}

impl Metrics {
    /// The metrics of a function with these settings.
    #[must_use]
    pub fn from_setup(setup: &Setup) -> Self {
        let runs_under_lambda = setup.optional("AWS_LAMBDA_RUNTIME_API").is_some();
        let name = setup.optional("AWS_LAMBDA_FUNCTION_NAME");
        Self {
            function: name.filter(|_| runs_under_lambda).map(str::to_owned),
        }
    }

    /// Tells figures. `about` is kept beside them in the log and is no dimension: an id, say,
    /// by which the line is found.
    pub fn tell(&self, figures: &[Figure], about: &[(&str, &str)]) {
        if let Some(function) = &self.function {
            println!("{}", line(function, figures, about, Timestamp::now()));
        }
    }
}

fn line(function: &str, figures: &[Figure], about: &[(&str, &str)], now: Timestamp) -> Value {
    let metrics: Vec<Value> = figures
        .iter()
        .map(|figure| json!({"Name": figure.name, "Unit": figure.unit}))
        .collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": metrics,
            }],
        }),
    );
    line.insert("FunctionName".to_owned(), json!(function));
    for (name, text) in about {
        line.insert((*name).to_owned(), json!(text));
    }
    for figure in figures {
        line.insert(figure.name.to_owned(), json!(figure.value));
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_values_that_its_directive_names() {
        let figures = [Figure::count("Rows", 3.0), Figure::seconds("Age", 1.5)];
        let line = line(
            "ingest",
            &figures,
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
