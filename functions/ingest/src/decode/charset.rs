//! Charsets: which one a file has, and its conversion to UTF-8.
//!
//! A legacy charset is never guessed: the batch names it. UTF-16 is recognised by its mark, or by its NUL bytes.

use bytes::Bytes;
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// The byte that takes the place of bytes that the charset does not have. It occurs in no UTF-8 text, so the row is
/// rejected.
const UNDECODABLE: u8 = 0xFF;

/// Returns the charset of a label of the WHATWG Encoding Standard, unless it is UTF-8.
pub fn by_label(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).filter(|&charset| charset != UTF_8)
}

/// Returns the charset of a file that begins with these bytes; `None` for UTF-8. A mark takes precedence over
/// the label, as in browsers.
pub fn of(head: &[u8], label: Option<&str>) -> Option<&'static Encoding> {
    match Encoding::for_bom(head) {
        Some((charset, _)) => Some(charset).filter(|&charset| charset != UTF_8),
        None => match label {
            Some(label) => by_label(label),
            None => utf16(head),
        },
    }
}

/// Returns UTF-16 if the bytes are Latin text in it: nearly every second byte is NUL, and none of the others.
fn utf16(head: &[u8]) -> Option<&'static Encoding> {
    let pairs = head.chunks_exact(2);
    let count = pairs.len();
    let nul = |at: usize| pairs.clone().filter(|pair| pair[at] == 0).count();
    match (nul(0), nul(1)) {
        (0, high) if high > 0 && high * 10 >= count * 9 => Some(UTF_16LE),
        (high, 0) if high > 0 && high * 10 >= count * 9 => Some(UTF_16BE),
        _ => None,
    }
}

/// Returns the name of the most likely legacy charset of bytes that are not UTF-8.
pub fn guess(bytes: &[u8]) -> &'static str {
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, chardetng::Utf8Detection::Deny).name()
}

/// Converts a stream of bytes to UTF-8.
#[derive(Debug)]
pub struct CharsetDecoder {
    decoder: encoding_rs::Decoder,
}

impl CharsetDecoder {
    /// Creates a decoder of a charset. It removes a byte order mark.
    pub fn new(charset: &'static Encoding) -> Self {
        Self {
            decoder: charset.new_decoder_with_bom_removal(),
        }
    }

    /// Converts the next bytes.
    pub fn decode(&mut self, bytes: &[u8]) -> Bytes {
        self.convert(bytes, false)
    }

    /// Converts what an incomplete character at the end has left.
    pub fn finish(&mut self) -> Bytes {
        self.convert(&[], true)
    }

    fn convert(&mut self, mut bytes: &[u8], last: bool) -> Bytes {
        let mut text = vec![0; bytes.len() * 3 / 2 + 64];
        let mut written = 0;
        loop {
            let (result, read, wrote) =
                self.decoder
                    .decode_to_utf8_without_replacement(bytes, &mut text[written..], last);
            bytes = &bytes[read..];
            written += wrote;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    if written == text.len() {
                        text.push(0);
                    }
                    text[written] = UNDECODABLE;
                    written += 1;
                }
            }
            if text.len() - written < 16 {
                text.resize(text.len() * 2, 0);
            }
        }
        text.truncate(written);
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(label: &str, bytes: &[u8], size: usize) -> Vec<u8> {
        let mut decoder = CharsetDecoder::new(by_label(label).unwrap());
        let mut text = Vec::new();
        for chunk in bytes.chunks(size) {
            text.extend_from_slice(&decoder.decode(chunk));
        }
        text.extend_from_slice(&decoder.finish());
        text
    }

    #[test]
    fn text_does_not_depend_on_how_bytes_arrive() {
        let utf16: Vec<u8> = "\u{FEFF}Zoë 李\u{1F600}\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for size in 1..=utf16.len() {
            assert_eq!(
                decode("utf-16le", &utf16, size),
                "Zoë 李\u{1F600}\n".as_bytes()
            );
            assert_eq!(
                decode("windows-1252", b"Jos\xE9\n", size),
                "José\n".as_bytes()
            );
        }
    }

    #[test]
    fn bytes_that_the_charset_lacks_are_not_utf8() {
        let text = decode("utf-16le", &[0x41, 0x00, 0x00, 0xD8, 0x42, 0x00], 3);
        assert_eq!(text, [b'A', UNDECODABLE, b'B']);
        assert_eq!(decode("shift_jis", b"A\x81", 9), [b'A', UNDECODABLE]);
    }

    #[test]
    fn a_charset_is_recognised_by_its_mark_or_named() {
        let name = |head: &[u8], label| of(head, label).map(Encoding::name);
        assert_eq!(name(b"\xFF\xFEa\0", None), Some("UTF-16LE"));
        assert_eq!(name(b"\xFE\xFF\0a", Some("windows-1252")), Some("UTF-16BE"));
        assert_eq!(name(b"\xEF\xBB\xBFa", Some("latin1")), None);
        assert_eq!(name(b"a\0c\0c\0o\0", None), Some("UTF-16LE"));
        assert_eq!(name(b"\0a\0c\0c\0o", None), Some("UTF-16BE"));
        assert_eq!(name(b"abc", Some("latin1")), Some("windows-1252"));
        assert_eq!(name(b"abc", Some("utf8")), None);
        assert_eq!(name(b"", None), None);
        assert_eq!(name(b"\0\0\0\0", None), None);
    }

    #[test]
    fn short_western_text_is_guessed() {
        assert_eq!(guess(b"4,a18,Jos\xE9,Lee,7145550123"), "windows-1252");
    }
}
