//! The members as a workbook whose cells are all text: a spreadsheet shows and saves leading zeros and long numbers as they
//! are.
//!
//! A thread writes the rows into a temporary file, one after the other, and then packs them; neither depends on the number
//! of rows. It is fed with pages of members, and returns the workbook in pieces.

use std::io::{self, Write};
use std::mem;

use bytes::Bytes;
use mpulse_shared::csv::fields_of;
use mpulse_shared::member::{Field, Profile};
use mpulse_shared::store::StoreError;
use rust_xlsxwriter::{Format, Workbook, XlsxError};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, spawn_blocking};

/// The most rows of a sheet below its header (a limit of the format).
pub const MAX_ROWS: u64 = 1_048_575;

/// The name of the sheet.
const SHEET: &str = "members";

/// What the last write may add to a piece that is nearly full, in bytes.
const ROOM: usize = 64 * 1024;

/// The name of the work in errors.
const OPERATION: &str = "making a workbook";

/// A workbook that is being made.
#[derive(Debug)]
pub struct Making {
    /// The pages of its members; `None` once there are no more.
    pages: Option<Sender<Vec<Profile>>>,
    pieces: Receiver<Bytes>,
    thread: JoinHandle<Result<(), XlsxError>>,
}

impl Making {
    /// Starts the thread.
    pub fn start(piece_bytes: usize) -> Self {
        let (pages, receiver) = channel(1);
        let (sender, pieces) = channel(1);
        let writer = PieceWriter {
            sender,
            piece_bytes,
            buffer: Vec::with_capacity(piece_bytes + ROOM),
        };
        Self {
            pages: Some(pages),
            pieces,
            thread: spawn_blocking(move || write(receiver, writer)),
        }
    }

    /// Adds members.
    ///
    /// # Errors
    /// Returns an error if the thread has failed.
    pub async fn add(&mut self, members: Vec<Profile>) -> Result<(), StoreError> {
        let sent = match &self.pages {
            Some(pages) => pages.send(members).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { self.ended().await }
    }

    /// Returns the next piece of the workbook, which has all members that were added; `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the thread has failed.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.pages = None;
        match self.pieces.recv().await {
            Some(piece) => Ok(Some(piece)),
            None => self.ended().await.map(|()| None),
        }
    }

    /// Returns how the thread ended.
    async fn ended(&mut self) -> Result<(), StoreError> {
        match (&mut self.thread).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StoreError::unreadable(OPERATION, error)),
            Err(error) => Err(StoreError::unreadable(OPERATION, error)),
        }
    }
}

/// Writes the workbook.
fn write(mut pages: Receiver<Vec<Profile>>, mut writer: PieceWriter) -> Result<(), XlsxError> {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet_with_constant_memory()?;
    sheet.set_name(SHEET)?;
    // "Text": what is typed into the cell stays as it is.
    let as_text = Format::new().set_num_format("@");
    let last_column = u16::try_from(Field::ALL.len() - 1).unwrap_or(u16::MAX);
    sheet.set_column_range_format(0, last_column, &as_text)?;
    sheet.set_freeze_panes(1, 0)?;
    let mut row = 0;
    let header = Field::ALL.map(Field::name);
    let mut line = |fields: [&str; Field::ALL.len()]| {
        for (column, field) in (0..).zip(fields) {
            sheet.write_string_with_format(row, column, field, &as_text)?;
        }
        row += 1;
        Ok::<_, XlsxError>(())
    };
    line(header)?;
    while let Some(members) = pages.blocking_recv() {
        for profile in &members {
            line(fields_of(profile))?;
        }
    }
    workbook.save_to_writer(&mut writer)?;
    writer.send()?;
    Ok(())
}

/// Sends what is written in pieces.
struct PieceWriter {
    sender: Sender<Bytes>,
    piece_bytes: usize,
    buffer: Vec<u8>,
}

impl PieceWriter {
    /// Sends what is in the buffer.
    fn send(&mut self) -> io::Result<()> {
        let room = Vec::with_capacity(self.piece_bytes + ROOM);
        let piece = mem::replace(&mut self.buffer, room);
        let sent = self.sender.blocking_send(piece.into());
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= self.piece_bytes {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
