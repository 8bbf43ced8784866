//! The keys of items and index entries, as bytes.
//!
//! An item's key is its partition and its sort key. A partition begins with two bytes of a hash
//! of its value, so that a Scan can be split into segments, followed by the value with its length.
//! A sort key's bytes sort as its values do and mark their own end. An index entry's key is that
//! of the index, followed by the item's key; its value is empty.

use std::ops::Bound;

use crate::expression::RangeCondition;
use crate::expression::ast::Comparison;
use crate::schema::{KeySchema, KeyType};
use crate::value::{Item, Value};

/// A range of keys.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Returns the key of an item, which was checked to have it.
pub(crate) fn item_key(key: &KeySchema, item: &Item) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write_key(key, item, &mut out);
    out
}

/// Returns the key of an item's entry in an index that contains it.
pub(crate) fn entry_key(index: &KeySchema, item: &Item, item_key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + item_key.len());
    write_key(index, item, &mut out);
    out.extend_from_slice(item_key);
    out
}

fn write_key(key: &KeySchema, item: &Item, out: &mut Vec<u8>) {
    if let Some(value) = item.get(&key.hash.name) {
        write_partition(value, out);
    }
    if let Some(range) = &key.range
        && let Some(value) = item.get(&range.name)
    {
        write_sortable(value, out);
    }
}

/// Returns the prefix of the keys of a partition.
pub(crate) fn hash_prefix(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write_partition(value, &mut out);
    out
}

fn write_partition(value: &Value, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; 4]);
    match value {
        Value::S(text) => out.extend_from_slice(text.as_bytes()),
        Value::B(bytes) => out.extend_from_slice(bytes),
        Value::N(number) => number.write_sortable(out),
        _ => {}
    }
    let content = &out[start + 4..];
    let hash = hash_of(content).to_be_bytes();
    // At most 2 kB: see the limits in the schema.
    let length = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    out[start..start + 2].copy_from_slice(&hash);
    out[start + 2..start + 4].copy_from_slice(&length);
}

/// FNV-1a, folded to 16 bits. Stored keys depend on it.
fn hash_of(bytes: &[u8]) -> u16 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = hash ^ (hash >> 32);
    let folded = folded ^ (folded >> 16);
    (folded & 0xffff) as u16
}

/// Appends a number's bytes; strings and binaries with zeros escaped, and two zeros at the end.
fn write_sortable(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::N(number) => number.write_sortable(out),
        value => {
            write_beginning(value, out);
            out.extend([0, 0]);
        }
    }
}

fn write_beginning(value: &Value, out: &mut Vec<u8>) {
    let bytes = match value {
        Value::S(text) => text.as_bytes(),
        Value::B(bytes) => bytes,
        _ => &[],
    };
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
}

/// Returns the item's key at the end of an entry's, or `None` for bytes that are not an entry of an index
/// with this key.
pub(crate) fn item_key_of_entry<'a>(index: &KeySchema, entry: &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(entry.get(2..4)?.try_into().ok()?);
    let rest = entry.get(4 + usize::from(length)..)?;
    let Some(range) = &index.range else {
        return Some(rest);
    };
    let end = if range.kind == KeyType::N {
        number_length(rest)?
    } else {
        escaped_length(rest)?
    };
    rest.get(end..)
}

/// Returns the length of the number in a sort key.
fn number_length(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        2 => Some(1),
        sign => {
            // The exponent's two bytes may have any value; the digits end with a byte that no digit has.
            let terminator = if *sign == 1 { 0xff } else { 0 };
            let digits = bytes
                .get(3..)?
                .iter()
                .position(|byte| *byte == terminator)?;
            Some(3 + digits + 1)
        }
    }
}

/// Returns the length of the string or binary in a sort key.
fn escaped_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (0, Some(0)) => return Some(at + 2),
            (0, _) => at += 2,
            _ => at += 1,
        }
    }
}

