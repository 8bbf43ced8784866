//! The known differences between the embedded engine and its peers. Each is settled by AWS's documentation, or is
//! listed because AWS does not document the case. The crate's README has the same tables with the sources.

mod dynoxide;
mod ministack;

use serde_json::Value;

use crate::engines::Response;
use crate::requests::{self, Request};

/// The engine that the embedded one is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// dynoxide, in the process of the test.
    Dynoxide,
    /// `MiniStack`, at a URL.
    MiniStack,
}

/// A known difference: its name, and whether it explains a pair of responses (the engine's, then the peer's).
struct Known {
    /// The name, as in the README.
    name: &'static str,
    explains: fn(&Request, &Response, &Response) -> bool,
}

impl Peer {
    /// Returns the name of the known difference that explains two responses: the engine's, then this peer's.
    #[must_use]
    pub fn explanation(
        self,
        request: &Request,
        own: &Response,
        peer: &Response,
    ) -> Option<&'static str> {
        let alone = match self {
            Self::Dynoxide => dynoxide::KNOWN,
            Self::MiniStack => ministack::KNOWN,
        };
        let explains = |known: &&Known| (known.explains)(request, own, peer);
        let known = COMMON.iter().chain(alone).find(explains);
        known.map(|known| known.name)
    }
}

/// The differences that both peers have.
const COMMON: &[Known] = &[
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

/// Returns whether the engine rejects a request that the peer accepts, or for which the peer reports a later check.
fn is_stricter(own: &Response, peer: &Response) -> bool {
    const LATER: [&str; 2] = [
        "ConditionalCheckFailedException",
        "ResourceNotFoundException",
    ];
    kind(own) == "ValidationException" && (peer.status == 200 || LATER.contains(&kind(peer)))
}

fn kind(response: &Response) -> &str {
    let kind = response.body["__type"].as_str().unwrap_or_default();
    kind.rsplit('#').next().unwrap_or_default()
}

fn message(response: &Response) -> &str {
    response.body["message"].as_str().unwrap_or_default()
}

fn starts(response: &Response, beginnings: &[&str]) -> bool {
    beginnings
        .iter()
        .any(|beginning| message(response).starts_with(beginning))
}

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
    let is_explained =
        |(own, peer): (&Value, &Value)| is_invalid_statement(own) || is_same_statement((own, peer));
    own.len() == peer.len() && own.iter().zip(peer).all(is_explained)
}

fn is_invalid_statement(response: &Value) -> bool {
    response["Error"]["Code"] == "ValidationError"
}

fn is_same_statement((own, peer): (&Value, &Value)) -> bool {
    own["Error"]["Code"] == peer["Error"]["Code"] && own["Item"] == peer["Item"]
}
