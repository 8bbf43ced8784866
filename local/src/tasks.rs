//! Work that outlives the request it was started by, and ends with the machine: a
//! function keeps running when its caller hangs up, an upload is finished and announced
//! when its sender doesn't wait for the answer.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The running tasks of one kind.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<()>,
    stopped: bool,
}

impl Tasks {
    /// Runs `work` to its end, even if the caller stops waiting. `None` where it
    /// panicked or the machine was stopped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (send, receive) = oneshot::channel();
        {
            let mut running = self.lock();
            if running.stopped {
                return None;
            }
            while running.tasks.try_join_next().is_some() {}
            running.tasks.spawn(async move {
                let result = work.await;
                // The caller may have gone.
                let _ = send.send(result);
            });
        }
        receive.await.ok()
    }

    /// Whether [`Tasks::stop`] was called.
    pub(crate) fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Aborts what runs, waits until it is gone, and starts nothing more.
    pub(crate) async fn stop(&self) {
        let mut tasks = {
            let mut running = self.lock();
            running.stopped = true;
            std::mem::take(&mut running.tasks)
        };
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
