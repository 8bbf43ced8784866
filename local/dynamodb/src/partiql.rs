//! `PartiQL` statements on one item.

pub(crate) mod ast;
mod content;
mod lexer;
mod parser;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::{ApiError, Result};
use ast::Statement;
pub(crate) use content::value_of;

/// The number of parsed statements in the cache. Programs send the same few with other parameters.
const MAX_KEPT: usize = 256;
/// The maximum number of bytes of a statement (an AWS limit).
const MAX_BYTES: usize = 8192;

/// Parsed statements by text.
#[derive(Debug, Default)]
pub(crate) struct Statements(RwLock<HashMap<String, Arc<Statement>>>);

impl Statements {
    /// Returns the parsed statement of a text.
    pub(crate) fn get(&self, text: &str) -> Result<Arc<Statement>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = kept.get(text) {
            return Ok(Arc::clone(statement));
        }
        drop(kept);
        if text.is_empty() || text.len() > MAX_BYTES {
            let rule = if text.is_empty() {
                "greater than or equal to 1"
            } else {
                "less than or equal to 8192"
            };
            return Err(ApiError::constraint(format_args!(
                "Value '{text}' at 'statement' failed to satisfy constraint: \
                 Member must have length {rule}"
            )));
        }
        let statement = Arc::new(parser::parse(text)?);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(text.to_owned(), Arc::clone(&statement));
        Ok(statement)
    }
}
