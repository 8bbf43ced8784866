//! The write rate in units per second: it follows what the table accepts. The first throttled request sets it, or
//! the template's limit does from the start.

use std::time::{Duration, Instant};

/// The period over which written units are measured; throttled requests within it reduce the rate
/// once.
pub(super) const MEASURE: Duration = Duration::from_secs(1);

/// Reductions in a row without any success. After that many, the rate is not the cause of the
/// throttling (a hot key may be), and reducing it further does not help.
pub(super) const FUTILE_CUTS: u32 = 6;

/// How long the rate then stays unchanged.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(10);

/// The share of the measured rate that is kept after throttling.
pub(super) const CUT: f64 = 0.9;

/// The relative increase of the rate per second right after throttling.
pub(super) const GROWTH: f64 = 0.02;

/// The time without throttling after which the increase per second doubles, so that a rate that was
/// reduced too far recovers soon: after rows that all are for one hot partition, for example.
pub(super) const DOUBLING: Duration = Duration::from_millis(1500);

/// The maximum factor by which the rate grows in a second.
pub(super) const MAX_GROWTH: f64 = 1.0;

/// The lowest rate that the first throttling sets, in write units per second: the limit of one
/// partition (an AWS limit). A run that has just begun may have had little to write.
pub(super) const FIRST_RATE: f64 = 1000.0;

/// The lowest rate, in write units per second.
pub(super) const SLOWEST: f64 = 25.0;

/// How far behind its rate a run may be before it stops catching up.
pub(super) const SLACK: Duration = Duration::from_millis(50);

/// The write rate and how it changes.
#[derive(Debug)]
pub(super) struct WriteRate {
    /// The template's limit, if there is one.
    pub(super) cap: Option<f64>,
    /// The present limit; `None` while nothing was throttled and there is no limit.
    pub(super) rate: Option<f64>,
    /// When the next request may be sent.
    pub(super) due: Instant,
    /// When the rate was last raised.
    pub(super) raised: Instant,
    /// When the measurement began, and the units written since.
    pub(super) measured: (Instant, f64),
    /// Units per second in the previous measurement; `None` until the first is complete.
    pub(super) achieved: Option<f64>,
    pub(super) last_cut: Option<Instant>,
    /// Whether no request has succeeded completely since the last reduction.
    pub(super) futile: bool,
    /// The number of reductions in a row, and the rate before the first of them.
    pub(super) cuts: (u32, f64),
    /// Until when throttling does not change the rate.
    pub(super) left_alone: Option<Instant>,
}

impl WriteRate {
    pub(super) fn new(cap: Option<f64>, now: Instant) -> Self {
        Self {
            cap,
            rate: cap,
            due: now,
            raised: now,
            measured: (now, 0.0),
            achieved: None,
            last_cut: None,
            futile: false,
            cuts: (0, 0.0),
            left_alone: None,
        }
    }

    /// Schedules units, and returns how long to wait for them.
    pub(super) fn book(&mut self, units: f64, now: Instant) -> Duration {
        let Some(rate) = &mut self.rate else {
            return Duration::ZERO;
        };
        let calm = now - self.last_cut.unwrap_or(self.raised);
        let doublings = calm.as_secs_f64() / DOUBLING.as_secs_f64();
        let growth = (GROWTH * doublings.exp2()).min(MAX_GROWTH);
        let grown = *rate * (1.0 + growth * (now - self.raised).as_secs_f64());
        // A rate far above what is written has no meaning.
        let most = (self.achieved.unwrap_or(0.0) * 2.0)
            .max(FIRST_RATE)
            .max(*rate);
        *rate = grown.min(most).min(self.cap.unwrap_or(f64::INFINITY));
        self.raised = now;
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let due = self.due.max(earliest);
        self.due = due + Duration::from_secs_f64(units / *rate);
        due.saturating_duration_since(now)
    }

    /// Records units that were written, of `expected` that were scheduled.
    pub(super) fn wrote(&mut self, expected: f64, units: f64, now: Instant) {
        self.roll(now);
        self.measured.1 += units;
        // Throttled units are not given back: the table has none at the moment.
        if let Some(rate) = self.rate
            && units > expected
        {
            self.due += Duration::from_secs_f64((units - expected) / rate);
        }
    }

