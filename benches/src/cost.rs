//! `mpulse-bench cost`: the read and write units of loading a roster and of sending it again, on
//! the local stack's engine, compared with the price of writing every row.

use std::fmt;
use std::path::Path;

use clap::Args;
use mpulse_local::{Data, LocalStack};
use mpulse_shared::batch::{BatchRequest, Capacity, Mode, Rows, Status};
use mpulse_shared::member::AccountId;
use mpulse_shared::price::{DOLLARS_PER_MILLION_WRITES, dollars};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::figures::{Origin, mebibytes};
use crate::local_stack;
use crate::null_table::UNITS_A_WRITE;
use crate::process::Watch;
use crate::roster::{self, Edit};
use crate::uploads::Uploads;

/// One row in this many is changed.
const EVERY: u64 = 100;

/// One member in this many is gone from the file that replaces the account.
const GONE: usize = 1000;

/// Rows of the small file.
const FEW: u64 = 20;

/// The arguments.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Rows of the roster
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cost {
    /// Where and when.
    pub origin: Origin,
    /// The files, in the order in which they were sent.
    pub loads: Vec<Load>,
    /// The peak of the local stack's anonymous memory in the first load, engine included.
    pub peak_anon_bytes: u64,
}

/// The result of one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// The file.
    pub what: String,
    /// The outcomes of its rows.
    pub rows: Rows,
    /// From the start of the first run to the end of the batch.
    pub seconds: f64,
    /// Read units, as the batch reports them.
    pub read_units: f64,
    /// Write units, as the batch reports them.
    pub write_units: f64,
}

impl Load {
    /// Returns the on-demand price of its units.
    pub fn dollars(&self) -> f64 {
        dollars(Capacity {
            read_units: self.read_units,
            write_units: self.write_units,
        })
    }

    /// Returns how many times as much writing every row would cost.
    #[expect(clippy::cast_precision_loss, reason = "no roster has 2^52 rows")]
    pub fn saving(&self) -> f64 {
        let all = (self.rows.read * UNITS_A_WRITE) as f64 * DOLLARS_PER_MILLION_WRITES / 1e6;
        all / self.dollars()
    }

    /// Rows per second.
    #[expect(clippy::cast_precision_loss, reason = "no roster has 2^52 rows")]
    pub fn rate(&self) -> f64 {
        self.rows.read as f64 / self.seconds
    }
}

/// Measures.
///
/// # Errors
/// Returns an error if a load has an unexpected result.
pub async fn run(args: &CostArgs) -> Result<Cost, Error> {
    let origin = Origin::here();
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let local_stack = local_stack::start(Data::Folder(work.path().join("data")), None).await?;
    let watch = Watch::start(std::process::id());
    let path = |name: &str| work.path().join(name);
    let (roster, names, phones, few) = (path("1"), path("2"), path("3"), path("4"));
    roster::write(&roster, args.rows, 0)?;
    let rows = args.rows;

    let created = |created| Rows {
        read: created,
        created,
        ..Rows::default()
    };
    let changed = |read, updated| Rows {
        read,
        updated,
        unchanged: read - updated,
        ..Rows::default()
    };
    let mut loads = vec![load(&local_stack, "first load", &roster, created(rows)).await?];
    let peak_anon_bytes = watch.peak();
    loads.push(load(&local_stack, "sent again", &roster, changed(rows, 0)).await?);
    let edited = roster::edit(&roster, &names, EVERY, Edit::FirstName)?;
    loads.push(
        load(
            &local_stack,
            "1 % of names changed",
            &names,
            changed(rows, edited),
        )
        .await?,
    );
    let edited = roster::edit(&names, &phones, EVERY, Edit::Phone)?;
    loads.push(
        load(
            &local_stack,
            "1 % of phones changed",
            &phones,
            changed(rows, edited),
        )
        .await?,
    );
    let every = usize::try_from(rows / FEW)?.max(1);
    roster::pick(&phones, &few, every, usize::try_from(FEW)?)?;
    loads.push(
        load(
            &local_stack,
            "twenty of its rows",
            &few,
            changed(FEW.min(rows), 0),
        )
        .await?,
    );

    // A nightly replacement: 1 % of names changed, and 0.1 % of the members gone.
    let (edited_again, nightly) = (path("5"), path("6"));
    roster::edit(&phones, &edited_again, EVERY, Edit::FirstName)?;
    let gone = roster::without(&edited_again, &nightly, GONE)?;
    let request = |dry_run| BatchRequest {
        mode: Mode::Replace,
        dry_run,
        account_id: Some(AccountId::from_stored(roster::ACCOUNT.to_owned())),
        ..BatchRequest::default()
    };
    let is_nightly = move |found: Rows| {
        let changed = Rows {
            absent: gone,
            removed: gone,
            ..changed(rows - gone, found.updated)
        };
        (found.updated > 0 && found == changed)
            .then_some(found)
            .ok_or(changed)
    };
    for (what, dry_run) in [
        ("dry run of the next", true),
        ("replace, 0.1 % gone", false),
    ] {
        loads.push(load_for(&local_stack, what, &nightly, request(dry_run), is_nightly).await?);
    }

    local_stack.stop().await;
    let cost = Cost {
        origin,
        loads,
        peak_anon_bytes,
    };
    Ok(cost)
}

