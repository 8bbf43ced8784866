//! `mpulse-bench partitions`: the share of what the partitions of the members table and its indexes allow that a load uses, for files as
//! customers have them.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use clap::{Args, ValueEnum};
use mpulse_cli::sample::HEADER;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::figures::Origin;
use crate::null_table::UNITS_A_WRITE;
use crate::throttle::{self, Interval};

/// Accounts of the files with several.
const ACCOUNTS: u64 = 10;

/// Consecutive rows of each account in a file that is sorted by account.
const BLOCK: u64 = 5_000;

/// The phone number of many members.
const HOT_PHONE: &str = "+12125550192";

/// The arguments.
#[derive(Debug, Args)]
pub struct PartitionsArgs {
    /// Only this file; all of them by default
    #[arg(long, value_enum)]
    file: Vec<RosterKind>,

    /// Write units per second that a partition accepts
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    units: u32,

    /// Seconds at its limit after which a partition is divided
    #[arg(long, default_value_t = 300)]
    split: u32,

    /// Seconds of load, including ten of settling
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(11..))]
    seconds: u32,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A file as customers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RosterKind {
    /// The first load of one account, in no order
    Account,
    /// The first load of one account, sorted by client member id
    Sorted,
    /// Rows of ten accounts in turn
    Accounts,
    /// Ten accounts, thousands of rows of one after those of another
    Blocks,
    /// Ten accounts in turn; every second row has the same phone number
    Phone,
    /// Ten accounts in turn; of 30,000 rows, the first 6,000 have the same phone number
    Stretch,
}

impl RosterKind {
    /// Returns what the file is, for a table.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Account => "one account, in no order",
            Self::Sorted => "one account, sorted by id",
            Self::Accounts => "ten accounts in turn",
            Self::Blocks => "ten accounts, one after another",
            Self::Phone => "ten accounts in turn, every second row with the same phone",
            Self::Stretch => "ten accounts in turn, 6,000 of every 30,000 rows with the same phone",
        }
    }
}

/// The results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loads {
    /// Where and when.
    pub origin: Origin,
    /// Write units per second that a partition accepted.
    pub units: u32,
    /// Seconds at its limit after which a partition was divided.
    pub split: u32,
    /// Each file.
    pub files: Vec<Load>,
}

/// The load of one file after settling.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// The file.
    pub file: RosterKind,
    /// Rows written per second.
    pub rows_per_second: f64,
    /// The share of what the partitions allow.
    pub used: f64,
    /// Requests to DynamoDB.
    pub requests: u64,
    /// Requests that were throttled, wholly or in part.
    pub throttled: u64,
    /// The partitions at the end, of the table and of its indexes.
    pub partitions: usize,
}

/// Measures.
///
/// # Errors
/// Returns an error if a load ends too early.
pub async fn run(args: &PartitionsArgs) -> Result<Loads, Error> {
    let origin = Origin::here();
    let kinds = match args.file.as_slice() {
        [] => RosterKind::value_variants(),
        kinds => kinds,
    };
    let mut loads = Vec::new();
    for kind in kinds {
        loads.push(load(*kind, args).await?);
    }
    Ok(Loads {
        origin,
        units: args.units,
        split: args.split,
        files: loads,
    })
}

#[expect(clippy::cast_precision_loss, reason = "no load has 2^52 rows")]
async fn load(kind: RosterKind, args: &PartitionsArgs) -> Result<Load, Error> {
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let file = work.path().join("roster.csv");
    // What four partitions of the table can accept, and as much again.
    write(
        &file,
        kind,
        u64::from(args.units) * u64::from(args.seconds) * 8,
    )?;
    let spec = format!("partition={},split={},burst=0", args.units, args.split);
    let Interval {
        before,
        after,
        seconds,
    } = throttle::interval(spec.parse()?, &file, args.seconds).await?;
    let (Some(from), Some(to)) = (&before.partitions, &after.partitions) else {
        return Err("the members table has no partitions".into());
    };
    Ok(Load {
        file: kind,
        rows_per_second: ((after.units - before.units) / UNITS_A_WRITE) as f64 / seconds,
        used: (to.busiest - from.busiest) / (to.seconds - from.seconds) as f64,
        requests: after.counters.dynamodb - before.counters.dynamodb,
        throttled: after.throttled() - before.throttled(),
        partitions: to.partitions.values().sum(),
    })
}

/// Writes a file.
fn write(path: &Path, kind: RosterKind, rows: u64) -> Result<(), Error> {
    let mut text = HEADER.to_owned();
    for row in 0..rows {
        let account = match kind {
            RosterKind::Account | RosterKind::Sorted => 0,
            RosterKind::Accounts | RosterKind::Phone | RosterKind::Stretch => row % ACCOUNTS,
            RosterKind::Blocks => row / BLOCK % ACCOUNTS,
        };
        let id = match kind {
            RosterKind::Sorted => row,
            // The odd factor makes a permutation of the numbers of 32 bits.
            _ => (row * 2_654_435_761) & 0xFFFF_FFFF,
        };
        write!(text, "acct{account},{id:010},Ann,Lee{row},")?;
        let is_hot = match kind {
            RosterKind::Phone => row % 2 == 0,
            RosterKind::Stretch => row % 30_000 < 6_000,
            _ => false,
        };
        if is_hot {
            writeln!(text, "{HOT_PHONE}")?;
        } else {
            writeln!(text, "+1212{:07}", 2_000_000 + row)?;
        }
    }
    Ok(fs::write(path, text)?)
}

impl fmt::Display for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for load in &self.files {
            writeln!(
                f,
                "{}: {:.1} % of what the partitions allow, {:.0} rows a second; {} of {} requests throttled, wholly or in \
                 part; {} partitions",
                load.file.describe(),
                100.0 * load.used,
                load.rows_per_second,
                load.throttled,
                load.requests,
                load.partitions,
            )?;
        }
        Ok(())
    }
}
