//! The known differences between the embedded engine and dynoxide alone.

use super::{Known, differ_only_where_own_is_invalid, has_failed_statement, message};

/// The known differences.
pub(super) const KNOWN: &[Known] = &[
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
