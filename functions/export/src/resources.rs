//! What every run uses: the tables, the bucket, the event bus and the metrics.

use mpulse_shared::metrics::{MetricValue, Metrics};
use mpulse_shared::setup::{FromSetup, Setup, SetupError};
use mpulse_shared::store::events::Events;
use mpulse_shared::store::exports::Exports;

use crate::account::MembersTable;
use crate::tuning::Tuning;

/// The resources of all runs of the function.
pub struct Resources {
    pub members: MembersTable,
    pub exports: Exports,
    pub events: Events,
    pub s3: aws_sdk_s3::Client,
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
            members: MembersTable::from_setup(setup)?,
            exports: Exports::from_setup(setup)?,
            events: Events::from_setup(setup)?,
            s3: setup.s3()?,
            metrics: Metrics::from_setup(setup),
            tuning,
        })
    }

    /// Counts a run that failed, for a reason that may not pass by itself.
    pub fn count_failed_run(&self) {
        self.metrics
            .publish(&[MetricValue::count("RunsFailed", 1.0)], &[]);
    }
}
