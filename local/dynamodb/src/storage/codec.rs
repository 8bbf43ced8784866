//! The encoding of items as bytes.
//!
//! The first byte is the version of the encoding, followed by the number of attributes and each
//! attribute's name and value. Lengths and counts are variable-length integers, seven bits a
//! byte, lowest first. A value is a byte for its type, and its content.

use crate::value::{Item, Number, Value};

const VERSION: u8 = 1;

const S: u8 = 1;
const N: u8 = 2;
const B: u8 = 3;
const FALSE: u8 = 4;
const TRUE: u8 = 5;
const NULL: u8 = 6;
const L: u8 = 7;
const M: u8 = 8;
const SS: u8 = 9;
const NS: u8 = 10;
const BS: u8 = 11;

/// Encodes an item.
pub(crate) fn encode(item: &Item) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + item.size() + 4 * item.len());
    out.push(VERSION);
    write_map(item, &mut out);
    out
}

/// Decodes an item; `None` for bytes that [`encode`] did not write.
pub(crate) fn decode(bytes: &[u8]) -> Option<Item> {
    let (VERSION, mut rest) = bytes.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    let item = read_map(&mut rest)?;
    rest.is_empty().then_some(item)
}

fn write_length(mut length: u128, out: &mut Vec<u8>) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len() as u128, out);
    out.extend_from_slice(bytes);
}

fn write_map(map: &Item, out: &mut Vec<u8>) {
    write_length(map.len() as u128, out);
    for (name, value) in map.iter() {
        write_bytes(name.as_bytes(), out);
        write_value(value, out);
    }
}

fn write_all<T>(kind: u8, all: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(kind);
    write_length(all.len() as u128, out);
    for one in all {
        write(one, out);
    }
}

fn write_number(number: Number, out: &mut Vec<u8>) {
    let (negative, coefficient, exponent) = number.parts();
    let exponent = i16::try_from(exponent).unwrap_or(0);
    // The exponent of a canonical number is far within 15 bits; the sign takes the 16th.
    out.extend((exponent << 1 | i16::from(negative)).to_le_bytes());
    write_length(coefficient, out);
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::S(text) => {
            out.push(S);
            write_bytes(text.as_bytes(), out);
        }
        Value::N(number) => {
            out.push(N);
            write_number(*number, out);
        }
        Value::B(bytes) => {
            out.push(B);
            write_bytes(bytes, out);
        }
        Value::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        Value::Null => out.push(NULL),
        Value::L(values) => write_all(L, values, out, write_value),
        Value::M(map) => {
            out.push(M);
            write_map(map, out);
        }
        Value::Ss(texts) => write_all(SS, texts, out, |text, out| {
            write_bytes(text.as_bytes(), out);
        }),
        Value::Ns(numbers) => write_all(NS, numbers, out, |number, out| {
            write_number(*number, out);
        }),
        Value::Bs(all) => write_all(BS, all, out, |bytes, out| write_bytes(bytes, out)),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn read_integer(rest: &mut &[u8]) -> Option<u128> {
    let mut length = 0;
    for shift in (0..128).step_by(7) {
        let byte = take(rest, 1)?[0];
        length |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}

fn read_length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(read_integer(rest)?).ok()
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_length(rest)?;
    take(rest, length)
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    std::str::from_utf8(read_bytes(rest)?)
        .ok()
        .map(str::to_owned)
}

fn read_map(rest: &mut &[u8]) -> Option<Item> {
    read_all(rest, |rest| Some((read_text(rest)?, read_value(rest)?))).map(Item::from_unsorted)
}

fn read_all<T>(rest: &mut &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = read_length(rest)?;
    // Each takes at least one byte, so that a wrong count cannot allocate more memory than that.
    let mut all = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        all.push(read(rest)?);
    }
    Some(all)
}

fn read_number(rest: &mut &[u8]) -> Option<Number> {
    let packed = i16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
    let coefficient = read_integer(rest)?;
    Some(Number::from_parts(
        packed & 1 == 1,
        coefficient,
        i32::from(packed >> 1),
    ))
}

fn read_value(rest: &mut &[u8]) -> Option<Value> {
    Some(match take(rest, 1)?[0] {
        S => Value::S(read_text(rest)?),
        N => Value::N(read_number(rest)?),
        B => Value::B(read_bytes(rest)?.to_vec()),
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        NULL => Value::Null,
        L => Value::L(read_all(rest, read_value)?),
        M => Value::M(read_map(rest)?),
        SS => Value::Ss(read_all(rest, read_text)?),
        NS => Value::Ns(read_all(rest, read_number)?),
        BS => Value::Bs(read_all(rest, |rest| read_bytes(rest).map(<[u8]>::to_vec))?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_read_back() {
        let json = r#"{"s":{"S":"äöü"},"n":{"N":"-12345678901234567890123456789012345678e80"},
            "z":{"N":"0"},"b":{"B":"AAEC"},"t":{"BOOL":true},"f":{"BOOL":false},"0":{"NULL":true},
            "l":{"L":[{"S":""},{"L":[]},{"M":{"x":{"N":"1.5"}}}]},"m":{"M":{}},
            "ss":{"SS":["b","a"]},"ns":{"NS":["1","-1e-130"]},"bs":{"BS":["AA==","AQ=="]}}"#;
        let item: Item = serde_json::from_str(json).expect("an item");
        let bytes = encode(&item);
        assert_eq!(decode(&bytes), Some(item));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
    }
}
