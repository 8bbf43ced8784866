//! Joins the parts of a batch's report into one object, at the end of the batch.
//!
//! The batch's segments determine the parts, and their lengths determine the pieces. So every run
//! that joins sends the same pieces: a run continues the upload of a dead one, and a concurrent one
//! does no harm. S3 copies a large part by itself; of the others, one piece is in memory at a time.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use mpulse_shared::batch::{Joining, Segment};
use mpulse_shared::media_type;
use mpulse_shared::parts::part_size;
use mpulse_shared::run::{Point, RunError, backoff};
use mpulse_shared::store::StoreError;
use mpulse_shared::store::parts::{is_unknown_upload, without_checksums};

use super::{Report, Span};

/// Parts that are fetched at once.
const READS: usize = 4;

/// Attempts in a row without a byte before a part counts as unreadable.
const TRIES: u32 = 8;

/// The smallest piece of a multipart upload, except the last, in bytes (an S3 limit).
const SMALLEST_PIECE: u64 = 5 << 20;

/// A part of the report, as a run stored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    span: Span,
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

/// A piece of the joined report, which is one part of its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// Its first byte in the joined report.
    from: u64,
    /// The byte after its last.
    to: u64,
    /// The part that is this piece, so that S3 can copy it.
    copy: Option<usize>,
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
    pieces: Vec<Piece>,
    /// The upload of the pieces; `None` if none is needed (any more).
    upload: Option<String>,
    /// The pieces that have been uploaded.
    sent: Vec<CompletedPart>,
}

/// Returns the parts that belong to the segments, in order. A part of several windows takes the place of theirs.
fn belonging(mut parts: Vec<Part>, segments: &[Segment]) -> Vec<Part> {
    parts.retain(|part| {
        let Span { from, run, to } = part.span;
        segments.iter().any(|segment| {
            segment.run == run
                && segment.from <= from
                && to.map_or(from < segment.to, |to| to <= segment.to)
        })
    });
    parts.sort_unstable_by_key(|part| (part.span.from, part.span.to.is_none()));
    let mut end = 0;
    parts.retain(|part| match part.span.to {
        Some(to) => {
            end = to;
            true
        }
        None => part.span.from >= end,
    });
    parts
}

/// Divides a report into pieces: `first` bytes of its header, then its parts of these lengths.
fn plan(first: u64, parts: impl Iterator<Item = u64>, piece_bytes: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    // What is not in a piece yet begins at `from`.
    let (mut from, mut end) = (0, first);
    for (number, bytes) in parts.enumerate() {
        let start = end;
        end += bytes;
        if bytes >= SMALLEST_PIECE {
            let rest = start - from;
            let is_copied = rest == 0 || rest >= SMALLEST_PIECE;
            if is_copied && rest > 0 {
                pieces.push(Piece {
                    from,
                    to: start,
                    copy: None,
                });
            }
            pieces.push(Piece {
                from: if is_copied { start } else { from },
                to: end,
                copy: is_copied.then_some(number),
            });
            from = end;
        }
        while end - from >= piece_bytes {
            let to = from + piece_bytes;
            pieces.push(Piece {
                from,
                to,
                copy: None,
            });
            from = to;
        }
    }
    if from < end {
        pieces.push(Piece {
            from,
            to: end,
            copy: None,
        });
    }
    pieces
}

