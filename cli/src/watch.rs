//! Waits for the end of a batch or an export by polling, less and less often.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::client::{Batch, Client, ClientError, Export};
use crate::progress::Progress;

/// The waits between two polls: an eighth of the time so far, within these bounds.
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long failures are tolerated: the local stack may be restarting.
const PATIENCE: Duration = Duration::from_mins(1);

/// Polls the batch until it has ended.
///
/// # Errors
/// Returns a permanent error at once, and a temporary one if it has lasted for [`PATIENCE`].
pub async fn until_ended(client: &Client, id: &str) -> Result<Batch, ClientError> {
    let progress = Progress::processing();
    let show = |batch: &Batch| progress.processed(batch);
    let result = follow(&progress, || client.batch(id), Batch::has_ended, show).await;
    progress.finish();
    result
}

/// Polls the export until it has ended.
///
/// # Errors
/// The same as [`until_ended`].
pub async fn until_exported(client: &Client, id: &str) -> Result<Export, ClientError> {
    let progress = Progress::exporting();
    let show = |export: &Export| progress.exported(export);
    let result = follow(&progress, || client.export(id), Export::has_ended, show).await;
    progress.finish();
    result
}

async fn follow<T, F>(
    progress: &Progress,
    read: impl Fn() -> F,
    has_ended: impl Fn(&T) -> bool,
    show: impl Fn(&T),
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let began = Instant::now();
    let mut failing_since = None;
    loop {
        match read().await {
            Ok(now) if has_ended(&now) => return Ok(now),
            Ok(now) => {
                if failing_since.take().is_some() {
                    progress.note("the registry responds again");
                }
                show(&now);
            }
            Err(error) => {
                if failing_since.is_none() && error.is_transient() {
                    progress.note(&format!("{error}; retrying in {} s", PATIENCE.as_secs()));
                }
                let since = *failing_since.get_or_insert_with(Instant::now);
                if !error.is_transient() || since.elapsed() >= PATIENCE {
                    return Err(error);
                }
            }
        }
        sleep(pause(began.elapsed())).await;
    }
}

/// Returns the wait before the next poll: short for a short batch, and for a long one no shorter
/// than a person needs to see.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_bounds() {
        assert_eq!(pause(Duration::ZERO), SHORTEST_PAUSE);
        assert_eq!(pause(Duration::from_secs(8)), Duration::from_secs(1));
        assert_eq!(pause(Duration::from_hours(1)), LONGEST_PAUSE);
    }
}
