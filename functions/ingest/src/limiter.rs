//! How fast a run sends to DynamoDB: more while it keeps up, less when it asks for less
//! (additive increase, multiplicative decrease), in two measures. *Requests in flight*
//! bound how much waits at the service. A *pace* of write units a second keeps to what the
//! table takes, which requests in flight can't where one of them at a time is too many; it
//! is set by the first refusal, or from the start by the template's cap.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Requests in flight at the start.
const START: f64 = 8.0;

/// The most requests in flight.
const MOST: f64 = 64.0;

/// Refusals within this time are one: the requests were in flight together.
const ONE_EVENT: Duration = Duration::from_millis(100);

/// Over how long the units written are measured; refusals within it cut the pace once.
const MEASURE: Duration = Duration::from_secs(1);

/// Cuts one upon another that changed nothing: what is refused then isn't refused for the pace
/// (one hot key, say), and being slower doesn't help.
const IN_VAIN: u32 = 6;

/// How long the pace is then left alone.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// What a refusal leaves of the pace that was measured.
const CUT: f64 = 0.9;

/// What a second adds to the pace just after a refusal: this part of it.
const GROWTH: f64 = 0.02;

/// The time without refusal after which a second adds twice as much, so that a pace that was
/// cut too low comes back soon.
const DOUBLING: Duration = Duration::from_secs(3);

/// The most that a second adds to the pace: this many times it.
const MOST_GROWTH: f64 = 1.0;

/// The least that a first refusal sets the pace to, in write units a second: what one partition
/// takes (an AWS limit). A run that has just begun may have had little to write.
const FIRST_PACE: f64 = 1000.0;

/// The slowest pace, in write units a second.
const SLOWEST: f64 = 25.0;

/// How far a pace may run behind before it stops catching up.
const SLACK: Duration = Duration::from_millis(50);

/// The limit, shared by everything that sends.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    freed: Notify,
    /// Held by the one writer that waits for its time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: u32,
    last_cut: Option<Instant>,
    pace: Pace,
}

/// Write units a second.
#[derive(Debug)]
struct Pace {
    /// The template's cap, if it has one.
    cap: Option<f64>,
    /// The pace kept to; `None` while nothing was refused and there is no cap.
    rate: Option<f64>,
    /// When the next request is due.
    due: Instant,
    /// When the rate was last raised.
    raised: Instant,
    /// When the measure began, and the units written since.
    measured: (Instant, f64),
    /// Units a second in the measure before; `None` until the first is whole.
    achieved: Option<f64>,
    last_cut: Option<Instant>,
    /// Whether nothing that was to be written was wholly taken since the last cut.
    in_vain: bool,
    /// Cuts one upon another, and the pace before the first of them.
    cuts: (u32, f64),
    /// Until when refusals don't count.
    left_alone: Option<Instant>,
}

/// Leave to send one request. Dropping it makes room for the next.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    /// The write units that it was expected to take.
    expected: f64,
}

