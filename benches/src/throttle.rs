//! `mpulse-bench throttle`: the share of a table's write units that a load uses, and the share of
//! its requests that are throttled.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use mpulse_local::Data;
use mpulse_local::faults::{Counters, Faults, PartitionUse, Spec};
use mpulse_shared::batch::Mode;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::figures::Origin;
use crate::null_table::UNITS_A_WRITE;
use crate::uploads::Uploads;
use crate::{local_stack, roster};

/// The time in which a run finds its rate.
const SETTLING: Duration = Duration::from_secs(10);

/// The wait for the first write of a run.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two readings of the counters.
const GLANCE: Duration = Duration::from_millis(20);

/// The arguments.
#[derive(Debug, Args)]
pub struct ThrottleArgs {
    /// Write units per second that the table accepts
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    wcu: u32,

    /// Seconds of load, including ten of settling
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(11..))]
    seconds: u32,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result after settling.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Throttle {
    /// Where and when.
    pub origin: Origin,
    /// Write units per second that the table accepted.
    pub cap: u32,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Write units that were written.
    pub units: u64,
    /// Requests to DynamoDB.
    pub requests: u64,
    /// Requests that were throttled, wholly or in part.
    pub refused: u64,
    /// Items of the latter that were unprocessed.
    pub handed_back: u64,
}

impl Throttle {
    /// Returns the share of the budget that was used.
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 units")]
    pub fn used(&self) -> f64 {
        self.units as f64 / (f64::from(self.cap) * self.seconds)
    }

    /// Returns the share of requests that were throttled.
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests")]
    pub fn refused_share(&self) -> f64 {
        self.refused as f64 / (self.requests.max(1)) as f64
    }
}

/// Measures.
///
/// # Errors
/// Returns an error if the load ends too early.
pub async fn run(args: &ThrottleArgs) -> Result<Throttle, Error> {
    let origin = Origin::here();
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let file = work.path().join("roster.csv");
    // Twice what the table can accept, so that there is work to the end.
    let rows = u64::from(args.wcu) * u64::from(args.seconds) * 2 / UNITS_A_WRITE;
    roster::write(&file, rows, 0)?;
    let spec: Spec = format!("wcu={}", args.wcu).parse()?;
    let Interval {
        before,
        after,
        seconds,
    } = interval(spec, &file, args.seconds).await?;
    Ok(Throttle {
        origin,
        cap: args.wcu,
        seconds,
        units: after.units - before.units,
        requests: after.counters.dynamodb - before.counters.dynamodb,
        refused: after.throttled() - before.throttled(),
        handed_back: after.counters.handed_back - before.counters.handed_back,
    })
}

/// A load after settling: the counters at its beginning and at its end.
#[derive(Debug)]
pub struct Interval {
    /// At the beginning.
    pub before: Reading,
    /// At the end.
    pub after: Reading,
    /// Between them.
    pub seconds: f64,
}

/// The counters at one time.
#[derive(Debug)]
pub struct Reading {
    /// Those of the proxies.
    pub counters: Counters,
    /// Write units of the members table and its indexes.
    pub units: u64,
    /// The use of their partitions, if those are limited.
    pub partitions: Option<PartitionUse>,
}

impl Reading {
    fn of(faults: &Faults, members: &str) -> Self {
        let counters = faults.counters();
        Self {
            units: units(&counters, members),
            partitions: faults.partition_use(members),
            counters,
        }
    }

    /// Returns the number of requests that were throttled, wholly or in part.
    pub fn throttled(&self) -> u64 {
        self.counters.refused + self.counters.partly_refused
    }
}

/// Loads a file with these faults for some seconds, and reads the counters after settling and at the end.
///
/// # Errors
/// Returns an error if the load ends too early.
pub async fn interval(spec: Spec, file: &Path, seconds: u32) -> Result<Interval, Error> {
    let local_stack = local_stack::start(Data::Ephemeral, Some(spec)).await?;
    let faults = local_stack
        .faults()
        .ok_or("the local stack has no faults")?;
    let setup = local_stack.setup();
    let members = setup.required("MEMBERS_TABLE")?;
    let uploads = Uploads::new(&setup, setup.required("FILES_BUCKET")?)?;
    let object = uploads.upload(file, Mode::Upsert).await?;
    await_writes(faults, members).await?;

    tokio::time::sleep(SETTLING).await;
    let (before, started) = (Reading::of(faults, members), tokio::time::Instant::now());
    let rest = Duration::from_secs(u64::from(seconds)).saturating_sub(SETTLING);
    tokio::time::sleep(rest).await;
    let (after, seconds) = (
        Reading::of(faults, members),
        started.elapsed().as_secs_f64(),
    );
    let batch = uploads.batch(&object.batch).await?;
    if batch.status.has_ended() {
        return Err("the load ended too early".into());
    }
    local_stack.stop().await;
    Ok(Interval {
        before,
        after,
        seconds,
    })
}

async fn await_writes(faults: &Faults, members: &str) -> Result<(), Error> {
    let written = async {
        while units(&faults.counters(), members) == 0 {
            tokio::time::sleep(GLANCE).await;
        }
    };
    tokio::time::timeout(PATIENCE, written)
        .await
        .map_err(|_| "the load wrote nothing".into())
}

fn units(counters: &Counters, table: &str) -> u64 {
    counters.units.get(table).copied().unwrap_or_default()
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} write units of {} a second for {:.1} s: {:.1} % used",
            self.units,
            self.cap,
            self.seconds,
            100.0 * self.used()
        )?;
        writeln!(
            f,
            "{} of {} requests throttled, wholly or in part: {:.2} % ({} items unprocessed)",
            self.refused,
            self.requests,
            100.0 * self.refused_share(),
            self.handed_back
        )
    }
}
