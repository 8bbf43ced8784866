//! Ids in the form of a UUID, as AWS gives them to invocations and events.

use ulid::Ulid;

/// Returns a new id. Ids sort by the time at which they were made.
pub(crate) fn uuid() -> String {
    let hex = format!("{:032x}", Ulid::generate().0);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
