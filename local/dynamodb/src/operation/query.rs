//! Query and Scan.

use std::ops::Bound;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::page::{Page, Reading, Source};
use super::parameters::{check_name, detail, option, refuse_legacy, table_name};
use crate::capacity::{Detail, Report};
use crate::error::{ApiError, Result};
use crate::expression::ast::{Condition, Operand, Path};
use crate::expression::{KeyCondition, NamesAndValues, Parser, Projection, Scope};
use crate::json::{Pairs, Text};
use crate::request::read;
use crate::schema::{IndexProjection, KeySchema};
use crate::shared::Shared;
use crate::storage::{KeyRange, range_of, segment};
use crate::value::{Item, Value};

/// The maximum number of segments of a Scan (an AWS limit).
const MAX_SEGMENTS: i64 = 1_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    index_name: Option<Text<'a>>,
    key_condition_expression: Option<Text<'a>>,
    filter_expression: Option<Text<'a>>,
    projection_expression: Option<Text<'a>>,
    expression_attribute_names: Option<Pairs<Text<'a>, Text<'a>>>,
    expression_attribute_values: Option<Pairs<Text<'a>, Value>>,
    exclusive_start_key: Option<Item>,
    limit: Option<i64>,
    select: Option<Text<'a>>,
    scan_index_forward: Option<bool>,
    consistent_read: Option<bool>,
    segment: Option<i64>,
    total_segments: Option<i64>,
    return_consumed_capacity: Option<Text<'a>>,
    key_conditions: Option<IgnoredAny>,
    query_filter: Option<IgnoredAny>,
    scan_filter: Option<IgnoredAny>,
    attributes_to_get: Option<IgnoredAny>,
    conditional_operator: Option<IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item>>,
    count: usize,
    scanned_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evaluated_key: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Report>,
}

pub(super) fn query(shared: &Shared, body: &[u8]) -> Result<Answer> {
    let request: Request<'_> = read(body)?;
    if request.key_condition_expression.is_none() && request.key_conditions.is_none() {
        table_name(request.table_name.as_ref())?;
        return Err(ApiError::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the \
             request.",
        ));
    }
    answer(shared, request, true)
}

pub(super) fn scan(shared: &Shared, body: &[u8]) -> Result<Answer> {
    answer(shared, read(body)?, false)
}

/// Checks the parameters that do not depend on the table.
struct Plan {
    limit: Option<usize>,
    detail: Detail,
    only_count: bool,
    select: Option<&'static str>,
    segment: Option<(u32, u32)>,
}

fn plan(request: &Request<'_>) -> Result<Plan> {
    const SELECT: [&str; 4] = [
        "SPECIFIC_ATTRIBUTES",
        "COUNT",
        "ALL_ATTRIBUTES",
        "ALL_PROJECTED_ATTRIBUTES",
    ];
    if let Some(name) = &request.index_name {
        check_name(name, "indexName")?;
    }
    refuse_legacy(&[
        ("KeyConditions", &request.key_conditions),
        ("QueryFilter", &request.query_filter),
        ("ScanFilter", &request.scan_filter),
        ("AttributesToGet", &request.attributes_to_get),
        ("ConditionalOperator", &request.conditional_operator),
    ])?;
    let limit = at_least("limit", request.limit, 1)?;
    let found = option(request.select.as_ref(), "select", &SELECT)?;
    let select = found.and_then(|found| SELECT.into_iter().find(|one| *one == found));
    let has_projection = request.projection_expression.is_some();
    if has_projection && select.is_some_and(|select| select != "SPECIFIC_ATTRIBUTES") {
        return Err(ApiError::validation(match select {
            Some("COUNT") => {
                "Cannot specify the ProjectionExpression when choosing to get only the Count"
            }
            Some("ALL_ATTRIBUTES") => {
                "Cannot specify the ProjectionExpression when choosing to get ALL_ATTRIBUTES"
            }
            _ => {
                "Cannot specify the ProjectionExpression when choosing to get \
                 ALL_PROJECTED_ATTRIBUTES"
            }
        }));
    }
    if select == Some("SPECIFIC_ATTRIBUTES") && !has_projection {
        return Err(ApiError::validation(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get \
             SPECIFIC_ATTRIBUTES",
        ));
    }
    if select == Some("ALL_PROJECTED_ATTRIBUTES") && request.index_name.is_none() {
        return Err(ApiError::validation(
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        ));
    }
    Ok(Plan {
        limit,
        detail: detail(request.return_consumed_capacity.as_ref())?,
        only_count: select == Some("COUNT"),
        select,
        segment: segments(request)?,
    })
}

