//! Statements.

use crate::expression::ast::{Action, Condition, Path};
use crate::value::Value;

/// A statement. Its values are literals, or parameters by number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    pub(crate) table: String,
    pub(crate) index: Option<String>,
    pub(crate) verb: Verb,
    /// The number of parameters that it needs.
    pub(crate) parameters: usize,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verb {
    Insert(Vec<(String, Content)>),
    /// The paths; empty for all attributes.
    Select(Vec<Path>, Where),
    Update(Vec<Action>, Where, Option<Returning>),
    Delete(Where, Option<Returning>),
}

/// A WHERE clause.
pub(crate) type Where = Option<Condition>;

/// The content of an item that is inserted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Value(Value),
    Parameter(usize),
    List(Vec<Content>),
    Map(Vec<(String, Content)>),
    Set(Vec<Content>),
}

/// A RETURNING clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Returning {
    /// Only the changed attributes.
    pub(crate) is_modified: bool,
    pub(crate) is_new: bool,
}
