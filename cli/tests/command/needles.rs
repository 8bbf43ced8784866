//! Values that must not occur in a text, searched for in every form in which a program may write them: as they are,
//! escaped for JSON or Rust, percent-encoded, in hexadecimal and in Base64.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The shortest value: a shorter one could occur in a random text.
const SHORTEST: usize = 8;

/// Values: what each of them is, and its forms, in small letters.
#[derive(Debug, Default)]
pub struct Needles(Vec<(String, BTreeSet<String>)>);

impl Needles {
    /// Adds a value.
    #[track_caller]
    pub fn add(&mut self, what: &str, value: &str) {
        assert!(value.len() >= SHORTEST, "{what} {value:?} is too short");
        self.0.push((format!("{what} {value}"), forms(value)));
    }

    /// Returns the values that occur in a text, in letters of any case, each with the first line in which it occurs.
    pub fn found_in(&self, text: &[u8]) -> BTreeSet<String> {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        let mut found = BTreeSet::new();
        for (name, forms) in &self.0 {
            if let Some(form) = forms.iter().find(|form| text.contains(*form)) {
                let line = text.lines().find(|line| line.contains(form));
                found.insert(format!("{name} in {}", line.unwrap_or(form)));
            }
        }
        found
    }
}

/// Returns the forms of a value.
fn forms(value: &str) -> BTreeSet<String> {
    let bytes = value.as_bytes();
    let json: String = value.chars().map(json_escaped).collect();
    let percent: String = bytes.iter().map(|&byte| percent_encoded(byte)).collect();
    let hex: String = bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let rust = value.escape_default().to_string();
    let debug = value.escape_debug().to_string();
    let mut forms = BTreeSet::from([value.to_owned(), json, percent, hex, rust, debug]);
    for offset in 0..3 {
        forms.insert(in_base64(bytes, offset));
        forms.insert(in_base64(bytes, offset).replace('+', "-").replace('/', "_"));
    }
    forms.iter().map(|form| form.to_ascii_lowercase()).collect()
}

fn json_escaped(c: char) -> String {
    let mut units = [0; 2];
    match c {
        '"' | '\\' => format!("\\{c}"),
        ' '..='~' => c.to_string(),
        _ => c
            .encode_utf16(&mut units)
            .iter()
            .fold(String::new(), |json, unit| json + &format!("\\u{unit:04x}")),
    }
}

fn percent_encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// Returns the part of a Base64 text that does not depend on what is before and after the value, if the value begins
/// `offset` bytes after a multiple of three.
fn in_base64(bytes: &[u8], offset: usize) -> String {
    let padded = [&vec![0; offset], bytes].concat();
    let first = (offset * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    STANDARD_NO_PAD.encode(padded)[first..end].to_owned()
}

#[test]
fn a_value_is_found_in_every_form() {
    let mut needles = Needles::default();
    needles.add("name", "Nâchn \"Östlich\"");
    for text in [
        "x Nâchn \"Östlich\" y".to_owned(),
        serde_json::json!({"a": "Nâchn \"Östlich\""}).to_string(),
        r#"n\u00e2chn \"\u00D6stlich\""#.to_owned(),
        "/a?b=N%c3%a2chn%20%22%C3%96stlich%22&c".to_owned(),
        "0x4ec3a263686e2022c39673746c69636822".to_owned(),
        "Nâchn \"Östlich\"".escape_default().to_string(),
        STANDARD_NO_PAD.encode("Nâchn \"Östlich\""),
        STANDARD_NO_PAD.encode("1:Nâchn \"Östlich\":2"),
        URL_SAFE_NO_PAD.encode("1~Nâchn \"Östlich\""),
    ] {
        assert_eq!(needles.found_in(text.as_bytes()).len(), 1, "{text}");
    }
    assert!(needles.found_in("Nâchn Östlich".as_bytes()).is_empty());
}
