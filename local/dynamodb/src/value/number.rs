//! DynamoDB's numbers: decimals of up to 38 significant digits, exact.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The maximum number of significant digits of a number (an AWS limit).
const MAX_DIGITS: u32 = 38;
/// Magnitudes range from 1E-130 to 9.99…E+125 (an AWS limit).
const MIN_MAGNITUDE: i32 = -130;
const MAX_MAGNITUDE: i32 = 125;

/// A text or a result that is not a DynamoDB number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NumberError {
    #[error("The parameter cannot be converted to a numeric value: {0}")]
    NotANumber(String),
    #[error("The parameter cannot be converted to a numeric value")]
    Empty,
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooPrecise,
    #[error(
        "Number overflow. Attempting to store a number with magnitude larger than supported range"
    )]
    Overflow,
    #[error(
        "Number underflow. Attempting to store a number with magnitude smaller than supported range"
    )]
    Underflow,
}

/// `±coefficient × 10^exponent`. The coefficient has no trailing zeros, and zero is
/// `0 × 10^0` and not negative, so that equal numbers are equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    negative: bool,
    coefficient: u128,
    exponent: i32,
}

impl Number {
    const ZERO: Self = Self {
        negative: false,
        coefficient: 0,
        exponent: 0,
    };

    fn normalised(
        negative: bool,
        mut coefficient: u128,
        mut exponent: i32,
    ) -> Result<Self, NumberError> {
        if coefficient == 0 {
            return Ok(Self::ZERO);
        }
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent += 1;
        }
        let number = Self {
            negative,
            coefficient,
            exponent,
        };
        if number.magnitude() > MAX_MAGNITUDE {
            return Err(NumberError::Overflow);
        }
        if number.magnitude() < MIN_MAGNITUDE {
            return Err(NumberError::Underflow);
        }
        if number.digits() > MAX_DIGITS {
            return Err(NumberError::TooPrecise);
        }
        Ok(number)
    }

    /// Returns the number of significant digits; 0 for zero.
    fn digits(self) -> u32 {
        self.coefficient.checked_ilog10().map_or(0, |log| log + 1)
    }

    /// Returns the exponent in scientific notation.
    fn magnitude(self) -> i32 {
        self.exponent + i32::try_from(self.digits()).unwrap_or(0) - 1
    }

    /// Returns its part of an item's size, in bytes: a byte for each two digits, one more, and one for
    /// the sign of a negative number.
    pub(crate) fn size(self) -> usize {
        let digits = self.digits();
        // Digits are paired on each side of the decimal point.
        let whole = u32::try_from(self.magnitude() + 1).map_or(0, |whole| whole.min(digits));
        let pairs = whole.div_ceil(2) + (digits - whole).div_ceil(2);
        pairs as usize + 1 + usize::from(self.negative)
    }

    /// The sum.
    pub(crate) fn add(self, other: Self) -> Result<Self, NumberError> {
        if self.coefficient == 0 {
            return Ok(other);
        }
        if other.coefficient == 0 {
            return Ok(self);
        }
        let (high, low) = if self.exponent >= other.exponent {
            (self, other)
        } else {
            (other, self)
        };
        // A value that does not fit into 128 bits has more than 38 significant digits: the last digit of
        // the number with the lower exponent is not zero, and is kept.
        let shift = u32::try_from(high.exponent - low.exponent).unwrap_or(u32::MAX);
        let scaled = 10_u128
            .checked_pow(shift)
            .and_then(|factor| high.coefficient.checked_mul(factor))
            .ok_or(NumberError::TooPrecise)?;
        let (negative, coefficient) = if high.negative == low.negative {
            let sum = scaled
                .checked_add(low.coefficient)
                .ok_or(NumberError::TooPrecise)?;
            (high.negative, sum)
        } else if scaled >= low.coefficient {
            (high.negative, scaled - low.coefficient)
        } else {
            (low.negative, low.coefficient - scaled)
        };
        Self::normalised(negative, coefficient, low.exponent)
    }

    /// The difference.
    pub(crate) fn subtract(self, other: Self) -> Result<Self, NumberError> {
        self.add(Self {
            negative: !other.negative && other.coefficient != 0,
            ..other
        })
    }

    /// Appends bytes that sort as the numbers do, and that mark their own end.
    pub(crate) fn write_sortable(self, out: &mut Vec<u8>) {
        if self.coefficient == 0 {
            out.push(2);
            return;
        }
        let start = out.len();
        let biased = u16::try_from(self.magnitude() + 1000).unwrap_or(0);
        out.extend(biased.to_be_bytes());
        let text = self.coefficient.to_string();
        for pair in text.as_bytes().chunks(2) {
            let ones = pair.get(1).map_or(0, |digit| digit - b'0');
            out.push((pair[0] - b'0') * 10 + ones + 1);
        }
        out.push(0);
        if self.negative {
            for byte in &mut out[start..] {
                *byte = !*byte;
            }
        }
        out.insert(start, if self.negative { 1 } else { 3 });
    }

    /// Returns the parts, for storing it.
    pub(crate) fn parts(self) -> (bool, u128, i32) {
        (self.negative, self.coefficient, self.exponent)
    }

    /// Creates the number from stored parts.
    pub(crate) fn from_parts(negative: bool, coefficient: u128, exponent: i32) -> Self {
        Self {
            negative,
            coefficient,
            exponent,
        }
    }

    /// Returns whole seconds, for times; `None` if it is out of range.
    pub(crate) fn to_i64(self) -> Option<i64> {
        let coefficient = i64::try_from(self.coefficient).ok()?;
        let size = if self.exponent >= 0 {
            coefficient.checked_mul(10_i64.checked_pow(self.exponent.unsigned_abs())?)?
        } else {
            coefficient / 10_i64.checked_pow(self.exponent.unsigned_abs())?
        };
        Some(if self.negative { -size } else { size })
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        let mut coefficient = value as u128;
        let mut exponent = 0;
        while coefficient != 0 && coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent += 1;
        }
        Self {
            negative: false,
            coefficient,
            exponent,
        }
    }
}

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        if text.is_empty() {
            return Err(NumberError::Empty);
        }
        let not_a_number = || NumberError::NotANumber(text.to_owned());
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, power) = match rest.find(['e', 'E']) {
            Some(at) => (
                &rest[..at],
                parse_exponent(&rest[at + 1..]).ok_or_else(not_a_number)?,
            ),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        if whole.len() + fraction.len() == 0 || !digits().all(|digit| digit.is_ascii_digit()) {
            return Err(not_a_number());
        }
        let fraction_length = i32::try_from(fraction.len()).map_err(|_| not_a_number())?;
        let mut exponent = power.saturating_sub(fraction_length);
        // Leading zeros are dropped; trailing zeros move into the exponent.
        let significant: Vec<u8> = digits().skip_while(|digit| *digit == b'0').collect();
        let length = significant.iter().rposition(|digit| *digit != b'0');
        let length = length.map_or(0, |last| last + 1);
        let zeros = i32::try_from(significant.len() - length).map_err(|_| not_a_number())?;
        exponent = exponent.saturating_add(zeros);
        let mut coefficient = 0_u128;
        for digit in &significant[..length.min(MAX_DIGITS as usize)] {
            coefficient = coefficient * 10 + u128::from(digit - b'0');
        }
        if length > MAX_DIGITS as usize {
            let more = i32::try_from(length).unwrap_or(i32::MAX) - 1;
            return Err(match exponent.saturating_add(more) {
                magnitude if magnitude > MAX_MAGNITUDE => NumberError::Overflow,
                magnitude if magnitude < MIN_MAGNITUDE => NumberError::Underflow,
                _ => NumberError::TooPrecise,
            });
        }
        Self::normalised(negative, coefficient, exponent)
    }
}

