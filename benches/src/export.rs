//! `mpulse-bench export`: the speed and memory of an export, by the local stack's engine; whether an export that is killed
//! is the same file; and whether the file, loaded into a fresh local stack and exported again, is the same.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use mpulse_local::template::Function;
use mpulse_local::{Data, LocalStack, environment_for};
use mpulse_shared::batch::Mode;
use mpulse_shared::export::{Export, Format, Status};
use mpulse_shared::member::AccountId;
use mpulse_shared::setup::{FromSetup, Setup};
use mpulse_shared::store::exports::Exports;
use mpulse_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::error::Error;
use crate::figures::{Figures, Origin, table};
use crate::ground::{BUCKET, event_of};
use crate::local_stack;
use crate::process::{Watch, cpu_seconds, memory};
use crate::role::{child, export};
use crate::roster::{self, ACCOUNT};
use crate::runtime_api::RuntimeApi;
use crate::uploads::Uploads;

/// The arguments.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Members of the account
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,

    /// How often the export is killed in a second measurement
    #[arg(long, default_value_t = 10)]
    kills: u32,

    /// Measure a workbook too
    #[arg(long)]
    workbook: bool,

    /// Load the file into a fresh local stack, export it again and compare
    #[arg(long)]
    again: bool,

    /// Another program to run as the function
    #[arg(long, value_name = "PROGRAM")]
    function: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exported {
    /// Where and when.
    pub origin: Origin,
    /// The measurements. Their requests are not counted.
    pub exports: Vec<Figures>,
    /// What was compared, and was equal.
    pub equal: Vec<String>,
}

/// Measures.
///
/// # Errors
/// Returns an error if a file differs from the first one, or a measurement fails.
pub async fn run(args: &ExportArgs) -> Result<Exported, Error> {
    let origin = Origin::here();
    let work = tempfile::Builder::new().prefix("mpulse-bench-").tempdir()?;
    let roster = work.path().join("roster.csv");
    roster::write(&roster, args.rows, 0)?;
    let stack = Stack::start(&roster).await?;
    let program = args.function.as_deref();
    let first = work.path().join("first.csv");
    let mut exports = vec![
        stack
            .measure(Format::Csv, args.rows, program, "csv", &first)
            .await?,
    ];
    let mut equal = Vec::new();
    let second = work.path().join("second.csv");
    if args.kills > 0 {
        let duration = Duration::from_secs_f64(exports[0].wall_seconds);
        let attempts = stack.kill(args.kills, duration, program, &second).await?;
        same(&first, &second)?;
        equal.push(format!("an export that was killed {} times", attempts - 1));
    }
    if args.workbook {
        let file = work.path().join("members.xlsx");
        let what = "xlsx";
        exports.push(
            stack
                .measure(Format::Xlsx, args.rows, program, what, &file)
                .await?,
        );
        let unchanged = stack.load(&file).await?;
        if unchanged != args.rows {
            return Err(format!("{unchanged} rows of the workbook are unchanged").into());
        }
        equal.push("the rows of the workbook, imported again".to_owned());
    }
    if args.again {
        drop(stack);
        let fresh = Stack::start(&first).await?;
        fresh
            .measure(Format::Csv, args.rows, program, "again", &second)
            .await?;
        same(&first, &second)?;
        equal.push("the export of a fresh system that has imported the file".to_owned());
    }
    Ok(Exported {
        origin,
        exports,
        equal,
    })
}

/// A local stack with members, and a bucket without notifications.
struct Stack {
    /// It ends with this.
    _running: LocalStack,
    s3: aws_sdk_s3::Client,
    exports: Exports,
    uploads: Uploads,
    function: Function,
    environment: HashMap<String, String>,
}

impl Stack {
    /// Starts it and loads a file.
    async fn start(file: &Path) -> Result<Self, Error> {
        let local_stack = local_stack::start(Data::Ephemeral, None).await?;
        let setup: Setup = local_stack.setup();
        let functions = &local_stack.template().functions;
        let function = functions.iter().find(|f| f.binary == "export");
        let function = function.ok_or("the template has no export")?.clone();
        let environment = environment_for(local_stack.template(), &local_stack.endpoints());
        // The local stack's own ingest loads what is in the template's bucket.
        let uploads = Uploads::new(&setup, setup.required("FILES_BUCKET")?)?;
        let s3 = setup.s3()?;
        s3.create_bucket().bucket(BUCKET).send().await?;
        let stack = Self {
            s3,
            exports: Exports::from_setup(&setup)?,
            uploads,
            function,
            environment,
            _running: local_stack,
        };
        let object = stack.uploads.upload(file, Mode::Overwrite).await?;
        let batch = stack.uploads.wait(&object.batch).await?;
        if batch.status != mpulse_shared::batch::Status::Completed {
            return Err(format!("the roster was not loaded: {:?}", batch.problem).into());
        }
        Ok(stack)
    }

