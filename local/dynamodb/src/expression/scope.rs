//! The names and values that a request's expressions refer to, and which of them they use.

use std::cell::RefCell;

use crate::error::{ApiError, Result};
use crate::json::{Pairs, Text};
use crate::value::Value;

/// `ExpressionAttributeNames` and `ExpressionAttributeValues` as requested.
#[derive(Debug, Default)]
pub(crate) struct NamesAndValues<'a> {
    pub(crate) names: Option<Pairs<Text<'a>, Text<'a>>>,
    pub(crate) values: Option<Pairs<Text<'a>, Value>>,
}

/// Names and values in use.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    names: Vec<(Text<'a>, Text<'a>)>,
    value_names: Vec<Text<'a>>,
    /// The values, in the order that [`super::ast::Operand::Parameter`] counts.
    pub(crate) values: Vec<Value>,
    used_names: RefCell<Vec<bool>>,
    used_values: RefCell<Vec<bool>>,
}

impl<'a> Scope<'a> {
    /// Reads the request's names and values. `has_expressions`: whether any expression can use
    /// them.
    pub(crate) fn new(given: NamesAndValues<'a>, has_expressions: bool) -> Result<Self> {
        if given.names.is_some() && !has_expressions {
            return Err(ApiError::validation(
                "ExpressionAttributeNames can only be specified when using expressions",
            ));
        }
        if given.values.is_some() && !has_expressions {
            return Err(ApiError::validation(
                "ExpressionAttributeValues can only be specified when using expressions",
            ));
        }
        let names = match given.names {
            Some(names) if names.0.is_empty() => {
                return Err(ApiError::validation(
                    "ExpressionAttributeNames must not be empty",
                ));
            }
            Some(names) => names.0,
            None => Vec::new(),
        };
        for (alias, _) in &names {
            check_name("ExpressionAttributeNames", alias, '#')?;
        }
        let values = match given.values {
            Some(values) if values.0.is_empty() => {
                return Err(ApiError::validation(
                    "ExpressionAttributeValues must not be empty",
                ));
            }
            Some(values) => values.0,
            None => Vec::new(),
        };
        for (name, _) in &values {
            check_name("ExpressionAttributeValues", name, ':')?;
        }
        let (value_names, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        Ok(Self {
            used_names: RefCell::new(vec![false; names.len()]),
            used_values: RefCell::new(vec![false; values.len()]),
            names,
            value_names,
            values,
        })
    }

    /// Returns the attribute with this alias.
    pub(super) fn name(&self, alias: &str) -> Option<&str> {
        let at = self.names.iter().position(|(name, _)| &**name == alias)?;
        self.used_names.borrow_mut()[at] = true;
        Some(&self.names[at].1)
    }

    /// Returns the number of the value with this name.
    pub(super) fn value(&self, name: &str) -> Option<usize> {
        let at = self.value_names.iter().position(|one| &**one == name)?;
        self.used_values.borrow_mut()[at] = true;
        Some(at)
    }

    /// Returns an error if no expression uses one of the names and values.
    pub(crate) fn check_all_used(&self) -> Result<()> {
        let unused = |names: Vec<&str>, used: &[bool]| {
            let unused = names.into_iter().zip(used).filter(|(_, used)| !**used);
            let unused: Vec<&str> = unused.map(|(name, _)| name).collect();
            unused.join(", ")
        };
        let names = self.names.iter().map(|(alias, _)| &**alias).collect();
        let names = unused(names, &self.used_names.borrow());
        if !names.is_empty() {
            return Err(ApiError::validation(format!(
                "Value provided in ExpressionAttributeNames unused in expressions: keys: {{{names}}}"
            )));
        }
        let values = self.value_names.iter().map(|name| &**name).collect();
        let values = unused(values, &self.used_values.borrow());
        if !values.is_empty() {
            return Err(ApiError::validation(format!(
                "Value provided in ExpressionAttributeValues unused in expressions: keys: {{{values}}}"
            )));
        }
        Ok(())
    }
}

fn check_name(parameter: &str, name: &str, first: char) -> Result<()> {
    let rest = name.strip_prefix(first);
    let valid = |rest: &str| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if rest.is_some_and(valid) {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "{parameter} contains invalid key: Syntax error; key: \"{name}\""
    )))
}
