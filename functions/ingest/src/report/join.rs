//! Joins the parts of a batch's report into one object, at the end of the batch.
//!
//! The batch's segments determine the parts, and their length determines the pieces. So every run
//! that joins sends the same pieces: a run continues the upload of a dead one, and a concurrent one
//! does no harm. One piece is in memory at a time, and a record of each part.
//!

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use mpulse_shared::batch::{Joining, Segment};
use mpulse_shared::media_type;
use mpulse_shared::parts::part_size;
use mpulse_shared::store::StoreError;
use mpulse_shared::store::parts::is_unknown_upload;

use super::{Encoder, Report};
use crate::backoff;
use crate::error::RunError;

/// Parts that are fetched at once.
const READS: usize = 4;

/// Attempts in a row without a byte before a part counts as unreadable.
const TRIES: u32 = 8;

/// A part of the report, as a run stored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// The byte of the file at which its rows begin.
    from: u64,
    run: u32,
    /// Its length.
    bytes: u64,
}

/// A range of a part's bytes.
#[derive(Debug)]
struct Slice {
    key: String,
    from: u64,
    to: u64,
}

/// A report that is being joined.
#[derive(Debug)]
pub struct Join {
    report: Report,
    header: Bytes,
    parts: Vec<Part>,
    /// The offset of each part in the joined report.
    starts: Vec<u64>,
    /// The length of the joined report in bytes.
    total: u64,
    piece_bytes: u64,
    /// The upload of the pieces; `None` if none is needed (any more).
    upload: Option<String>,
    /// The pieces that have been uploaded.
    sent: Vec<CompletedPart>,
}

