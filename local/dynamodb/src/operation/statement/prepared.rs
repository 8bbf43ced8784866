//! Prepared statements: parsed, with their values and the item that they name.

use std::sync::Arc;

use serde::Deserialize;

use crate::capacity::Units;
use crate::error::{ApiError, Kind, Result};
use crate::expression::ast::{Comparison, Condition, Operand, Path, Step};
use crate::expression::{Projection, check_paths, read_path};
use crate::json::Text;
use crate::operation::parameters::{check_condition, old_on_failure, required};
use crate::operation::update_item::{check_not_key, updated};
use crate::partiql::ast::{Returning, Statement, Verb};
use crate::partiql::value_of;
use crate::schema::KeySchema;
use crate::shared::Shared;
use crate::table::{Decision, Layout, Target, Written};
use crate::value::{Item, Value};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StatementRequest<'a> {
    #[serde(borrow)]
    pub(super) statement: Option<Text<'a>>,
    pub(super) parameters: Option<Vec<Value>>,
    pub(super) consistent_read: Option<bool>,
    pub(super) return_values_on_condition_check_failure: Option<Text<'a>>,
    pub(super) return_consumed_capacity: Option<Text<'a>>,
    pub(super) next_token: Option<Text<'a>>,
    pub(super) limit: Option<i64>,
}

/// A statement after all checks that do not need the item.
pub(super) struct Prepared {
    pub(super) statement: Arc<Statement>,
    parameters: Vec<Value>,
    pub(super) layout: Arc<Layout>,
    /// The item of an INSERT, the key of others.
    pub(super) item: Item,
    /// The conditions of WHERE beyond the key.
    condition: Option<Condition>,
    is_consistent: bool,
    return_old: bool,
}

pub(super) fn prepare(
    shared: &Shared,
    request: StatementRequest<'_>,
) -> Result<(Prepared, Target)> {
    let text = required(request.statement.as_ref(), "statement")?;
    let statement = shared.statements.get(text)?;
    let parameters = request.parameters.unwrap_or_default();
    if parameters.len() != statement.parameters {
        return Err(ApiError::validation(
            "Number of parameters in request and statement don't match.",
        ));
    }
    let table = shared.table(&statement.table)?;
    let layout = table.layout();
    let is_select = matches!(statement.verb, Verb::Select(..));
    if statement.index.is_some() {
        return Err(ApiError::validation(if is_select {
            "Select statements on an index are not supported by this engine"
        } else {
            "This operation is not supported on an index"
        }));
    }
    let schema = &layout.schema.key;
    let (item, condition) = match &statement.verb {
        Verb::Insert(content) => {
            let attributes = content
                .iter()
                .map(|(name, content)| Ok((name.clone(), value_of(content, &parameters)?)));
            let item = Item::from_unsorted(attributes.collect::<Result<_>>()?);
            if item.len() < content.len() {
                return Err(ApiError::validation(
                    "Duplicate attribute names in the INSERT statement",
                ));
            }
            for attribute in schema.attributes() {
                if item
                    .get(&attribute.name)
                    .is_some_and(|value| !attribute.kind.is_type_of(value))
                {
                    return Err(key_type_mismatch(&attribute.name));
                }
            }
            layout.check_item(&item)?;
            (item, None)
        }
        Verb::Select(_, condition) | Verb::Update(_, condition, _) | Verb::Delete(condition, _) => {
            let found = split_key(schema, condition.as_ref(), &parameters)?;
            found.ok_or_else(|| {
                ApiError::validation(if is_select {
                    "Select statements must specify the primary key in the where clause: others \
                     are not supported by this engine"
                } else {
                    "Where clause does not contain a mandatory equality on all key attributes"
                })
            })?
        }
    };
    if let Verb::Update(actions, ..) = &statement.verb {
        check_not_key(&layout, actions)?;
        check_paths(actions)?;
    }
    if let Verb::Delete(_, Some(returning)) = &statement.verb
        && (returning.is_modified || returning.is_new)
    {
        return Err(ApiError::validation(format!(
            "Invalid returning clause: RETURNING {} {} *. Only RETURNING ALL OLD * is allowed in \
             DELETE statements.",
            if returning.is_modified {
                "MODIFIED"
            } else {
                "ALL"
            },
            if returning.is_new { "NEW" } else { "OLD" }
        )));
    }
    let target = Target::new(&table, &layout, &item);
    let prepared = Prepared {
        parameters,
        layout,
        item,
        condition,
        is_consistent: request.consistent_read == Some(true),
        return_old: old_on_failure(request.return_values_on_condition_check_failure.as_ref())?,
        statement,
    };
    Ok((prepared, target))
}