    pub(super) fn roll(&mut self, now: Instant) {
        let (since, units) = self.measured;
        let elapsed = now - since;
        if self.achieved.is_none() && units <= 0.0 {
            // The first measurement begins with the first write: a run begins by reading.
            self.measured = (now, 0.0);
        } else if elapsed >= MEASURE {
            self.achieved = Some(units / elapsed.as_secs_f64());
            self.measured = (now, 0.0);
        }
    }

    /// Reduces the rate to slightly less than what was achieved, and to no less than half of it.
    /// Before anything was measured, it does nothing.
    pub(super) fn cut(&mut self, now: Instant) {
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
            self.rate = Some((achieved * CUT).max(FIRST_RATE));
            return;
        };
        let next = (achieved.clamp(rate / 2.0, rate) * CUT).max(SLOWEST);
        // Time in which a run only reads says nothing about the last reduction.
        let helped = !self.futile && since_cut.is_none_or(|since| since > 2 * MEASURE);
        self.futile = true;
        if self.cuts.0 == 0 || helped {
            self.cuts = (0, rate);
        }
        self.cuts.0 += 1;
        let (cuts, before) = self.cuts;
        self.rate = Some(if cuts > FUTILE_CUTS {
            self.cuts = (0, before);
            self.left_alone = Some(now + LEFT_ALONE);
            before
        } else {
            next
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of a clock that the test controls.
    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_cap_spaces_requests() {
        let start = Instant::now();
        let mut write_rate = WriteRate::new(Some(100.0), start);
        assert_eq!(write_rate.book(75.0, start), Duration::ZERO);
        assert_eq!(write_rate.book(75.0, start), Duration::from_millis(750));
        // Units beyond the scheduled ones delay later requests.
        write_rate.wrote(75.0, 100.0, start);
        assert_eq!(write_rate.book(75.0, start), Duration::from_millis(1750));
    }

    #[test]
    fn throttling_sets_the_rate_to_what_was_achieved_and_time_raises_it() {
        let start = Instant::now();
        let mut write_rate = WriteRate::new(None, start);
        assert_eq!(write_rate.book(1e9, start), Duration::ZERO);
        write_rate.wrote(4000.0, 4000.0, start);
        write_rate.cut(at(start, 1.0));
        assert!((write_rate.rate.unwrap() - 3600.0).abs() < 1.0);
        write_rate.cut(at(start, 1.1));
        assert!((write_rate.rate.unwrap() - 3600.0).abs() < 1.0, "one event");
        write_rate.book(75.0, at(start, 4.1));
        assert!((write_rate.rate.unwrap() - 3600.0 * 1.2597).abs() < 1.0);
    }

    /// Sends requests of 75 units, one at a time, each taking five milliseconds, for a minute and a
    /// half, to a table that accepts `served` units of each. Returns the units per second of the
    /// last half minute, and the share that was unprocessed.
    fn load_served(mut served: impl FnMut(Instant) -> f64) -> (f64, f64) {
        let start = Instant::now();
        let (mut write_rate, mut now) = (WriteRate::new(None, start), start);
        let (mut late, mut asked) = (0.0, 0.0);
        while now < at(start, 90.0) {
            now += write_rate.book(75.0, now) + Duration::from_millis(5);
            let units = served(now);
            write_rate.wrote(75.0, units, now);
            if units < 75.0 {
                write_rate.cut(now);
            }
            if now >= at(start, 60.0) {
                late += units;
                asked += 75.0;
            }
        }
        (late / 30.0, 1.0 - late / asked)
    }

    #[test]
    fn throttling_before_the_first_measurement_sets_no_rate() {
        let start = Instant::now();
        let mut write_rate = WriteRate::new(None, start);
        write_rate.cut(at(start, 0.1));
        write_rate.cut(at(start, 5.0));
        assert_eq!(write_rate.rate, None);
        write_rate.wrote(75.0, 60.0, at(start, 5.1));
        write_rate.cut(at(start, 5.2));
        assert_eq!(write_rate.rate, None);
        write_rate.cut(at(start, 6.2));
        assert_eq!(
            write_rate.rate,
            Some(FIRST_RATE),
            "there was little to write"
        );
    }

    #[test]
    fn a_table_that_throttles_a_share_of_everything_does_not_stop_a_run() {
        let (achieved, _) = load_served(|_| 60.0);
        assert!(achieved > 0.5 * 60.0 / 0.005, "{achieved}");
    }

    #[test]
    fn seconds_of_reading_between_writes_do_not_slow_a_run_down() {
        let start = Instant::now();
        let (mut write_rate, mut now) = (WriteRate::new(None, start), start);
        let mut windows = 0;
        while now < at(start, 300.0) {
            // Read, then write forty requests, of each of which the table accepts four fifths.
            now += Duration::from_secs(3);
            for _ in 0..40 {
                now += write_rate.book(75.0, now) + Duration::from_millis(50);
                write_rate.wrote(75.0, 60.0, now);
                write_rate.cut(now);
            }
            windows += 1;
        }
        // Without any write rate a window would take five seconds.
        assert!(windows > 40, "{windows} windows");
    }

    /// Simulates a table that accepts a number of units per second, which depends on the time, saves
    /// up to one second's worth, and responds after a delay. Returns the share of its units that a
    /// load uses between seconds 10 and 90, and the share of requests that is throttled, wholly or
    /// in part.
    fn load(budget_at: impl Fn(f64) -> f64, latency: f64) -> (f64, f64) {
        const ITEMS: f64 = 25.0;
        let start = Instant::now();
        let mut write_rate = WriteRate::new(None, start);
        let (mut tokens, mut filled) = (budget_at(0.0), 0.0);
        let (mut used, mut allowed, mut sent, mut refused) = (0.0, 0.0, 0.0, 0.0);
        // When responses arrive, with the units written; at most as many as may be in flight.
        let mut answers: std::collections::VecDeque<(f64, f64)> = std::collections::VecDeque::new();
        let mut now = 0.0;
        while now < 90.0 {
            if answers.len() >= 32 {
                now = answers[0].0.max(now);
            }
            let wait = write_rate.book(ITEMS * 3.0, at(start, now)).as_secs_f64();
            now += wait.max(0.0001);
            let budget = budget_at(now);
            let added = (now - filled) * budget;
            tokens = f64::min(budget, tokens + added);
            filled = now;
            let granted = (tokens / 3.0).floor().min(ITEMS) * 3.0;
            tokens -= granted;
            answers.push_back((now + latency, granted));
            if now > 10.0 {
                used += granted;
                allowed += added;
                sent += 1.0;
                refused += f64::from(u8::from(granted < ITEMS * 3.0));
            }
            while answers.front().is_some_and(|answer| answer.0 <= now) {
                let (when, units) = answers.pop_front().unwrap();
                write_rate.wrote(ITEMS * 3.0, units, at(start, when));
                if units < ITEMS * 3.0 {
                    write_rate.cut(at(start, when));
                } else {
                    write_rate.futile = false;
                }
            }
        }
        (used / allowed, refused / sent)
    }

    #[test]
    fn a_budget_is_used_and_few_requests_are_throttled() {
        for latency in [0.002, 0.02, 0.1] {
            for budget in [1200.0, 4000.0] {
                let (used, refused) = load(|_| budget, latency);
                let summary = format!("{used:.3} used, {refused:.3} throttled");
                assert!(
                    used >= 0.9 && refused < 0.1,
                    "{budget} units a second, {latency} s: {summary}"
                );
            }
        }
    }

    #[test]
    fn a_limit_that_changes_with_the_rows_is_used() {
        // Six seconds of rows for one hot partition, then ten of rows for several.
        let budget = |now: f64| if now % 16.0 < 6.0 { 3000.0 } else { 7500.0 };
        for latency in [0.002, 0.02, 0.1] {
            let (used, refused) = load(budget, latency);
            let summary = format!("{used:.3} used, {refused:.3} throttled");
            assert!(used >= 0.9 && refused < 0.4, "{latency} s: {summary}");
        }
    }

    #[test]
    fn a_rate_that_was_reduced_too_far_recovers_within_seconds() {
        let start = Instant::now();
        let mut write_rate = WriteRate::new(None, start);
        write_rate.rate = Some(SLOWEST);
        write_rate.last_cut = Some(start);
        let mut now = 0.0;
        while write_rate.rate.unwrap() < 4000.0 {
            now += write_rate.book(75.0, at(start, now)).as_secs_f64();
            write_rate.wrote(75.0, 75.0, at(start, now));
        }
        assert!(now < 20.0, "{now} s");
    }
}
