//! The limits of partitions, on a clock that the tests move.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::template::{Index, Key, Projection};

const TABLE: &str = "Members";

/// A hundredth of AWS's limits; a burst only if a test is about it.
const LIMITS: Limits = Limits {
    write_units: 100,
    split_seconds: 60,
    burst_seconds: 0,
};

/// The partitions of a table like that of members, and a clock.
struct Bench {
    partitions: Partitions,
    now: Instant,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let key = |hash: &str, range: &str| Key {
            hash: hash.to_owned(),
            range: Some(range.to_owned()),
        };
        let index = |name: &str, hash: &str, projection| Index {
            name: name.to_owned(),
            key: key(hash, "account"),
            projection,
        };
        let table = Table {
            logical_id: TABLE.to_owned(),
            name: TABLE.to_owned(),
            attributes: BTreeMap::new(),
            key: key("account", "id"),
            indexes: vec![
                index("phones", "phone", Projection::All),
                index("ids", "id", Projection::KeysOnly),
            ],
            ttl_attribute: None,
        };
        let now = Instant::now();
        Self {
            partitions: Partitions::new(limits, &[table], now),
            now,
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn write(&mut self, account: &str, id: &str, phone: &str) -> Result<u64, Throttling> {
        self.partitions
            .take(&write(None, Some((account, id, phone))), self.now)
    }

    fn read(&mut self, account: &str) -> Result<u64, Throttling> {
        self.partitions.take(&read(account, 1.0), self.now)
    }

    /// Asks as often as it is granted.
    fn drain(&mut self, mut ask: impl FnMut(&mut Self, u32) -> Result<u64, Throttling>) -> u32 {
        let mut granted = 0;
        while ask(self, granted).is_ok() {
            granted += 1;
        }
        granted
    }

    /// Sends 400 writes a second, four times what a partition accepts, and returns the writes that were granted in each second.
    fn load(&mut self, seconds: u32, mut item: impl FnMut(u32) -> [String; 3]) -> Vec<u32> {
        let mut number = 0;
        let mut second = |bench: &mut Self| {
            let mut granted = 0;
            for _ in 0..400 {
                let [account, id, phone] = item(number);
                number += 1;
                granted += u32::from(bench.write(&account, &id, &phone).is_ok());
                bench.wait(0.0025);
            }
            granted
        };
        (0..seconds).map(|_| second(self)).collect()
    }

    fn usage(&mut self) -> PartitionUse {
        self.partitions.usage(TABLE, self.now).expect("the table")
    }
}

type Fields<'a> = (&'a str, &'a str, &'a str);

fn write(before: Option<Fields<'_>>, after: Option<Fields<'_>>) -> Access {
    let image = |(account, id, phone): Fields<'_>| {
        let image = json!({"account": {"S": account}, "id": {"S": id}, "phone": {"S": phone}});
        image.as_object().expect("an item").clone()
    };
    Access::Write {
        table: TABLE.to_owned(),
        before: before.map(image),
        after: after.map(image),
    }
}

fn read(account: &str, units: f64) -> Access {
    let key = json!({"account": {"S": account}});
    Access::Read {
        table: TABLE.to_owned(),
        index: None,
        key: key.as_object().expect("a key").clone(),
        units,
    }
}

/// A number whose order is unlike that of `number`.
fn shuffled(number: u32) -> String {
    format!("{:010}", number.wrapping_mul(2_654_435_761))
}

/// A row of one account, with an id and a phone of its own.
fn one_account(number: u32) -> [String; 3] {
    ["4".to_owned(), shuffled(number), format!("+{number}")]
}

#[test]
fn a_partition_accepts_its_units_each_second_and_three_times_as_many_reads() {
    let mut bench = Bench::new(LIMITS);
    assert_eq!(
        bench.drain(|b, n| b.write("4", &n.to_string(), &n.to_string())),
        100
    );
    assert_eq!(bench.drain(|b, _| b.read("4")), 300);
    // Another account is on another partition.
    assert!(bench.write("1", "1", "1").is_ok());
    bench.wait(0.25);
    assert_eq!(
        bench.drain(|b, n| b.write("4", &n.to_string(), &n.to_string())),
        25
    );
    assert_eq!(bench.drain(|b, _| b.read("4")), 75);
    bench.wait(1.0);
    let granted: u32 = bench.load(20, one_account).iter().sum();
    assert!((2000..=2100).contains(&granted), "{granted}");
    let usage = bench.usage();
    assert_eq!(usage.partitions[TABLE], 4);
    assert!(usage.throttled[TABLE] > 0 && usage.throttled["phones"] == 0);
}

#[test]
fn the_throughput_of_five_minutes_is_saved() {
    let burst = Limits {
        burst_seconds: 300,
        ..LIMITS
    };
    for (limits, idle, expected) in [
        (burst, 0.0, 100),
        (burst, 60.0, 6_100),
        (burst, 1000.0, 30_000),
        (LIMITS, 1000.0, 100),
    ] {
        let mut bench = Bench::new(limits);
        bench.wait(idle);
        let granted = bench.drain(|b, n| b.write("4", &shuffled(n), &n.to_string()));
        assert_eq!(granted, expected, "{idle} s");
    }
}

