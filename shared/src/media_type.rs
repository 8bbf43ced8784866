//! Media types of files.

/// CSV in UTF-8.
pub const CSV: &str = "text/csv; charset=utf-8";

/// Excel workbooks (xlsx).
pub const WORKBOOK: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
