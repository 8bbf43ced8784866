//! The report of refused rows: a CSV that can be corrected and uploaded again.
//!
//! While a batch runs, the rows of each checkpoint are one object, named by the run and by
//! the byte it begins at, so that a stale run can't overwrite another's. At the end the
//! parts that the batch's segments vouch for are joined in order into one object ([`join`]).

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::paginator::ListObjectsV2Paginator;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use mpulse_shared::batch::{BatchId, Joining, Layout};
use mpulse_shared::store::StoreError;

use crate::error::RunError;
use crate::guard::Guard;
use crate::row::{Original, Reject};

pub mod join;

/// The columns that the report adds in front of the file's own.
const OWN: [&str; 3] = ["line", "code", "message"];

/// The column that it adds behind them.
const RAW: &str = "raw";

/// The media type of a report.
const MEDIA_TYPE: &str = "text/csv; charset=utf-8";

/// Writes refused rows as lines of the report.
#[derive(Debug)]
pub struct Encoder {
    /// Columns of the file to repeat: all but those of an earlier report.
    columns: Vec<usize>,
    /// Where an earlier report has the text of a row that didn't fit its columns.
    raw: Option<usize>,
    header: String,
}

impl Encoder {
    /// An encoder for a file of these columns.
    pub fn new(layout: &Layout) -> Self {
        let names = &layout.names;
        let is_report = OWN
            .iter()
            .zip(names)
            .filter(|(own, name)| own == name)
            .count()
            == OWN.len();
        let raw = names.len().checked_sub(1);
        let raw = raw.filter(|&last| is_report && names[last] == RAW);
        let columns: Vec<usize> = (0..names.len())
            .filter(|&at| !(is_report && (at < OWN.len() || raw == Some(at))))
            .collect();
        let mut header = String::new();
        let own = columns.iter().map(|&at| names[at].as_str());
        line(&mut header, OWN.into_iter().chain(own).chain([RAW]));
        Self {
            columns,
            raw,
            header,
        }
    }

    /// Adds a row's line.
    pub fn write(&self, out: &mut String, reject: &Reject) {
        let number = reject.line.to_string();
        let (fields, raw): (&[String], &str) = match &reject.original {
            Original::Fields(fields) => {
                let raw = self.raw.and_then(|at| fields.get(at));
                (fields, raw.map_or("", String::as_str))
            }
            Original::Raw(raw) => (&[], raw),
        };
        let own = [number.as_str(), reject.code, reject.message.as_str()];
        let file = self
            .columns
            .iter()
            .map(|&at| fields.get(at).map_or("", String::as_str));
        line(out, own.into_iter().chain(file).chain([raw]));
    }
}

/// Adds fields as one CSV line (RFC 4180).
fn line<'a>(out: &mut String, fields: impl Iterator<Item = &'a str>) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.push(',');
        }
        if field.contains(['"', ',', '\n', '\r']) {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(field);
        }
    }
    out.push_str("\r\n");
}

/// The objects of one batch's report.
#[derive(Debug, Clone)]
pub struct Report {
    client: Client,
    bucket: String,
    batch_id: BatchId,
    guard: Guard,
    /// The longest wait before a part is opened again.
    first_wait: Duration,
}

impl Report {
    /// The report of a batch, kept in that bucket.
    pub fn new(
        client: Client,
        bucket: String,
        batch_id: BatchId,
        guard: Guard,
        first_wait: Duration,
    ) -> Self {
        Self {
            client,
            bucket,
            batch_id,
            guard,
            first_wait,
        }
    }

    /// Stores the lines of the rows that run `run` refused from byte `from` on.
    ///
    /// # Errors
    /// Where the run may not or can't go on.
    pub async fn put_part(&self, run: u32, from: u64, lines: String) -> Result<(), RunError> {
        self.put(&self.part_key(run, from), Bytes::from(lines))
            .await
    }

    /// Where the finished report goes.
    fn key(&self) -> String {
        self.batch_id.rejects_key()
    }