impl Join {
    /// Looks up the parts; `None` if there are none.
    ///
    /// # Errors
    /// Returns an error if the run must stop.
    pub async fn new(
        report: Report,
        header: &str,
        segments: &[Segment],
    ) -> Result<Option<Self>, RunError> {
        report.guard.check()?;
        let mut parts = Vec::new();
        let mut pages = report.list().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::sdk("ListObjectsV2 of a report", error))?;
            for object in page.contents() {
                let Some(span) = object.key().and_then(|key| report.part_of(key)) else {
                    continue;
                };
                let bytes = object.size().and_then(|size| u64::try_from(size).ok());
                let bytes = bytes.unwrap_or_default();
                parts.push(Part { span, bytes });
            }
            report.guard.check()?;
        }
        let parts = belonging(parts, segments);
        if parts.is_empty() {
            return Ok(None);
        }
        let header = Bytes::from(header.to_owned());
        let mut total = header.len() as u64;
        let starts = parts
            .iter()
            .map(|part| {
                let start = total;
                total += part.bytes;
                start
            })
            .collect();
        let lengths = parts.iter().map(|part| part.bytes);
        let pieces = plan(header.len() as u64, lengths, part_size(total));
        Ok(Some(Self {
            report,
            header,
            parts,
            starts,
            total,
            pieces,
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
        if self.pieces.len() > 1 {
            self.report.guard.check()?;
            let answer = self
                .report
                .client
                .create_multipart_upload()
                .bucket(&self.report.bucket)
                .key(self.report.key())
                .content_type(media_type::CSV)
                .customize()
                .config_override(without_checksums())
                .send()
                .await
                .map_err(|error| StoreError::sdk("CreateMultipartUpload", error))?;
            self.upload = answer.upload_id;
            self.report.guard.reached(Point::UploadCreated).await;
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
        let piece = self.pieces.get(self.sent.len()).copied();
        let Some((upload, piece)) = self.upload.clone().zip(piece) else {
            return Ok(false);
        };
        let number = i32::try_from(self.sent.len() + 1).unwrap_or(i32::MAX);
        let e_tag = match piece.copy {
            Some(part) => self.copy_part(upload, number, part).await?,
            None => self.upload_part(upload, number, piece).await?,
        };
        self.sent.push(completed(number, e_tag));
        Ok(true)
    }

    /// Lets S3 copy a part. Returns the ETag.
    async fn copy_part(
        &self,
        upload: String,
        number: i32,
        part: usize,
    ) -> Result<Option<String>, RunError> {
        self.report.guard.check()?;
        let source = self.report.part_key(self.parts[part].span);
        let answer = self
            .report
            .client
            .upload_part_copy()
            .bucket(&self.report.bucket)
            .key(self.report.key())
            .upload_id(upload)
            .part_number(number)
            // The key has no characters that need encoding.
            .copy_source(format!("{}/{source}", self.report.bucket))
            .send()
            .await
            .map_err(|error| StoreError::sdk("UploadPartCopy of a report", error))?;
        self.report.guard.reached(Point::PieceCopied).await;
        Ok(answer.copy_part_result.and_then(|part| part.e_tag))
    }

    /// Reads and sends a piece. Returns the ETag.
    async fn upload_part(
        &self,
        upload: String,
        number: i32,
        piece: Piece,
    ) -> Result<Option<String>, RunError> {
        let content = self.piece(piece.from, piece.to).await?;
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
            .customize()
            .config_override(without_checksums())
            .send()
            .await
            .map_err(|error| StoreError::sdk("UploadPart of a report", error))?;
        self.report.guard.reached(Point::PieceSent).await;
        Ok(answer.e_tag)
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
                let size = self
                    .pieces
                    .get(sent.len())
                    .map(|piece| piece.to - piece.from);
                let is_ours = piece.part_number() == Some(number)
                    && piece.size().and_then(|n| u64::try_from(n).ok()) == size;
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

    /// Returns the bytes of the joined report from `from` to before `to`.
    async fn piece(&self, from: u64, to: u64) -> Result<Bytes, RunError> {
        let mut content = BytesMut::with_capacity(usize::try_from(to - from).unwrap_or_default());
        let end = usize::try_from(to).unwrap_or(usize::MAX);
        if let Ok(skipped) = usize::try_from(from)
            && let Some(header) = self.header.get(skipped..end.min(self.header.len()))
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
                key: self.report.part_key(part.span),
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

#[cfg(test)]
mod tests;
