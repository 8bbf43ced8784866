//! AWS credentials and region for the commands that work on a deployed stack: the environment variables
//! that AWS's own tools read, or else the profile that the AWS CLI resolves (files, single sign-on,
//! assumed roles, `credential_process`).

use std::collections::HashMap;
use std::io;
use std::process::{Command, Output};

use thiserror::Error;

/// No credentials or no region were found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AwsEnvironmentError {
    /// The AWS CLI cannot be started.
    #[error(
        "no AWS credentials in the environment, and the AWS CLI is not available; set \
         AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or install the AWS CLI"
    )]
    CliMissing(#[source] io::Error),
    /// The AWS CLI found no usable credentials.
    #[error("the AWS CLI returned no credentials: {0}")]
    NoCredentials(String),
    /// No region is configured.
    #[error("no AWS region is configured; set AWS_REGION")]
    RegionMissing,
}

/// Returns the environment of this process, completed by what the AWS CLI knows of the current profile.
///
/// # Errors
/// Returns [`AwsEnvironmentError`] if credentials or region are missing in both.
pub fn resolve() -> Result<HashMap<String, String>, AwsEnvironmentError> {
    let mut variables: HashMap<String, String> = std::env::vars().collect();
    let is_set = |variables: &HashMap<String, String>, name: &str| {
        variables.get(name).is_some_and(|value| !value.is_empty())
    };
    if !is_set(&variables, "AWS_ACCESS_KEY_ID") {
        let exported = aws(&[
            "configure",
            "export-credentials",
            "--format",
            "env-no-export",
        ])?;
        if !exported.status.success() {
            let reason = String::from_utf8_lossy(&exported.stderr).trim().to_owned();
            return Err(AwsEnvironmentError::NoCredentials(reason));
        }
        variables.extend(parse(&String::from_utf8_lossy(&exported.stdout)));
    }
    if !is_set(&variables, "AWS_REGION") {
        let region = if let Some(region) = variables.get("AWS_DEFAULT_REGION") {
            region.clone()
        } else {
            let configured = aws(&["configure", "get", "region"]);
            let configured = configured.map_err(|_| AwsEnvironmentError::RegionMissing)?;
            String::from_utf8_lossy(&configured.stdout)
                .trim()
                .to_owned()
        };
        if region.is_empty() {
            return Err(AwsEnvironmentError::RegionMissing);
        }
        variables.insert("AWS_REGION".to_owned(), region);
    }
    Ok(variables)
}

fn aws(arguments: &[&str]) -> Result<Output, AwsEnvironmentError> {
    let output = Command::new("aws").args(arguments).output();
    output.map_err(AwsEnvironmentError::CliMissing)
}

/// The variables of lines `NAME=VALUE`.
fn parse(lines: &str) -> impl Iterator<Item = (String, String)> + '_ {
    lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_credentials_become_variables() {
        let lines = "AWS_ACCESS_KEY_ID=id\nAWS_SECRET_ACCESS_KEY=a/b=c\nAWS_SESSION_TOKEN=t==\n";
        let variables: HashMap<String, String> = parse(lines).collect();
        assert_eq!(variables["AWS_ACCESS_KEY_ID"], "id");
        assert_eq!(variables["AWS_SECRET_ACCESS_KEY"], "a/b=c");
        assert_eq!(variables["AWS_SESSION_TOKEN"], "t==");
    }
}