impl Join {
    /// Looks up the parts; `None` if there are none.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn new(
        report: Report,
        encoder: &Encoder,
        segments: &[Segment],
    ) -> Result<Option<Self>, RunError> {
        report.guard.check()?;
        let mut parts = Vec::new();
        let mut pages = report.list().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::sdk("ListObjectsV2 of a report", error))?;
            for object in page.contents() {
                let Some((from, run)) = object.key().and_then(|key| report.part_of(key)) else {
                    continue;
                };
                let counts = |s: &Segment| s.run == run && s.from <= from && from < s.to;
                if segments.iter().any(counts) {
                    let bytes = object.size().and_then(|size| u64::try_from(size).ok());
                    let bytes = bytes.unwrap_or_default();
                    parts.push(Part { from, run, bytes });
                }
            }
            report.guard.check()?;
        }
        if parts.is_empty() {
            return Ok(None);
        }
        parts.sort_unstable();
        let header = Bytes::from(encoder.header.clone());
        let mut total = header.len() as u64;
        let starts = parts
            .iter()
            .map(|part| {
                let start = total;
                total += part.bytes;
                start
            })
            .collect();
        Ok(Some(Self {
            report,
            header,
            parts,
            starts,
            total,
            piece_bytes: part_size(total),
            upload: None,
            sent: Vec::new(),
        }))
    }

    /// Prepares to send: continues the upload of an earlier run, or creates one if the report is
    /// larger than a piece.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn open(&mut self, earlier: Option<&Joining>) -> Result<(), RunError> {
        if let Some(Joining { upload_id, .. }) = earlier {
            if let Some(sent) = self.pieces_of(upload_id).await? {
                tracing::info!(pieces = sent.len(), "continuing to join a report");
                self.sent = sent;
                self.upload = Some(upload_id.clone());
                return Ok(());
            }
            // A run completed it and died before it could save that, or S3 has deleted it as too
            // old.
            if self.is_there().await? {
                return Ok(());
            }
        }
        if self.total > self.piece_bytes {
            self.report.guard.check()?;
            let answer = self
                .report
                .client
                .create_multipart_upload()
                .bucket(&self.report.bucket)
                .key(self.report.key())
                .content_type(media_type::CSV)
                .send()
                .await
                .map_err(|error| StoreError::sdk("CreateMultipartUpload", error))?;
            self.upload = answer.upload_id;
            return Ok(());
        }
        let content = self.piece(0, self.total).await?;
        let key = self.report.key();
        self.report.put(&key, content).await
    }

    /// Returns what the next run needs to continue.
    pub fn progress(&self) -> Option<Joining> {
        let upload_id = self.upload.clone()?;
        let pieces = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        Some(Joining { upload_id, pieces })
    }

    /// Sends the next piece. Returns `false` if there was none left.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn send_piece(&mut self) -> Result<bool, RunError> {
        let from = self.sent.len() as u64 * self.piece_bytes;
        let Some(upload) = self.upload.clone().filter(|_| from < self.total) else {
            return Ok(false);
        };
        let content = self.piece(from, self.total).await?;
        let number = i32::try_from(self.sent.len() + 1).unwrap_or(i32::MAX);
        self.report.guard.check()?;
        let answer = self
            .report
            .client
            .upload_part()
            .bucket(&self.report.bucket)
            .key(self.report.key())
            .upload_id(upload)
            .part_number(number)
            .body(ByteStream::from(content))
            .send()
            .await
            .map_err(|error| StoreError::sdk("UploadPart of a report", error))?;
        self.sent.push(completed(number, answer.e_tag));
        Ok(true)
    }

    /// Makes one object of the pieces.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn complete(self) -> Result<(), RunError> {
        let Some(upload) = self.upload.clone() else {
            return Ok(());
        };
        let pieces = CompletedMultipartUpload::builder()
            .set_parts(Some(self.sent.clone()))
            .build();
        self.report.guard.check()?;
        let result = self
            .report
            .client
            .complete_multipart_upload()
            .bucket(&self.report.bucket)
            .key(self.report.key())
            .upload_id(upload)
            .multipart_upload(pieces)
            .send()
            .await;
        match result {
            Ok(_) => Ok(()),
            // A retry, after a lost response, finds the upload completed.
            Err(error) if is_unknown_upload(&error) && self.is_there().await? => Ok(()),
            Err(error) => Err(StoreError::sdk("CompleteMultipartUpload", error).into()),
        }
    }

    /// Returns the pieces of an upload that equal those that this run would send; `None` if the
    /// upload does not exist.
    async fn pieces_of(&self, upload: &str) -> Result<Option<Vec<CompletedPart>>, RunError> {
        self.report.guard.check()?;
        let mut pages = self
            .report
            .client
            .list_parts()
            .bucket(&self.report.bucket)
            .key(self.report.key())
            .upload_id(upload)
            .into_paginator()
            .send();
        let mut sent = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if is_unknown_upload(&error) => return Ok(None),
                Err(error) => return Err(StoreError::sdk("ListParts of a report", error).into()),
            };
            for piece in page.parts() {
                let number = i32::try_from(sent.len() + 1).unwrap_or(i32::MAX);
                let from = sent.len() as u64 * self.piece_bytes;
                let size = self.piece_bytes.min(self.total.saturating_sub(from));
                let is_ours = piece.part_number() == Some(number)
                    && piece.size().and_then(|n| u64::try_from(n).ok()) == Some(size);
                if !is_ours {
                    return Ok(Some(sent));
                }
                sent.push(completed(number, piece.e_tag.clone()));
            }
            self.report.guard.check()?;
        }
        Ok(Some(sent))
    }

    /// Returns whether the joined report exists.
    async fn is_there(&self) -> Result<bool, RunError> {
        self.report.guard.check()?;
        let result = self
            .report
            .client
            .head_object()
            .bucket(&self.report.bucket)
            .key(self.report.key())
            .send()
            .await;
        match result {
            Ok(head) => {
                let length = head.content_length.and_then(|n| u64::try_from(n).ok());
                Ok(length == Some(self.total))
            }
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(false),
            Err(error) => Err(StoreError::sdk("HeadObject of a report", error).into()),
        }
    }

    /// Returns the piece that begins at byte `from` of the joined report, which ends at `end`.
    async fn piece(&self, from: u64, end: u64) -> Result<Bytes, RunError> {
        let to = end.min(from + self.piece_bytes);
        let mut content = BytesMut::with_capacity(usize::try_from(to - from).unwrap_or_default());
        if let Ok(skipped) = usize::try_from(from)
            && let Some(header) = self.header.get(skipped..)
        {
            content.extend_from_slice(header);
        }
        let mut slices = stream::iter(self.slices(from, to))
            .map(|slice| self.read(slice))
            .buffered(READS);
        while let Some(bytes) = slices.try_next().await? {
            content.extend_from_slice(&bytes);
        }
        Ok(content.freeze())
    }

    /// Returns the ranges of parts that are in this piece.
    fn slices(&self, from: u64, to: u64) -> Vec<Slice> {
        let places = self.parts.iter().zip(&self.starts);
        let first = self.starts.partition_point(|&start| start <= from);
        places
            .skip(first.saturating_sub(1))
            .take_while(|&(_, &start)| start < to)
            .map(|(part, &start)| Slice {
                key: self.report.part_key(part.run, part.from),
                from: from.saturating_sub(start),
                to: part.bytes.min(to - start),
            })
            .filter(|slice| slice.from < slice.to)
            .collect()
    }

    /// Reads a range, and opens the part again if the stream breaks off.
    async fn read(&self, slice: Slice) -> Result<Bytes, RunError> {
        const OPERATION: &str = "reading a report part";
        let length = usize::try_from(slice.to - slice.from).unwrap_or(usize::MAX);
        let mut content = BytesMut::new();
        let mut retry = 0;
        while content.len() < length {
            self.report.guard.check()?;
            let at = slice.from + content.len() as u64;
            let before = content.len();
            let mut body = self
                .report
                .client
                .get_object()
                .bucket(&self.report.bucket)
                .key(&slice.key)
                .range(format!("bytes={at}-{}", slice.to - 1))
                .send()
                .await
                .map_err(|error| StoreError::sdk("GetObject of a report part", error))?
                .body;
            let broken = loop {
                match body.next().await {
                    Some(Ok(bytes)) => content.extend_from_slice(&bytes),
                    Some(Err(error)) => break StoreError::unreadable(OPERATION, error),
                    None => break StoreError::unreadable(OPERATION, "it ends too early"),
                }
            };
            if content.len() >= length {
                break;
            }
            retry = if content.len() > before { 1 } else { retry + 1 };
            if retry == TRIES {
                return Err(broken.into());
            }
            tokio::time::sleep(backoff::wait(self.report.first_wait, retry)).await;
        }
        Ok(content.freeze())
    }
}

fn completed(number: i32, e_tag: Option<String>) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(e_tag)
        .build()
}
