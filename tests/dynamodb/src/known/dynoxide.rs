//! The known differences between the embedded engine and dynoxide.

use serde_json::Value;

use super::{Known, is_stricter, kind, message, starts};
use crate::engines::Response;
use crate::requests;

/// The known differences.
pub(super) const KNOWN: &[Known] = &[
    Known {
        name: "the peer accepts an invalid expression",
        explains: |_, own, peer| {
            is_stricter(own, peer)
                && starts(
                    own,
                    &[
                        "Invalid ConditionExpression: ",
                        "Invalid FilterExpression: ",
                        "Invalid KeyConditionExpression: ",
                        "Invalid ProjectionExpression: ",
                        "Invalid UpdateExpression: ",
                    ],
                )
        },
    },
    Known {
        name: "the peer checks values, keys or the update of a key after the table or the condition, or not at all",
        explains: |_, own, peer| is_stricter(own, peer) && starts(own, INVALID_VALUES),
    },
    Known {
        name: "the peer returns attributes that the index does not project",
        explains: |_, own, peer| {
            is_stricter(own, peer)
                && message(own)
                    .contains("One or more parameter values were invalid: Global secondary index")
        },
    },
    Known {
        name: "the peer reports another one of several errors first",
        explains: |request, own, peer| {
            let table = &request.body["TableName"];
            let is_missing_table = !table.is_null() && table != requests::TABLE;
            match (kind(own), kind(peer)) {
                ("SerializationException", "ValidationException") => true,
                ("ValidationException", "SerializationException") => starts(own, INVALID_VALUES),
                ("ValidationException", "ResourceNotFoundException")
                | ("ResourceNotFoundException", "ValidationException") => is_missing_table,
                ("ValidationException", "ConditionalCheckFailedException") => {
                    starts(own, &["Value provided in ExpressionAttribute"])
                }
                _ => false,
            }
        },
    },
    Known {
        name: "the peer counts duplicate keys of statements that are invalid by themselves",
        explains: |request, own, peer| {
            request.operation == "BatchExecuteStatement"
                && message(peer) == "Provided list of item keys contains duplicates"
                && has_failed_statement(own)
        },
    },
    Known {
        name: "the peer counts other capacity for failed statements of a batch, or does not report their invalid values and keys",
        explains: |request, own, peer| {
            request.operation == "BatchExecuteStatement"
                && has_failed_statement(own)
                && differ_only_where_own_is_invalid(&own.body["Responses"], &peer.body["Responses"])
        },
    },
    Known {
        name: "the peer returns the key as the old attributes of an item that did not exist",
        explains: |request, own, peer| {
            request.operation == "UpdateItem"
                && request.body["ReturnValues"] == "ALL_OLD"
                && own.body["Attributes"].is_null()
                && peer.body["Attributes"] == request.body["Key"]
        },
    },
];

/// The beginnings of messages about values and keys.
const INVALID_VALUES: &[&str] = &[
    "Supplied AttributeValue",
    "The parameter cannot be converted to a numeric value",
    "Attempting to store more than 38 significant digits",
    "Number overflow",
    "Number underflow",
    "One or more parameter values were invalid: An ",
    "One or more parameter values were invalid: Input collection",
    "One or more parameter values were invalid: Null attribute",
    "One or more parameter values were invalid: Binary sets",
    "One or more parameter values were invalid: Cannot update attribute",
    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty",
];

fn has_failed_statement(response: &Response) -> bool {
    let is_failed = |statement: &Value| !statement["Error"].is_null();
    response.body["Responses"]
        .as_array()
        .is_some_and(|all| all.iter().any(is_failed))
}

/// Returns whether the responses to the statements of a batch differ only in statements that the engine rejects.
fn differ_only_where_own_is_invalid(own: &Value, peer: &Value) -> bool {
    let (Some(own), Some(peer)) = (own.as_array(), peer.as_array()) else {
        return false;
    };
    let is_invalid = |statement: &Value| statement["Error"]["Code"] == "ValidationError";
    let is_same = |(own, peer): (&Value, &Value)| {
        is_invalid(own)
            || (own["Error"]["Code"] == peer["Error"]["Code"] && own["Item"] == peer["Item"])
    };
    own.len() == peer.len() && own.iter().zip(peer).all(is_same)
}
