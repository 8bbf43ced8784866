//! Where a page of a list ended, as a text that clients hand back and needn't understand. It
//! begins with a version, so that its content can change, and holds a checksum over itself
//! and the list it belongs to: a cursor that was altered, or that another list gave (other
//! filters, another key's accounts), is refused rather than half understood.
//!
//! The checksum is no signature, and needs to be none. What a request may read is decided
//! by its key and its filters, wherever its cursor points.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The first byte.
const VERSION: u8 = 1;

/// Bytes of checksum behind it.
const CHECKSUM: usize = 8;

/// The cursor of a list that goes on after `position`. `list` is whatever makes the list
/// another than others.
#[must_use]
pub fn encode(position: &str, list: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&checksum(position, list));
    bytes.extend_from_slice(position.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that a cursor holds; `None` where it is none of this list's.
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
    fn a_cursor_reads_back_in_its_own_list_alone() {
        let cursor = encode("4~1", "aid=4");
        assert_eq!(decode(&cursor, "aid=4").as_deref(), Some("4~1"));
        assert_eq!(decode(&cursor, "aid=5"), None);
    }

    #[test]
    fn every_alteration_is_noticed() {
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
