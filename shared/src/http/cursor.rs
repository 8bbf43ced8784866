//! Cursors: the position at which a page of a list ended, as an opaque text. It begins with a
//! version, and contains a checksum over itself and the list that it belongs to. A cursor that was
//! changed, or that belongs to another list (other filters, another key's accounts), is invalid.
//!
//! The checksum is not a signature and need not be one: the key and the filters decide what a
//! request may read, whatever the position of the cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The first byte.
const VERSION: u8 = 1;

/// Bytes of the checksum, which follows.
const CHECKSUM: usize = 8;

/// Returns the cursor of a list that continues after `position`. `list` is everything that
/// distinguishes the list from others.
#[must_use]
pub fn encode(position: &str, list: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&checksum(position, list));
    bytes.extend_from_slice(position.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the position of a cursor, or `None` if it does not belong to this list.
#[must_use]
pub fn decode(cursor: &str, list: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (&version, rest) = bytes.split_first()?;
    let (sum, position) = rest.split_at_checked(CHECKSUM)?;
    let position = std::str::from_utf8(position).ok()?;
    let whole = version == VERSION && sum == checksum(position, list);
    whole.then(|| position.to_owned())
}

fn checksum(position: &str, list: &str) -> [u8; CHECKSUM] {
    let mut hash = Sha256::new();
    hash.update([VERSION]);
    hash.update(list.as_bytes());
    hash.update([0]);
    hash.update(position.as_bytes());
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hash.finalize()[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_valid_for_its_own_list_only() {
        let cursor = encode("4~1", "aid=4");
        assert_eq!(decode(&cursor, "aid=4").as_deref(), Some("4~1"));
        assert_eq!(decode(&cursor, "aid=5"), None);
    }

    #[test]
    fn every_change_is_detected() {
        let cursor = encode("4~1", "");
        for at in 0..cursor.len() {
            for other in ['A', 'b', '3', '_'] {
                let mut altered = cursor.clone();
                altered.replace_range(at..=at, &other.to_string());
                assert!(
                    altered == cursor || decode(&altered, "").is_none(),
                    "{altered}"
                );
            }
        }
        for text in ["", "x", "AQ", "!", &format!("{cursor}A"), &cursor[1..]] {
            assert_eq!(decode(text, ""), None, "{text}");
        }
    }
}
