//! Sizes and limits of a run.

use std::time::Duration;

use mpulse_shared::run::backoff;

use crate::workbook;

/// Sizes and limits of a run. The defaults are deployed; tests make them small.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// The least bytes of a piece, except the last. S3 requires 5 MiB.
    pub piece_bytes: usize,
    /// The most rows of a workbook.
    pub max_workbook_rows: u64,
    /// The longest wait before the first retry of a request.
    pub first_wait: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            piece_bytes: 8 << 20,
            max_workbook_rows: workbook::MAX_ROWS,
            first_wait: backoff::FIRST,
        }
    }
}
