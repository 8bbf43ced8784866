//! Tasks that outlive the request that started them, and end with the local stack: a function keeps
//! running if its caller disconnects, and an upload is finished and announced if its sender does
//! not wait for the response.

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
    /// Runs `work` to its end, even if the caller stops waiting. Returns `None` if it panicked or
    /// the local stack was stopped.
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

    /// Returns whether [`Tasks::stop`] was called.
    pub(crate) fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Aborts running tasks, waits until they have ended, and starts no more.
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
