//! `TransactWriteItems` and `TransactGetItems`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::batch_write::has_duplicates;
use super::item::{projected, projection};
use super::parameters::{check_condition, detail, old_on_failure, required, table_name};
use super::update_item::{check_not_key, updated};
use crate::capacity::{Consumed, Report, Units};
use crate::error::{ApiError, CancellationReason, Kind, Result};
use crate::expression::ast::{Action, Condition};
use crate::expression::{NamesAndValues, Parser, Scope, check_paths};
use crate::json::{Pairs, Text};
use crate::request::read;
use crate::shared::Shared;
use crate::storage::item_key;
use crate::table::{Decision, Layout, Section, Target};
use crate::value::{Item, Value};

/// The maximum number of actions in a transaction (an AWS limit).
const MAX_ACTIONS: usize = 100;
/// How long a request's token is remembered (as by AWS), and the maximum number of tokens.
const TOKEN_LIFE: Duration = Duration::from_mins(10);
const MAX_TOKENS: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WriteRequest<'a> {
    #[serde(borrow)]
    transact_items: Option<Vec<WriteAction<'a>>>,
    client_request_token: Option<Text<'a>>,
    return_consumed_capacity: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WriteAction<'a> {
    #[serde(borrow)]
    condition_check: Option<Write<'a>>,
    put: Option<Write<'a>>,
    update: Option<Write<'a>>,
    delete: Option<Write<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Write<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    item: Option<Item>,
    key: Option<Item>,
    update_expression: Option<Text<'a>>,
    condition_expression: Option<Text<'a>>,
    expression_attribute_names: Option<Pairs<Text<'a>, Text<'a>>>,
    expression_attribute_values: Option<Pairs<Text<'a>, Value>>,
    return_values_on_condition_check_failure: Option<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WriteAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Vec<Report>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Check,
    Put,
    Update,
    Delete,
}

/// An action after all checks that do not need the item.
struct Prepared {
    what: What,
    table_name: String,
    layout: Arc<Layout>,
    /// The item of a Put, the key of others.
    item: Item,
    condition: Option<Condition>,
    actions: Vec<Action>,
    values: Vec<Value>,
    return_old: bool,
}

impl Prepared {
    /// The decision about the item, or the reason to cancel the transaction.
    fn decide(&self, layout: &Layout, before: Option<&Item>) -> Result<Decision> {
        check_condition(
            self.condition.as_ref(),
            &self.values,
            before,
            self.return_old,
        )?;
        Ok(match self.what {
            What::Check => Decision::Keep,
            What::Put => Decision::Put(self.item.clone()),
            What::Delete => Decision::Delete,
            What::Update => Decision::Put(updated(
                layout,
                &self.item,
                before,
                &self.actions,
                &self.values,
            )?),
        })
    }
}

