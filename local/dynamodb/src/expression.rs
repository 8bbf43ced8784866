//! Expressions: parsed once per request, then evaluated on items.

pub(crate) mod ast;
mod check;
mod condition;
mod key_condition;
mod lexer;
mod parser;
mod path;
mod reserved;
mod scope;
mod update;

pub(crate) use condition::evaluate;
pub(crate) use key_condition::{KeyCondition, RangeCondition};
pub(crate) use parser::Parser;
pub(crate) use path::{Projection, read_path};
pub(crate) use scope::{NamesAndValues, Scope};
pub(crate) use update::{apply, check_paths};