/// Reads an exponent of digits; one far out of range is replaced by a smaller one that still is.
fn parse_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i32>().unwrap_or(i32::MAX).min(100_000);
    Some(if text.starts_with('-') { -size } else { size })
}

impl fmt::Display for Number {
    /// Formats it without an exponent, as DynamoDB does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let digits = self.coefficient.to_string();
        if self.exponent >= 0 {
            let zeros = usize::try_from(self.exponent).unwrap_or(0);
            return write!(f, "{digits}{:0<zeros$}", "");
        }
        let places = usize::try_from(-self.exponent).unwrap_or(0);
        if places >= digits.len() {
            let zeros = places - digits.len();
            return write!(f, "0.{:0<zeros$}{digits}", "");
        }
        let (whole, fraction) = digits.split_at(digits.len() - places);
        write!(f, "{whole}.{fraction}")
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.coefficient, number.negative) {
            (0, _) => 0,
            (_, false) => 1,
            (_, true) => -1,
        };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal || self.coefficient == 0 {
            return by_sign;
        }
        let by_size = self.magnitude().cmp(&other.magnitude()).then_with(|| {
            let scale =
                |number: &Self| number.coefficient * 10_u128.pow(MAX_DIGITS - number.digits());
            scale(self).cmp(&scale(other))
        });
        if self.negative {
            by_size.reverse()
        } else {
            by_size
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        text.parse().expect("a number")
    }

    #[test]
    fn numbers_have_one_text() {
        let cases = [
            ("0", "0"),
            ("-0.0", "0"),
            ("1e2", "100"),
            ("+1.50", "1.5"),
            ("00012.3400", "12.34"),
            ("-1E-3", "-0.001"),
            (".5", "0.5"),
            ("5.", "5"),
            (
                "99999999999999999999999999999999999999",
                "99999999999999999999999999999999999999",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(number(text).to_string(), wanted, "{text}");
        }
        assert_eq!(number("9.99e125").to_string().len(), 126);
        assert_eq!(number("1e-130").to_string().len(), 132);
    }

    #[test]
    fn invalid_numbers_are_rejected() {
        let refused = |text: &str| text.parse::<Number>().expect_err(text);
        for text in [
            "a", "1e", "1.2.3", "--1", "e5", ".", " 1", "1 ", "NaN", "Infinity", "1e+-2",
        ] {
            assert_eq!(refused(text), NumberError::NotANumber(text.to_owned()));
        }
        assert_eq!(refused(""), NumberError::Empty);
        assert_eq!(refused("1e126"), NumberError::Overflow);
        assert_eq!(refused("-1e999999999999"), NumberError::Overflow);
        assert_eq!(refused("1e-131"), NumberError::Underflow);
        assert_eq!(
            refused("1.00000000000000000000000000000000000001"),
            NumberError::TooPrecise
        );
    }

    #[test]
    fn sums_are_exact() {
        let cases = [
            ("0.1", "0.2", "0.3"),
            ("-1", "1", "0"),
            ("1e38", "-1", "99999999999999999999999999999999999999"),
            ("5", "-7.5", "-2.5"),
            ("1e125", "0", "1e125"),
        ];
        for (a, b, wanted) in cases {
            assert_eq!(number(a).add(number(b)), Ok(number(wanted)));
            assert_eq!(number(b).add(number(a)), Ok(number(wanted)));
            assert_eq!(number(wanted).subtract(number(b)), Ok(number(a)));
        }
        assert_eq!(
            number("1e38").add(number("1")),
            Err(NumberError::TooPrecise)
        );
        assert_eq!(
            number("1e100").add(number("1e-100")),
            Err(NumberError::TooPrecise)
        );
        assert_eq!(
            number("9e125").add(number("9e125")),
            Err(NumberError::Overflow)
        );
    }

    #[test]
    fn bytes_sort_as_the_numbers_do() {
        let ordered = [
            "-9.9e125", "-100", "-99", "-10.5", "-10", "-1", "-0.9", "-1e-130", "0", "1e-130",
            "0.09", "0.1", "1", "1.01", "1.1", "2", "10", "11", "100", "101", "1e125",
        ];
        let bytes = |text: &str| {
            let mut out = Vec::new();
            number(text).write_sortable(&mut out);
            out
        };
        for pair in ordered.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
            assert!(bytes(pair[0]) < bytes(pair[1]), "{pair:?}");
        }
    }
}
