//! The uploaded object as a blocking reader, for the libraries that unpack files in a thread of their own.

use mpulse_shared::run::RunError;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;

use super::Input;
use crate::source::Source;

/// A gap up to this size is read over; a longer one is skipped by another request.
const READ_OVER: u64 = 256 * 1024;

/// The cause of the last failed read. The libraries do not pass it on.
#[derive(Debug, Clone, Default)]
pub struct Failure(Arc<Mutex<Option<RunError>>>);

impl Failure {
    fn set(&self, error: RunError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Returns the cause.
    pub fn take(&self) -> Option<RunError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The reader.
#[derive(Debug)]
pub struct ObjectReader {
    input: Input,
    runtime: Handle,
    source: Source,
    /// Bytes that the source returned and that are not read.
    buffer: Bytes,
    position: u64,
    failure: Failure,
}

impl ObjectReader {
    /// Opens the object. `runtime` makes the requests.
    pub fn new(input: Input, runtime: Handle, failure: Failure) -> Self {
        Self {
            source: input.source(0),
            input,
            runtime,
            buffer: Bytes::new(),
            position: 0,
            failure,
        }
    }
}

impl BufRead for ObjectReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffer.is_empty() {
            match self.runtime.block_on(self.source.next()) {
                Ok(bytes) => self.buffer = bytes.unwrap_or_default(),
                Err(error) => {
                    self.failure.set(error);
                    return Err(io::Error::other("the object cannot be read"));
                }
            }
        }
        Ok(&self.buffer)
    }

    fn consume(&mut self, amount: usize) {
        self.buffer.advance(amount);
        self.position += amount as u64;
    }
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let size = self.input.object.size;
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        let to = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        while to > self.position && to - self.position <= READ_OVER {
            let available = self.fill_buf()?.len();
            if available == 0 {
                break;
            }
            let gap = usize::try_from(to - self.position).unwrap_or(usize::MAX);
            self.consume(available.min(gap));
        }
        if to != self.position {
            self.source = self.input.source(to.min(size));
            self.buffer = Bytes::new();
            self.position = to;
        }
        Ok(to)
    }
}
