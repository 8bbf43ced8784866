//! A recursive descent parser for the four kinds of expressions.

mod update;

use std::ops::Range;

use super::ast::{Comparison, Condition, Operand, Path, Step};
use super::check;
use super::lexer::{Token, TokenKind, tokens};
use super::reserved::is_reserved;
use super::scope::Scope;
use crate::error::{ApiError, Result};

/// The maximum number of bytes of an expression (an AWS limit).
const MAX_BYTES: usize = 4096;
/// The maximum nesting of parentheses, functions and NOT in this engine; it bounds the parser's stack.
const MAX_NESTING: usize = 64;
/// The maximum number of operands of IN (an AWS limit).
const MAX_IN: usize = 100;

/// Parses one expression. `role` is its parameter's name, for error messages.
pub(crate) struct Parser<'a> {
    source: &'a str,
    role: &'static str,
    scope: &'a Scope<'a>,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(source: &'a str, role: &'static str, scope: &'a Scope<'a>) -> Result<Self> {
        if source.trim().is_empty() {
            return Err(ApiError::validation(format!(
                "Invalid {role}: The expression can not be empty;"
            )));
        }
        if source.len() > MAX_BYTES {
            return Err(ApiError::validation(format!(
                "Invalid {role}: Expression size has exceeded the maximum allowed size; \
                 expression size: {}",
                source.len()
            )));
        }
        Ok(Self {
            source,
            role,
            scope,
            tokens: tokens(source, role)?,
            at: 0,
            depth: 0,
        })
    }

    /// Parses the whole text as a condition.
    pub(crate) fn condition(mut self) -> Result<Condition> {
        let condition = self.disjunction()?;
        self.end()?;
        Ok(condition)
    }

    /// Parses the whole text as a list of paths.
    pub(crate) fn projection(mut self) -> Result<Vec<Path>> {
        let mut paths = vec![self.path()?];
        while self.takes(",") {
            paths.push(self.path()?);
        }
        self.end()?;
        let all: Vec<&Path> = paths.iter().collect();
        check::no_overlap(&all, self.role)?;
        Ok(paths)
    }

    fn disjunction(&mut self) -> Result<Condition> {
        let mut condition = self.conjunction()?;
        while self.takes_word("OR") {
            let right = self.conjunction()?;
            condition = Condition::Or(Box::new(condition), Box::new(right));
        }
        Ok(condition)
    }

    fn conjunction(&mut self) -> Result<Condition> {
        let mut condition = self.negation()?;
        while self.takes_word("AND") {
            let right = self.negation()?;
            condition = Condition::And(Box::new(condition), Box::new(right));
        }
        Ok(condition)
    }

    fn negation(&mut self) -> Result<Condition> {
        if self.takes_word("NOT") {
            self.deeper()?;
            let condition = self.negation()?;
            self.depth -= 1;
            return Ok(Condition::Not(Box::new(condition)));
        }
        if self.is("(") {
            return self.parenthesised();
        }
        self.comparison()
    }

    fn parenthesised(&mut self) -> Result<Condition> {
        self.at += 1;
        self.deeper()?;
        let redundant = self.is("(");
        let start = self.at;
        let condition = self.disjunction()?;
        // Parentheses that contain only parentheses.
        if redundant && self.closes_at(start) == Some(self.at) && self.is(")") {
            return Err(self.invalid(format_args!("The expression has redundant parentheses;")));
        }
        self.expect(")")?;
        self.depth -= 1;
        Ok(condition)
    }

    /// Returns the index of the token after the parenthesis that closes the one at `open`.
    fn closes_at(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match &self.source[token.at.clone()] {
                "(" => depth += 1,
                ")" => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(at + 1);
            }
        }
        None
    }

    fn comparison(&mut self) -> Result<Condition> {
        if self.token().kind == TokenKind::Word && self.peek(1) == "(" && self.text() != "size" {
            return self.function();
        }
        let left = self.operand()?;
        if self.takes_word("BETWEEN") {
            let low = self.operand()?;
            if !self.takes_word("AND") {
                return Err(self.syntax_error());
            }
            let high = self.operand()?;
            check::between(self.scope, self.role, &low, &high)?;
            return Ok(Condition::Between(left, low, high));
        }
        if self.takes_word("IN") {
            self.expect("(")?;
            let mut options = vec![self.operand()?];
            while self.takes(",") {
                options.push(self.operand()?);
            }
            self.expect(")")?;
            if options.len() > MAX_IN {
                return Err(self.operand_count("IN", options.len()));
            }
            return Ok(Condition::In(left, options));
        }
        let comparison = match self.text() {
            "=" => Comparison::Equal,
            "<>" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return Err(self.syntax_error()),
        };
        let operator = self.text().to_owned();
        self.at += 1;
        let right = self.operand()?;
        check::comparison(self.scope, self.role, &operator, &left, &right)?;
        Ok(Condition::Compare(comparison, left, right))
    }

    fn function(&mut self) -> Result<Condition> {
        let name = self.text().to_owned();
        let place = self.at;
        self.at += 2;
        self.deeper()?;
        let mut operands = vec![self.operand()?];
        while self.takes(",") {
            operands.push(self.operand()?);
        }
        self.expect(")")?;
        self.depth -= 1;
        let count = operands.len();
        let needed = match name.as_str() {
            "attribute_exists" | "attribute_not_exists" => 1,
            "attribute_type" | "begins_with" | "contains" => 2,
            "if_not_exists" | "list_append" => {
                return Err(self.invalid(format_args!(
                    "The function is not allowed in a {} expression; function: {name}",
                    if self.role == "FilterExpression" {
                        "filter"
                    } else {
                        "condition"
                    }
                )));
            }
            _ => {
                self.at = place;
                return Err(self.invalid(format_args!("Invalid function name; function: {name}")));
            }
        };
        if count != needed {
            return Err(self.operand_count(&name, count));
        }
        let mut operands = operands.into_iter();
        let (Some(first), second) = (operands.next(), operands.next()) else {
            return Err(self.operand_count(&name, count));
        };
        let path = |operand: Operand| match operand {
            Operand::Path(path) => Ok(path),
            _ => Err(self.invalid(format_args!(
                "Operator or function requires a document path; operator or function: {name}"
            ))),
        };
        Ok(match (name.as_str(), second) {
            ("attribute_exists", _) => Condition::Exists(path(first)?),
            ("attribute_not_exists", _) => Condition::NotExists(path(first)?),
            ("attribute_type", Some(kind)) => {
                check::attribute_type(self.scope, self.role, &kind)?;
                Condition::HasType(path(first)?, kind)
            }
            ("begins_with", Some(prefix)) => {
                check::distinct(self.role, "begins_with", &first, &prefix)?;
                check::begins_with(self.scope, self.role, &[&first, &prefix])?;
                Condition::BeginsWith(first, prefix)
            }
            (_, Some(part)) => {
                check::distinct(self.role, "contains", &first, &part)?;
                Condition::Contains(first, part)
            }
            _ => return Err(self.syntax_error()),
        })
    }

    fn operand(&mut self) -> Result<Operand> {
        if self.token().kind == TokenKind::Placeholder {
            return self.parameter();
        }
        if self.token().kind == TokenKind::Word && self.peek(1) == "(" {
            let name = self.text().to_owned();
            if name != "size" {
                return Err(if is_function(&name) {
                    self.invalid(format_args!(
                        "The function is not allowed to be used this way in an expression; \
                         function: {name}"
                    ))
                } else {
                    self.invalid(format_args!("Invalid function name; function: {name}"))
                });
            }
            self.at += 2;
            self.deeper()?;
            let inner = self.operand()?;
            if self.is(",") {
                return Err(self.operand_count("size", 2));
            }
            self.expect(")")?;
            self.depth -= 1;
            check::size(self.scope, self.role, &inner)?;
            return Ok(Operand::Size(Box::new(inner)));
        }
        if self.is("(") {
            self.at += 1;
            self.deeper()?;
            let operand = self.operand()?;
            self.expect(")")?;
            self.depth -= 1;
            return Ok(operand);
        }
        Ok(Operand::Path(self.path()?))
    }

    fn parameter(&mut self) -> Result<Operand> {
        if self.token().kind != TokenKind::Placeholder {
            return Err(self.syntax_error());
        }
        let name = self.text();
        let Some(at) = self.scope.value(name) else {
            return Err(self.invalid(format_args!(
                "An expression attribute value used in expression is not defined; \
                 attribute value: {name}"
            )));
        };
        self.at += 1;
        Ok(Operand::Parameter(at))
    }

    fn path(&mut self) -> Result<Path> {
        let mut steps = vec![Step::Name(self.name()?)];
        loop {
            if self.takes(".") {
                steps.push(Step::Name(self.name()?));
            } else if self.takes("[") {
                if self.token().kind != TokenKind::Number {
                    return Err(self.syntax_error());
                }
                let Ok(index) = self.text().parse() else {
                    return Err(self.invalid(format_args!(
                        "List index is not within the allowable range; index: [{}]",
                        self.text()
                    )));
                };
                self.at += 1;
                self.expect("]")?;
                steps.push(Step::Index(index));
            } else {
                break;
            }
        }
        if steps.len() > crate::value::MAX_DEPTH {
            return Err(self.invalid(format_args!(
                "The document path has too many nesting elements; nesting levels: {}",
                steps.len()
            )));
        }
        Ok(Path(steps))
    }

    fn name(&mut self) -> Result<String> {
        let text = self.text();
        let name = match self.token().kind {
            TokenKind::Word if is_reserved(text) => {
                // A keyword in the position of a name is a syntax error.
                if is_syntax(text) {
                    return Err(self.syntax_error());
                }
                return Err(self.invalid(format_args!(
                    "Attribute name is a reserved keyword; reserved keyword: {text}"
                )));
            }
            TokenKind::Word => text.to_owned(),
            TokenKind::Alias => match self.scope.name(text) {
                Some(name) => name.to_owned(),
                None => {
                    return Err(self.invalid(format_args!(
                        "An expression attribute name used in the document path is not defined; \
                         attribute name: {text}"
                    )));
                }
            },
            _ => return Err(self.syntax_error()),
        };
        self.at += 1;
        Ok(name)
    }

    fn token(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn text(&self) -> &'a str {
        &self.source[self.token().at.clone()]
    }

    fn peek(&self, ahead: usize) -> &'a str {
        let token = self.tokens.get(self.at + ahead);
        token.map_or("", |token| &self.source[token.at.clone()])
    }

    fn is(&self, symbol: &str) -> bool {
        self.token().kind == TokenKind::Symbol && self.text() == symbol
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let is = self.is(symbol);
        self.at += usize::from(is);
        is
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is = self.token().kind == TokenKind::Word && self.text().eq_ignore_ascii_case(word);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.takes(symbol) {
            Ok(())
        } else {
            Err(self.syntax_error())
        }
    }

    fn end(&self) -> Result<()> {
        if self.token().kind == TokenKind::End {
            Ok(())
        } else {
            Err(self.syntax_error())
        }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(self.invalid(format_args!(
                "The expression is nested too deeply; allowed levels: {MAX_NESTING}"
            )));
        }
        Ok(())
    }

    fn invalid(&self, problem: std::fmt::Arguments<'_>) -> ApiError {
        ApiError::validation(format!("Invalid {}: {problem}", self.role))
    }

    fn operand_count(&self, name: &str, count: usize) -> ApiError {
        self.invalid(format_args!(
            "Incorrect number of operands for operator or function; \
             operator or function: {name}, number of operands: {count}"
        ))
    }

    /// Returns an error at the current token, with the text around it.
    fn syntax_error(&self) -> ApiError {
        let at = self.at.min(self.tokens.len() - 1);
        let from = &self.tokens[at.saturating_sub(1)].at;
        let to = &self.tokens[(at + 1).min(self.tokens.len() - 1)].at;
        let near: Range<usize> = from.start..to.end;
        let token = match self.token().kind {
            TokenKind::End => "<EOF>",
            _ => self.text(),
        };
        self.invalid(format_args!(
            "Syntax error; token: \"{token}\", near: \"{}\"",
            self.source[near].trim_end()
        ))
    }
}

fn is_function(name: &str) -> bool {
    matches!(
        name,
        "attribute_exists" | "attribute_not_exists" | "attribute_type" | "begins_with" | "contains"
    )
}

fn is_syntax(word: &str) -> bool {
    [
        "AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE",
    ]
    .iter()
    .any(|keyword| keyword.eq_ignore_ascii_case(word))
}