    /// Loads a file, and returns the number of unchanged rows.
    async fn load(&self, file: &Path) -> Result<u64, Error> {
        let object = self.uploads.upload(file, Mode::Upsert).await?;
        let batch = self.uploads.wait(&object.batch).await?;
        Ok(batch.checkpoint.rows.unchanged)
    }

    /// Creates an export that the local stack does not run.
    async fn create(&self, format: Format) -> Result<Export, Error> {
        let account = AccountId::from_stored(ACCOUNT.to_owned());
        let export = Export::new(account, format, "key:bench".to_owned(), Timestamp::now());
        self.exports.create(&export).await?;
        Ok(export)
    }

    async fn stored(&self, export: &Export) -> Result<Export, Error> {
        let stored = self.exports.get(&export.export_id).await?;
        stored.ok_or_else(|| "the export does not exist".into())
    }

    /// Runs an export to its end, and downloads the file.
    async fn measure(
        &self,
        format: Format,
        rows: u64,
        program: Option<&Path>,
        what: &str,
        to: &Path,
    ) -> Result<Figures, Error> {
        let export = self.create(format).await?;
        let api = RuntimeApi::start().await?;
        let mut process = self.child(program, &api)?;
        let id = process.id().ok_or("the function has ended")?;
        let watch = Watch::start(id);
        let started = Instant::now();
        tokio::select! {
            delivered = self.deliver(&export, &api) => delivered?,
            ended = process.wait() => return Err(format!("the function ended: {}", ended?).into()),
        }
        let wall_seconds = started.elapsed().as_secs_f64();
        let id = id.to_string();
        let figures = Figures {
            what: format!("export {what}"),
            rows,
            requests: 0,
            wall_seconds,
            cpu_seconds: cpu_seconds(&id)?,
            peak_rss_bytes: Some(memory(&id, "VmHWM")?),
            peak_anon_bytes: Some(watch.peak()),
        };
        process.kill().await?;
        self.download(&export, rows, to).await?;
        Ok(figures)
    }

    /// Runs an export that is killed, at moments that are spread over the duration of a whole run. Returns the number of
    /// runs.
    async fn kill(
        &self,
        kills: u32,
        duration: Duration,
        program: Option<&Path>,
        to: &Path,
    ) -> Result<u32, Error> {
        let export = self.create(Format::Csv).await?;
        for kill in 1..=kills {
            let api = RuntimeApi::start().await?;
            let mut process = self.child(program, &api)?;
            // Long enough for some pieces, and not for all that remain.
            let moment = duration.mul_f64(0.05 + 0.1 * f64::from(kill % 3));
            let run = tokio::time::timeout(moment, self.deliver(&export, &api)).await;
            process.kill().await?;
            if run.is_ok() {
                return Err(format!("the export ended before kill {kill}").into());
            }
            // What was in flight has arrived; then the lease ends, as after a minute.
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.exports.release_all().await?;
        }
        let api = RuntimeApi::start().await?;
        let mut process = self.child(program, &api)?;
        self.deliver(&export, &api).await?;
        process.kill().await?;
        let stored = self.stored(&export).await?;
        self.download(&export, stored.checkpoint.rows, to).await?;
        Ok(stored.attempts)
    }

    fn child(
        &self,
        program: Option<&Path>,
        api: &RuntimeApi,
    ) -> Result<tokio::process::Child, Error> {
        let memory = self.function.memory;
        child::start(export::ROLE, program, &self.environment, memory, api)
    }

    async fn deliver(&self, export: &Export, api: &RuntimeApi) -> Result<(), Error> {
        let id = &export.export_id;
        let event = event_of(id.as_str(), &id.request_key(), 2, "bench");
        child::deliver(api, &event, self.function.timeout, None).await
    }

    /// Downloads the file of a completed export.
    async fn download(&self, export: &Export, rows: u64, to: &Path) -> Result<(), Error> {
        let stored = self.stored(export).await?;
        if stored.status != Status::Completed || stored.checkpoint.rows != rows {
            return Err(format!("the export is {:?}: {:?}", stored.status, stored.problem).into());
        }
        let get = self.s3.get_object().bucket(BUCKET).key(export.file_key());
        let mut body = get.send().await?.body;
        let mut file = File::create(to).await?;
        while let Some(bytes) = body.next().await {
            file.write_all(&bytes?).await?;
        }
        file.flush().await?;
        Ok(())
    }
}

/// Checks that two files are equal.
fn same(one: &Path, other: &Path) -> Result<(), Error> {
    if std::fs::read(one)? == std::fs::read(other)? {
        return Ok(());
    }
    Err("the files differ".into())
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.exports))?;
        for what in &self.equal {
            writeln!(f, "equal: {what}")?;
        }
        Ok(())
    }
}
