//! The settings of functions: the template's environment variables, and those that Lambda itself sets.

use std::collections::HashMap;

use mpulse_shared::setup::Setup;

use crate::addresses::Endpoints;
use crate::credentials::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::template::{REGION, Template};

/// Returns the settings of all functions of `template` together, with these endpoints: for another
/// process that works on the local stack's data.
#[must_use]
pub fn setup_for(template: &Template, endpoints: &Endpoints) -> Setup {
    Setup::new(environment_for(template, endpoints))
}

/// Returns the settings as plain variables, for example for `cargo lambda watch`. If functions set
/// one variable differently, the last by logical id is used.
#[must_use]
pub fn environment_for(template: &Template, endpoints: &Endpoints) -> HashMap<String, String> {
    let own = template
        .functions
        .iter()
        .flat_map(|function| &function.environment);
    let mut all: HashMap<_, _> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
    all.extend(lambda_variables(endpoints));
    all
}

/// The variables that Lambda itself would set in a function's environment.
pub(crate) fn lambda_variables(endpoints: &Endpoints) -> [(String, String); 6] {
    [
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_DYNAMODB", &endpoints.dynamodb),
        ("AWS_ENDPOINT_URL_S3", &endpoints.s3),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", &endpoints.events),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}
