//! Deletes what has expired, from time to time: items by DynamoDB's time to live, and files by the lifecycle rules of
//! buckets. AWS takes up to a few days for both.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The time between two rounds.
const INTERVAL: Duration = Duration::from_mins(5);

/// One round. It blocks the thread that calls it.
type Round = Arc<dyn Fn() + Send + Sync>;

/// The repeated rounds.
pub(crate) struct Expiry {
    round: Round,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiry").finish_non_exhaustive()
    }
}

impl Expiry {
    /// Starts to repeat `round`.
    pub(crate) fn start(round: impl Fn() + Send + Sync + 'static) -> Self {
        let round: Round = Arc::new(round);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(repeat(Arc::clone(&round), stopped));
        Self { round, stop, task }
    }

    /// Does a round at once.
    pub(crate) async fn round(&self) {
        run(&self.round).await;
    }

    /// Stops after the round in progress.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // Without a result.
        let _ = self.task.await;
    }
}

async fn repeat(round: Round, mut stopped: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        run(&round).await;
    }
}

async fn run(round: &Round) {
    let round = Arc::clone(round);
    if let Err(error) = tokio::task::spawn_blocking(move || round()).await {
        tracing::error!(%error, "expired data was not deleted");
    }
}