    fn part_key(&self, run: u32, from: u64) -> String {
        // Fixed widths make the order of keys the order of places in the file.
        format!(
            "{}{from:020}-{run:06}.csv",
            self.batch_id.reject_parts_prefix()
        )
    }

    /// The place and run in a part's key.
    fn part_of(&self, key: &str) -> Option<(u64, u32)> {
        let name = key
            .strip_prefix(&self.batch_id.reject_parts_prefix())?
            .strip_suffix(".csv")?;
        let (from, run) = name.split_once('-')?;
        Some((from.parse().ok()?, run.parse().ok()?))
    }

    /// Deletes the parts, once the end is written.
    ///
    /// # Errors
    /// Where S3 can't be asked.
    pub async fn delete_parts(&self) -> Result<(), StoreError> {
        let mut keys = Vec::new();
        let mut pages = self.list().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::sdk("ListObjectsV2 of a report", error))?;
            let objects = page.contents.unwrap_or_default();
            keys.extend(objects.into_iter().filter_map(|object| object.key));
        }
        for key in keys {
            self.client
                .delete_object()
                .bucket(&self.bucket)
                .key(key)
                .send()
                .await
                .map_err(|error| StoreError::sdk("DeleteObject of a report part", error))?;
        }
        Ok(())
    }

    /// Gives up the upload that a join began, so that its pieces aren't kept.
    ///
    /// # Errors
    /// Where the run may not or can't go on; the bucket's lifecycle aborts it later.
    pub async fn abort(&self, joining: &Joining) -> Result<(), RunError> {
        self.guard.check()?;
        self.client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(self.key())
            .upload_id(&joining.upload_id)
            .send()
            .await
            .map_err(|error| StoreError::sdk("AbortMultipartUpload", error))?;
        Ok(())
    }

    /// The parts, page by page.
    fn list(&self) -> ListObjectsV2Paginator {
        self.client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.batch_id.reject_parts_prefix())
            .into_paginator()
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<(), RunError> {
        self.guard.check()?;
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(MEDIA_TYPE)
            .body(ByteStream::from(content))
            .send()
            .await
            .map_err(|error| StoreError::sdk("PutObject of a report", error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(names: &[&str]) -> Encoder {
        Encoder::new(&Layout {
            delimiter: b',',
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            fields: Vec::new(),
        })
    }

    fn reject(original: Original) -> Reject {
        Reject {
            line: 7,
            code: "required",
            message: "phone_number is required".into(),
            original,
        }
    }

    #[test]
    fn the_file_s_own_columns_are_verbatim() {
        let encoder = encoder(&["Phone", "notes"]);
        assert_eq!(encoder.header, "line,code,message,Phone,notes,raw\r\n");
        let mut out = String::new();
        let fields = vec![" ".to_owned(), "a \"b\", c".to_owned()];
        encoder.write(&mut out, &reject(Original::Fields(fields)));
        assert_eq!(
            out,
            "7,required,phone_number is required, ,\"a \"\"b\"\", c\",\r\n"
        );
    }

    #[test]
    fn a_row_that_does_not_fit_has_its_text() {
        let mut out = String::new();
        encoder(&["a", "b"]).write(&mut out, &reject(Original::Raw("1,2,3".into())));
        assert_eq!(out, "7,required,phone_number is required,,,\"1,2,3\"\r\n");
    }

    #[test]
    fn the_report_of_a_report_has_its_columns_once() {
        let encoder = encoder(&["line", "code", "message", "Phone", "raw"]);
        assert_eq!(encoder.header, "line,code,message,Phone,raw\r\n");
        let mut out = String::new();
        let fields = ["3", "x", "y", "12", ""].map(str::to_owned).to_vec();
        encoder.write(&mut out, &reject(Original::Fields(fields)));
        assert_eq!(out, "7,required,phone_number is required,12,\r\n");
        // The text of a row that nobody has corrected stays with it.
        out.clear();
        let fields = ["3", "x", "y", "", "a;b"].map(str::to_owned).to_vec();
        encoder.write(&mut out, &reject(Original::Fields(fields)));
        assert_eq!(out, "7,required,phone_number is required,,a;b\r\n");
    }
}
