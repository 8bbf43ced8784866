//! A recursive descent parser for statements.

mod condition;

use super::ast::{Content, Returning, Statement, Verb};
use super::lexer::{Token, malformed, tokens};
use crate::error::Result;
use crate::expression::ast::{Action, Operand, Path, Step, Term};
use crate::value::{Number, Value};

/// The maximum nesting of a statement in this engine; it bounds the parser's stack.
const MAX_NESTING: usize = 64;

/// Parses a statement.
pub(super) fn parse(source: &str) -> Result<Statement> {
    let mut parser = Parser {
        tokens: tokens(source)?,
        at: 0,
        parameters: 0,
        depth: 0,
    };
    let statement = parser.statement()?;
    parser.takes(";");
    if *parser.token() == Token::End {
        return Ok(statement);
    }
    Err(parser.unexpected())
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    parameters: usize,
    depth: usize,
}

impl Parser {
    fn statement(&mut self) -> Result<Statement> {
        let (table, index, verb) = if self.takes_word("INSERT") {
            self.expect_word("INTO")?;
            let (table, index) = self.table()?;
            if !self.takes_word("VALUE") {
                return Err(self.unexpected());
            }
            let Content::Map(attributes) = self.content()? else {
                return Err(malformed("INSERT needs one tuple as its value"));
            };
            (table, index, Verb::Insert(attributes))
        } else if self.takes_word("SELECT") {
            let paths = self.selected()?;
            self.expect_word("FROM")?;
            let (table, index) = self.table()?;
            let condition = self.where_clause()?;
            (table, index, Verb::Select(paths, condition))
        } else if self.takes_word("UPDATE") {
            let (table, index) = self.table()?;
            let actions = self.actions()?;
            let condition = self.where_clause()?;
            let returning = self.returning()?;
            (table, index, Verb::Update(actions, condition, returning))
        } else if self.takes_word("DELETE") {
            self.expect_word("FROM")?;
            let (table, index) = self.table()?;
            let condition = self.where_clause()?;
            let returning = self.returning()?;
            (table, index, Verb::Delete(condition, returning))
        } else {
            return Err(self.unexpected());
        };
        Ok(Statement {
            table,
            index,
            verb,
            parameters: self.parameters,
        })
    }

    fn table(&mut self) -> Result<(String, Option<String>)> {
        let table = self.name()?;
        let index = self.takes(".").then(|| self.name()).transpose()?;
        Ok((table, index))
    }

    fn selected(&mut self) -> Result<Vec<Path>> {
        if self.takes("*") {
            return Ok(Vec::new());
        }
        let mut paths = vec![self.path()?];
        while self.takes(",") {
            paths.push(self.path()?);
        }
        Ok(paths)
    }

