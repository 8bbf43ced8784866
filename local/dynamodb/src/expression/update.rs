//! Applying an update to an item.

use super::ast::{Action, Operand, Path, Step, Term};
use super::check;
use super::path::read_path;
use crate::error::{ApiError, Result};
use crate::value::{Item, Number, Value};

/// Returns an error if paths of the update overlap.
pub(crate) fn check_paths(actions: &[Action]) -> Result<()> {
    let paths: Vec<&Path> = actions.iter().map(Action::path).collect();
    check::no_overlap(&paths, "UpdateExpression")
}

/// Returns the item after the update. All terms are read from the item before it.
pub(crate) fn apply(actions: &[Action], before: &Item, values: &[Value]) -> Result<Item> {
    let mut item = before.clone();
    // Terms are evaluated first: an assignment must not see another's result.
    let mut removals: Vec<&Path> = Vec::new();
    for action in actions {
        match action {
            Action::Set(path, term) => {
                let value = evaluate(term, before, values)?;
                if value.depth() + path.0.len() > crate::value::MAX_DEPTH + 1 {
                    return Err(too_deep());
                }
                set(&mut item, path, value)?;
            }
            Action::Remove(path) => {
                check_parent(before, path)?;
                removals.push(path);
            }
            Action::Add(path, operand) => {
                let value = operand_value(operand, before, values)?;
                let sum = add(read_path(before, path), value)?;
                set(&mut item, path, sum)?;
            }
            Action::Delete(path, operand) => {
                let value = operand_value(operand, before, values)?;
                check_parent(before, path)?;
                if let Some(existing) = read_path(before, path) {
                    match delete(existing, &value)? {
                        Some(rest) => set(&mut item, path, rest)?,
                        None => removals.push(path),
                    }
                }
            }
        }
    }
    // The last element of a list is removed first, so that the other indexes stay valid.
    removals.sort_by_key(|path| std::cmp::Reverse(indexes(path)));
    for path in removals {
        remove(&mut item, path);
    }
    Ok(item)
}

fn too_deep() -> ApiError {
    ApiError::validation("Nesting Levels have exceeded supported limits")
}

fn indexes(path: &Path) -> Vec<usize> {
    let index = |step: &Step| match step {
        Step::Index(index) => *index,
        Step::Name(_) => 0,
    };
    path.0.iter().map(index).collect()
}

fn invalid_path() -> ApiError {
    ApiError::validation(
        "The document path provided in the update expression is invalid for update",
    )
}

fn wrong_type() -> ApiError {
    ApiError::validation("An operand in the update expression has an incorrect data type")
}

fn missing() -> ApiError {
    ApiError::validation(
        "The provided expression refers to an attribute that does not exist in the item",
    )
}

fn evaluate(term: &Term, item: &Item, values: &[Value]) -> Result<Value> {
    match term {
        Term::Operand(operand) => operand_value(operand, item, values),
        Term::IfNotExists(path, other) => match read_path(item, path) {
            Some(value) => Ok(value.clone()),
            None => evaluate(other, item, values),
        },
        Term::ListAppend(first, second) => {
            match (
                evaluate(first, item, values)?,
                evaluate(second, item, values)?,
            ) {
                (Value::L(mut first), Value::L(second)) => {
                    first.extend(second);
                    Ok(Value::L(first))
                }
                _ => Err(wrong_type()),
            }
        }
        Term::Plus(left, right) => arithmetic(left, right, item, values, Number::add),
        Term::Minus(left, right) => arithmetic(left, right, item, values, Number::subtract),
        Term::SetAdd(set, more) => {
            let (set, more) = (evaluate(set, item, values)?, evaluate(more, item, values)?);
            match &more {
                Value::Ss(_) | Value::Ns(_) | Value::Bs(_) => add(Some(&set), more),
                _ => Err(wrong_type()),
            }
        }
        Term::SetDelete(set, less) => {
            let (set, less) = (evaluate(set, item, values)?, evaluate(less, item, values)?);
            // An assignment needs a value, so the rest of a set must not be empty here.
            delete(&set, &less)?.ok_or_else(wrong_type)
        }
    }
}

fn arithmetic(
    left: &Term,
    right: &Term,
    item: &Item,
    values: &[Value],
    operation: fn(Number, Number) -> Result<Number, crate::value::NumberError>,
) -> Result<Value> {
    match (
        evaluate(left, item, values)?,
        evaluate(right, item, values)?,
    ) {
        (Value::N(left), Value::N(right)) => number(operation(left, right)),
        _ => Err(wrong_type()),
    }
}

