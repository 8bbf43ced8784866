//! The result of any subcommand, as JSON that says which one it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cold_start::ColdStart;
use crate::cost::Cost;
use crate::error::Error;
use crate::export::Exported;
use crate::load::Load;
use crate::lookup::Lookup;
use crate::partitions::Loads;
use crate::rejects::Rejects;
use crate::speed::Speed;
use crate::throttle::Throttle;
use crate::upload::Upload;

/// The result of a subcommand.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "measured", rename_all = "snake_case")]
pub enum Measured {
    /// `ingest`
    Speed(Speed),
    /// `rejects`
    Rejects(Rejects),
    /// `export`
    Export(Exported),
    /// `cost`
    Cost(Cost),
    /// `throttle`
    Throttle(Throttle),
    /// `partitions`
    Partitions(Loads),
    /// `upload`
    Upload(Upload),
    /// `load`
    Load(Load),
    /// `lookup`
    Lookup(Lookup),
    /// `cold-start`
    ColdStart(ColdStart),
}

impl Measured {
    /// Prints the result, as JSON for `report` or as text.
    ///
    /// # Errors
    /// Returns an error if it cannot be JSON.
    pub fn show(&self, json: bool) -> Result<(), Error> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{self}");
        }
        Ok(())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speed(speed) => speed.fmt(f),
            Self::Rejects(rejects) => rejects.fmt(f),
            Self::Export(exported) => exported.fmt(f),
            Self::Cost(cost) => cost.fmt(f),
            Self::Throttle(throttle) => throttle.fmt(f),
            Self::Partitions(loads) => loads.fmt(f),
            Self::Upload(upload) => upload.fmt(f),
            Self::Load(load) => load.fmt(f),
            Self::Lookup(lookup) => lookup.fmt(f),
            Self::ColdStart(cold_start) => cold_start.fmt(f),
        }
    }
}
