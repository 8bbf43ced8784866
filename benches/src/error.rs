//! Why a measurement failed.

/// Any error; the command prints it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