fn number(result: Result<Number, crate::value::NumberError>) -> Result<Value> {
    result
        .map(Value::N)
        .map_err(|error| ApiError::validation(error.to_string()))
}

fn operand_value(operand: &Operand, item: &Item, values: &[Value]) -> Result<Value> {
    match operand {
        Operand::Path(path) => read_path(item, path).cloned().ok_or_else(missing),
        Operand::Value(value) => Ok(value.clone()),
        Operand::Parameter(at) => values.get(*at).cloned().ok_or_else(missing),
        Operand::Size(_) => Err(wrong_type()),
    }
}

/// Applies ADD: the sum of numbers, the union of sets.
fn add(existing: Option<&Value>, more: Value) -> Result<Value> {
    fn union<T: Ord + Clone>(set: &[T], more: Vec<T>) -> Vec<T> {
        let mut all = set.to_vec();
        all.extend(more);
        all.sort_unstable();
        all.dedup();
        all
    }
    match (existing, more) {
        (None, more @ (Value::N(_) | Value::Ss(_) | Value::Ns(_) | Value::Bs(_))) => Ok(more),
        (Some(Value::N(existing)), Value::N(more)) => number(existing.add(more)),
        (Some(Value::Ss(set)), Value::Ss(more)) => Ok(Value::Ss(union(set, more))),
        (Some(Value::Ns(set)), Value::Ns(more)) => Ok(Value::Ns(union(set, more))),
        (Some(Value::Bs(set)), Value::Bs(more)) => Ok(Value::Bs(union(set, more))),
        _ => Err(wrong_type()),
    }
}

/// Applies DELETE: returns the rest of a set, or `None` if it is empty.
fn delete(existing: &Value, less: &Value) -> Result<Option<Value>> {
    fn rest<T: PartialEq + Clone>(
        set: &[T],
        less: &[T],
        make: fn(Vec<T>) -> Value,
    ) -> Option<Value> {
        let rest: Vec<T> = set
            .iter()
            .filter(|one| !less.contains(one))
            .cloned()
            .collect();
        (!rest.is_empty()).then(|| make(rest))
    }
    match (existing, less) {
        (Value::Ss(set), Value::Ss(less)) => Ok(rest(set, less, Value::Ss)),
        (Value::Ns(set), Value::Ns(less)) => Ok(rest(set, less, Value::Ns)),
        (Value::Bs(set), Value::Bs(less)) => Ok(rest(set, less, Value::Bs)),
        _ => Err(wrong_type()),
    }
}

/// Returns the map or list that contains the last step of a path.
fn parent<'a>(item: &'a mut Item, path: &Path) -> Option<&'a mut Value> {
    let (_, above) = path.0.split_last()?;
    let mut value = item.get_mut(path.top())?;
    for step in above.get(1..)? {
        value = match (value, step) {
            (Value::M(map), Step::Name(name)) => map.get_mut(name)?,
            (Value::L(values), Step::Index(index)) => values.get_mut(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

fn set(item: &mut Item, path: &Path, value: Value) -> Result<()> {
    if let Some(name) = path.as_attribute() {
        item.insert(name, value);
        return Ok(());
    }
    match (parent(item, path), path.0.last()) {
        (Some(Value::M(map)), Some(Step::Name(name))) => map.insert(name, value),
        (Some(Value::L(list)), Some(Step::Index(index))) => match list.get_mut(*index) {
            Some(place) => *place = value,
            // An index beyond the end appends.
            None => list.push(value),
        },
        _ => return Err(invalid_path()),
    }
    Ok(())
}

/// REMOVE and DELETE of an absent element succeed, unless its parent is not a map or list.
fn check_parent(item: &Item, path: &Path) -> Result<()> {
    let Some((last, above)) = path.0.split_last() else {
        return Err(invalid_path());
    };
    if above.is_empty() {
        return Ok(());
    }
    match (read_path(item, &Path(above.to_vec())), last) {
        (Some(Value::M(_)), Step::Name(_)) | (Some(Value::L(_)), Step::Index(_)) => Ok(()),
        _ => Err(invalid_path()),
    }
}

fn remove(item: &mut Item, path: &Path) {
    if let Some(name) = path.as_attribute() {
        item.remove(name);
        return;
    }
    match (parent(item, path), path.0.last()) {
        (Some(Value::M(map)), Some(Step::Name(name))) => {
            map.remove(name);
        }
        (Some(Value::L(list)), Some(Step::Index(index))) if *index < list.len() => {
            list.remove(*index);
        }
        _ => {}
    }
}
