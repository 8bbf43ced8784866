//! The tokens of statements.

use crate::error::{ApiError, Result};

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A plain name or keyword.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    /// A text in single quotes.
    Text(String),
    Number(String),
    Symbol(&'static str),
    End,
}

/// Returns an error in a statement's form.
pub(super) fn malformed(problem: impl std::fmt::Display) -> ApiError {
    ApiError::validation(format!(
        "Statement wasn't well formed, can't be processed: {problem}"
    ))
}

const SYMBOLS: [&str; 23] = [
    "<<", ">>", "<=", ">=", "<>", "!=", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ".", ":",
    "?", "*", "+", "-", ";",
];

/// Splits a statement into tokens; the last is [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            break;
        };
        let token = match first {
            '\'' => Token::Text(quoted(&mut rest, '\'')?),
            '"' => Token::Quoted(quoted(&mut rest, '"')?),
            '0'..='9' => Token::Number(number(&mut rest).to_owned()),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                Token::Number(number(&mut rest).to_owned())
            }
            first if first.is_alphabetic() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$');
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                rest = after;
                Token::Word(word.to_owned())
            }
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                let Some(symbol) = symbol else {
                    return Err(malformed(format_args!("Unexpected character: {first}")));
                };
                rest = &rest[symbol.len()..];
                Token::Symbol(symbol)
            }
        };
        tokens.push(token);
    }
    tokens.push(Token::End);
    Ok(tokens)
}

/// Reads quoted text; a quote in it is doubled.
fn quoted(rest: &mut &str, quote: char) -> Result<String> {
    let mut text = String::new();
    *rest = &rest[1..];
    loop {
        let Some(end) = rest.find(quote) else {
            return Err(malformed("Unterminated quote"));
        };
        text.push_str(&rest[..end]);
        *rest = &rest[end + 1..];
        if !rest.starts_with(quote) {
            return Ok(text);
        }
        text.push(quote);
        *rest = &rest[1..];
    }
}

fn number<'a>(rest: &mut &'a str) -> &'a str {
    let bytes = rest.as_bytes();
    let mut end = 0;
    while let Some(byte) = bytes.get(end) {
        let after_exponent = end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        match byte {
            b'0'..=b'9' | b'.' | b'e' | b'E' => end += 1,
            b'+' | b'-' if after_exponent => end += 1,
            _ => break,
        }
    }
    let (number, after) = rest.split_at(end);
    *rest = after;
    number
}
