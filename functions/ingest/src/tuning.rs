//! Sizes and limits of a run.

use std::time::Duration;

use mpulse_shared::run::backoff;

use crate::{account_keys, change_log, file_keys, index};

/// Sizes and limits of a run. The defaults are deployed; tests make them small, so that small files
/// have many windows and pages.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// The maximum number of members in a window: rows that are compared, counted and written
    /// together.
    pub window_members: usize,
    /// The bytes of rejected rows that end a window.
    pub window_report: usize,
    /// Windows whose writes are in flight while the next is read and compared.
    pub depth: usize,
    /// The maximum number of fingerprints.
    pub max_fingerprints: usize,
    /// The most members that a dry run remembers whole.
    pub max_remembered: usize,
    /// The maximum number of a file's keys in memory.
    pub max_file_keys: usize,
    /// The most memory for an account's keys, in bytes.
    pub max_account_keys: usize,
    /// The length of a large part of the report of changes, in bytes.
    pub large_part: usize,
    /// The cost limit of an account's first page, in read units: fewer rows read no page.
    pub first_page: u32,
    /// The longest wait before the first retry of a request.
    pub first_wait: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            window_members: 2000,
            window_report: 1024 * 1024,
            depth: 3,
            max_fingerprints: index::MAX_FINGERPRINTS,
            max_remembered: 500_000,
            max_file_keys: file_keys::MAX_KEYS,
            max_account_keys: account_keys::MAX_BYTES,
            large_part: change_log::LARGE_PART,
            first_page: index::FIRST_PAGE,
            first_wait: backoff::FIRST,
        }
    }
}
