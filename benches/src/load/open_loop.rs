//! Sends requests at a fixed rate, whatever the response times are.
//!
//! Each request is due at a time that depends on the rate alone, and its latency is counted from that time: a slow
//! response delays requests behind it, and that delay is counted too (no "coordinated omission").

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::requests::{Kind, Session};
use crate::error::Error;
use crate::roster::Person;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The port of the API.
    pub port: u16,
    /// Requests per second.
    pub rate: u32,
    /// When the first request is due.
    pub begin: Instant,
    /// For how long requests are due.
    pub time: Duration,
    /// Connections: the most requests at once.
    pub connections: usize,
    /// Whether to leave out the writes.
    pub reads_only: bool,
}

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Its kind.
    pub kind: Kind,
    /// When it was due, from the beginning.
    pub due: Duration,
    /// Microseconds from that time to the response.
    pub micros: u32,
}

/// What was sent.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The requests with the expected response.
    pub sent: Vec<Sent>,
    /// The number of errors by kind.
    pub errors: BTreeMap<String, u64>,
}

/// Sends the requests, each about one of `people` or of the members that are created.
///
/// # Errors
/// Returns an error if a thread fails. Failed requests are in the outcome.
pub fn run(plan: Plan, people: &[Person]) -> Result<Outcome, Error> {
    let next = AtomicU64::new(0);
    let parts: Result<Vec<Outcome>, Error> = thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.connections)
            .map(|_| scope.spawn(|| connection(plan, people, &next)))
            .collect();
        threads
            .into_iter()
            .map(|thread| Ok(thread.join().map_err(|_| "a connection's thread failed")?))
            .collect()
    });
    let mut outcome = Outcome::default();
    for part in parts? {
        outcome.sent.extend(part.sent);
        for (error, count) in part.errors {
            *outcome.errors.entry(error).or_insert(0) += count;
        }
    }
    Ok(outcome)
}

/// Takes the next request of all until the time is up.
fn connection(plan: Plan, people: &[Person], next: &AtomicU64) -> Outcome {
    let mut session = Session::new(plan.port, people);
    let mut outcome = Outcome::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = due(number, plan.rate);
        if due >= plan.time {
            return outcome;
        }
        let due_at = plan.begin + due;
        thread::sleep(due_at.saturating_duration_since(Instant::now()));
        let kind = Kind::of(number, plan.reads_only);
        match session.perform(number, kind) {
            Ok(()) => outcome.sent.push(Sent {
                kind,
                due,
                micros: u32::try_from(due_at.elapsed().as_micros()).unwrap_or(u32::MAX),
            }),
            Err(error) => {
                let error = format!("{}: {error}", kind.name());
                *outcome.errors.entry(error).or_insert(0) += 1;
            }
        }
    }
}

/// Returns when a request is due, from the beginning.
fn due(number: u64, rate: u32) -> Duration {
    Duration::from_nanos(number * 1_000_000_000 / u64::from(rate))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::roster;

    /// A server with one connection that responds to nobody for `pause`, and then at once.
    fn slow_server(pause: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            thread::sleep(pause);
            let mut buffer = [0; 4096];
            while let Ok(1..) = socket.read(&mut buffer) {
                let _ = socket.write_all(b"HTTP/1.1 500 -\r\ncontent-length: 0\r\n\r\n");
            }
        });
        port
    }

    #[test]
    fn every_request_is_sent_and_errors_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("roster");
        roster::write(&file, 100, 0).expect("written");
        let people = roster::people(&file, 100, 100).expect("read");
        let plan = Plan {
            port: slow_server(Duration::from_millis(200)),
            rate: 100,
            begin: Instant::now(),
            time: Duration::from_millis(400),
            connections: 1,
            reads_only: true,
        };
        let outcome = run(plan, &people).expect("sent");
        // The requests that were due during the pause were sent after it.
        assert_eq!(outcome.errors.values().sum::<u64>(), 40);
        assert!(outcome.errors.contains_key("GET by id: status 500"));
        assert!(outcome.sent.is_empty());
    }

    #[test]
    fn requests_are_due_at_an_even_rate() {
        assert_eq!(due(0, 500), Duration::ZERO);
        assert_eq!(due(1, 500), Duration::from_millis(2));
        assert_eq!(due(300_000, 500), Duration::from_mins(10));
    }
}
