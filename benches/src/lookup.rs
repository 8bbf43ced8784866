//! `mpulse-bench lookup`: lookups per second by phone and by client id, and how they depend on the
//! number of members.

use std::fmt::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::dev::{Dev, KEY};
use crate::error::Error;
use crate::figures::{Origin, percentile_ms};
use crate::roster::{self, Person};

/// Members that are looked up, spread over the roster.
const SAMPLE: usize = 5000;

/// The arguments.
#[derive(Debug, Args)]
pub struct LookupArgs {
    /// The number of members; may be repeated
    #[arg(long, default_values = ["10000", "1000000"])]
    members: Vec<u64>,

    /// Connections, each with one request at a time
    #[arg(long, default_value = "8")]
    connections: usize,

    /// Seconds that each measurement takes
    #[arg(long, default_value = "15")]
    seconds: u64,

    /// The port of the local stack; the three above it are used too
    #[arg(long, default_value = "9700")]
    port: u16,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lookup {
    /// Where and when.
    pub origin: Origin,
    /// One for each kind of lookup and number of members.
    pub rounds: Vec<Round>,
}

/// The result of one kind of lookup and number of members.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// The field of the lookup.
    pub by: String,
    /// The number of members.
    pub members: u64,
    /// The number of responses.
    pub requests: usize,
    /// Seconds.
    pub seconds: f64,
    /// The median response time, in milliseconds.
    pub p50_ms: f64,
    /// The response time that one response in a hundred exceeds, in milliseconds.
    pub p99_ms: f64,
}

impl Round {
    /// Returns the responses per second.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 requests")]
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

impl Lookup {
    /// Returns, for each kind of lookup, the rate with the most members divided by that with the
    /// fewest.
    pub fn ratios(&self) -> Vec<(&str, f64)> {
        let mut ratios = Vec::new();
        for few in &self.rounds {
            let same = self.rounds.iter().filter(|round| round.by == few.by);
            let (least, most) = same.fold((few, few), |(least, most), round| {
                let least = if round.members < least.members {
                    round
                } else {
                    least
                };
                let most = if round.members > most.members {
                    round
                } else {
                    most
                };
                (least, most)
            });
            if least.members == few.members && most.members > least.members {
                ratios.push((few.by.as_str(), most.rate() / least.rate()));
            }
        }
        ratios
    }
}

/// Measures.
///
/// # Errors
/// Returns an error if the local stack does not start, or does not find a member.
pub async fn run(args: &LookupArgs) -> Result<Lookup, Error> {
    let origin = Origin::here();
    let mut rounds = Vec::new();
    for &members in &args.members {
        let dev = Dev::start(args.port).await?;
        let roster = dev.roster(members)?;
        dev.upload(&roster, members).await?;
        let people = roster::people(&roster, members, SAMPLE)?;
        for (by, parameter) in [("phone", "ph"), ("client id", "cmid")] {
            let asked: Vec<Asked> = people
                .iter()
                .map(|person| Asked::new(parameter, person, KEY))
                .collect();
            let seconds = Duration::from_secs(args.seconds);
            let (port, connections) = (dev.port, args.connections);
            let round =
                tokio::task::spawn_blocking(move || ask(port, &asked, connections, seconds));
            let (seconds, mut times) = round.await??;
            times.sort_unstable();
            rounds.push(Round {
                by: by.to_owned(),
                members,
                requests: times.len(),
                seconds,
                p50_ms: percentile_ms(&times, 500),
                p99_ms: percentile_ms(&times, 990),
            });
        }
        dev.end().await?;
    }
    Ok(Lookup { origin, rounds })
}

/// A request, and a part of the expected response.
struct Asked {
    request: Vec<u8>,
    answer: String,
}

impl Asked {
    fn new(parameter: &str, person: &Person, key: &str) -> Self {
        let value = match parameter {
            "ph" => person.phone_in_url(),
            _ => person.client_member_id.clone(),
        };
        let credentials = STANDARD.encode(key);
        let request = format!(
            "GET /api/members/?{parameter}={value} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             authorization: Basic {credentials}\r\n\r\n"
        );
        Self {
            request: request.into_bytes(),
            answer: format!("\"client_member_id\":\"{}\"", person.client_member_id),
        }
    }
}

/// Sends requests on a number of connections for a time. Returns the elapsed seconds and the
/// microseconds of each response.
fn ask(
    port: u16,
    asked: &[Asked],
    connections: usize,
    time: Duration,
) -> Result<(f64, Vec<u32>), Error> {
    let began = Instant::now();
    let times: Result<Vec<Vec<u32>>, Error> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|n| {
                let mine = asked.iter().cycle().skip(n * asked.len() / connections);
                scope.spawn(move || -> Result<Vec<u32>, Error> {
                    let mut connection = Connection::open(port)?;
                    let mut times = Vec::new();
                    for asked in mine {
                        if began.elapsed() >= time {
                            break;
                        }
                        let sent = Instant::now();
                        let answer = connection.send(&asked.request)?;
                        times.push(u32::try_from(sent.elapsed().as_micros())?);
                        if answer.status() != "200" || !answer.body.contains(&asked.answer) {
                            return Err(format!("not the expected member: {answer:?}").into());
                        }
                    }
                    Ok(times)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a connection's thread failed")?)
            .collect()
    });
    Ok((began.elapsed().as_secs_f64(), times?.concat()))
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for round in &self.rounds {
            let _ = writeln!(
                text,
                "by {:<10} of {:>9}: {:>6.0} requests/s, p50 {:.2} ms, p99 {:.2} ms",
                round.by,
                round.members,
                round.rate(),
                round.p50_ms,
                round.p99_ms,
            );
        }
        for (by, ratio) in self.ratios() {
            let _ = writeln!(text, "by {by:<10} most / fewest members: {ratio:.2}");
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_members_are_compared_with_the_fewest() {
        let round = |by: &str, members, requests| Round {
            by: by.to_owned(),
            members,
            requests,
            seconds: 1.0,
            p50_ms: 1.0,
            p99_ms: 1.0,
        };
        let lookup = Lookup {
            origin: Origin::here(),
            rounds: vec![round("phone", 1_000_000, 80), round("phone", 10_000, 100)],
        };
        assert_eq!(lookup.ratios().len(), 1);
        assert!((lookup.ratios()[0].1 - 0.8).abs() < 1e-9);
    }
}
