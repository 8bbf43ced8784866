//! Limits against files that grow without bound when they are unpacked.

use mpulse_shared::run::RunError;

use super::problem;

const MIB: u64 = 1024 * 1024;

/// How many times larger than its packed form the content of a file may be. Rosters reach 10, deflate at most 1,032.
const MAX_RATIO: u64 = 200;

/// The content below which the ratio is not limited.
const FREE_OF_RATIO: u64 = 64 * MIB;

/// The largest content of a packed file. A run decodes it again up to its position, so a larger file would
/// need more than one run's time for that.
const MAX_CONTENT: u64 = 50 * 1024 * MIB;

/// The largest XML of a sheet: 1,048,576 rows, the most that a sheet has, of 4 KiB.
pub const MAX_SHEET: u64 = 4 * 1024 * MIB;

/// The largest XML of the texts that the cells of a workbook share. They are held in memory.
pub const MAX_SHARED_TEXTS: u64 = 256 * MIB;

/// The largest XML of another part of a workbook, and the longest XML token.
pub const MAX_PART: u64 = 16 * MIB;

/// Checks how much was unpacked from how many bytes.
///
/// # Errors
/// Returns the problem of a file that grows too much.
pub fn check(unpacked: u64, packed: u64) -> Result<(), RunError> {
    if unpacked > MAX_CONTENT {
        return Err(problem(
            "content_too_large",
            format!(
                "The content of the file is larger than {} GiB, the maximum for a compressed file. Send it as plain CSV, \
                 or in several files.",
                MAX_CONTENT / MIB / 1024
            ),
        ));
    }
    if unpacked > FREE_OF_RATIO && unpacked / MAX_RATIO > packed {
        return Err(problem(
            "expands_too_much",
            format!(
                "The content of the file is more than {MAX_RATIO} times larger than the file: this is no roster. Send \
                 it as plain CSV."
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_may_not_grow_without_bound() {
        assert!(check(FREE_OF_RATIO, 1).is_ok());
        assert!(check(MAX_RATIO * MIB, MIB).is_ok());
        assert!(check(MAX_RATIO * MIB * 2, MIB).is_err());
        assert!(check(MAX_CONTENT + 1, MAX_CONTENT).is_err());
    }
}
