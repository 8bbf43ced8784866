//! The estimated price of a batch's request units: the list price of DynamoDB on demand, for the
//! standard table class in one region. Other regions, table classes and contracts have other prices.
//! The estimate does not include functions, bucket and queue.

use serde::Serialize;

use crate::batch::Capacity;

/// Dollars for a million read request units.
pub const DOLLARS_PER_MILLION_READS: f64 = 0.125;

/// Dollars for a million write request units.
pub const DOLLARS_PER_MILLION_WRITES: f64 = 0.625;

/// Where the prices are published.
const SOURCE: &str = "https://aws.amazon.com/dynamodb/pricing/on-demand/";

/// The date from which the prices apply.
const AS_OF: &str = "2024-11-01";

/// The region of the prices.
const REGION: &str = "us-east-1";

/// An estimated price and its basis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Price {
    /// US dollars, to a millionth.
    usd: f64,
    source: &'static str,
    as_of: &'static str,
    region: &'static str,
}

impl Price {
    /// Returns the price of request units.
    #[must_use]
    pub fn of(capacity: Capacity) -> Self {
        Self {
            usd: (dollars(capacity) * 1e6).round() / 1e6,
            source: SOURCE,
            as_of: AS_OF,
            region: REGION,
        }
    }
}

/// Returns the price of request units in US dollars.
#[must_use]
pub fn dollars(capacity: Capacity) -> f64 {
    (capacity.read_units * DOLLARS_PER_MILLION_READS
        + capacity.write_units * DOLLARS_PER_MILLION_WRITES)
        / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_exact_to_a_millionth() {
        for (read_units, write_units, usd) in [
            (0.0, 0.0, 0.0),
            (1e6, 0.0, 0.125),
            (0.0, 1e6, 0.625),
            (62_500.5, 30_000.0, 0.026_563),
            (1.0, 72.0, 0.000_045),
        ] {
            let price = Price::of(Capacity {
                read_units,
                write_units,
            });
            assert!((price.usd - usd).abs() < 1e-12, "{price:?}");
        }
    }
}
