//! The batches of the mixed load: a nightly file, a first load of another account, then both at once, again and again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::dev::Dev;
use crate::error::Error;
use crate::roster::{self, Edit};

/// One row in this number is changed in a nightly file.
const CHANGED: u64 = 100;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum File {
    /// The roster of the account with one row in a hundred changed.
    Nightly,
    /// The roster of a new account.
    FirstLoad,
}

impl File {
    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nightly => "nightly file",
            Self::FirstLoad => "first load",
        }
    }
}

/// A batch that has run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchRun {
    /// Its file.
    pub file: File,
    /// The rows of its file.
    pub rows: u64,
    /// When `mpulse upload` began, in seconds from the beginning of the load.
    pub from: f64,
    /// When it had ended.
    pub to: f64,
}

impl BatchRun {
    /// Returns whether it ran at this second of the load.
    pub fn covers(&self, second: f64) -> bool {
        (self.from..=self.to).contains(&second)
    }

    /// Returns the rows per second.
    #[expect(clippy::cast_precision_loss, reason = "no roster has 2^52 rows")]
    pub fn rate(&self) -> f64 {
        self.rows as f64 / (self.to - self.from)
    }
}

/// The files, and when they are sent.
#[derive(Debug)]
pub struct Batches<'a> {
    dev: &'a Dev,
    /// The nightly files; each differs from the other in the changed rows.
    nightly: [PathBuf; 2],
    /// The rows of a nightly file, and the changed ones.
    members: (u64, u64),
    /// The rows of a first load.
    rows: u64,
    /// The number of first loads.
    loaded: u64,
    /// The number of nightly files.
    nights: usize,
}

impl<'a> Batches<'a> {
    /// Prepares nightly files for an account that was loaded with `roster`, of this many members, and first loads of
    /// this many rows.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    pub fn new(dev: &'a Dev, roster: PathBuf, members: u64, rows: u64) -> Result<Self, Error> {
        let edited = dev.folder().join("nightly.csv");
        let changed = roster::edit(&roster, &edited, CHANGED, Edit::FirstName)?;
        Ok(Self {
            dev,
            nightly: [edited, roster],
            members: (members, changed),
            rows,
            loaded: 0,
            nights: 0,
        })
    }

    /// Sends the files, one step after the other with a pause before each, as long as one more ends in time.
    ///
    /// # Errors
    /// Returns an error if a batch does not have the expected counters.
    pub async fn run(
        &mut self,
        begin: Instant,
        time: Duration,
        pause: Duration,
    ) -> Result<Vec<BatchRun>, Error> {
        let mut runs = Vec::new();
        let mut longest = Duration::ZERO;
        for step in [
            &[File::Nightly][..],
            &[File::FirstLoad],
            &[File::Nightly, File::FirstLoad],
        ]
        .into_iter()
        .cycle()
        {
            if begin.elapsed() + pause + longest >= time {
                break;
            }
            tokio::time::sleep(pause).await;
            let step_start = Instant::now();
            let has = |file| step.contains(&file);
            let nightly = self.nightly_file(has(File::Nightly));
            let first = self.first_load(has(File::FirstLoad))?;
            let (nightly, first) = tokio::join!(
                self.send(File::Nightly, nightly, begin),
                self.send(File::FirstLoad, first, begin),
            );
            runs.extend(nightly?);
            runs.extend(first?);
            longest = longest.max(step_start.elapsed());
        }
        Ok(runs)
    }

    /// Returns the next nightly file, if one is wanted.
    fn nightly_file(&mut self, wanted: bool) -> Option<PathBuf> {
        wanted.then(|| {
            self.nights += 1;
            self.nightly[(self.nights - 1) % 2].clone()
        })
    }

    /// Writes the roster of a new account, if one is wanted.
    fn first_load(&mut self, wanted: bool) -> Result<Option<PathBuf>, Error> {
        if !wanted {
            return Ok(None);
        }
        self.loaded += 1;
        let file = self.dev.folder().join("first-load.csv");
        let account = format!("first-load-{}", self.loaded);
        roster::write_account(&file, self.rows, &account, self.loaded)?;
        Ok(Some(file))
    }

    async fn send(
        &self,
        file: File,
        path: Option<PathBuf>,
        begin: Instant,
    ) -> Result<Option<BatchRun>, Error> {
        let Some(path) = path else { return Ok(None) };
        let (members, changed) = self.members;
        let (rows, counters) = match file {
            File::Nightly => (
                members,
                vec![("updated", changed), ("unchanged", members - changed)],
            ),
            File::FirstLoad => (self.rows, vec![("created", self.rows)]),
        };
        let from = begin.elapsed().as_secs_f64();
        self.dev.upload_with(&path, &counters).await?;
        let to = begin.elapsed().as_secs_f64();
        Ok(Some(BatchRun {
            file,
            rows,
            from,
            to,
        }))
    }
}
