//! The known differences between the embedded engine and its peers. Each is settled by AWS's documentation, or is
//! listed because AWS does not document the case. The crate's README has the same tables with the sources.

mod dynoxide;
mod ministack;

use crate::engines::Response;
use crate::requests::Request;

/// The engine that the embedded one is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// dynoxide, in the process of the test.
    Dynoxide,
    /// MiniStack, at a URL.
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
        let known = match self {
            Self::Dynoxide => dynoxide::KNOWN,
            Self::MiniStack => ministack::KNOWN,
        };
        let explains = |known: &&Known| (known.explains)(request, own, peer);
        known.iter().find(explains).map(|known| known.name)
    }
}

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
