//! The values in statements.

use super::ast::Content;
use crate::error::{ApiError, Result};
use crate::value::{Item, Value};

/// Returns the value of content. `parameters` are those of the request.
pub(crate) fn value_of(content: &Content, parameters: &[Value]) -> Result<Value> {
    let all = |contents: &[Content]| -> Result<Vec<Value>> {
        contents
            .iter()
            .map(|content| value_of(content, parameters))
            .collect()
    };
    Ok(match content {
        Content::Value(value) => value.clone(),
        Content::Parameter(number) => parameters.get(*number).cloned().ok_or_else(|| {
            ApiError::validation("Number of parameters in request and statement don't match.")
        })?,
        Content::List(contents) => Value::L(all(contents)?),
        Content::Map(pairs) => {
            let attributes = pairs
                .iter()
                .map(|(name, content)| Ok((name.clone(), value_of(content, parameters)?)));
            Value::M(Item::from_unsorted(attributes.collect::<Result<_>>()?))
        }
        Content::Set(contents) => set(all(contents)?)?,
    })
}

/// Creates a set from values of one type.
fn set(values: Vec<Value>) -> Result<Value> {
    let refused = || ApiError::validation("A set has values of one type: text, number or binary");
    let (mut texts, mut numbers, mut binaries) = (Vec::new(), Vec::new(), Vec::new());
    let count = values.len();
    for value in values {
        match value {
            Value::S(text) => texts.push(text),
            Value::N(number) => numbers.push(number),
            Value::B(bytes) => binaries.push(bytes),
            _ => return Err(refused()),
        }
    }
    texts.sort_unstable();
    texts.dedup();
    numbers.sort_unstable();
    numbers.dedup();
    binaries.sort_unstable();
    binaries.dedup();
    match [texts.len(), numbers.len(), binaries.len()] {
        [length, 0, 0] if length == count && count > 0 => Ok(Value::Ss(texts)),
        [0, length, 0] if length == count && count > 0 => Ok(Value::Ns(numbers)),
        [0, 0, length] if length == count && count > 0 => Ok(Value::Bs(binaries)),
        _ => Err(refused()),
    }
}
