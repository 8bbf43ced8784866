//! `mpulse-bench lookup`: lookups per second by phone and by client id, and how they depend on the
//! number of members.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::dev::{Dev, KEY};
use crate::error::Error;
use crate::figures::Origin;

/// Members that are looked up, spread over the roster.
const SAMPLE: usize = 5000;

/// Bytes of a response read at once; a page of one member is smaller.
const BUFFER: usize = 16 * 1024;

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
        let people = sample(&roster, members)?;
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
                p50_ms: percentile(&times, 50),
                p99_ms: percentile(&times, 99),
            });
        }
        dev.end().await?;
    }
    Ok(Lookup { origin, rounds })
}

/// A member to look up.
struct Person {
    client_member_id: String,
    phone: String,
}

/// Returns members spread over a roster: rows without quotes, which are most.
fn sample(roster: &Path, rows: u64) -> Result<Vec<Person>, Error> {
    let every = usize::try_from(rows)?.div_ceil(SAMPLE);
    let mut people = Vec::new();
    for line in BufReader::new(File::open(roster)?)
        .lines()
        .skip(1)
        .step_by(every)
    {
        let line = line?;
        let fields: Vec<&str> = line.split(',').collect();
        if let [_, client_member_id, _, _, phone] = fields[..]
            && !line.contains('"')
        {
            people.push(Person {
                client_member_id: client_member_id.to_owned(),
                phone: phone.to_owned(),
            });
        }
    }
    Ok(people)
}

/// A request, and a part of the expected response.
struct Asked {
    request: Vec<u8>,
    answer: String,
}

impl Asked {
    fn new(parameter: &str, person: &Person, key: &str) -> Self {
        let value = match parameter {
            "ph" => person.phone.replace('+', "%2B").replace(' ', "%20"),
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
/// microseconds of each response. It uses bare sockets, because the client shares the cores with
/// the server.
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
                    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
                    socket.set_nodelay(true)?;
                    let mut times = Vec::new();
                    for asked in mine {
                        if began.elapsed() >= time {
                            break;
                        }
                        let sent = Instant::now();
                        socket.write_all(&asked.request)?;
                        let answer = answer(&mut socket)?;
                        times.push(u32::try_from(sent.elapsed().as_micros())?);
                        if !answer.starts_with("HTTP/1.1 200") || !answer.contains(&asked.answer) {
                            return Err(format!("not the expected member: {answer}").into());
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

/// Reads one response, head and body.
fn answer(socket: &mut TcpStream) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let mut buffer = [0; BUFFER];
    loop {
        let read = socket.read(&mut buffer)?;
        if read == 0 {
            return Err("the connection was closed".into());
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = std::str::from_utf8(&bytes)?;
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .ok_or("a response without a length")?
                .1;
            if body.len() >= length.trim().parse()? {
                return Ok(text.to_owned());
            }
        }
    }
}

/// Returns a percentile of sorted microseconds, in milliseconds.
fn percentile(sorted: &[u32], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    f64::from(sorted.get(at).copied().unwrap_or_default()) / 1000.0
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
    fn percentiles_are_of_the_sorted_times() {
        let times: Vec<u32> = (1..=1000).map(|n| n * 1000).collect();
        assert!((percentile(&times, 50) - 501.0).abs() < 1e-9);
        assert!((percentile(&times, 99) - 991.0).abs() < 1e-9);
        assert!(percentile(&[], 99).abs() < 1e-9);
    }

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
