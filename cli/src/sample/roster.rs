//! The rows of a sample: valid ones, and exactly the requested number of invalid ones.
//!
//! Row `n` depends on the seed, `n` and the accounts only, so a longer sample begins with the
//! shorter one's people. Which rows are invalid depends on the length too: they are selected by
//! selection sampling (Knuth, vol. 2, algorithm S), which spreads a fixed number of them evenly and
//! needs no memory.
//!

use std::fmt::Write;

use super::prng::{Prng, mix};
use super::{names, phones};

/// The header of every sample.
pub const HEADER: &str = "account_id,client_member_id,first_name,last_name,phone_number\n";

/// The maximum number of rows of a sample: up to here client member ids are unique.
pub const MAX_ROWS: u64 = 1 << 32;

/// The first client member id, so that all have ten digits.
const FIRST_ID: u64 = 1_000_000_000;

/// The defects of invalid rows. The registry rejects each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No phone number.
    MissingPhone,
    /// Fewer digits than any American number.
    ShortPhone,
    /// A word instead of a number.
    LettersInPhone,
    /// No first name, or spaces only.
    EmptyFirstName,
    /// An account id with invalid characters.
    BadAccount,
    /// A comma too few.
    TooFewFields,
    /// A comma too many.
    TooManyFields,
    /// A placeholder phone number.
    PlaceholderPhone,
    /// A client member id that a spreadsheet has changed.
    ScientificClientId,
    /// A client member id of more than 64 characters.
    LongClientId,
    /// A name in Latin-1.
    NotUtf8,
}

impl Fault {
    /// All of them, in the order in which a sample uses them in turn.
    pub const ALL: [Self; 11] = [
        Self::MissingPhone,
        Self::ShortPhone,
        Self::LettersInPhone,
        Self::EmptyFirstName,
        Self::BadAccount,
        Self::TooFewFields,
        Self::PlaceholderPhone,
        Self::NotUtf8,
        Self::ScientificClientId,
        Self::TooManyFields,
        Self::LongClientId,
    ];
}

/// A generator of rows.
#[derive(Debug)]
pub struct Roster {
    seed: u64,
    accounts: Vec<String>,
    /// The total number of rows.
    rows: u64,
    /// Rows generated.
    made: u64,
    /// Invalid rows still to generate.
    bad_left: u64,
    /// Invalid rows generated, to use the defects in turn.
    bad_made: usize,
    /// Selects which rows are invalid.
    choice: Prng,
    row: Row,
}

/// The fields of the current row; reused, so that a row allocates nothing.
#[derive(Debug, Default)]
struct Row {
    account: String,
    client_id: String,
    first_name: String,
    last_name: String,
    phone: String,
}

impl Roster {
    /// Creates a sample of `rows` rows (at most [`MAX_ROWS`]), of which `bad` are invalid, over at
    /// least one account.
    #[must_use]
    pub fn new(rows: u64, bad: u64, seed: u64, accounts: Vec<String>) -> Self {
        Self {
            seed,
            accounts,
            rows,
            made: 0,
            bad_left: bad.min(rows),
            bad_made: 0,
            choice: Prng::new(mix(seed) ^ rows),
            row: Row::default(),
        }
    }

    /// Appends the next row with its line end; returns false, and appends nothing, after the last.
    pub fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.made == self.rows {
            return false;
        }
        let index = self.made;
        let mut prng = Prng::stream(self.seed, index);
        self.row
            .fill(&mut prng, &self.accounts, client_id(self.seed, index));
        match self.fault() {
            None => self.row.write(out),
            Some(fault) => self.row.write_bad(fault, &mut prng, out),
        }
        self.made += 1;
        true
    }

    /// Selects the defect of the current row, if any.
    fn fault(&mut self) -> Option<Fault> {
        let left = self.rows - self.made;
        let chosen = self.bad_left > 0 && self.choice.next() % left < self.bad_left;
        chosen.then(|| {
            let fault = Fault::ALL[self.bad_made % Fault::ALL.len()];
            self.bad_left -= 1;
            self.bad_made += 1;
            fault
        })
    }
}

/// Returns the client member id of a row: a bijection of 32-bit numbers in no visible order, like
/// the ids in a roster that is sorted by name.
fn client_id(seed: u64, index: u64) -> u64 {
    let low = |value: u64| (value & 0xFFFF_FFFF) as u32;
    let mut id = low(index).wrapping_mul(0x9E37_79B1);
    id ^= id >> 16;
    id = id.wrapping_mul(0x85EB_CA6B);
    id ^= id >> 13;
    id ^= low(mix(seed));
    FIRST_ID + u64::from(id)
}

