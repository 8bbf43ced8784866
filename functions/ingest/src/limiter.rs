//! Limits how fast a run sends to DynamoDB, by additive increase and multiplicative decrease of two
//! limits. The number of *requests in flight* limits how much waits at the service. The *write
//! rate*, in units per second, follows what the table accepts, which the number of requests cannot
//! if even one request at a time is too many. The first throttled request sets the rate, or the
//! template's limit does from the start.

mod write_rate;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use write_rate::WriteRate;

/// Requests in flight at the start.
const START: f64 = 8.0;

/// The maximum number of requests in flight.
const MOST: f64 = 64.0;

/// Throttled requests within this time count as one: they were in flight together.
const ONE_EVENT: Duration = Duration::from_millis(100);

/// The limiter, shared by everything that sends.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    freed: Notify,
    /// Held by the one writer that waits for its turn.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: u32,
    last_cut: Option<Instant>,
    write_rate: WriteRate,
}

/// A permit to send one request. Dropping it makes room for the next.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    /// The write units that the request was expected to consume.
    expected: f64,
}

impl Limiter {
    /// Creates a limiter with nothing in flight, and a limit of write units per second if there is
    /// one.
    pub fn new(cap: Option<f64>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    limit: START,
                    in_flight: 0,
                    last_cut: None,
                    write_rate: WriteRate::new(cap, Instant::now()),
                }),
                freed: Notify::new(),
                turn: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// Waits for a permit to read.
    pub async fn reading(&self) -> Permit {
        self.acquire(0.0).await
    }

    /// Waits for a permit to write about this many units, at the write rate.
    pub async fn writing(&self, units: f64) -> Permit {
        let permit = self.acquire(units).await;
        if self.shared.state().write_rate.rate.is_some() {
            // One at a time, so that no request is scheduled at an outdated rate.
            let _turn = self.shared.turn.lock().await;
            let wait = self.shared.state().write_rate.book(units, Instant::now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        permit
    }

    async fn acquire(&self, expected: f64) -> Permit {
        loop {
            let freed = self.shared.freed.notified();
            {
                let mut state = self.shared.state();
                if f64::from(state.in_flight) + 1.0 <= state.limit {
                    state.in_flight += 1;
                    // A request that ends wakes one that waits. If the limit has grown in the
                    // meantime, that one wakes the next.
                    if f64::from(state.in_flight) + 1.0 <= state.limit {
                        self.shared.freed.notify_one();
                    }
                    return Permit {
                        shared: Arc::clone(&self.shared),
                        expected,
                    };
                }
            }
            freed.await;
        }
    }
}

impl Permit {
    /// The request succeeded: one more may be in flight after a while.
    pub fn taken(&self) {
        let mut state = self.shared.state();
        state.limit = (state.limit + 1.0 / state.limit).min(MOST);
        if self.expected > 0.0 {
            state.write_rate.futile = false;
        }
    }

    /// The request was throttled: half as many may be in flight, at a lower rate.
    pub fn refused(&self) {
        let now = Instant::now();
        let mut state = self.shared.state();
        if state.last_cut.is_none_or(|cut| now - cut >= ONE_EVENT) {
            state.limit = (state.limit / 2.0).max(1.0);
            state.last_cut = Some(now);
        }
        if self.expected > 0.0 {
            state.write_rate.cut(now);
        }
    }

    /// Records the write units that the request consumed.
    pub fn wrote(&self, units: f64) {
        let mut state = self.shared.state();
        state.write_rate.wrote(self.expected, units, Instant::now());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.state().in_flight -= 1;
        self.shared.freed.notify_one();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limiter: &Limiter) -> f64 {
        limiter.shared.state().limit
    }

    #[tokio::test]
    async fn grows_slowly_and_shrinks_fast() {
        let limiter = Limiter::new(None);
        for _ in 0..1000 {
            limiter.reading().await.taken();
        }
        let grown = limit(&limiter);
        assert!(grown > START && grown <= MOST);
        let (one, two) = (limiter.reading().await, limiter.reading().await);
        one.refused();
        two.refused();
        assert!((limit(&limiter) - grown / 2.0).abs() < 0.001);
    }

    #[tokio::test]
    async fn waiting_requests_profit_from_a_grown_limit() {
        let limiter = Limiter::new(None);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(limiter.reading().await);
        }
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let limiter = limiter.clone();
            waiting.spawn(async move { limiter.reading().await });
        }
        tokio::task::yield_now().await;
        for _ in 0..200 {
            held[0].taken();
        }
        // One request ends, and all four that waited start.
        held.pop();
        let all = tokio::time::timeout(Duration::from_secs(5), waiting.join_all());
        assert_eq!(all.await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_at_once() {
        let limiter = Limiter::new(None);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(limiter.reading().await);
        }
        let waiting = tokio::time::timeout(Duration::from_millis(20), limiter.reading());
        assert!(waiting.await.is_err());
        held.pop();
        limiter.reading().await;
    }
}
