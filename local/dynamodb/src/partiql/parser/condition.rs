//! WHERE clauses and their operands.

use super::{Parser, is_literal};
use crate::error::Result;
use crate::expression::ast::{Comparison, Condition, Operand};
use crate::partiql::ast::{Content, Where};
use crate::partiql::content::value_of;
use crate::partiql::lexer::{Token, malformed};
use crate::value::Value;

impl Parser {
    pub(super) fn where_clause(&mut self) -> Result<Where> {
        if self.takes_word("WHERE") {
            self.disjunction().map(Some)
        } else {
            Ok(None)
        }
    }

    fn disjunction(&mut self) -> Result<Condition> {
        let mut condition = self.conjunction()?;
        while self.takes_word("OR") {
            condition = Condition::Or(Box::new(condition), Box::new(self.conjunction()?));
        }
        Ok(condition)
    }

    fn conjunction(&mut self) -> Result<Condition> {
        let mut condition = self.negation()?;
        while self.takes_word("AND") {
            condition = Condition::And(Box::new(condition), Box::new(self.negation()?));
        }
        Ok(condition)
    }

    fn negation(&mut self) -> Result<Condition> {
        self.deeper()?;
        let condition = if self.takes_word("NOT") {
            Condition::Not(Box::new(self.negation()?))
        } else if self.takes("(") {
            let condition = self.disjunction()?;
            self.expect(")")?;
            condition
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn comparison(&mut self) -> Result<Condition> {
        if let Some(function) = self.function() {
            if !function.eq_ignore_ascii_case("size") {
                return self.test(&function);
            }
            self.at -= 2;
        }
        let left = self.operand()?;
        if self.takes_word("BETWEEN") {
            let low = self.operand()?;
            self.expect_word("AND")?;
            return Ok(Condition::Between(left, low, self.operand()?));
        }
        if self.takes_word("IN") {
            let end = if self.takes("[") {
                "]"
            } else {
                self.expect("(")?;
                ")"
            };
            let mut options = vec![self.operand()?];
            while self.takes(",") {
                options.push(self.operand()?);
            }
            self.expect(end)?;
            return Ok(Condition::In(left, options));
        }
        if self.takes_word("IS") {
            let is_negated = self.takes_word("NOT");
            let Operand::Path(path) = left else {
                return Err(self.unexpected());
            };
            let condition = if self.takes_word("MISSING") {
                Condition::NotExists(path)
            } else {
                self.expect_word("NULL")?;
                Condition::HasType(path, Operand::Value(Value::S("NULL".into())))
            };
            return Ok(if is_negated {
                Condition::Not(Box::new(condition))
            } else {
                condition
            });
        }
        let Token::Symbol(symbol) = self.token() else {
            return Err(self.unexpected());
        };
        let comparison = match *symbol {
            "=" => Comparison::Equal,
            "<>" | "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(Condition::Compare(comparison, left, self.operand()?))
    }

    /// A function that is a condition.
    fn test(&mut self, function: &str) -> Result<Condition> {
        let first = self.operand()?;
        let second = self.takes(",").then(|| self.operand()).transpose()?;
        self.expect(")")?;
        match (function.to_ascii_lowercase().as_str(), first, second) {
            ("begins_with", value, Some(prefix)) => Ok(Condition::BeginsWith(value, prefix)),
            ("contains", value, Some(part)) => Ok(Condition::Contains(value, part)),
            ("attribute_type", Operand::Path(path), Some(kind)) => {
                Ok(Condition::HasType(path, kind))
            }
            ("attribute_exists", Operand::Path(path), None) => Ok(Condition::Exists(path)),
            ("attribute_not_exists", Operand::Path(path), None) => Ok(Condition::NotExists(path)),
            _ => Err(malformed(format_args!(
                "Invalid use of function: {function}"
            ))),
        }
    }

    pub(super) fn operand(&mut self) -> Result<Operand> {
        if let Some(function) = self.function() {
            if !function.eq_ignore_ascii_case("size") {
                return Err(malformed(format_args!(
                    "Invalid use of function: {function}"
                )));
            }
            self.deeper()?;
            let inner = self.operand()?;
            self.expect(")")?;
            self.depth -= 1;
            return Ok(Operand::Size(Box::new(inner)));
        }
        let is_path = match self.token() {
            Token::Word(word) => !is_literal(word),
            Token::Quoted(_) => true,
            _ => false,
        };
        if is_path {
            return self.path().map(Operand::Path);
        }
        match self.content()? {
            Content::Parameter(number) => Ok(Operand::Parameter(number)),
            content => literal(&content).map(Operand::Value),
        }
    }
}

/// Content without parameters as a value.
fn literal(content: &Content) -> Result<Value> {
    value_of(content, &[])
}