impl Row {
    fn fill(&mut self, prng: &mut Prng, accounts: &[String], client_id: u64) {
        for field in [
            &mut self.account,
            &mut self.client_id,
            &mut self.first_name,
            &mut self.last_name,
            &mut self.phone,
        ] {
            field.clear();
        }
        names::write_first(prng, &mut self.first_name);
        names::write_last(prng, &mut self.last_name);
        phones::write(prng, &mut self.phone);
        let account = prng.below(u32::try_from(accounts.len()).unwrap_or(u32::MAX));
        self.account.push_str(&accounts[account as usize]);
        write!(self.client_id, "{client_id}").expect("writing to a string can't fail");
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_fields(
            out,
            &[
                self.account.as_bytes(),
                self.client_id.as_bytes(),
                self.first_name.as_bytes(),
                self.last_name.as_bytes(),
                self.phone.as_bytes(),
            ],
        );
    }

    fn write_bad(&mut self, fault: Fault, prng: &mut Prng, out: &mut Vec<u8>) {
        match fault {
            Fault::MissingPhone => self.phone.clear(),
            Fault::ShortPhone => {
                replace(&mut self.phone, prng.pick(&["55501", "714-55", "+1 714"]));
            }
            Fault::LettersInPhone => replace(
                &mut self.phone,
                prng.pick(&[
                    "unknown",
                    "714-555-O1Z3",
                    "ask reception",
                    "n/a",
                    "714555012x",
                ]),
            ),
            Fault::EmptyFirstName => replace(&mut self.first_name, prng.pick(&["", " "])),
            Fault::BadAccount => {
                replace(&mut self.account, prng.pick(&["acct 4", "4/7", "", "Nº4"]));
            }
            Fault::PlaceholderPhone => replace(
                &mut self.phone,
                prng.pick(&["0000000000", "(000) 000-0000", "1234567890", "999-999-9999"]),
            ),
            Fault::ScientificClientId => {
                let digits = &self.client_id;
                let exponent = digits.len() - 1;
                self.client_id = format!("{}.{}E+{exponent:02}", &digits[..1], &digits[1..6]);
            }
            Fault::LongClientId => {
                let digits = self.client_id.clone();
                for _ in 0..6 {
                    self.client_id.push('-');
                    self.client_id.push_str(&digits);
                }
            }
            Fault::TooFewFields => {
                let (client_id, phone) = (self.client_id.as_bytes(), self.phone.as_bytes());
                let (first, last) = (self.first_name.as_bytes(), self.last_name.as_bytes());
                write_fields(out, &[client_id, first, last, phone]);
                return;
            }
            Fault::TooManyFields => {
                self.write(out);
                out.pop();
                out.extend_from_slice(prng.pick::<&[u8]>(&[b",x\n", b",moved\n", b",,,1\n"]));
                return;
            }
            Fault::NotUtf8 => {
                let fields = [
                    self.account.as_bytes(),
                    self.client_id.as_bytes(),
                    prng.pick::<&[u8]>(&[b"Jos\xE9", b"Zo\xEB", b"Fran\xE7ois", b"J\xFCrgen"]),
                    self.last_name.as_bytes(),
                    self.phone.as_bytes(),
                ];
                write_fields(out, &fields);
                return;
            }
        }
        self.write(out);
    }
}

fn replace(field: &mut String, with: &str) {
    field.clear();
    field.push_str(with);
}

