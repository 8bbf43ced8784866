//! How many requests to DynamoDB are in flight: more while it keeps up, half as many when
//! it asks for less (additive increase, multiplicative decrease).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Requests in flight at the start.
const START: f64 = 8.0;

/// The most requests in flight.
const MOST: f64 = 64.0;

/// Refusals within this time are one: the requests were in flight together.
const ONE_EVENT: Duration = Duration::from_millis(100);

/// The limit, shared by everything that sends.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: u32,
    last_cut: Option<Instant>,
}

/// Leave to send one request. Dropping it makes room for the next.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
}

impl Limiter {
    /// A limiter with nothing in flight.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    limit: START,
                    in_flight: 0,
                    last_cut: None,
                }),
                freed: Notify::new(),
            }),
        }
    }

    /// Waits for room.
    pub async fn acquire(&self) -> Permit {
        loop {
            let freed = self.shared.freed.notified();
            {
                let mut state = self.shared.state();
                if f64::from(state.in_flight) + 1.0 <= state.limit {
                    state.in_flight += 1;
                    // One request that ends wakes one that waits; where the limit has
                    // grown meanwhile, that one wakes the next.
                    if f64::from(state.in_flight) + 1.0 <= state.limit {
                        self.shared.freed.notify_one();
                    }
                    return Permit {
                        shared: Arc::clone(&self.shared),
                    };
                }
            }
            freed.await;
        }
    }
}

impl Permit {
    /// The request was taken: a little more may be in flight.
    pub fn taken(&self) {
        let mut state = self.shared.state();
        state.limit = (state.limit + 1.0 / state.limit).min(MOST);
    }

    /// The service asked for less: half as much may be in flight.
    pub fn refused(&self) {
        let now = Instant::now();
        let mut state = self.shared.state();
        if state.last_cut.is_none_or(|cut| now - cut >= ONE_EVENT) {
            state.limit = (state.limit / 2.0).max(1.0);
            state.last_cut = Some(now);
        }
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
        // Nothing panics while it holds the lock.
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
        let limiter = Limiter::new();
        for _ in 0..1000 {
            limiter.acquire().await.taken();
        }
        let grown = limit(&limiter);
        assert!(grown > START && grown <= MOST);
        let (one, two) = (limiter.acquire().await, limiter.acquire().await);
        one.refused();
        two.refused();
        assert!((limit(&limiter) - grown / 2.0).abs() < 0.001);
    }

    #[tokio::test]
    async fn those_who_wait_profit_from_a_grown_limit() {
        let limiter = Limiter::new();
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(limiter.acquire().await);
        }
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let limiter = limiter.clone();
            waiting.spawn(async move { limiter.acquire().await });
        }
        tokio::task::yield_now().await;
        for _ in 0..200 {
            held[0].taken();
        }
        // One request ends, and all four that waited go.
        held.pop();
        let all = tokio::time::timeout(Duration::from_secs(5), waiting.join_all());
        assert_eq!(all.await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_at_once() {
        let limiter = Limiter::new();
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(limiter.acquire().await);
        }
        let waiting = tokio::time::timeout(Duration::from_millis(20), limiter.acquire());
        assert!(waiting.await.is_err());
        held.pop();
        limiter.acquire().await;
    }
}