/// Returns the range of keys in a partition that meet a condition on the sort key.
pub(crate) fn range_of(hash: &Value, condition: Option<&RangeCondition>) -> KeyRange {
    let prefix = hash_prefix(hash);
    let with = |value: &Value| {
        let mut key = prefix.clone();
        write_sortable(value, &mut key);
        key
    };
    let end = || after(prefix.clone());
    match condition {
        None => (Bound::Included(prefix.clone()), end()),
        Some(RangeCondition::Compare(comparison, value)) => match comparison {
            Comparison::Less => (
                Bound::Included(prefix.clone()),
                Bound::Excluded(with(value)),
            ),
            Comparison::LessOrEqual => (Bound::Included(prefix.clone()), after(with(value))),
            Comparison::Greater => (from_after(with(value)), end()),
            Comparison::GreaterOrEqual => (Bound::Included(with(value)), end()),
            Comparison::Equal | Comparison::NotEqual => {
                (Bound::Included(with(value)), after(with(value)))
            }
        },
        Some(RangeCondition::Between(low, high)) => (Bound::Included(with(low)), after(with(high))),
        Some(RangeCondition::BeginsWith(value)) => {
            let mut start = prefix.clone();
            write_beginning(value, &mut start);
            (Bound::Included(start.clone()), after(start))
        }
    }
}

/// Returns the upper bound of all keys that begin with `prefix`.
fn after(mut prefix: Vec<u8>) -> Bound<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return Bound::Excluded(prefix);
        }
    }
    Bound::Unbounded
}

/// Returns the lower bound of all keys after those that begin with `prefix`.
fn from_after(prefix: Vec<u8>) -> Bound<Vec<u8>> {
    match after(prefix) {
        Bound::Excluded(key) => Bound::Included(key),
        other => other,
    }
}

/// Returns the range of one of `total` segments of a Scan.
pub(crate) fn segment(number: u32, total: u32) -> KeyRange {
    let first = |number: u32| {
        let hashes = u64::from(u16::MAX) + 1;
        u16::try_from(u64::from(number) * hashes / u64::from(total.max(1))).ok()
    };
    let bound = |number: u32| first(number).map(|hash| hash.to_be_bytes().to_vec());
    (
        bound(number).map_or(Bound::Excluded(vec![u8::MAX; 8]), Bound::Included),
        bound(number + 1).map_or(Bound::Unbounded, Bound::Excluded),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KeyAttribute;

    fn schema(kind: KeyType) -> KeySchema {
        let attribute = |name: &str, kind| KeyAttribute {
            name: name.to_owned(),
            kind,
        };
        KeySchema {
            hash: attribute("h", KeyType::S),
            range: Some(attribute("r", kind)),
        }
    }

    fn item(range: Value) -> Item {
        Item::from_unsorted(vec![
            ("h".into(), Value::S("p".into())),
            ("r".into(), range),
        ])
    }

    #[test]
    fn texts_sort_by_their_bytes_and_entries_end_with_the_item_key() {
        let texts = ["a", "a\0", "a\0\0b", "a\u{1}", "aa", "b"];
        let key = schema(KeyType::S);
        let keys: Vec<Vec<u8>> = texts
            .iter()
            .map(|text| entry_key(&key, &item(Value::S((*text).into())), b"\0\0item"))
            .collect();
        assert!(keys.is_sorted());
        for entry in &keys {
            assert_eq!(item_key_of_entry(&key, entry), Some(&b"\0\0item"[..]));
        }
    }

    #[test]
    fn entries_with_numbers_end_with_the_item_key() {
        let key = schema(KeyType::N);
        for text in [
            "0", "1", "-1", "1e125", "-1e-130", "255", "-25500", "12.345",
        ] {
            let number = text.parse().expect("a number");
            let entry = entry_key(&key, &item(Value::N(number)), b"\xff\0item");
            assert_eq!(
                item_key_of_entry(&key, &entry),
                Some(&b"\xff\0item"[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn segments_cover_every_key_once() {
        for total in [1, 2, 3, 7, 1000, 70_000] {
            let hash = |number: u32| segment(number, total);
            assert_eq!(hash(0).0, Bound::Included(vec![0, 0]));
            assert_eq!(hash(total - 1).1, Bound::Unbounded);
            for number in 1..total.min(2000) {
                match (hash(number - 1).1, hash(number).0) {
                    (Bound::Excluded(end), Bound::Included(start)) => assert_eq!(end, start),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
