//! Kills runs at their named points: the invocation stops there and is dropped, as if its process had died. Runs of other
//! batches in this process are not affected.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use mpulse_shared::run::Point;
use mpulse_shared::run::point::stop_where;
use tokio::sync::Notify;

/// How often an invocation reached each point.
pub type Counts = BTreeMap<Point, u32>;

/// An invocation that is watched.
#[derive(Default)]
struct Watched {
    counts: Counts,
    /// It dies when it reaches this point for this time.
    end: Option<(Point, u32)>,
    is_dead: bool,
    died: Arc<Notify>,
}

/// The invocations, by the id of what they work on.
static WATCHED: LazyLock<Mutex<HashMap<String, Watched>>> = LazyLock::new(Mutex::default);

fn watched() -> MutexGuard<'static, HashMap<String, Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a point, and returns whether the invocation is dead.
fn is_dead_at(point: Point, id: &str) -> bool {
    let mut all = watched();
    let Some(watched) = all.get_mut(id) else {
        return false;
    };
    // Other tasks of a dead process do nothing either.
    if watched.is_dead {
        return true;
    }
    let count = watched.counts.entry(point).or_default();
    *count += 1;
    watched.is_dead = watched.end == Some((point, *count));
    if watched.is_dead {
        watched.died.notify_one();
    }
    watched.is_dead
}

/// Watches the next invocation of this id, which dies when it reaches a point for the given time. Notifies of its death.
pub fn watch(id: &str, end: Option<(Point, u32)>) -> Arc<Notify> {
    stop_where(is_dead_at);
    let watch = Watched {
        end,
        ..Watched::default()
    };
    let died = Arc::clone(&watch.died);
    watched().insert(id.to_owned(), watch);
    died
}

/// Makes an invocation, and kills it when it reaches a point for the `count`th time. Returns the result, or `None` if it was
/// killed.
pub async fn killed_at<T>(
    (id, point, count): (&str, Point, u32),
    invocation: impl Future<Output = T>,
) -> Option<T> {
    let died = watch(id, Some((point, count)));
    tokio::select! {
        biased;
        () = died.notified() => None,
        result = invocation => Some(result),
    }
}

/// Makes an invocation, and returns the points that it reaches.
pub async fn counted<T>(id: &str, invocation: impl Future<Output = T>) -> (T, Counts) {
    watch(id, None);
    let result = invocation.await;
    let watch = watched().remove(id).unwrap_or_default();
    (result, watch.counts)
}

/// Lets the invocations of this id run as usual again.
pub fn forget(id: &str) {
    watched().remove(id);
}
