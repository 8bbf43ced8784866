//! `mpulse sample`: a roster of invented people as CSV, for trials and measurements.
//!
//! The same arguments produce the same bytes everywhere. Memory does not depend on the number of
//! rows.

mod names;
mod phones;
mod prng;
mod roster;

use std::io::{self, Write};
use std::str::FromStr;

use clap::Args;
use mpulse_shared::member::AccountId;
use thiserror::Error;

use crate::output::unless_gone;

pub use roster::{HEADER, MAX_ROWS, Roster};

/// The default account.
const DEFAULT_ACCOUNT: &str = "4";

/// Bytes collected before they are written.
const BUFFER: usize = 64 * 1024;

/// The arguments of `mpulse sample`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mpulse sample 100000 --bad 0.01 > members.csv")]
pub struct SampleArgs {
    /// The number of rows
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(..=MAX_ROWS))]
    rows: u64,

    /// The share of invalid rows, from 0 to 1
    #[arg(long, value_name = "FRACTION", default_value = "0")]
    bad: Fraction,

    /// The seed of the random generator
    #[arg(long, default_value_t = 42)]
    seed: u64,

    /// The account of the rows; if repeated, each row has one of them [default: 4]
    #[arg(long = "account", value_name = "ID", value_parser = account_id)]
    accounts: Vec<String>,
}

/// Writes the sample to standard output. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn run(args: SampleArgs) -> io::Result<()> {
    unless_gone(write(args, &mut io::stdout().lock()))
}

fn write(args: SampleArgs, to: &mut impl Write) -> io::Result<()> {
    let accounts = if args.accounts.is_empty() {
        vec![DEFAULT_ACCOUNT.to_owned()]
    } else {
        args.accounts
    };
    let mut roster = Roster::new(args.rows, args.bad.of(args.rows), args.seed, accounts);
    let mut buffer = Vec::with_capacity(2 * BUFFER);
    buffer.extend_from_slice(HEADER.as_bytes());
    while roster.write_next(&mut buffer) {
        if buffer.len() >= BUFFER {
            to.write_all(&buffer)?;
            buffer.clear();
        }
    }
    to.write_all(&buffer)?;
    to.flush()
}

/// Validates an account id as the registry does.
///
/// # Errors
/// Returns a description of what is wrong.
pub fn account_id(text: &str) -> Result<String, String> {
    AccountId::parse(text)
        .map(|id| id.as_str().to_owned())
        .map_err(|error| error.message)
}

/// A share, exact to nine decimals: `0.01` of 1,000 rows must always be ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    billionths: u64,
}

/// The text is not a decimal from 0 to 1.
#[derive(Debug, Error)]
#[error("must be a number from 0 to 1, such as 0.01")]
pub struct NotAFraction;

impl Fraction {
    const WHOLE: u64 = 1_000_000_000;

    /// Returns this share of `count`, rounded half up.
    fn of(self, count: u64) -> u64 {
        let whole = u128::from(Self::WHOLE);
        let part = (u128::from(count) * u128::from(self.billionths) + whole / 2) / whole;
        u64::try_from(part).expect("a part is no more than the whole")
    }
}

impl FromStr for Fraction {
    type Err = NotAFraction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && decimals.is_empty()) || !digits(whole) || !digits(decimals) {
            return Err(NotAFraction);
        }
        // Padded to nine decimals; further ones are cut.
        let decimals: String = decimals
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        let billionths: u64 = format!("{whole}{decimals}")
            .parse()
            .map_err(|_| NotAFraction)?;
        if billionths > Self::WHOLE {
            return Err(NotAFraction);
        }
        Ok(Self { billionths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fraction(text: &str) -> Option<u64> {
        text.parse::<Fraction>().ok().map(|f| f.billionths)
    }

    #[test]
    fn fractions_are_read_exactly() {
        assert_eq!(fraction("0.01"), Some(10_000_000));
        assert_eq!(fraction(".5"), Some(500_000_000));
        assert_eq!(fraction("0"), Some(0));
        assert_eq!(fraction("1.0"), Some(1_000_000_000));
        assert_eq!(fraction("0.1234567899"), Some(123_456_789));
        for text in ["", ".", "1.01", "2", "-0.1", "1e-3", "0,1", "half"] {
            assert_eq!(fraction(text), None, "{text}");
        }
    }

    #[test]
    fn parts_are_rounded() {
        let part = |text: &str, of| text.parse::<Fraction>().unwrap().of(of);
        assert_eq!(part("0.01", 1000), 10);
        assert_eq!(part("0.01", 149), 1);
        assert_eq!(part("0.01", 150), 2);
        assert_eq!(part("0.333", 10), 3);
        assert_eq!(part("1", u64::MAX), u64::MAX);
        assert_eq!(part("0.5", 0), 0);
    }

    #[test]
    fn the_file_is_a_header_and_the_rows() {
        let args = SampleArgs {
            rows: 5000,
            bad: "0".parse().unwrap(),
            seed: 1,
            accounts: vec![],
        };
        let mut out = Vec::new();
        write(args, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(HEADER));
        assert_eq!(text.lines().count(), 5001);
        assert!(text[HEADER.len()..].starts_with("4,"));
    }
}