pub(super) fn write_items(shared: &Shared, body: &[u8]) -> Result<WriteAnswer> {
    let request: WriteRequest<'_> = read(body)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    let actions = required(request.transact_items, "transactItems")?;
    check_count(actions.len())?;
    let mut prepared = Vec::with_capacity(actions.len());
    let mut targets = Vec::with_capacity(actions.len());
    for action in actions {
        let (action, target) = prepare(shared, action)?;
        prepared.push(action);
        targets.push(target);
    }
    if has_duplicates(&targets) {
        return Err(ApiError::validation(
            "Transaction request cannot include multiple operations on one item",
        ));
    }
    let mut section = Section::enter(&shared.store, &shared.locks, &targets)?;
    if let Some(token) = &request.client_request_token
        && is_repeated(shared, token, body)?
    {
        return Ok(WriteAnswer {
            consumed_capacity: None,
        });
    }
    let mut decisions = Vec::with_capacity(prepared.len());
    let mut reasons = Vec::with_capacity(prepared.len());
    for (number, action) in prepared.iter().enumerate() {
        if action.what == What::Put {
            section.check_again(number, &action.layout, &action.item)?;
        }
        let before = section.read(number)?;
        let decided = action.decide(section.layout(number), before.as_ref());
        reasons.push(reason(decided.as_ref().err()));
        decisions.push((before, decided.ok()));
    }
    if reasons.iter().any(|reason| reason.code != "None") {
        if let Some(token) = &request.client_request_token {
            forget(shared, token);
        }
        return Err(cancelled(reasons));
    }
    let mut consumed: BTreeMap<String, Consumed> = BTreeMap::new();
    for (number, (before, decision)) in decisions.into_iter().enumerate() {
        let decision = decision.unwrap_or(Decision::Keep);
        let mut written = section.write(number, before, decision);
        // A transaction costs twice: it prepares and commits each item.
        written.consumed.table = written.consumed.table.doubled();
        let name = &prepared[number].table_name;
        consumed
            .entry(name.clone())
            .or_default()
            .add(&written.consumed);
    }
    section.commit()?;
    Ok(WriteAnswer {
        consumed_capacity: consumed
            .iter()
            .map(|(name, sum)| Some(sum.report(name, detail)?.of_writes()))
            .collect(),
    })
}

fn check_count(count: usize) -> Result<()> {
    if count == 0 || count > MAX_ACTIONS {
        let rule = if count == 0 {
            "greater than or equal to 1"
        } else {
            "less than or equal to 100"
        };
        return Err(ApiError::constraint(format_args!(
            "Value at 'transactItems' failed to satisfy constraint: Member must have length {rule}"
        )));
    }
    Ok(())
}

fn prepare(shared: &Shared, action: WriteAction<'_>) -> Result<(Prepared, Target)> {
    let given = [
        (What::Check, action.condition_check),
        (What::Put, action.put),
        (What::Update, action.update),
        (What::Delete, action.delete),
    ];
    let mut given = given
        .into_iter()
        .filter_map(|(what, write)| Some((what, write?)));
    let (Some((what, write)), None) = (given.next(), given.next()) else {
        return Err(ApiError::validation(
            "TransactItems can only contain one of Check, Put, Update or Delete",
        ));
    };
    let name = table_name(write.table_name.as_ref())?;
    let has_expressions = write.update_expression.is_some() || write.condition_expression.is_some();
    let given = NamesAndValues {
        names: write.expression_attribute_names,
        values: write.expression_attribute_values,
    };
    let scope = Scope::new(given, has_expressions)?;
    let condition = match &write.condition_expression {
        Some(text) => Some(Parser::new(text, "ConditionExpression", &scope)?.condition()?),
        None if what == What::Check => required(None, "transactItems.member.conditionExpression")?,
        None => None,
    };
    let actions = match &write.update_expression {
        Some(text) if what == What::Update => {
            Parser::new(text, "UpdateExpression", &scope)?.update()?
        }
        None if what == What::Update => required(None, "transactItems.member.updateExpression")?,
        _ => Vec::new(),
    };
    scope.check_all_used()?;
    check_paths(&actions)?;
    let return_old = old_on_failure(write.return_values_on_condition_check_failure.as_ref())?;
    let table = shared.table(name)?;
    let layout = table.layout();
    let item = if what == What::Put {
        let item = required(write.item, "transactItems.member.put.item")?;
        layout.check_item(&item)?;
        item
    } else {
        let key = required(write.key, "transactItems.member.key")?;
        layout.schema.key.check_key(&key)?;
        key
    };
    check_not_key(&layout, &actions)?;
    let target = Target {
        key: item_key(&layout.schema.key, &item),
        table,
    };
    let prepared = Prepared {
        what,
        table_name: name.to_owned(),
        layout,
        item,
        condition,
        actions,
        values: scope.values,
        return_old,
    };
    Ok((prepared, target))
}

