//! An export, as the API returns it. Fields that this command does not show are not read, and fields that an older or newer
//! system omits have defaults: the contract grows by adding.

use serde::{Deserialize, Serialize};

/// The body of a request that creates an export.
#[derive(Debug, Serialize)]
pub struct NewExport {
    /// The account.
    pub account_id: String,
    /// The format of the file.
    pub format: &'static str,
}

/// The fields of an export that this command shows.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Export {
    /// Its id.
    #[serde(rename = "export_id")]
    pub id: String,
    /// Its status; a text, since later versions may add values.
    pub status: String,
    /// Members in the file so far.
    #[serde(default)]
    pub rows: u64,
    /// Why it failed.
    #[serde(default)]
    pub problem: Option<ExportProblem>,
    /// Related URLs.
    #[serde(default)]
    pub links: ExportLinks,
}

/// Why an export failed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExportProblem {
    /// A description for people.
    pub message: String,
}

/// URLs of an export.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExportLinks {
    /// The signed URL of the file, if there is one.
    pub file: Option<String>,
}

impl Export {
    /// Returns whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(&*self.status, "completed" | "failed" | "expired")
    }
}
