//! `ExecuteStatement` and `BatchExecuteStatement`, for statements on one item.

mod prepared;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use prepared::{Prepared, StatementRequest, prepare};

use super::batch_write::has_duplicates;
use super::parameters::{detail, required};
use crate::capacity::{Consumed, Detail, Report, Units};
use crate::error::{ApiError, Kind, Result};
use crate::json::Text;
use crate::partiql::ast::Verb;
use crate::request::read;
use crate::shared::Shared;
use crate::table::{Section, Target};
use crate::value::Item;

/// The maximum number of statements in a batch (an AWS limit).
const MAX_STATEMENTS: usize = 25;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchRequest<'a> {
    #[serde(borrow)]
    statements: Option<Vec<StatementRequest<'a>>>,
    return_consumed_capacity: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchAnswer {
    responses: Vec<StatementResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Vec<Report>>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
struct StatementResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<StatementError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatementError {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Report>,
}

pub(super) fn execute(shared: &Shared, body: &[u8]) -> Result<Answer> {
    let request: StatementRequest<'_> = read(body)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    if request.next_token.is_some() {
        return Err(ApiError::validation("Invalid NextToken"));
    }
    if let Some(limit) = request.limit
        && limit < 1
    {
        return Err(ApiError::constraint(format_args!(
            "Value '{limit}' at 'limit' failed to satisfy constraint: \
             Member must have value greater than or equal to 1"
        )));
    }
    let (prepared, target) = prepare(shared, request)?;
    let name = &prepared.statement.table;
    if prepared.is_select() {
        let (item, table) = prepared.select(&target)?;
        let consumed = Consumed {
            table,
            ..Consumed::default()
        };
        return Ok(Answer {
            items: item.into_iter().collect(),
            consumed_capacity: consumed.report(name, detail),
        });
    }
    let targets = [target];
    let mut section = Section::enter(&shared.store, &shared.locks, &targets)?;
    section
        .check_again(0, &prepared.layout, &prepared.item)
        .or_else(|error| {
            // Only an INSERT has a whole item.
            if matches!(prepared.statement.verb, Verb::Insert(_)) {
                Err(error)
            } else {
                Ok(())
            }
        })?;
    let before = section.read(0)?;
    let decision = prepared.decide(section.layout(0), before.as_ref())?;
    let written = section.write(0, before, decision);
    section.commit()?;
    let consumed_capacity = written.consumed.report(name, detail);
    Ok(Answer {
        items: prepared.returned(written).into_iter().collect(),
        consumed_capacity,
    })
}

pub(super) fn batch_execute(shared: &Shared, body: &[u8]) -> Result<BatchAnswer> {
    let request: BatchRequest<'_> = read(body)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    let statements = required(request.statements, "statements")?;
    if statements.is_empty() || statements.len() > MAX_STATEMENTS {
        let rule = if statements.is_empty() {
            "greater than or equal to 1"
        } else {
            "less than or equal to 25"
        };
        return Err(ApiError::constraint(format_args!(
            "Value at 'statements' failed to satisfy constraint: Member must have length {rule}"
        )));
    }
    let mut prepared = Vec::with_capacity(statements.len());
    let mut targets = Vec::with_capacity(statements.len());
    // By statement: the number of its target, or its error.
    let mut places = Vec::with_capacity(statements.len());
    let (mut has_reads, mut has_writes) = (false, false);
    for statement in statements {
        let parsed = statement
            .statement
            .as_deref()
            .map(|text| shared.statements.get(text));
        let parsed = parsed.and_then(Result::ok);
        if let Some(parsed) = &parsed {
            let reads = matches!(parsed.verb, Verb::Select(..));
            has_reads |= reads;
            has_writes |= !reads;
        }
        let table = parsed.map(|parsed| parsed.table.clone());
        places.push(match prepare(shared, statement) {
            Ok((statement, target)) => {
                prepared.push(statement);
                targets.push(target);
                Ok(targets.len() - 1)
            }
            Err(error) => Err((error, table)),
        });
    }
    if has_duplicates(&targets) {
        return Err(ApiError::validation(
            "Provided list of item keys contains duplicates",
        ));
    }
    if has_reads && has_writes {
        return Err(ApiError::validation(
            "Read and write requests together in the same batch is not supported.",
        ));
    }
    let batch = Batch {
        prepared,
        targets,
        consumed: BTreeMap::new(),
    };
    batch.run(shared, places, has_reads, detail)
}

struct Batch {
    prepared: Vec<Prepared>,
    targets: Vec<Target>,
    consumed: BTreeMap<String, Consumed>,
}

impl Batch {
    fn run(
        mut self,
        shared: &Shared,
        places: Vec<Result<usize, (ApiError, Option<String>)>>,
        is_read: bool,
        detail: Detail,
    ) -> Result<BatchAnswer> {
        let mut outcomes: Vec<Option<Result<Option<Item>>>> = Vec::new();
        if is_read {
            for (statement, target) in self.prepared.iter().zip(&self.targets) {
                let (item, units) = statement.select(target)?;
                let name = &statement.statement.table;
                self.consumed.entry(name.clone()).or_default().table += units;
                outcomes.push(Some(Ok(item)));
            }
        } else if !self.targets.is_empty() {
            let mut section = Section::enter(&shared.store, &shared.locks, &self.targets)?;
            for (number, statement) in self.prepared.iter().enumerate() {
                let before = section.read(number)?;
                let decided = statement.decide(section.layout(number), before.as_ref());
                let consumed = match self.consumed.get_mut(&statement.statement.table) {
                    Some(consumed) => consumed,
                    None => self
                        .consumed
                        .entry(statement.statement.table.clone())
                        .or_default(),
                };
                outcomes.push(Some(decided.map(|decision| {
                    let written = section.write(number, before, decision);
                    consumed.add(&written.consumed);
                    statement.returned(written)
                })));
                if matches!(outcomes.last(), Some(Some(Err(_)))) {
                    consumed.failed += statement.attempted();
                }
            }
            section.commit()?;
        }
        let mut responses = Vec::with_capacity(places.len());
        for place in places {
            let (outcome, table) = match place {
                Ok(number) => (
                    outcomes[number].take().unwrap_or(Ok(None)),
                    Some(self.prepared[number].statement.table.clone()),
                ),
                Err((error, table)) => (Err(error), table),
            };
            responses.push(response(outcome, table));
        }
        // A table in which all statements failed is not reported.
        let consumed = self.consumed.iter();
        let consumed = consumed.filter(|(_, sum)| sum.table != Units::default());
        let reports: Vec<Report> = consumed
            .filter_map(|(name, sum)| sum.report(name, detail))
            .collect();
        Ok(BatchAnswer {
            responses,
            consumed_capacity: Some(reports).filter(|reports| !reports.is_empty()),
        })
    }
}

fn response(outcome: Result<Option<Item>>, table: Option<String>) -> StatementResponse {
    match outcome {
        Ok(item) => StatementResponse {
            item,
            table_name: table,
            error: None,
        },
        Err(error) => StatementResponse {
            // The response to an invalid statement does not contain its table.
            table_name: table.filter(|_| error.kind != Kind::Validation),
            error: Some(StatementError {
                code: error.kind.code(),
                message: error.message,
                item: error.item.map(|item| *item),
            }),
            item: None,
        },
    }
}