fn reason(error: Option<&ApiError>) -> CancellationReason {
    CancellationReason {
        code: error.map_or("None", |error| error.kind.code()),
        message: error.map(|error| error.message.clone()),
        item: error.and_then(|error| error.item.as_deref().cloned()),
    }
}

fn cancelled(reasons: Vec<CancellationReason>) -> ApiError {
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    ApiError {
        reasons,
        ..ApiError::new(Kind::TransactionCanceled, message)
    }
}

/// Returns whether the same request was executed before. The items are locked, so that the same
/// request cannot run twice at the same time.
fn is_repeated(shared: &Shared, token: &str, body: &[u8]) -> Result<bool> {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let hash = hasher.finish();
    let mut tokens = shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    tokens.retain(|_, (_, at)| now.duration_since(*at) < TOKEN_LIFE);
    match tokens.get(token) {
        Some((existing, _)) if *existing == hash => Ok(true),
        Some(_) => Err(ApiError::new(Kind::IdempotentParameterMismatch, "")),
        None => {
            if tokens.len() >= MAX_TOKENS {
                tokens.clear();
            }
            tokens.insert(token.to_owned(), (hash, now));
            Ok(false)
        }
    }
}

fn forget(shared: &Shared, token: &str) {
    let mut tokens = shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    tokens.remove(token);
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRequest<'a> {
    #[serde(borrow)]
    transact_items: Option<Vec<GetAction<'a>>>,
    return_consumed_capacity: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetAction<'a> {
    #[serde(borrow)]
    get: Option<Get<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Get<'a> {
    #[serde(borrow)]
    table_name: Option<Text<'a>>,
    key: Option<Item>,
    projection_expression: Option<Text<'a>>,
    expression_attribute_names: Option<Pairs<Text<'a>, Text<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAnswer {
    responses: Vec<ItemResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed_capacity: Option<Vec<Report>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ItemResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Item>,
}

pub(super) fn get_items(shared: &Shared, body: &[u8]) -> Result<GetAnswer> {
    use fjall::Readable;
    let request: GetRequest<'_> = read(body)?;
    let detail = detail(request.return_consumed_capacity.as_ref())?;
    let actions = required(request.transact_items, "transactItems")?;
    check_count(actions.len())?;
    let mut reads = Vec::with_capacity(actions.len());
    let mut targets = Vec::with_capacity(actions.len());
    for action in actions {
        let get = required(action.get, "transactItems.member.get")?;
        let name = table_name(get.table_name.as_ref())?.to_owned();
        let key = required(get.key, "transactItems.member.get.key")?;
        let projection = projection(
            get.projection_expression.as_deref(),
            get.expression_attribute_names,
        )?;
        let table = shared.table(&name)?;
        let layout = table.layout();
        layout.schema.key.check_key(&key)?;
        targets.push(Target::new(&table, &layout, &key));
        reads.push((name, layout, projection));
    }
    if has_duplicates(&targets) {
        return Err(ApiError::validation(
            "Transaction request cannot include multiple operations on one item",
        ));
    }
    let snapshot = shared.store.snapshot();
    let mut consumed: BTreeMap<String, Consumed> = BTreeMap::new();
    let mut responses = Vec::with_capacity(reads.len());
    for ((name, layout, projection), target) in reads.into_iter().zip(&targets) {
        let bytes = snapshot.get(&layout.items, &target.key)?;
        let item = bytes
            .map(|bytes| crate::table::decoded(&bytes))
            .transpose()?;
        let size = item.as_ref().map_or(0, Item::size);
        consumed.entry(name).or_default().table += Units::of_read(size, true).doubled();
        responses.push(ItemResponse {
            item: item.map(|item| projected(item, projection.as_ref())),
        });
    }
    Ok(GetAnswer {
        responses,
        consumed_capacity: consumed
            .iter()
            .map(|(name, sum)| Some(sum.report(name, detail)?.of_reads()))
            .collect(),
    })
}
