//! `mpulse-bench throttle`: how much of a table's write units a load gets out of it, and how
//! many of its requests are refused on the way.

use std::fmt;
use std::time::Duration;

use clap::Args;
use mpulse_local::Data;
use mpulse_local::faults::{Counters, Faults, Spec};
use mpulse_shared::batch::Mode;
use serde::{Deserialize, Serialize};

use crate::figures::{Origin, show};
use crate::null_table::UNITS_A_WRITE;
use crate::report::Measured;
use crate::uploads::Uploads;
use crate::{Error, machine, roster};

/// The time that a run has to find its pace.
const SETTLING: Duration = Duration::from_secs(10);

/// The wait for the first write of a run.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two looks at the counters.
const GLANCE: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Debug, Args)]
pub struct ThrottleArgs {
    /// Write units that the table takes a second
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    wcu: u32,

    /// Seconds of load, the ten of settling included
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(11..))]
    seconds: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was measured, after settling.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Throttle {
    /// Where and when.
    pub origin: Origin,
    /// Write units that the table took a second.
    pub cap: u32,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Write units that were written.
    pub units: u64,
    /// Requests to DynamoDB.
    pub requests: u64,
    /// Requests of which all, or a part, was refused.
    pub refused: u64,
    /// Items handed back in the latter.
    pub handed_back: u64,
}

impl Throttle {
    /// The part of the cap that was used.
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 units")]
    pub fn used(&self) -> f64 {
        self.units as f64 / (f64::from(self.cap) * self.seconds)
    }

    /// The share of requests that were refused.
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests")]
    pub fn refused_share(&self) -> f64 {
        self.refused as f64 / (self.requests.max(1)) as f64
    }
}

/// Measures and prints.
///
/// # Errors
/// Where the load ends before the time does.
pub async fn run(args: ThrottleArgs) -> Result<(), Error> {
    let origin = Origin::here();
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let file = work.path().join("roster.csv");
    // Twice what the table can take, so that there is work to the end.
    let rows = u64::from(args.wcu) * u64::from(args.seconds) * 2 / UNITS_A_WRITE;
    roster::write(&file, rows, 0)?;
    let spec: Spec = format!("wcu={}", args.wcu).parse()?;
    let machine = machine::start(Data::Ephemeral, Some(spec)).await?;
    let faults = machine.faults().ok_or("the machine has no faults")?;
    let setup = machine.setup();
    let members = setup.required("MEMBERS_TABLE")?;
    let uploads = Uploads::new(&setup, setup.required("FILES_BUCKET")?)?;
    let object = uploads.upload(&file, Mode::Upsert).await?;
    await_writes(faults, members).await?;

    tokio::time::sleep(SETTLING).await;
    let (before, begun) = (faults.counters(), tokio::time::Instant::now());
    let rest = Duration::from_secs(u64::from(args.seconds)).saturating_sub(SETTLING);
    tokio::time::sleep(rest).await;
    let (after, seconds) = (faults.counters(), begun.elapsed().as_secs_f64());
    let batch = uploads.batch(&object.batch).await?;
    if batch.status.has_ended() {
        return Err("the load ended before the time did".into());
    }
    let measured = Throttle {
        origin,
        cap: args.wcu,
        seconds,
        units: units(&after, members) - units(&before, members),
        requests: after.dynamodb - before.dynamodb,
        refused: after.refused + after.partly_refused - before.refused - before.partly_refused,
        handed_back: after.handed_back - before.handed_back,
    };
    machine.stop().await;
    show(&Measured::Throttle(measured), args.json)
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
            "{} of {} requests refused, wholly or in part: {:.2} % ({} items handed back)",
            self.refused,
            self.requests,
            100.0 * self.refused_share(),
            self.handed_back
        )
    }
}