fn at_least(name: &str, given: Option<i64>, least: i64) -> Result<Option<usize>> {
    match given {
        Some(value) if value < least => Err(ApiError::constraint(format_args!(
            "Value '{value}' at '{name}' failed to satisfy constraint: \
             Member must have value greater than or equal to {least}"
        ))),
        Some(value) => Ok(usize::try_from(value).ok()),
        None => Ok(None),
    }
}

fn segments(request: &Request<'_>) -> Result<Option<(u32, u32)>> {
    at_least("segment", request.segment, 0)?;
    at_least("totalSegments", request.total_segments, 1)?;
    match (request.segment, request.total_segments) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(ApiError::validation(
            "The TotalSegments parameter is required but was not present in the request when \
             Segment parameter is present",
        )),
        (None, Some(_)) => Err(ApiError::validation(
            "The Segment parameter is required but was not present in the request when parameter \
             TotalSegments is present",
        )),
        (Some(_), Some(total)) if total > MAX_SEGMENTS => Err(ApiError::constraint(format_args!(
            "Value '{total}' at 'totalSegments' failed to satisfy constraint: \
             Member must have value less than or equal to {MAX_SEGMENTS}"
        ))),
        (Some(segment), Some(total)) if segment >= total => Err(ApiError::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: \
             Segment: {segment} is not less than TotalSegments: {total}"
        ))),
        (Some(segment), Some(total)) => {
            Ok(u32::try_from(segment).ok().zip(u32::try_from(total).ok()))
        }
    }
}

fn answer(shared: &Shared, request: Request<'_>, is_query: bool) -> Result<Answer> {
    let name = table_name(request.table_name.as_ref())?;
    let plan = plan(&request)?;
    let has_expressions = request.key_condition_expression.is_some()
        || request.filter_expression.is_some()
        || request.projection_expression.is_some();
    let given = NamesAndValues {
        names: request.expression_attribute_names,
        values: request.expression_attribute_values,
    };
    let scope = Scope::new(given, has_expressions)?;
    let filter = match &request.filter_expression {
        Some(text) => Some(Parser::new(text, "FilterExpression", &scope)?.condition()?),
        None => None,
    };
    let projection = match &request.projection_expression {
        Some(text) => {
            let paths = Parser::new(text, "ProjectionExpression", &scope)?.projection()?;
            Some(Projection::new(&paths))
        }
        None => None,
    };
    let condition = match request
        .key_condition_expression
        .as_ref()
        .filter(|_| is_query)
    {
        Some(text) => Some(Parser::new(text, "KeyConditionExpression", &scope)?.condition()?),
        None => None,
    };
    scope.check_all_used()?;

    let table = shared.table(name)?;
    let layout = table.layout();
    let index = request
        .index_name
        .as_deref()
        .map(|name| layout.index(name))
        .transpose()?;
    let source = Source {
        layout: &layout,
        index,
    };
    let is_consistent = request.consistent_read == Some(true);
    if index.is_some() && is_consistent {
        return Err(ApiError::validation(
            "Consistent reads are not supported on global secondary indexes",
        ));
    }
    check_projected(&source, plan.select, projection.as_ref())?;
    let key = index.map_or(&layout.schema.key, |(index, _)| &index.key);
    if let Some(filter) = &filter {
        check_scalar_keys(filter, &layout.schema.key, key)?;
    }
    let mut range = match plan.segment {
        Some((number, total)) => segment(number, total),
        None => (Bound::Unbounded, Bound::Unbounded),
    };
    let mut hash = None;
    if let Some(condition) = condition {
        if let Some(filter) = &filter {
            check_filter(filter, key)?;
        }
        let condition = KeyCondition::new(condition, key, &scope.values)?;
        range = range_of(&condition.hash, condition.range.as_ref());
        hash = Some(condition.hash);
    }
    let start = request.exclusive_start_key.as_ref();
    let start = start
        .map(|start| {
            let bytes = source.start_key(start)?;
            if hash.is_some() && start.get(&key.hash.name) != hash.as_ref() {
                return Err(ApiError::validation(
                    "The provided starting key is outside query boundaries based on provided \
                     conditions",
                ));
            }
            if hash.is_some() && !is_within(&bytes, &range) {
                return Err(ApiError::validation(
                    "The provided starting key does not match the range key predicate",
                ));
            }
            Ok(bytes)
        })
        .transpose()?;
    let page = source.read(
        &shared.store,
        &Reading {
            range,
            is_forward: request.scan_index_forward != Some(false) || !is_query,
            start,
            limit: plan.limit,
            filter: filter.as_ref(),
            values: &scope.values,
            projection: projection.as_ref(),
            only_count: plan.only_count,
            is_consistent,
        },
    )?;
    Ok(Answer::new(page, name, &plan))
}

