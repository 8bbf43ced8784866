//! What a batch's request units cost: DynamoDB on demand, standard table class, by the list
//! price of one region. An estimate: a contract, another region or another table class has
//! other prices, and the functions, the bucket and the queue are not in it.

use serde::Serialize;

use crate::batch::Capacity;

/// Dollars for a million read request units.
pub const DOLLARS_A_MILLION_READS: f64 = 0.125;

/// Dollars for a million write request units.
pub const DOLLARS_A_MILLION_WRITES: f64 = 0.625;

/// Where the prices are published.
const SOURCE: &str = "https://aws.amazon.com/dynamodb/pricing/on-demand/";

/// Since when they are so.
const AS_OF: &str = "2024-11-01";

/// Where they are so.
const REGION: &str = "us-east-1";

/// An estimated price, with what it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Price {
    /// US dollars, to a millionth.
    usd: f64,
    source: &'static str,
    as_of: &'static str,
    region: &'static str,
}

impl Price {
    /// The price of these units.
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

/// The price of these units in US dollars.
#[must_use]
pub fn dollars(capacity: Capacity) -> f64 {
    (capacity.read_units * DOLLARS_A_MILLION_READS
        + capacity.write_units * DOLLARS_A_MILLION_WRITES)
        / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_that_of_the_units_to_a_millionth() {
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
