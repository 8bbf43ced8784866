//! The chunks of unpacked content, on their way from the thread that unpacks to the run.

use bytes::Bytes;
use mpulse_shared::run::RunError;
use tokio::sync::mpsc::Sender;

use super::{Chunk, limit};

/// The size of a chunk.
pub const CHUNK: usize = 256 * 1024;

/// Where the chunks of the content go.
pub struct Output<'a> {
    sender: &'a Sender<Result<Chunk, RunError>>,
    /// The length of the content so far.
    pub unpacked: u64,
}

impl<'a> Output<'a> {
    pub fn new(sender: &'a Sender<Result<Chunk, RunError>>) -> Self {
        Self {
            sender,
            unpacked: 0,
        }
    }

    /// Sends the next chunk. For the content so far, `packed` bytes of the container and `object_bytes` of the object
    /// were read. Returns `false` if nobody receives it any more.
    pub fn send(&mut self, bytes: &[u8], packed: u64, object_bytes: u64) -> Result<bool, RunError> {
        self.unpacked += bytes.len() as u64;
        limit::check(self.unpacked, packed)?;
        let chunk = Chunk {
            bytes: Bytes::copy_from_slice(bytes),
            object_bytes,
        };
        Ok(self.sender.blocking_send(Ok(chunk)).is_ok())
    }
}
