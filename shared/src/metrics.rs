//! Counts that `CloudWatch` keeps: lines in its embedded metric format, which it reads from
//! a function's log. Nothing is sent, so nothing can fail or take time.

use serde_json::json;

use crate::setup::Setup;
use crate::time::Timestamp;

/// The namespace of every metric.
const NAMESPACE: &str = "mPulse";

/// Where a function's counts go.
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

    /// Counts one of something.
    pub fn count(&self, name: &'static str) {
        if let Some(function) = &self.function {
            println!("{}", line(function, name, Timestamp::now()));
        }
    }
}

fn line(function: &str, name: &str, now: Timestamp) -> String {
    json!({
        "_aws": {
            "Timestamp": now.millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": [{"Name": name, "Unit": "Count"}],
            }],
        },
        "FunctionName": function,
        name: 1,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_value_that_its_directive_names() {
        let line = line("get-member", "RefusedKeys", Timestamp::from_millis(7));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(line["_aws"]["Timestamp"], 7);
        assert_eq!(line[directive["Metrics"][0]["Name"].as_str().unwrap()], 1);
        assert_eq!(
            line[directive["Dimensions"][0][0].as_str().unwrap()],
            "get-member"
        );
    }
}