/// Returns the key in a condition, and its other conditions; `None` if it does not select one
/// item.
fn split_key(
    schema: &KeySchema,
    condition: Option<&Condition>,
    parameters: &[Value],
) -> Result<Option<(Item, Option<Condition>)>> {
    fn conjuncts<'a>(condition: &'a Condition, parts: &mut Vec<&'a Condition>) {
        if let Condition::And(left, right) = condition {
            conjuncts(left, parts);
            conjuncts(right, parts);
        } else {
            parts.push(condition);
        }
    }
    let mut parts = Vec::new();
    if let Some(condition) = condition {
        conjuncts(condition, &mut parts);
    }
    let mut key = Item::default();
    let mut rest: Option<Condition> = None;
    for part in parts {
        if let Some((name, value)) = equality(part, parameters)
            && let Some(attribute) = schema.attributes().find(|attribute| attribute.name == name)
        {
            if !attribute.kind.is_type_of(value) {
                return Err(key_type_mismatch(name));
            }
            if key.contains(name) {
                return Err(ApiError::validation(format!(
                    "Multiple conditions on same key {name}. Only single item \
                     Update/Insert/Delete are supported"
                )));
            }
            key.insert(name, value.clone());
            continue;
        }
        rest = Some(match rest {
            None => part.clone(),
            Some(rest) => Condition::And(Box::new(rest), Box::new(part.clone())),
        });
    }
    if key.len() < schema.attributes().count() {
        return Ok(None);
    }
    schema.check_key(&key)?;
    Ok(Some((key, rest)))
}

fn key_type_mismatch(name: &str) -> ApiError {
    ApiError::validation(format!(
        "Key attribute's data type should match its data type in table's schema: Key {name}"
    ))
}

/// Returns the result of a SELECT: each path's value by the path's last name.
fn selected(item: Item, paths: &[Path]) -> Item {
    if paths.is_empty() {
        return item;
    }
    let mut selected = Item::default();
    for path in paths {
        let name = path.0.iter().rev().find_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        if let (Some(name), Some(value)) = (name, read_path(&item, path)) {
            selected.insert(name, value.clone());
        }
    }
    selected
}

/// Returns the attribute and the value of an equality.
fn equality<'a>(condition: &'a Condition, parameters: &'a [Value]) -> Option<(&'a str, &'a Value)> {
    let Condition::Compare(Comparison::Equal, left, right) = condition else {
        return None;
    };
    let ((Operand::Path(path), value) | (value, Operand::Path(path))) = (left, right) else {
        return None;
    };
    let value = match value {
        Operand::Value(value) => value,
        Operand::Parameter(number) => parameters.get(*number)?,
        _ => return None,
    };
    Some((path.as_attribute()?, value))
}

impl Prepared {
    pub(super) fn decide(&self, layout: &Layout, before: Option<&Item>) -> Result<Decision> {
        match &self.statement.verb {
            Verb::Insert(_) if before.is_some() => Err(ApiError::new(
                Kind::DuplicateItem,
                "Duplicate primary key exists in table",
            )),
            Verb::Insert(_) => Ok(Decision::Put(self.item.clone())),
            Verb::Update(actions, ..) => {
                if before.is_none() {
                    return Err(ApiError::condition_failed(None));
                }
                self.check(before)?;
                updated(layout, &self.item, before, actions, &self.parameters).map(Decision::Put)
            }
            Verb::Delete(..) => {
                // Deleting an absent item succeeds, even with other conditions.
                if before.is_some() {
                    self.check(before)?;
                }
                Ok(Decision::Delete)
            }
            Verb::Select(..) => Ok(Decision::Keep),
        }
    }

    fn check(&self, before: Option<&Item>) -> Result<()> {
        check_condition(
            self.condition.as_ref(),
            &self.parameters,
            before,
            self.return_old,
        )
    }

    pub(super) fn is_select(&self) -> bool {
        matches!(self.statement.verb, Verb::Select(..))
    }

    /// Returns the item as a SELECT returns it, and the cost of reading it.
    pub(super) fn select(&self, target: &Target) -> Result<(Option<Item>, Units)> {
        let item = self.layout.read(&target.key)?;
        let units = Units::of_read(item.as_ref().map_or(0, Item::size), self.is_consistent);
        let item = item.filter(|item| self.check(Some(item)).is_ok());
        let Verb::Select(paths, _) = &self.statement.verb else {
            return Ok((item, units));
        };
        Ok((item.map(|item| selected(item, paths)), units))
    }

    /// Returns the attributes that RETURNING asks for.
    pub(super) fn returned(&self, written: Written) -> Option<Item> {
        let (actions, returning) = match &self.statement.verb {
            Verb::Update(actions, _, returning) => (actions.as_slice(), (*returning)?),
            Verb::Delete(_, returning) => (&[][..], (*returning)?),
            _ => return None,
        };
        let Returning {
            is_modified,
            is_new,
        } = returning;
        let item = if is_new {
            written.after
        } else {
            written.before
        };
        if !is_modified {
            return item;
        }
        let paths: Vec<_> = actions.iter().map(|action| action.path().clone()).collect();
        item.map(|item| Projection::new(&paths).apply(&item))
            .filter(|item| !item.is_empty())
    }

    /// Returns the cost of a failed write.
    pub(super) fn attempted(&self) -> Units {
        match self.statement.verb {
            Verb::Insert(_) => Units::of_write(self.item.size()),
            _ => Units::of_write(0),
        }
    }
}