impl Limiter {
    /// A limiter with nothing in flight, and a cap of write units a second if there is one.
    pub fn new(cap: Option<f64>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    limit: START,
                    in_flight: 0,
                    last_cut: None,
                    pace: Pace::new(cap, Instant::now()),
                }),
                freed: Notify::new(),
                turn: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// Waits for leave to read.
    pub async fn reading(&self) -> Permit {
        self.acquire(0.0).await
    }

    /// Waits for leave to write about this many units, at the pace.
    pub async fn writing(&self, units: f64) -> Permit {
        let permit = self.acquire(units).await;
        if self.shared.state().pace.rate.is_some() {
            // One at a time, so that nothing is booked at a pace that has changed since.
            let _turn = self.shared.turn.lock().await;
            let wait = self.shared.state().pace.book(units, Instant::now());
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
                    // One request that ends wakes one that waits; where the limit has
                    // grown meanwhile, that one wakes the next.
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
    /// The request was taken: a little more may be in flight.
    pub fn taken(&self) {
        let mut state = self.shared.state();
        state.limit = (state.limit + 1.0 / state.limit).min(MOST);
        if self.expected > 0.0 {
            state.pace.in_vain = false;
        }
    }

    /// The service asked for less: half as much may be in flight, at a lower pace.
    pub fn refused(&self) {
        let now = Instant::now();
        let mut state = self.shared.state();
        if state.last_cut.is_none_or(|cut| now - cut >= ONE_EVENT) {
            state.limit = (state.limit / 2.0).max(1.0);
            state.last_cut = Some(now);
        }
        if self.expected > 0.0 {
            state.pace.cut(now);
        }
    }

    /// The write units that the request took in fact.
    pub fn wrote(&self, units: f64) {
        let mut state = self.shared.state();
        state.pace.wrote(self.expected, units, Instant::now());
    }
}

impl Pace {
    fn new(cap: Option<f64>, now: Instant) -> Self {
        Self {
            cap,
            rate: cap,
            due: now,
            raised: now,
            measured: (now, 0.0),
            achieved: None,
            last_cut: None,
            in_vain: false,
            cuts: (0, 0.0),
            left_alone: None,
        }
    }

    /// Books units, and gives how long to wait for them.
    fn book(&mut self, units: f64, now: Instant) -> Duration {
        let Some(rate) = &mut self.rate else {
            return Duration::ZERO;
        };
        let calm = now - self.last_cut.unwrap_or(self.raised);
        let doublings = calm.as_secs_f64() / DOUBLING.as_secs_f64();
        let growth = (GROWTH * doublings.exp2()).min(MOST_GROWTH);
        let grown = *rate * (1.0 + growth * (now - self.raised).as_secs_f64());
        // A pace far beyond what is written says nothing.
        let most = (self.achieved.unwrap_or(0.0) * 2.0)
            .max(FIRST_PACE)
            .max(*rate);
        *rate = grown.min(most).min(self.cap.unwrap_or(f64::INFINITY));
        self.raised = now;
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let due = self.due.max(earliest);
        self.due = due + Duration::from_secs_f64(units / *rate);
        due.saturating_duration_since(now)
    }

    /// Units that were written, where `expected` were booked.
    fn wrote(&mut self, expected: f64, units: f64, now: Instant) {
        self.roll(now);
        self.measured.1 += units;
        // What was refused isn't given back: the table has none for now.
        if let Some(rate) = self.rate
            && units > expected
        {
            self.due += Duration::from_secs_f64((units - expected) / rate);
        }
    }

    fn roll(&mut self, now: Instant) {
        let (since, units) = self.measured;
        let elapsed = now - since;
        if self.achieved.is_none() && units <= 0.0 {
            // The first measure begins with the first write: a run begins by reading.
            self.measured = (now, 0.0);
        } else if elapsed >= MEASURE {
            self.achieved = Some(units / elapsed.as_secs_f64());
            self.measured = (now, 0.0);
        }
    }

    /// A refusal: a little less than what was achieved, and no less than half the pace. Before
    /// anything was measured there is nothing to go by.
    fn cut(&mut self, now: Instant) {
        let since_cut = self.last_cut.map(|cut| now - cut);
        if self.left_alone.is_some_and(|until| now < until)
            || since_cut.is_some_and(|since| since < MEASURE)
        {
            return;
        }
        self.roll(now);
        let Some(achieved) = self.achieved else {
            return;
        };
        self.last_cut = Some(now);
        self.raised = now;
        let Some(rate) = self.rate else {
            self.rate = Some((achieved * CUT).max(FIRST_PACE));
            return;
        };
        let next = (achieved.clamp(rate / 2.0, rate) * CUT).max(SLOWEST);
        // Time in which a run only read says nothing of the last cut.
        let helped = !self.in_vain && since_cut.is_none_or(|since| since > 2 * MEASURE);
        self.in_vain = true;
        if self.cuts.0 == 0 || helped {
            self.cuts = (0, rate);
        }
        self.cuts.0 += 1;
        let (cuts, before) = self.cuts;
        self.rate = Some(if cuts > IN_VAIN {
            self.cuts = (0, before);
            self.left_alone = Some(now + LEFT_ALONE);
            before
        } else {
            next
        });
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
    async fn those_who_wait_profit_from_a_grown_limit() {
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
        // One request ends, and all four that waited go.
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

    /// Seconds of a clock that a test moves.
    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_cap_spaces_requests() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(100.0), start);
        assert_eq!(pace.book(75.0, start), Duration::ZERO);
        assert_eq!(pace.book(75.0, start), Duration::from_millis(750));
        // Units beyond those that were booked are paid for later.
        pace.wrote(75.0, 100.0, start);
        assert_eq!(pace.book(75.0, start), Duration::from_millis(1750));
    }

    #[test]
    fn a_refusal_sets_the_pace_to_what_was_achieved_and_time_raises_it() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        assert_eq!(pace.book(1e9, start), Duration::ZERO);
        pace.wrote(4000.0, 4000.0, start);
        pace.cut(at(start, 1.0));
        assert!((pace.rate.unwrap() - 3600.0).abs() < 1.0);
        pace.cut(at(start, 1.1));
        assert!((pace.rate.unwrap() - 3600.0).abs() < 1.0, "one event");
        pace.book(75.0, at(start, 4.1));
        assert!((pace.rate.unwrap() - 3600.0 * 1.127).abs() < 1.0);
    }

    /// Sends requests of 75 units, one at a time, each taking five milliseconds, to a table that
    /// takes `served` units of each, until a minute and a half have gone by. Gives the units a
    /// second of the last half minute, and the share of them that was handed back.
    fn load_served(mut served: impl FnMut(Instant) -> f64) -> (f64, f64) {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(None, start), start);
        let (mut late, mut asked) = (0.0, 0.0);
        while now < at(start, 90.0) {
            now += pace.book(75.0, now) + Duration::from_millis(5);
            let units = served(now);
            pace.wrote(75.0, units, now);
            if units < 75.0 {
                pace.cut(now);
            }
            if now >= at(start, 60.0) {
                late += units;
                asked += 75.0;
            }
        }
        (late / 30.0, 1.0 - late / asked)
    }

    #[test]
    fn a_refusal_before_anything_was_measured_sets_no_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        pace.cut(at(start, 0.1));
        pace.cut(at(start, 5.0));
        assert_eq!(pace.rate, None);
        pace.wrote(75.0, 60.0, at(start, 5.1));
        pace.cut(at(start, 5.2));
        assert_eq!(pace.rate, None);
        pace.cut(at(start, 6.2));
        assert_eq!(pace.rate, Some(FIRST_PACE), "there was little to write");
    }

    #[test]
    fn a_table_that_hands_back_a_share_of_everything_does_not_stop_a_run() {
        let (achieved, _) = load_served(|_| 60.0);
        assert!(achieved > 0.5 * 60.0 / 0.005, "{achieved}");
    }

    #[test]
    fn nor_a_run_that_reads_for_seconds_between_its_writes() {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(None, start), start);
        let mut windows = 0;
        while now < at(start, 300.0) {
            // Read, and then write forty requests, each of which the table takes four fifths of.
            now += Duration::from_secs(3);
            for _ in 0..40 {
                now += pace.book(75.0, now) + Duration::from_millis(50);
                pace.wrote(75.0, 60.0, now);
                pace.cut(now);
            }
            windows += 1;
        }
        // Without any pace a window would take five seconds.
        assert!(windows > 40, "{windows} windows");
    }

    /// A table that takes so many units a second, saves up a second's worth, and answers
    /// after a while. Gives what share of its units a load uses between the tenth second
    /// and the sixtieth, and what share of requests is refused, wholly or in part.
    fn load(budget: f64, latency: f64) -> (f64, f64) {
        const ITEMS: f64 = 25.0;
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        let (mut tokens, mut filled) = (budget, 0.0);
        let (mut used, mut sent, mut refused) = (0.0, 0.0, 0.0);
        // When answers come, with the units written; so many as may be in flight.
        let mut answers: std::collections::VecDeque<(f64, f64)> = std::collections::VecDeque::new();
        let mut now = 0.0;
        while now < 60.0 {
            if answers.len() >= 32 {
                now = answers[0].0.max(now);
            }
            let wait = pace.book(ITEMS * 3.0, at(start, now)).as_secs_f64();
            now += wait.max(0.0001);
            tokens = f64::min(budget, tokens + (now - filled) * budget);
            filled = now;
            let granted = (tokens / 3.0).floor().min(ITEMS) * 3.0;
            tokens -= granted;
            answers.push_back((now + latency, granted));
            if now > 10.0 {
                used += granted;
                sent += 1.0;
                refused += f64::from(u8::from(granted < ITEMS * 3.0));
            }
            while answers.front().is_some_and(|answer| answer.0 <= now) {
                let (when, units) = answers.pop_front().unwrap();
                pace.wrote(ITEMS * 3.0, units, at(start, when));
                if units < ITEMS * 3.0 {
                    pace.cut(at(start, when));
                } else {
                    pace.in_vain = false;
                }
            }
        }
        (used / (budget * 50.0), refused / sent)
    }

    #[test]
    fn a_budget_is_used_and_few_requests_are_refused() {
        for latency in [0.002, 0.02, 0.1] {
            for budget in [1200.0, 4000.0] {
                let (used, refused) = load(budget, latency);
                let story = format!("{used:.3} used, {refused:.3} refused");
                assert!(
                    used >= 0.9 && refused < 0.1,
                    "{budget} units a second, {latency} s: {story}"
                );
            }
        }
    }

    #[test]
    fn a_pace_cut_too_low_comes_back_within_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        pace.rate = Some(SLOWEST);
        pace.last_cut = Some(start);
        let mut now = 0.0;
        while pace.rate.unwrap() < 4000.0 {
            now += pace.book(75.0, at(start, now)).as_secs_f64();
            pace.wrote(75.0, 75.0, at(start, now));
        }
        assert!(now < 20.0, "{now} s");
    }
}
