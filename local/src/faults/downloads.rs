//! Downloads from S3 that break off.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::handle::Faults;
use crate::upstream::{Body, BoxError};

/// The delay between the last bytes of a body that is cut and closing the connection. Bytes that a
/// server has not yet written when it closes are lost.
pub(super) const LAST_BYTES: Duration = Duration::from_millis(20);

/// Returns whether a path is `/BUCKET/KEY`.
pub(super) fn names_object(path: &str) -> bool {
    let path = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    path.is_some_and(|(_, key)| !key.is_empty())
}

/// Returns the body up to a number of bytes, followed by an error if it is longer.
pub(super) fn cut_after(body: Body, bytes: u64, faults: Faults) -> Body {
    let start = (body, bytes, false);
    let frames = try_unfold(start, move |(mut body, left, over)| {
        let faults = faults.clone();
        async move {
            if over {
                tokio::time::sleep(LAST_BYTES).await;
                faults.count(|all| all.cut += 1);
                return Err(BoxError::from("cut by fault injection"));
            }
            let Some(frame) = body.frame().await.transpose()? else {
                return Ok(None);
            };
            let (frame, left, over) = match frame.into_data() {
                Ok(data) => first_bytes(data, left),
                Err(other) => (other, left, false),
            };
            Ok(Some((frame, (body, left, over))))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Returns as much of the data as may be sent, how much may be sent after it, and whether there was
/// more.
pub(super) fn first_bytes(mut data: Bytes, left: u64) -> (Frame<Bytes>, u64, bool) {
    let length = data.len() as u64;
    let over = length > left;
    if let (true, Ok(left)) = (over, usize::try_from(left)) {
        data.truncate(left);
    }
    (Frame::data(data), left.saturating_sub(length), over)
}