/// Sends a file to the local stack, and waits for its end.
async fn load(
    local_stack: &LocalStack,
    what: &str,
    file: &Path,
    rows: Rows,
) -> Result<Load, Error> {
    let expected = |found| if found == rows { Ok(found) } else { Err(rows) };
    load_for(local_stack, what, file, BatchRequest::default(), expected).await
}

/// Sends a file to the local stack for a request, and waits for its end. `expected` returns the expected counters if these are
/// others.
async fn load_for(
    local_stack: &LocalStack,
    what: &str,
    file: &Path,
    request: BatchRequest,
    expected: impl Fn(Rows) -> Result<Rows, Rows>,
) -> Result<Load, Error> {
    let setup = local_stack.setup();
    let uploads = Uploads::new(&setup, setup.required("FILES_BUCKET")?)?;
    let object = uploads.upload_for(request, file).await?;
    let batch = uploads.wait(&object.batch).await?;
    let at = batch.checkpoint;
    let wrong = expected(at.rows).err();
    if batch.status != Status::Completed || wrong.is_some() {
        let (status, problem) = (batch.status, batch.problem);
        let (rows, became) = (wrong.unwrap_or(at.rows), at.rows);
        return Err(format!("{what}: {rows:?} became {became:?}, {status:?}, {problem:?}").into());
    }
    let times = batch.finished_at.zip(batch.started_at);
    let (finished, started) = times.ok_or("a batch that ended has no times")?;
    let millis = i32::try_from(finished.millis_since(started))?;
    Ok(Load {
        what: what.to_owned(),
        rows: at.rows,
        seconds: f64::from(millis) / 1000.0,
        read_units: at.capacity.read_units,
        write_units: at.capacity.write_units,
    })
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22} {:>10} {:>10} {:>11} {:>11} {:>9} {:>14} {:>8}",
            "",
            "rows",
            "changed",
            "read units",
            "write units",
            "dollars",
            "against writes",
            "rows/s"
        )?;
        for load in &self.loads {
            writeln!(
                f,
                "{:<22} {:>10} {:>10} {:>11.1} {:>11.1} {:>9.4} {:>12.1} x {:>8.0}",
                load.what,
                load.rows.read,
                load.rows.created + load.rows.updated,
                load.read_units,
                load.write_units,
                load.dollars(),
                load.saving(),
                load.rate(),
            )?;
        }
        let peak = mebibytes(Some(self.peak_anon_bytes));
        writeln!(
            f,
            "peak RssAnon of the local stack in the first load: {peak}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_those_of_the_units() {
        let load = Load {
            what: String::new(),
            rows: Rows {
                read: 1_000_000,
                ..Rows::default()
            },
            seconds: 10.0,
            read_units: 62_500.0,
            write_units: 30_000.0,
        };
        assert!((load.dollars() - 0.026_562_5).abs() < 1e-9);
        assert!((load.saving() - 70.588).abs() < 0.001);
    }
}
