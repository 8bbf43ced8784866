//! `DescribeTimeToLive` and `UpdateTimeToLive`.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::parameters::{required, table_name};
use crate::error::{ApiError, Kind, Result};
use crate::json::Text;
use crate::request::read;
use crate::shared::Shared;
use crate::table::Layout;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    time_to_live_specification: Option<Specification<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Specification<'a> {
    #[serde(borrow)]
    attribute_name: Option<Text<'a>>,
    enabled: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Description {
    time_to_live_description: Status,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    time_to_live_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Updated {
    time_to_live_specification: UpdatedSpecification,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UpdatedSpecification {
    attribute_name: String,
    enabled: bool,
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(
        Kind::ResourceNotFound,
        format!("Requested resource not found: Table: {name} not found"),
    )
}

pub(super) fn describe(shared: &Shared, body: &[u8]) -> Result<Description> {
    let request: Request<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let table = shared.table(name).map_err(|_| not_found(name))?;
    let attribute_name = table.layout().schema.ttl_attribute.clone();
    Ok(Description {
        time_to_live_description: Status {
            time_to_live_status: if attribute_name.is_some() {
                "ENABLED"
            } else {
                "DISABLED"
            },
            attribute_name,
        },
    })
}

pub(super) fn update(shared: &Shared, body: &[u8]) -> Result<Updated> {
    let request: Request<'_> = read(body)?;
    let name = table_name(request.table_name.as_ref())?;
    let specification = required(
        request.time_to_live_specification,
        "timeToLiveSpecification",
    )?;
    let attribute = required(
        specification.attribute_name,
        "timeToLiveSpecification.attributeName",
    )?;
    let enabled = required(specification.enabled, "timeToLiveSpecification.enabled")?;
    if attribute.is_empty() {
        return Err(ApiError::validation(
            "TimeToLiveSpecification.AttributeName must be non empty",
        ));
    }
    let _alone = shared
        .catalogue
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let table = shared.table(name).map_err(|_| not_found(name))?;
    let mut schema = table.layout().schema.clone();
    match (&schema.ttl_attribute, enabled) {
        (Some(_), true) => {
            return Err(ApiError::validation("TimeToLive is already enabled"));
        }
        (None, false) => {
            return Err(ApiError::validation("TimeToLive is already disabled"));
        }
        (Some(existing), false) if *existing != *attribute.0 => {
            return Err(ApiError::validation(
                "TimeToLive is active on a different AttributeName: current AttributeName is \
                 different from the one provided",
            ));
        }
        _ => {}
    }
    schema.ttl_attribute = enabled.then(|| attribute.to_string());
    let layout = Layout::open(&shared.store, schema)?;
    shared.save(&layout.schema)?;
    table.replace(layout);
    Ok(Updated {
        time_to_live_specification: UpdatedSpecification {
            attribute_name: attribute.to_string(),
            enabled,
        },
    })
}
