//! The known differences between the embedded engine and `MiniStack`.

use serde_json::{Map, Value};

use super::{
    INVALID_VALUES, Known, is_invalid_statement, is_same_statement, is_stricter, kind, message,
    starts,
};
use crate::compare::difference;
use crate::engines::Response;
use crate::requests::Request;

/// The known differences.
pub(super) const KNOWN: &[Known] = &[
    Known {
        name: "BatchGetItem reports no consumed capacity",
        explains: |request, own, peer| {
            request.operation == "BatchGetItem" && differ_only_in_capacity(request, own, peer)
        },
    },
    Known {
        name: "BatchExecuteStatement counts one unit for any write, and none by table",
        explains: |request, own, peer| {
            request.operation == "BatchExecuteStatement"
                && differ_only_in_capacity(request, own, peer)
        },
    },
    Known {
        name: "statements do not check the types of values and keys",
        explains: |request, own, peer| {
            let types = [
                "Key attribute's data type should match",
                "One or more parameter values were invalid: Type mismatch for Index Key",
            ];
            match request.operation {
                "ExecuteStatement" => {
                    kind(own) == "ValidationException"
                        && kind(peer) != "ValidationException"
                        && (starts(own, &types) || starts(own, INVALID_VALUES))
                }
                "BatchExecuteStatement" => {
                    are_same_until_own_is_invalid(&own.body["Responses"], &peer.body["Responses"])
                }
                _ => false,
            }
        },
    },
    Known {
        name: "a batch of statements may have reads beside writes, and statements on the same item",
        explains: |_, own, peer| {
            let batch = [
                "Read and write requests together in the same batch is not supported",
                "Provided list of item keys contains duplicates",
            ];
            peer.status == 200 && starts(own, &batch)
        },
    },
    Known {
        name: "GetItem rejects a parameter that it does not have",
        explains: |request, own, peer| {
            let messages = [
                "ExpressionAttributeValues can only be specified",
                "Value provided in ExpressionAttributeValues unused",
            ];
            request.operation == "GetItem" && own.status == 200 && starts(peer, &messages)
        },
    },
    Known {
        name: "a nested value may have another JSON type",
        explains: |_, own, peer| {
            kind(own) == "SerializationException" && kind(peer) != "SerializationException"
        },
    },
    Known {
        name: "a filter may have keys within functions and paths",
        explains: |request, own, peer| {
            let keys = [
                "Filter Expression can only contain non-primary key attributes",
                "Key attributes must be scalars",
            ];
            !request.body["FilterExpression"].is_null()
                && is_stricter(own, peer)
                && starts(own, &keys)
        },
    },
    Known {
        name: "a filter reads attributes that the index does not project",
        explains: |request, own, peer| {
            let index = request.body["IndexName"].as_str();
            !request.body["FilterExpression"].is_null()
                && index.is_some_and(|index| index != "by-g")
                && (own.status, peer.status) == (200, 200)
                && own.body["ScannedCount"] == peer.body["ScannedCount"]
        },
    },
    Known {
        name: "ALL_ATTRIBUTES is possible on an index that does not project all",
        explains: |_, own, peer| {
            is_stricter(own, peer) && message(own).contains("Select type ALL_ATTRIBUTES is not")
        },
    },
    Known {
        name: "the types of an index's keys are checked before the condition",
        explains: |_, own, peer| {
            kind(own) == "ConditionalCheckFailedException"
                && message(peer).contains("Type mismatch for Index Key")
        },
    },
    Known {
        name: "nested numbers of statements are kept as they are written",
        explains: |request, own, peer| {
            let trimmed = Response {
                status: peer.status,
                body: trimmed(&peer.body),
            };
            own.status == 200 && difference(request, own, &trimmed).is_none()
        },
    },
    Known {
        name: "an update may have a path whose parent does not exist",
        explains: |_, own, peer| is_stricter(own, peer) && starts(own, &INVALID_UPDATES[..1]),
    },
    Known {
        name: "two operands that do not exist are equal",
        explains: |request, own, peer| {
            let expressions = ["ConditionExpression", "FilterExpression"];
            let mut texts = expressions
                .iter()
                .filter_map(|name| request.body[*name].as_str());
            let possible = ["", "ConditionalCheckFailedException", "ValidationException"];
            texts.any(compares_attributes)
                && possible.contains(&kind(own))
                && (possible[..2].contains(&kind(peer)) || starts(peer, &INVALID_UPDATES))
        },
    },
];

/// The beginnings of messages about updates that an item does not allow: they follow the condition.
const INVALID_UPDATES: [&str; 2] = [
    "The document path provided in the update expression",
    "The provided expression refers to an attribute that does not exist",
];

/// Returns whether a statement of a batch is rejected by the engine, and the responses to the statements before it are
/// the same. The peer may have executed it, so that later ones meet another item.
fn are_same_until_own_is_invalid(own: &Value, peer: &Value) -> bool {
    let (Some(own), Some(peer)) = (own.as_array(), peer.as_array()) else {
        return false;
    };
    let first = own.iter().position(is_invalid_statement);
    first.is_some_and(|first| own[..first].iter().zip(peer).all(is_same_statement))
}

/// Returns whether two responses are the same apart from the consumed capacity.
fn differ_only_in_capacity(request: &Request, own: &Response, peer: &Response) -> bool {
    let without = |response: &Response| {
        let mut response = response.clone();
        if let Value::Object(body) = &mut response.body {
            body.remove("ConsumedCapacity");
        }
        response
    };
    difference(request, &without(own), &without(peer)).is_none()
}

/// Returns whether an expression compares attributes or sizes with each other, and not only with values.
fn compares_attributes(text: &str) -> bool {
    let spaced = text.replace(['(', ')', ','], " ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let is_attribute = |at: usize| words.get(at).is_some_and(|word| !word.starts_with(':'));
    words.iter().enumerate().any(|(at, word)| {
        let is_comparison = matches!(*word, "=" | "<>" | "IN" | "in");
        is_comparison
            && at > 0
            && is_attribute(at - 1)
            && (1..4).any(|next| is_attribute(at + next))
    })
}

/// Returns a body whose numbers have no plus, and no trailing zeros after a point.
fn trimmed(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("N", Value::String(text)) => {
                    let text = text.trim_start_matches('+');
                    let text = if text.contains('.') {
                        text.trim_end_matches('0').trim_end_matches('.')
                    } else {
                        text
                    };
                    (name.clone(), text.into())
                }
                _ => (name.clone(), trimmed(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(array) => array.iter().map(trimmed).collect(),
        other => other.clone(),
    }
}