    fn actions(&mut self) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        loop {
            if self.takes_word("SET") {
                loop {
                    let path = self.path()?;
                    self.expect("=")?;
                    actions.push(Action::Set(path, self.sum()?));
                    if !self.takes(",") {
                        break;
                    }
                }
            } else if self.takes_word("REMOVE") {
                loop {
                    actions.push(Action::Remove(self.path()?));
                    if !self.takes(",") {
                        break;
                    }
                }
            } else if actions.is_empty() {
                return Err(self.unexpected());
            } else {
                return Ok(actions);
            }
        }
    }

    fn returning(&mut self) -> Result<Option<Returning>> {
        if !self.takes_word("RETURNING") {
            return Ok(None);
        }
        let is_modified = self.takes_word("MODIFIED");
        if !is_modified {
            self.expect_word("ALL")?;
        }
        let is_new = self.takes_word("NEW");
        if !is_new {
            self.expect_word("OLD")?;
        }
        self.expect("*")?;
        Ok(Some(Returning {
            is_modified,
            is_new,
        }))
    }

    fn sum(&mut self) -> Result<Term> {
        let mut sum = self.term()?;
        let depth = self.depth;
        loop {
            if self.takes("+") {
                sum = Term::Plus(Box::new(sum), Box::new(self.term()?));
            } else if self.takes("-") {
                sum = Term::Minus(Box::new(sum), Box::new(self.term()?));
            } else {
                self.depth = depth;
                return Ok(sum);
            }
            // Each operand nests the ones before it.
            self.deeper()?;
        }
    }

    fn term(&mut self) -> Result<Term> {
        if let Some(function) = self.function() {
            self.deeper()?;
            let first = self.term()?;
            self.expect(",")?;
            let second = Box::new(self.term()?);
            self.expect(")")?;
            self.depth -= 1;
            return match (function.to_ascii_lowercase().as_str(), first) {
                ("list_append", first) => Ok(Term::ListAppend(Box::new(first), second)),
                ("set_add", first) => Ok(Term::SetAdd(Box::new(first), second)),
                ("set_delete", first) => Ok(Term::SetDelete(Box::new(first), second)),
                ("if_not_exists", Term::Operand(Operand::Path(path))) => {
                    Ok(Term::IfNotExists(path, second))
                }
                _ => Err(malformed(format_args!(
                    "Invalid use of function: {function}"
                ))),
            };
        }
        Ok(Term::Operand(self.operand()?))
    }

    /// Returns the name of a function if one starts here, and consumes its parenthesis.
    fn function(&mut self) -> Option<String> {
        let (Token::Word(name), Some(Token::Symbol("("))) =
            (self.token().clone(), self.tokens.get(self.at + 1))
        else {
            return None;
        };
        self.at += 2;
        Some(name)
    }

    fn content(&mut self) -> Result<Content> {
        self.deeper()?;
        let content = match self.token().clone() {
            Token::Symbol("?") => {
                self.at += 1;
                self.parameters += 1;
                Content::Parameter(self.parameters - 1)
            }
            Token::Symbol("[") => Content::List(self.list("[", "]")?),
            Token::Symbol("<<") => Content::Set(self.list("<<", ">>")?),
            Token::Symbol("{") => Content::Map(self.tuple()?),
            Token::Symbol(sign @ ("-" | "+")) => {
                self.at += 1;
                let Token::Number(digits) = self.token().clone() else {
                    return Err(self.unexpected());
                };
                self.at += 1;
                Content::Value(number(&format!("{sign}{digits}"))?)
            }
            Token::Number(digits) => {
                self.at += 1;
                Content::Value(number(&digits)?)
            }
            Token::Text(text) => {
                self.at += 1;
                Content::Value(Value::S(text))
            }
            Token::Word(word) if is_literal(&word) => {
                self.at += 1;
                Content::Value(match word.to_ascii_lowercase().as_str() {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    _ => Value::Null,
                })
            }
            _ => return Err(self.unexpected()),
        };
        self.depth -= 1;
        Ok(content)
    }

    fn list(&mut self, open: &'static str, close: &'static str) -> Result<Vec<Content>> {
        self.expect(open)?;
        let mut contents = Vec::new();
        while !self.takes(close) {
            if !contents.is_empty() {
                self.expect(",")?;
            }
            contents.push(self.content()?);
        }
        Ok(contents)
    }

    fn tuple(&mut self) -> Result<Vec<(String, Content)>> {
        self.expect("{")?;
        let mut pairs = Vec::new();
        while !self.takes("}") {
            if !pairs.is_empty() {
                self.expect(",")?;
            }
            let (Token::Text(name) | Token::Quoted(name)) = self.token().clone() else {
                return Err(self.unexpected());
            };
            self.at += 1;
            self.expect(":")?;
            pairs.push((name, self.content()?));
        }
        Ok(pairs)
    }

    fn path(&mut self) -> Result<Path> {
        let mut steps = vec![Step::Name(self.name()?)];
        loop {
            if self.takes(".") {
                steps.push(Step::Name(self.name()?));
            } else if self.takes("[") {
                match self.token().clone() {
                    Token::Number(digits) => match digits.parse() {
                        Ok(index) => steps.push(Step::Index(index)),
                        Err(_) => return Err(self.unexpected()),
                    },
                    Token::Text(name) => steps.push(Step::Name(name)),
                    _ => return Err(self.unexpected()),
                }
                self.at += 1;
                self.expect("]")?;
            } else {
                return Ok(Path(steps));
            }
        }
    }

    fn name(&mut self) -> Result<String> {
        match self.token().clone() {
            Token::Word(name) | Token::Quoted(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn token(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let is = matches!(self.token(), Token::Symbol(one) if *one == symbol);
        self.at += usize::from(is);
        is
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is = matches!(self.token(), Token::Word(one) if one.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.takes(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.takes_word(word) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(malformed("The statement is nested too deeply"));
        }
        Ok(())
    }

    fn unexpected(&self) -> crate::error::ApiError {
        match self.token() {
            Token::End => malformed("Unexpected end of statement"),
            Token::Word(text) | Token::Quoted(text) | Token::Text(text) | Token::Number(text) => {
                malformed(format_args!("Unexpected token: {text}"))
            }
            Token::Symbol(symbol) => malformed(format_args!("Unexpected token: {symbol}")),
        }
    }
}

fn is_literal(word: &str) -> bool {
    ["true", "false", "null"]
        .iter()
        .any(|one| one.eq_ignore_ascii_case(word))
}

fn number(text: &str) -> Result<Value> {
    text.parse::<Number>()
        .map(Value::N)
        .map_err(|error| crate::error::ApiError::validation(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Item;

    #[test]
    fn a_map_needs_a_text_for_a_name() {
        assert!(parse(r#"INSERT INTO "t" VALUE {a: 1}"#).is_err());
        let statement = parse(r#"INSERT INTO "t" VALUE {'a': 1, 'b': {'c': <<'x'>>}}"#);
        let statement = statement.expect("a statement");
        let Verb::Insert(attributes) = &statement.verb else {
            panic!("{statement:?}");
        };
        let item: Item = Item::from_unsorted(
            attributes
                .iter()
                .map(|(name, content)| {
                    (
                        name.clone(),
                        crate::partiql::content::value_of(content, &[]).expect("a value"),
                    )
                })
                .collect(),
        );
        let json = serde_json::to_string(&item).expect("JSON");
        assert_eq!(json, r#"{"a":{"N":"1"},"b":{"M":{"c":{"SS":["x"]}}}}"#);
    }

    #[test]
    fn statements_with_several_sets_are_one_update() {
        let text = r#"UPDATE "t" SET a = ? SET b = b + 1, c = list_append(c, ?) REMOVE d
                      WHERE id = ? AND a = ? AND d IS NOT MISSING RETURNING ALL OLD *"#;
        let statement = parse(text).expect("a statement");
        assert_eq!(statement.parameters, 4);
        let Verb::Update(actions, Some(_), Some(returning)) = statement.verb else {
            panic!("not an update");
        };
        assert_eq!(actions.len(), 4);
        assert!(!returning.is_modified && !returning.is_new);
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        for text in [
            "",
            "SELECT",
            "SELECT * FROM t WHERE",
            "DROP TABLE t",
            "DELETE FROM 'x'",
            "'",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = format!("SELECT * FROM t WHERE {}a = 1", "NOT ".repeat(1000));
        assert!(parse(&deep).is_err());
        // Evaluating it would exceed the stack of a thread.
        let long = format!("UPDATE t SET a = 1{}", "+1".repeat(4000));
        assert!(parse(&long).is_err());
    }
}
