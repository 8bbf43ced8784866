//! What every run uses: the tables, the bucket, the event bus, the validation rules and the metrics.

use mpulse_shared::batch::BatchId;
use mpulse_shared::member::Rules;
use mpulse_shared::metrics::{MetricValue, Metrics};
use mpulse_shared::run::Guard;
use mpulse_shared::setup::{FromSetup, Setup, SetupError};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::events::Events;

use crate::report::{Kind, Report};
use crate::table::Table;
use crate::tuning::Tuning;

/// The resources of all runs of the function.
pub struct Resources {
    pub table: Table,
    pub batches: Batches,
    pub events: Events,
    pub s3: aws_sdk_s3::Client,
    pub rules: Rules,
    pub metrics: Metrics,
    pub tuning: Tuning,
}

impl Resources {
    /// Creates the clients from the function's settings.
    ///
    /// # Errors
    /// Returns an error if a setting is missing.
    pub fn from_setup(setup: &Setup, tuning: Tuning) -> Result<Self, SetupError> {
        Ok(Self {
            table: Table::from_setup(setup)?,
            batches: Batches::from_setup(setup)?,
            events: Events::from_setup(setup)?,
            s3: setup.s3()?,
            rules: Rules::from_setup(setup)?,
            metrics: Metrics::from_setup(setup),
            tuning,
        })
    }

    /// Counts a run that failed, for a reason that may not pass by itself.
    pub fn count_failed_run(&self) {
        self.metrics
            .publish(&[MetricValue::count("RunsFailed", 1.0)], &[]);
    }

    /// Returns a report of a batch.
    pub fn report(&self, bucket: &str, batch_id: &BatchId, kind: Kind, guard: Guard) -> Report {
        Report::new(
            self.s3.clone(),
            bucket.to_owned(),
            batch_id.clone(),
            kind,
            guard,
            self.tuning.first_wait,
        )
    }
}
