//! The tokens of expressions, with their positions for error messages.

use std::ops::Range;

use crate::error::{ApiError, Result};

/// The kind of a token. Its text is the source at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A plain name: an attribute, a keyword or a function.
    Word,
    /// An alias of a name, after `#`.
    Alias,
    /// A value's name, after `:`.
    Placeholder,
    Number,
    /// `= <> < <= > >= ( ) [ ] , . + -`
    Symbol,
    End,
}

/// A token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) at: Range<usize>,
}

/// Splits an expression into tokens; the last is [`TokenKind::End`].
pub(crate) fn tokens(source: &str, role: &str) -> Result<Vec<Token>> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let rest = |from: usize, test: fn(u8) -> bool| {
            let end = bytes[from..].iter().position(|byte| !test(*byte));
            end.map_or(bytes.len(), |end| from + end)
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let kind = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'#' | b':' => {
                at = rest(at + 1, is_name);
                if at == start + 1 {
                    return Err(syntax_error(source, role, &tokens, start..at));
                }
                if byte == b'#' {
                    TokenKind::Alias
                } else {
                    TokenKind::Placeholder
                }
            }
            b'0'..=b'9' => {
                at = rest(at, |byte| byte.is_ascii_digit());
                TokenKind::Number
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                at = rest(at, is_name);
                TokenKind::Word
            }
            b'<' if matches!(bytes.get(at + 1), Some(b'=' | b'>')) => {
                at += 2;
                TokenKind::Symbol
            }
            b'>' if bytes.get(at + 1) == Some(&b'=') => {
                at += 2;
                TokenKind::Symbol
            }
            b'=' | b'<' | b'>' | b'(' | b')' | b'[' | b']' | b',' | b'.' | b'+' | b'-' => {
                at += 1;
                TokenKind::Symbol
            }
            _ => {
                let length = source[at..].chars().next().map_or(1, char::len_utf8);
                return Err(syntax_error(source, role, &tokens, at..at + length));
            }
        };
        tokens.push(Token {
            kind,
            at: start..at,
        });
    }
    tokens.push(Token {
        kind: TokenKind::End,
        at: source.len()..source.len(),
    });
    Ok(tokens)
}

fn syntax_error(source: &str, role: &str, before: &[Token], bad: Range<usize>) -> ApiError {
    let from = before.last().map_or(bad.start, |token| token.at.start);
    // The text up to the next space.
    let rest = &source[bad.end..];
    let skipped = rest.len() - rest.trim_start().len();
    let word = rest[skipped..].find(|c: char| c.is_whitespace());
    let end = word.map_or(source.len(), |word| bad.end + skipped + word);
    ApiError::validation(format!(
        "Invalid {role}: Syntax error; token: \"{}\", near: \"{}\"",
        &source[bad],
        &source[from..end]
    ))
}
