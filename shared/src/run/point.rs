//! The named points of a run, and of a request that creates a batch from another one, at which a test can stop it, as if its
//! process had died there.
//!
//! A test sets one function for its whole process ([`stop_where`]). Nothing else can set it: there is no setting and no request
//! for it. Without it, reaching a point costs one atomic load.

use std::sync::OnceLock;

/// A point of a run of `ingest` or `export`, or of a request to `derive-batch`. Its name says what has just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// The lease was acquired.
    Claimed,
    /// Some rows of the file, or a page of the account to export, were read.
    Read,
    /// The rows of a window were compared with the existing members. Nothing is counted yet.
    Compared,
    /// A part of a report was stored. The checkpoint does not count it yet.
    PartStored,
    /// A checkpoint was saved.
    Saved,
    /// A request that writes or removes members is about to be sent.
    Writing,
    /// Its response has arrived.
    Written,
    /// The absent members were counted, and older files of the account are superseded from here on.
    ReplacementStored,
    /// A window of absent members was removed. The checkpoint does not say so yet.
    WindowRemoved,
    /// The multipart upload of a file was created. Its id is not saved yet.
    UploadCreated,
    /// A piece of a file was sent.
    PieceSent,
    /// S3 has copied a piece of a report.
    PieceCopied,
    /// A report, or the file of an export, is whole. The end is not stored yet.
    FileStored,
    /// The report of rejected rows was stored as a workbook.
    WorkbookStored,
    /// The end was stored, and with it the lease was released.
    Ended,
    /// The event of the end was sent.
    EventSent,
    /// The upload, or the request for an export, was deleted.
    InputDeleted,
    /// The parts of a report were deleted.
    PartsDeleted,
    /// Nothing is left to do. The message is not acknowledged yet.
    Finished,
    /// The lease was released for the next run. The message is not handed back yet.
    Released,
    /// A batch that is created from another one was stored.
    ChildStored,
    /// The dry run names it as the batch that applies it.
    ChildNamed,
    /// The other batch lists it.
    ChildListed,
    /// S3 has copied its file.
    FileCopied,
}

impl Point {
    /// All points.
    pub const ALL: [Self; 24] = [
        Self::Claimed,
        Self::Read,
        Self::Compared,
        Self::PartStored,
        Self::Saved,
        Self::Writing,
        Self::Written,
        Self::ReplacementStored,
        Self::WindowRemoved,
        Self::UploadCreated,
        Self::PieceSent,
        Self::PieceCopied,
        Self::FileStored,
        Self::WorkbookStored,
        Self::Ended,
        Self::EventSent,
        Self::InputDeleted,
        Self::PartsDeleted,
        Self::Finished,
        Self::Released,
        Self::ChildStored,
        Self::ChildNamed,
        Self::ChildListed,
        Self::FileCopied,
    ];
}

/// Decides whether the work on a batch or an export, named by its id, stops at a point.
type StopsAt = Box<dyn Fn(Point, &str) -> bool + Send + Sync>;

static STOPS_AT: OnceLock<StopsAt> = OnceLock::new();

/// Sets where the runs of this process stop. Only the first call has an effect. For tests.
pub fn stop_where(stops_at: impl Fn(Point, &str) -> bool + Send + Sync + 'static) {
    let _ = STOPS_AT.set(Box::new(stops_at));
}

/// Reports that the work on a batch or an export has reached a point. If a test stops it there, this never returns, and the
/// test drops the invocation.
pub async fn reached(point: Point, id: &str) {
    if let Some(stops_at) = STOPS_AT.get()
        && stops_at(point, id)
    {
        std::future::pending::<()>().await;
    }
}
