//! The report of refused rows: a CSV that can be corrected and uploaded again.
//!
//! While a batch runs, the rows of each checkpoint are one object, named by the run and by
//! the byte it begins at, so that a stale run can't overwrite another's. At the end the
//! parts that the batch's segments vouch for are joined in order into one object.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use mpulse_shared::batch::{BatchId, Layout, Segment};
use mpulse_shared::store::StoreError;

use crate::error::RunError;
use crate::guard::Guard;
use crate::row::{Original, Reject};

/// The columns that the report adds in front of the file's own.
const OWN: [&str; 3] = ["line", "code", "message"];

/// The column that it adds behind them.
const RAW: &str = "raw";

/// Bytes of one part of a multipart upload; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

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
}

impl Report {
    /// The report of a batch, kept in that bucket.
    pub fn new(client: Client, bucket: String, batch_id: BatchId, guard: Guard) -> Self {
        Self {
            client,
            bucket,
            batch_id,
            guard,
        }
    }

    /// Stores the lines of the rows that run `run` refused from byte `from` on.
    ///
    /// # Errors
    /// Where the run may not or can't go on.
    pub async fn put_part(&self, run: u32, from: u64, lines: String) -> Result<(), RunError> {
        self.guard.check()?;
        self.put(&self.part_key(run, from), Bytes::from(lines))
            .await
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

    /// Joins the parts that belong to the batch into the finished report. Gives `false`
    /// where there are none.
    ///
    /// # Errors
    /// Where the run may not or can't go on.
    pub async fn join(&self, encoder: &Encoder, segments: &[Segment]) -> Result<bool, RunError> {
        let mut keys: Vec<String> = self.part_keys().await?;
        keys.retain(|key| {
            self.part_of(key).is_some_and(|(from, run)| {
                segments
                    .iter()
                    .any(|s| s.run == run && s.from <= from && from < s.to)
            })
        });
        if keys.is_empty() {
            return Ok(false);
        }
        keys.sort_unstable();
        let mut joined = Joined::new(self);
        joined.add(encoder.header.as_bytes()).await?;
        for key in &keys {
            self.guard.check()?;
            let mut part = self
                .client
                .get_object()
                .bucket(&self.bucket)
                .key(key)
                .send()
                .await
                .map_err(|error| StoreError::sdk("GetObject of a report part", error))?
                .body;
            while let Some(bytes) = part.next().await {
                let bytes = bytes
                    .map_err(|error| StoreError::unreadable("reading a report part", error))?;
                joined.add(&bytes).await?;
            }
        }
        joined.finish().await?;
        Ok(true)
    }

    /// Deletes the parts, once the end is written.
    ///
    /// # Errors
    /// Where S3 can't be asked.
    pub async fn delete_parts(&self) -> Result<(), StoreError> {
        for key in self.part_keys().await? {
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

    async fn part_keys(&self) -> Result<Vec<String>, StoreError> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.batch_id.reject_parts_prefix())
            .into_paginator()
            .send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::sdk("ListObjectsV2 of a report", error))?;
            keys.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|o| o.key),
            );
        }
        Ok(keys)
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<(), RunError> {
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

/// The finished report on its way: one PUT if it is small, else a multipart upload of
/// which one part is in memory at a time.
struct Joined<'a> {
    report: &'a Report,
    key: String,
    buffer: BytesMut,
    upload: Option<String>,
    parts: Vec<CompletedPart>,
}

impl<'a> Joined<'a> {
    fn new(report: &'a Report) -> Self {
        Self {
            report,
            key: report.batch_id.rejects_key(),
            buffer: BytesMut::new(),
            upload: None,
            parts: Vec::new(),
        }
    }

    async fn add(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            self.send_part().await?;
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), RunError> {
        let client = &self.report.client;
        let bucket = &self.report.bucket;
        self.report.guard.check()?;
        let upload = if let Some(upload) = &self.upload {
            upload.clone()
        } else {
            let upload = client
                .create_multipart_upload()
                .bucket(bucket)
                .key(&self.key)
                .content_type(MEDIA_TYPE)
                .send()
                .await
                .map_err(|error| StoreError::sdk("CreateMultipartUpload", error))?
                .upload_id
                .unwrap_or_default();
            self.upload.insert(upload).clone()
        };
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let etag = client
            .upload_part()
            .bucket(bucket)
            .key(&self.key)
            .upload_id(upload)
            .part_number(number)
            .body(ByteStream::from(self.buffer.split().freeze()))
            .send()
            .await
            .map_err(|error| StoreError::sdk("UploadPart of a report", error))?
            .e_tag;
        self.parts.push(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(etag)
                .build(),
        );
        Ok(())
    }

    async fn finish(mut self) -> Result<(), RunError> {
        if self.upload.is_none() {
            let content = self.buffer.split().freeze();
            return self.report.put(&self.key, content).await;
        }
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        self.report
            .client
            .complete_multipart_upload()
            .bucket(&self.report.bucket)
            .key(&self.key)
            .set_upload_id(self.upload.take())
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(self.parts))
                    .build(),
            )
            .send()
            .await
            .map_err(|error| StoreError::sdk("CompleteMultipartUpload", error))?;
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