/// Appends the fields as one line, quoted where RFC 4180 requires it.
fn write_fields(out: &mut Vec<u8>, fields: &[&[u8]]) {
    for (n, field) in fields.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        if field
            .iter()
            .any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n'))
        {
            out.push(b'"');
            for &byte in *field {
                if byte == b'"' {
                    out.push(b'"');
                }
                out.push(byte);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(field);
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mpulse_shared::member::{Field, RawProfile, Rules};

    use super::*;

    fn text(mut roster: Roster) -> Vec<u8> {
        let mut out = Vec::new();
        while roster.write_next(&mut out) {}
        out
    }

    fn sample(rows: u64, bad: u64, seed: u64) -> Vec<u8> {
        text(Roster::new(rows, bad, seed, vec!["4".into()]))
    }

    /// Reads the records of a CSV with an independent reader.
    fn records(csv: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let mut reader = csv_core::Reader::new();
        let (mut input, mut fields, mut records) = (csv, Vec::new(), Vec::new());
        let (mut field, mut buffer) = (Vec::new(), [0; 256]);
        loop {
            let (result, read, wrote) = reader.read_field(input, &mut buffer);
            input = &input[read..];
            field.extend_from_slice(&buffer[..wrote]);
            match result {
                csv_core::ReadFieldResult::Field { record_end } => {
                    fields.push(std::mem::take(&mut field));
                    if record_end {
                        records.push(std::mem::take(&mut fields));
                    }
                }
                csv_core::ReadFieldResult::End => return records,
                _ => {}
            }
        }
    }

    /// Returns whether the registry accepts the row.
    fn is_good(record: &[Vec<u8>]) -> bool {
        let rules = Rules {
            region: "US".parse().expect("a country"),
        };
        let texts: Result<Vec<&str>, _> = record.iter().map(|f| std::str::from_utf8(f)).collect();
        let Ok(texts) = texts else { return false };
        if texts.len() != Field::ALL.len() {
            return false;
        }
        let mut raw = RawProfile::default();
        for (field, text) in Field::ALL.into_iter().zip(texts) {
            raw.set(field, text);
        }
        rules.check(&raw).is_ok()
    }

    #[test]
    fn a_seed_is_one_sample() {
        assert_eq!(sample(500, 20, 42), sample(500, 20, 42));
        assert_ne!(sample(500, 20, 42), sample(500, 20, 43));
    }

    /// The first rows of seed 42. They must not change from one version to the next, so that a
    /// noted seed stays meaningful.
    #[test]
    fn a_seed_stays_the_same_sample() {
        let text = String::from_utf8(sample(3, 0, 42)).unwrap();
        assert_eq!(text, include_str!("seed-42.txt"));
    }

    #[test]
    fn a_longer_sample_begins_with_the_shorter() {
        let (short, long) = (sample(100, 0, 42), sample(1000, 0, 42));
        assert_eq!(short, long[..short.len()]);
    }

    #[test]
    fn every_good_row_is_accepted_and_its_own() {
        let records = records(&sample(20_000, 0, 7));
        assert_eq!(records.len(), 20_000);
        let mut ids = HashSet::new();
        for record in &records {
            assert!(is_good(record), "{record:?}");
            assert!(ids.insert(&record[1]), "{record:?}");
        }
    }

    #[test]
    fn bad_rows_are_counted_and_spread() {
        for (rows, bad) in [
            (1000, 0),
            (1000, 1),
            (1000, 37),
            (1000, 1000),
            (10_000, 100),
        ] {
            let records = records(&sample(rows, bad, 42));
            assert_eq!(records.len() as u64, rows);
            let at: Vec<usize> = (0..records.len())
                .filter(|&n| !is_good(&records[n]))
                .collect();
            assert_eq!(at.len() as u64, bad);
            if bad == 100 {
                let in_first_half = at.iter().filter(|&&n| n < records.len() / 2).count();
                assert!((30..=70).contains(&in_first_half), "{in_first_half}");
            }
        }
    }

    #[test]
    fn every_defect_is_rejected() {
        for seed in 0..50 {
            let faults = Fault::ALL.len() as u64;
            for (record, fault) in records(&sample(faults, faults, seed))
                .iter()
                .zip(Fault::ALL)
            {
                assert!(!is_good(record), "{fault:?}: {record:?}");
            }
        }
    }

    #[test]
    fn names_contain_what_breaks_naive_readers() {
        let text = String::from_utf8(sample(5000, 0, 42)).unwrap();
        for piece in [
            ", Jr.\"", "\"\"", "Zoë", "José", "Nguyễn", "O'Brien", "D'Angelo",
        ] {
            assert!(text.contains(piece), "{piece}");
        }
    }

    #[test]
    fn accounts_share_the_rows() {
        let accounts = vec!["4".to_owned(), "acme".to_owned()];
        let records = records(&text(Roster::new(1000, 0, 42, accounts)));
        let of_acme = records.iter().filter(|r| r[0] == b"acme").count();
        assert!((400..600).contains(&of_acme), "{of_acme}");
    }

    #[test]
    fn client_ids_are_ten_digits_and_differ() {
        let ids: HashSet<u64> = (0..100_000).map(|n| client_id(42, n)).collect();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.iter().all(|id| (FIRST_ID..10 * FIRST_ID).contains(id)));
    }
}
