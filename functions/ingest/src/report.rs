//! The report of rejected rows: a CSV that can be corrected and uploaded again.
//!
//! While a batch runs, the rejected rows of each checkpoint are one object. Its key contains the
//! run and the byte at which it begins, so a stale run cannot overwrite another's part. At the end,
//! the parts that belong to the batch's segments are joined in order into one object ([`join`]).
//! The report of changes is made in the same way. It is longer, so the parts of many checkpoints are
//! also stored as one, which S3 can copy.

use std::borrow::Cow;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::paginator::ListObjectsV2Paginator;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;
use mpulse_shared::batch::{BatchId, Joining, Layout};
use mpulse_shared::media_type;
use mpulse_shared::run::{Guard, Point, RunError};
use mpulse_shared::store::StoreError;

use crate::report_form::{BOM, OWN, RAW, escape, is_report, push_quoted};
use crate::row::{Original, Reject};

pub use workbook::MAX_ROWS as MAX_WORKBOOK_ROWS;

pub mod join;
mod workbook;

/// The maximum number of objects of one `DeleteObjects` (an AWS limit).
const MAX_DELETE: usize = 1000;

/// Formats rejected rows as lines of the report.
#[derive(Debug)]
pub struct Encoder {
    /// Columns of the file to repeat: all except those of an earlier report.
    columns: Vec<usize>,
    /// The column in which an earlier report has the text of a row that did not fit its columns.
    raw: Option<usize>,
    header: String,
}

impl Encoder {
    /// Creates an encoder for a file with these columns.
    pub fn new(layout: &Layout) -> Self {
        let names = &layout.names;
        let is_report = is_report(names);
        let raw = names.len().checked_sub(1);
        let raw = raw.filter(|&last| is_report && names[last] == RAW);
        let columns: Vec<usize> = (0..names.len())
            .filter(|&at| !(is_report && (at < OWN.len() || raw == Some(at))))
            .collect();
        let mut header = BOM.to_owned();
        let own = columns.iter().map(|&at| names[at].as_str());
        line(&mut header, OWN.into_iter().chain(own).chain([RAW]));
        Self {
            columns,
            raw,
            header,
        }
    }

    /// Returns the first line of the report.
    pub fn header(&self) -> &str {
        &self.header
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
        let file: Vec<Cow<'_, str>> = file.chain([raw]).map(escape).collect();
        line(out, own.into_iter().chain(file.iter().map(Cow::as_ref)));
    }
}

/// Appends fields as one CSV line (RFC 4180).
fn line<'a>(out: &mut String, fields: impl Iterator<Item = &'a str>) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_quoted(out, field);
    }
    out.push_str("\r\n");
}

/// The reports of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The rejected rows.
    Rejects,
    /// The changes.
    Changes,
}

/// The objects of one report of a batch.
#[derive(Debug, Clone)]
pub struct Report {
    client: Client,
    bucket: String,
    batch_id: BatchId,
    kind: Kind,
    guard: Guard,
    /// The longest wait before a part is opened again.
    first_wait: Duration,
}

/// A part of a report: the lines of the rows of one window of a run, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The position at which the first window begins.
    pub from: u64,
    /// The run.
    pub run: u32,
    /// The position at which the last of several windows ends.
    pub to: Option<u64>,
}

impl Report {
    /// Returns a report of a batch in a bucket.
    pub fn new(
        client: Client,
        bucket: String,
        batch_id: BatchId,
        kind: Kind,
        guard: Guard,
        first_wait: Duration,
    ) -> Self {
        Self {
            client,
            bucket,
            batch_id,
            kind,
            guard,
            first_wait,
        }
    }

