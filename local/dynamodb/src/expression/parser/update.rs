//! Update expressions.

use super::Parser;
use crate::error::Result;
use crate::expression::ast::{Action, Operand, Term};
use crate::expression::check;
use crate::expression::lexer::TokenKind;

impl Parser<'_> {
    /// Parses the whole text as an update.
    pub(crate) fn update(mut self) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        while self.token().kind != TokenKind::End {
            let section = self.text().to_ascii_uppercase();
            if !matches!(section.as_str(), "SET" | "REMOVE" | "ADD" | "DELETE") {
                return Err(self.syntax_error());
            }
            if seen.contains(&section) {
                return Err(self.invalid(format_args!(
                    "The \"{section}\" section can only be used once in an update expression;"
                )));
            }
            self.at += 1;
            loop {
                actions.push(self.action(&section)?);
                if !self.takes(",") {
                    break;
                }
            }
            seen.push(section);
        }
        Ok(actions)
    }

    fn action(&mut self, section: &str) -> Result<Action> {
        let path = self.path()?;
        Ok(match section {
            "SET" => {
                self.expect("=")?;
                Action::Set(path, self.sum()?)
            }
            "REMOVE" => Action::Remove(path),
            _ => {
                let operand = self.parameter()?;
                check::set_action(self.scope, section, &operand)?;
                if section == "ADD" {
                    Action::Add(path, operand)
                } else {
                    Action::Delete(path, operand)
                }
            }
        })
    }

    fn sum(&mut self) -> Result<Term> {
        let left = self.term()?;
        if self.takes("+") {
            let right = self.term()?;
            check::arithmetic(self.scope, "+", &[&left, &right])?;
            return Ok(Term::Plus(Box::new(left), Box::new(right)));
        }
        if self.takes("-") {
            let right = self.term()?;
            check::arithmetic(self.scope, "-", &[&left, &right])?;
            return Ok(Term::Minus(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Term> {
        if self.takes("(") {
            self.deeper()?;
            let term = self.sum()?;
            self.expect(")")?;
            self.depth -= 1;
            return Ok(term);
        }
        if self.token().kind == TokenKind::Word && self.peek(1) == "(" {
            let name = self.text().to_owned();
            self.at += 2;
            self.deeper()?;
            let mut operands = vec![self.term()?];
            while self.takes(",") {
                operands.push(self.term()?);
            }
            self.expect(")")?;
            self.depth -= 1;
            return self.update_function(&name, operands);
        }
        Ok(Term::Operand(match self.token().kind {
            TokenKind::Placeholder => self.parameter()?,
            _ => Operand::Path(self.path()?),
        }))
    }

    fn update_function(&self, name: &str, operands: Vec<Term>) -> Result<Term> {
        if !matches!(name, "if_not_exists" | "list_append") {
            return Err(self.invalid(format_args!("Invalid function name; function: {name}")));
        }
        let count = operands.len();
        let Ok([first, second]) = <[Term; 2]>::try_from(operands) else {
            return Err(self.operand_count(name, count));
        };
        if name == "if_not_exists" {
            let Term::Operand(Operand::Path(path)) = first else {
                return Err(self.invalid(format_args!(
                    "Operator or function requires a document path; \
                     operator or function: if_not_exists"
                )));
            };
            return Ok(Term::IfNotExists(path, Box::new(second)));
        }
        check::list_append(self.scope, &[&first, &second])?;
        Ok(Term::ListAppend(Box::new(first), Box::new(second)))
    }
}