impl Answer {
    fn new(page: Page, name: &str, plan: &Plan) -> Self {
        Self {
            items: (!plan.only_count).then_some(page.items),
            count: page.count,
            scanned_count: page.scanned,
            last_evaluated_key: page.last,
            consumed_capacity: page.consumed.report(name, plan.detail),
        }
    }
}

fn is_within(key: &[u8], range: &KeyRange) -> bool {
    let range = (
        range.0.as_ref().map(Vec::as_slice),
        range.1.as_ref().map(Vec::as_slice),
    );
    std::ops::RangeBounds::<[u8]>::contains(&range, key)
}

/// Returns an error if a request needs attributes that an index does not project.
fn check_projected(
    source: &Source<'_>,
    select: Option<&str>,
    projection: Option<&Projection>,
) -> Result<()> {
    let Some((index, _)) = source.index else {
        return Ok(());
    };
    if select == Some("ALL_ATTRIBUTES") && index.projection != IndexProjection::All {
        return Err(ApiError::invalid_parameter(format_args!(
            "Select type ALL_ATTRIBUTES is not supported for global secondary index {} because its \
             projection type is not ALL",
            index.name
        )));
    }
    let table_key = &source.layout.schema.key;
    let missing: Vec<&str> = projection
        .into_iter()
        .flat_map(Projection::attributes)
        .filter(|name| !index.holds(name, table_key))
        .collect();
    if !missing.is_empty() {
        return Err(ApiError::invalid_parameter(format_args!(
            "Global secondary index {} does not project [{}]",
            index.name,
            missing.join(", ")
        )));
    }
    Ok(())
}

/// Returns an error if a filter uses a key attribute of the table or index that a Query reads.
fn check_filter(filter: &Condition, key: &KeySchema) -> Result<()> {
    let mut named = None;
    visit(filter, &mut |path| {
        if key.contains(path.top()) && named.is_none() {
            named = Some(path.top().to_owned());
        }
    });
    match named {
        Some(name) => Err(ApiError::validation(format!(
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: \
             {name}"
        ))),
        None => Ok(()),
    }
}

/// Returns an error if a filter has a path into a key attribute, which has no elements.
fn check_scalar_keys(filter: &Condition, table: &KeySchema, index: &KeySchema) -> Result<()> {
    let mut nested = None;
    visit(filter, &mut |path| {
        let name = path.top();
        if path.as_attribute().is_none()
            && nested.is_none()
            && (table.contains(name) || index.contains(name))
        {
            nested = Some(name.to_owned());
        }
    });
    let Some(name) = nested else {
        return Ok(());
    };
    let of = if table.contains(&name) {
        "Key"
    } else {
        "IndexKey"
    };
    Err(ApiError::validation(format!(
        "Key attributes must be scalars; list random access '[]' and map lookup '.' are not \
         allowed: {of}: {name}"
    )))
}

/// Visits the paths in a condition.
fn visit(condition: &Condition, found: &mut impl FnMut(&Path)) {
    fn operand(one: &Operand, found: &mut impl FnMut(&Path)) {
        match one {
            Operand::Path(path) => found(path),
            Operand::Size(inner) => operand(inner, found),
            Operand::Value(_) | Operand::Parameter(_) => {}
        }
    }
    match condition {
        Condition::Compare(_, left, right)
        | Condition::BeginsWith(left, right)
        | Condition::Contains(left, right) => {
            operand(left, found);
            operand(right, found);
        }
        Condition::Between(value, low, high) => {
            for one in [value, low, high] {
                operand(one, found);
            }
        }
        Condition::In(value, options) => {
            operand(value, found);
            for one in options {
                operand(one, found);
            }
        }
        Condition::Exists(path) | Condition::NotExists(path) | Condition::HasType(path, _) => {
            found(path);
        }
        Condition::And(left, right) | Condition::Or(left, right) => {
            visit(left, found);
            visit(right, found);
        }
        Condition::Not(inner) => visit(inner, found),
    }
}
