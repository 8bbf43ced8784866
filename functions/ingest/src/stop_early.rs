//! Stops a batch whose first rows are nearly all rejected for one reason: the file or its settings are wrong, and the other
//! rows would be rejected too.

use std::ops::RangeInclusive;

use mpulse_shared::batch::{BatchProblem, Checkpoint};

/// The number of rows after which a batch may be stopped.
const FIRST_ROWS: RangeInclusive<u64> = 2_000..=50_000;

/// The share of rows, in percent, that one reason rejects.
const NEARLY_ALL: u64 = 95;

/// Returns why a batch stops; `None` if it goes on.
pub fn problem(at: &Checkpoint) -> Option<BatchProblem> {
    let read = at.rows.read;
    if !FIRST_ROWS.contains(&read) {
        return None;
    }
    let (code, count) = at.reject_codes.iter().max_by_key(|(_, count)| **count)?;
    if count * 100 < read * NEARLY_ALL {
        return None;
    }
    let hint = match code.as_str() {
        "not_utf8" => " The batch may need \"encoding\".",
        "invalid_phone" => {
            " Check which column has the phone numbers, and whether the batch needs \"default_region\"."
        }
        "wrong_field_count" | "stray_quote" => " Check the delimiter and the quotes of the file.",
        "spreadsheet_number" => " Format the column as text and export the file again.",
        _ => "",
    };
    Some(BatchProblem {
        code: "nearly_all_rejected".to_owned(),
        message: format!(
            "{count} of the first {read} rows were rejected as {code}, so the other rows were not read. The report of rejected rows \
             says what is wrong.{hint} To read all rows anyway, create the batch with \"stop_early\": false."
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(read: u64, rejected: u64) -> Checkpoint {
        let mut at = Checkpoint::default();
        at.rows.read = read;
        at.reject_codes.insert("invalid_phone".to_owned(), rejected);
        at
    }

    #[test]
    fn a_batch_stops_if_one_reason_rejects_nearly_all_of_its_first_rows() {
        assert!(problem(&at(1_999, 1_999)).is_none());
        assert!(problem(&at(2_000, 1_900)).is_some());
        assert!(problem(&at(2_000, 1_899)).is_none());
        assert!(problem(&at(1_000_000, 1_000_000)).is_none());
    }
}
