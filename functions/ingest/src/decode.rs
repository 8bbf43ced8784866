//! The decoded stream: UTF-8 text made from an uploaded object, whatever its container and charset.
//!
//! ```text
//! object bytes → container (none, gzip, zip, workbook) → charset → text
//! ```
//!
//! Positions in the file are offsets in this stream. Plain UTF-8 continues at any offset by a ranged GET; other files are
//! decoded again from their start. The container is recognised by the first bytes of the object, never by its
//! name. Memory does not grow with the file, except for the shared texts of a workbook, which are
//! limited.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use mpulse_shared::batch::{BatchProblem, Container, FileFormat};
use mpulse_shared::run::{Object, RunError};
use tokio::sync::mpsc::Receiver;

use crate::source::Source;
use charset::CharsetDecoder;

pub mod charset;
mod container;
mod damage;
pub mod in_memory;
mod limit;
mod object_reader;
mod output;
mod workbook;

/// The bytes that are needed to recognise a container or a charset, unless the file is shorter.
const HEAD: usize = 512;

/// How a file is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Its container.
    pub container: Container,
    /// The name of its charset; `None` for UTF-8.
    pub charset: Option<String>,
}

/// Where the file is, and how the client says it is to be read.
#[derive(Debug, Clone)]
pub struct Input {
    /// The client of S3.
    pub client: aws_sdk_s3::Client,
    /// The object.
    pub object: Object,
    /// The settings of the batch.
    pub format: FileFormat,
    /// The longest wait before the object is opened again.
    pub first_wait: Duration,
}

impl Input {
    fn source(&self, offset: u64) -> Source {
        Source::new(
            self.client.clone(),
            self.object.clone(),
            offset,
            self.first_wait,
        )
    }
}

/// Bytes from a container, and how many of the object's bytes were read for them.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    object_bytes: u64,
}

/// The bytes that a container holds.
#[derive(Debug)]
enum Content {
    Plain(Box<Source>),
    /// A thread unpacks them.
    Unpacked(Receiver<Result<Chunk, RunError>>),
}

impl Content {
    async fn next(&mut self) -> Result<Option<Chunk>, RunError> {
        match self {
            Self::Plain(source) => {
                let bytes = source.next().await?;
                let object_bytes = source.offset();
                Ok(bytes.map(|bytes| Chunk {
                    bytes,
                    object_bytes,
                }))
            }
            Self::Unpacked(chunks) => chunks.recv().await.transpose(),
        }
    }
}

/// Where a stream begins, and what is known of the file.
struct Opening<'a> {
    container: Container,
    /// How an earlier run found it to be encoded.
    known: Option<Encoding>,
    /// The offset of the text.
    offset: u64,
    /// The charset that the batch names.
    label: Option<&'a str>,
    /// The size of the object, in bytes.
    size: u64,
}

impl Opening<'_> {
    /// Returns the byte of the content at which reading begins: plain UTF-8 is read from the offset, other files are decoded
    /// from their start.
    fn first_byte(&self) -> u64 {
        let is_utf8 = |known: &Encoding| known.charset.is_none();
        let is_plain_text =
            self.container == Container::Plain && self.known.as_ref().is_some_and(is_utf8);
        if is_plain_text { self.offset } else { 0 }
    }
}

/// The stream. It returns the text in order, each byte once.
#[derive(Debug)]
pub struct Decoder {
    content: Content,
    /// What was read to recognise the charset.
    first: VecDeque<Chunk>,
    charset: Option<CharsetDecoder>,
    encoding: Encoding,
    /// Decoded bytes that an earlier run has processed.
    skip: u64,
    object_bytes: u64,
    object_size: u64,
    ended: bool,
}

impl Decoder {
    /// Opens a file at an offset of its text. `known` is how an earlier run found it to be encoded.
    ///
    /// # Errors
    /// Returns [`RunError::Failed`] if the container cannot be read.
    pub async fn open(
        input: &Input,
        known: Option<Encoding>,
        offset: u64,
    ) -> Result<Self, RunError> {
        let container = match &known {
            Some(known) => known.container,
            None => container::recognise(input).await?,
        };
        let opening = Opening {
            container,
            known,
            offset,
            label: input.format.encoding.as_deref(),
            size: input.object.size,
        };
        let content = match container {
            Container::Plain => Content::Plain(Box::new(input.source(opening.first_byte()))),
            packed => Content::Unpacked(container::unpack(input.clone(), packed)),
        };
        Self::of(content, opening).await
    }

    /// Opens a content, which begins at [`Opening::first_byte`].
    async fn of(content: Content, opening: Opening<'_>) -> Result<Self, RunError> {
        let first_byte = opening.first_byte();
        let container = opening.container;
        let mut decoder = Self {
            content,
            first: VecDeque::new(),
            charset: None,
            encoding: Encoding {
                container,
                charset: None,
            },
            skip: opening.offset - first_byte,
            object_bytes: first_byte,
            object_size: opening.size,
            ended: false,
        };
        let charset = match opening.known {
            Some(known) => known.charset.and_then(|name| charset::by_label(&name)),
            // The text of a workbook is Unicode.
            None if container == Container::Workbook => None,
            None => {
                let head = decoder.head().await?;
                charset::of(&head, opening.label)
            }
        };
        decoder.encoding.charset = charset.map(|charset| charset.name().to_owned());
        decoder.charset = charset.map(CharsetDecoder::new);
        Ok(decoder)
    }

    /// Returns how the file is encoded.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Returns how many of the object's bytes were read for the text so far.
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// Returns whether the end was reached.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the next text; `None` at the end.
    ///
    /// # Errors
    /// Returns [`RunError::Failed`] if the file is damaged or too large, was replaced or deleted, [`RunError::Store`] if
    /// S3 cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RunError> {
        while !self.ended {
            let chunk = match self.first.pop_front() {
                Some(chunk) => Some(chunk),
                None => self.content.next().await?,
            };
            let mut text = if let Some(chunk) = chunk {
                self.object_bytes = chunk.object_bytes;
                match &mut self.charset {
                    Some(charset) => charset.decode(&chunk.bytes),
                    None => chunk.bytes,
                }
            } else {
                self.ended = true;
                self.object_bytes = self.object_size;
                let rest = self.charset.as_mut().map(CharsetDecoder::finish);
                rest.unwrap_or_default()
            };
            let skipped = text
                .len()
                .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            let text = text.split_off(skipped);
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Returns the first bytes of the content, which stay to be read.
    async fn head(&mut self) -> Result<Vec<u8>, RunError> {
        let mut head = Vec::new();
        while head.len() < HEAD
            && let Some(chunk) = self.content.next().await?
        {
            head.extend_from_slice(&chunk.bytes);
            self.first.push_back(chunk);
        }
        Ok(head)
    }
}

/// Returns the error of a file that cannot be read.
fn problem(code: &str, message: impl Into<String>) -> RunError {
    RunError::Failed(BatchProblem {
        code: code.to_owned(),
        message: message.into(),
    })
}
