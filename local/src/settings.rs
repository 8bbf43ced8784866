//! The settings of functions: the template's environment variables, and those that Lambda itself sets.

use std::collections::HashMap;

use mpulse_shared::setup::Setup;

use crate::addresses::{DYNAMODB_OFFSET, S3_OFFSET, url};
use crate::credentials::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::template::{REGION, Template};

/// Returns the settings of all functions of `template` together, with these URLs: for another
/// process that works on the local stack's data.
#[must_use]
pub fn setup_for(template: &Template, dynamodb_url: &str, s3_url: &str) -> Setup {
    Setup::new(environment_for(template, dynamodb_url, s3_url))
}

/// Returns the settings for the local stack whose API is on `port` (not 0), from the template
/// alone: for another process that works on its data.
#[must_use]
pub fn setup_at(template: &Template, port: u16) -> Setup {
    let [s3, dynamodb] =
        [S3_OFFSET, DYNAMODB_OFFSET].map(|offset| url(port.saturating_add(offset)));
    setup_for(template, &dynamodb, &s3)
}

/// Returns the settings as plain variables, for example for `cargo lambda watch`. If functions set
/// one variable differently, the last by logical id is used.
#[must_use]
pub fn environment_for(
    template: &Template,
    dynamodb_url: &str,
    s3_url: &str,
) -> HashMap<String, String> {
    let own = template
        .functions
        .iter()
        .flat_map(|function| &function.environment);
    let mut all: HashMap<_, _> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
    all.extend(lambda_variables(dynamodb_url, s3_url));
    all
}

/// The variables that Lambda itself would set in a function's environment.
pub(crate) fn lambda_variables(dynamodb_url: &str, s3_url: &str) -> [(String, String); 5] {
    [
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url),
        ("AWS_ENDPOINT_URL_S3", s3_url),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}