#[test]
fn a_hot_account_is_divided_by_its_ids() {
    let mut bench = Bench::new(LIMITS);
    let seconds = bench.load(70, one_account);
    assert!(
        seconds[1..59]
            .iter()
            .all(|granted| (95..=105).contains(granted)),
        "{seconds:?}"
    );
    assert!(
        seconds[63..]
            .iter()
            .all(|granted| (190..=210).contains(granted)),
        "{seconds:?}"
    );
    assert_eq!(bench.usage().partitions[TABLE], 5);
}

#[test]
fn a_partition_with_little_to_do_is_not_divided() {
    let mut bench = Bench::new(LIMITS);
    for number in 0..20_000 {
        let _ = bench.write("4", &shuffled(number), &number.to_string());
        bench.wait(0.014);
    }
    let usage = bench.usage();
    assert_eq!((usage.partitions[TABLE], usage.throttled[TABLE]), (4, 0));
}

#[test]
fn ids_in_order_gain_nothing_from_a_division() {
    let mut bench = Bench::new(LIMITS);
    let sorted = |number| {
        [
            "4".to_owned(),
            format!("{number:010}"),
            format!("+{number}"),
        ]
    };
    let seconds = bench.load(150, sorted);
    let late: u32 = seconds[120..].iter().sum();
    assert!(late < 31 * 110, "{seconds:?}");
}

#[test]
fn a_single_hot_item_is_never_divided() {
    let mut bench = Bench::new(LIMITS);
    let seconds = bench.load(200, |_| ["4", "1", "+1"].map(str::to_owned));
    assert!(
        seconds[1..].iter().all(|granted| *granted <= 101),
        "{seconds:?}"
    );
    assert_eq!(bench.usage().partitions[TABLE], 4);
}

#[test]
fn an_index_without_units_throttles_writes_to_the_table() {
    let mut bench = Bench::new(LIMITS);
    let accounts = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let throttled = |bench: &mut Bench| {
        (0..1000)
            .filter_map(|n| bench.write(accounts[n % 10], &n.to_string(), "+1").err())
            .map(|throttling| (throttling.reason, throttling.resource))
            .collect::<Vec<_>>()
    };
    let reasons = throttled(&mut bench);
    assert_eq!(reasons.len(), 900);
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/Members/index/phones";
    let expected = ("IndexWriteKeyRangeThroughputExceeded", arn.to_owned());
    assert!(
        reasons.iter().all(|reason| *reason == expected),
        "{reasons:?}"
    );
    // The table has taken nothing for them: rows with other phones are written.
    let others = (0..100).filter(|n| bench.write("4", &n.to_string(), &shuffled(*n)).is_ok());
    let granted = others.count();
    assert!(granted > 30, "{granted}");
}

#[test]
fn a_changed_phone_needs_both_entries_of_the_index() {
    let mut bench = Bench::new(LIMITS);
    let (old, new) = (("4", "1", "+1"), ("4", "1", "+2"));
    let mut units = |before, after| bench.partitions.take(&write(before, after), bench.now);
    assert_eq!(units(None, Some(old)), Ok(3));
    assert_eq!(
        units(Some(old), Some(old)),
        Ok(2),
        "an index of keys does not change"
    );
    assert_eq!(units(Some(old), Some(new)), Ok(3));
    assert_eq!(units(Some(new), None), Ok(3));
}

#[test]
fn a_large_item_costs_more_and_is_written_at_last() {
    let mut bench = Bench::new(Limits {
        write_units: 2,
        ..LIMITS
    });
    let long = "x".repeat(4000);
    assert_eq!(bench.write("4", "1", &long), Ok(4 * 3));
    bench.wait(1.0);
    let throttling = bench.write("4", "2", "+2").expect_err("it has a debt");
    assert_eq!(throttling.reason, "TableWriteKeyRangeThroughputExceeded");
    bench.wait(2.0);
    assert!(bench.write("4", "2", "+2").is_ok());
}

#[test]
fn a_query_is_charged_afterwards() {
    let mut bench = Bench::new(LIMITS);
    let query = read("4", 0.0);
    assert!(bench.partitions.take(&query, bench.now).is_ok());
    bench.partitions.charge(&query, 600.0, bench.now);
    let throttling = bench.partitions.take(&query, bench.now);
    assert_eq!(
        throttling.expect_err("a debt").reason,
        "TableReadKeyRangeThroughputExceeded"
    );
    bench.wait(1.1);
    assert!(bench.partitions.take(&query, bench.now).is_ok());
}

#[test]
fn the_use_of_the_busiest_partition_is_counted() {
    let mut bench = Bench::new(LIMITS);
    bench.load(10, one_account);
    bench.wait(10.0);
    let usage = bench.usage();
    assert_eq!(usage.seconds, 20);
    // Ten seconds at the limit, and a second's worth at the start.
    assert!((10.5..=11.1).contains(&usage.busiest), "{usage:?}");
}