    /// Stores the lines of a part.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn put_part(&self, span: Span, lines: impl Into<Bytes>) -> Result<(), RunError> {
        self.put(&self.part_key(span), lines.into()).await?;
        self.guard.reached(Point::PartStored).await;
        Ok(())
    }

    /// Stores the report as a workbook too, if it is not too large for one. Returns whether it was stored.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn put_workbook(&self) -> Result<bool, RunError> {
        self.guard.check()?;
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.key())
            .send()
            .await
            .map_err(|error| StoreError::sdk("GetObject of a report", error))?;
        let bytes = answer.content_length.and_then(|n| usize::try_from(n).ok());
        if bytes.is_none_or(|bytes| bytes > workbook::MAX_BYTES) {
            return Ok(false);
        }
        let text = answer
            .body
            .collect()
            .await
            .map_err(|error| StoreError::unreadable("reading a report", error))?
            .into_bytes();
        let made = tokio::task::spawn_blocking(move || workbook::from_report(&text)).await;
        let content = match made {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => return Err(StoreError::unreadable("making a workbook", error).into()),
            Err(error) => return Err(StoreError::unreadable("making a workbook", error).into()),
        };
        self.guard.check()?;
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(self.batch_id.rejects_workbook_key())
            .content_type(media_type::WORKBOOK)
            .body(ByteStream::from(content))
            .send()
            .await
            .map_err(|error| StoreError::sdk("PutObject of a report", error))?;
        self.guard.reached(Point::WorkbookStored).await;
        Ok(true)
    }

    /// Returns the key of the finished report.
    fn key(&self) -> String {
        match self.kind {
            Kind::Rejects => self.batch_id.rejects_key(),
            Kind::Changes => self.batch_id.changes_key(),
        }
    }

    /// Returns the prefix of the keys of its parts.
    pub fn parts_prefix(&self) -> String {
        match self.kind {
            Kind::Rejects => self.batch_id.reject_parts_prefix(),
            Kind::Changes => self.batch_id.change_parts_prefix(),
        }
    }

    fn part_key(&self, Span { from, run, to }: Span) -> String {
        // With fixed widths, the order of keys is the order of positions in the file.
        let to = to.map(|to| format!("-{to:020}")).unwrap_or_default();
        format!("{}{from:020}-{run:06}{to}.csv", self.parts_prefix())
    }

    /// Returns the part of a key.
    fn part_of(&self, key: &str) -> Option<Span> {
        let name = key
            .strip_prefix(&self.parts_prefix())?
            .strip_suffix(".csv")?;
        let mut numbers = name.split('-');
        Some(Span {
            from: numbers.next()?.parse().ok()?,
            run: numbers.next()?.parse().ok()?,
            to: match numbers.next() {
                Some(to) => Some(to.parse().ok()?),
                None => None,
            },
        })
    }

    /// Deletes the parts, once the end is stored.
    ///
    /// # Errors
    /// Returns an error if the S3 request fails.
    pub async fn delete_parts(&self) -> Result<(), StoreError> {
        const OPERATION: &str = "DeleteObjects of report parts";
        let mut pages = self.list().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::sdk("ListObjectsV2 of a report", error))?;
            for object in page.contents.unwrap_or_default() {
                let id = ObjectIdentifier::builder().set_key(object.key).build();
                all.push(id.map_err(|error| StoreError::unreadable(OPERATION, error))?);
            }
        }
        for some in all.chunks(MAX_DELETE) {
            let delete = Delete::builder()
                .set_objects(Some(some.to_vec()))
                .quiet(true)
                .build()
                .map_err(|error| StoreError::unreadable(OPERATION, error))?;
            let answer = self
                .client
                .delete_objects()
                .bucket(&self.bucket)
                .delete(delete)
                .send()
                .await
                .map_err(|error| StoreError::sdk(OPERATION, error))?;
            if let Some(error) = answer.errors().first() {
                let code = error.code().unwrap_or("without a code").to_owned();
                return Err(StoreError::unreadable(OPERATION, code));
            }
        }
        Ok(())
    }

    /// Aborts the upload that a join began, so that its pieces are deleted.
    ///
    /// # Errors
    /// Returns an error if the run must stop; the bucket's lifecycle rule aborts the upload later.
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

    /// Lists the parts, page by page.
    fn list(&self) -> ListObjectsV2Paginator {
        self.client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.parts_prefix())
            .into_paginator()
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<(), RunError> {
        self.guard.check()?;
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(media_type::CSV)
            .body(ByteStream::from(content))
            .send()
            .await
            .map_err(|error| StoreError::sdk("PutObject of a report", error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mpulse_shared::batch::Container;

    use super::*;
    use crate::row::RejectedKey;

    fn encoder(names: &[&str]) -> Encoder {
        Encoder::new(&Layout {
            delimiter: b',',
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            fields: Vec::new(),
            container: Container::Plain,
            charset: None,
        })
    }

    fn reject(original: Original) -> Reject {
        Reject {
            line: 7,
            code: "required",
            message: "phone_number is required".into(),
            original,
            key: RejectedKey::Unreadable,
        }
    }

    #[test]
    fn the_file_s_own_columns_are_verbatim() {
        let encoder = encoder(&["Phone", "notes"]);
        assert_eq!(
            encoder.header,
            "\u{FEFF}line,code,message,Phone,notes,raw\r\n"
        );
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
        assert_eq!(encoder.header, "\u{FEFF}line,code,message,Phone,raw\r\n");
        let mut out = String::new();
        let fields = ["3", "x", "y", "12", ""].map(str::to_owned).to_vec();
        encoder.write(&mut out, &reject(Original::Fields(fields)));
        assert_eq!(out, "7,required,phone_number is required,12,\r\n");
        // The text of a row that was not corrected is kept.
        out.clear();
        let fields = ["3", "x", "y", "", "a;b"].map(str::to_owned).to_vec();
        encoder.write(&mut out, &reject(Original::Fields(fields)));
        assert_eq!(out, "7,required,phone_number is required,,a;b\r\n");
    }
}
