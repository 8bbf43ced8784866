//! The first promise: a batch's result equals applying its rows one by one, in order. Small random
//! rosters, with repeated keys and invalid rows, are processed by ingest with unprocessed,
//! throttled, broken and lost requests, while runs are killed, cut short by their deadline, or
//! doubled by a second delivery; then table, counters and report are compared with a model.
//!
//! against a model that knows of none of this.
//!
//! `SEQUENTIAL_CASES` sets the number of rosters, `SEQUENTIAL_SEED` the seed: a failure prints its
//! seed.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use ingest::{Service, Tuning};
use mpulse_shared::batch::{Batch, Mode, Rows, Status};
use mpulse_shared::member::{AccountId, Author, Member, MemberId, Profile};
use mpulse_shared::phone::Phone;
use mpulse_shared::time::Timestamp;
use mpulse_tests::packed::Packing;

use crate::direct_ingest::{Bench, Upload, codes, deliver};

/// The number of rosters if `SEQUENTIAL_CASES` is not set.
const CASES: u64 = 2000;

/// Rosters processed at once.
const AT_ONCE: usize = 16;

/// The number of tunings.
const SERVICES: usize = 32;

/// The faults between ingest and the engines.
const FAULTS: &str = "unprocessed=0.2,throttle=0.03,error=0.03,drop=0.03";

/// The maximum number of disturbed runs; after them the batch runs to its end.
const DISTURBED: u32 = 12;

/// The local stack, and ingest with faults, with many tunings: creating one costs more than a case.
struct Ground {
    bench: Bench,
    services: Vec<Service>,
}

impl Ground {
    async fn start() -> Self {
        let bench = Bench::start(FAULTS).await;
        let faulty = bench.faulty_setup();
        let random = &mut Rng::with_seed(0);
        let services = (0..SERVICES)
            .map(|_| ingest::service_tuned(&faulty, tuning(random)).expect("the setup is whole"))
            .collect();
        Self { bench, services }
    }
}

/// A row of a roster: its text, and the expected member or code.
struct Row {
    text: String,
    verdict: Result<Profile, &'static str>,
}

/// A roster and its faults.
struct Case {
    seed: u64,
    mode: Mode,
    uploaded_at: Timestamp,
    before: Vec<Member>,
    rows: Vec<Row>,
    accounts: Vec<AccountId>,
    packing: Packing,
}

impl Case {
    fn new(seed: u64, random: &mut Rng) -> Self {
        let accounts: Vec<AccountId> = (0..=random.u32(..2))
            .map(|n| AccountId::parse(&format!("s{seed}-{n}")).expect("an account"))
            .collect();
        let keys = 1 + random.u32(..12);
        let uploaded_at = Timestamp::from_millis(1_700_000_000_000);
        let before = (0..random.u32(..2 * keys))
            .map(|_| {
                let profile = profile(&accounts, keys, random);
                let at = uploaded_at.plus_millis(i64::from(random.u32(..3)) - 1);
                Member::new(profile, at, Author::key("before"))
            })
            .map(|member| (member.profile.id.clone(), member))
            .collect::<BTreeMap<_, _>>()
            .into_values()
            .collect();
        let rows = (0..random.u32(..60))
            .map(|_| row(&accounts, keys, random))
            .collect();
        Self {
            seed,
            mode: pick(
                random,
                &[Mode::Upsert, Mode::Upsert, Mode::Create, Mode::Overwrite],
            ),
            uploaded_at,
            before,
            rows,
            accounts,
            packing: pick(random, &Packing::ALL),
        }
    }

    fn file(&self) -> String {
        let mut file = mpulse_tests::HEADER.to_owned();
        for row in &self.rows {
            file.push_str(&row.text);
        }
        file
    }

    /// Applies the rows one by one: the whole promise.
    fn model(&self, by: &Author) -> (Rows, BTreeMap<MemberId, Member>, Vec<&'static str>) {
        let (mut rows, mut rejects) = (Rows::default(), Vec::new());
        let before = self
            .before
            .iter()
            .map(|m| (m.profile.id.clone(), m.clone()));
        let mut table: BTreeMap<_, _> = before.collect();
        for row in &self.rows {
            rows.read += 1;
            let profile = match &row.verdict {
                Ok(profile) => profile.clone(),
                Err(code) => {
                    rows.rejected += 1;
                    rejects.push(*code);
                    continue;
                }
            };
            let new = Member::new(profile.clone(), self.uploaded_at, by.clone());
            match (self.mode, table.get_mut(&profile.id)) {
                (Mode::Overwrite, _) => {
                    rows.updated += 1;
                    table.insert(profile.id, new);
                }
                (_, None) => {
                    rows.created += 1;
                    table.insert(profile.id, new);
                }
                (Mode::Create, Some(_)) => rows.unchanged += 1,
                (_, Some(is)) if is.profile == profile => rows.unchanged += 1,
                (_, Some(is)) if is.updated_at > self.uploaded_at => rows.superseded += 1,
                (_, Some(is)) => {
                    rows.updated += 1;
                    *is = is.changed(profile, self.uploaded_at, by.clone());
                }
            }
        }
        (rows, table, rejects)
    }
}

/// So small that a few rows make many windows and pages.
fn tuning(random: &mut Rng) -> Tuning {
    Tuning {
        window_members: random.usize(1..8),
        window_report: random.usize(30..430),
        depth: random.usize(1..4),
        max_fingerprints: pick(random, &[0, 16, 40, 100_000]),
        first_page: random.u32(1..5),
        first_wait: Duration::from_millis(2),
    }
}

fn pick<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

fn profile(accounts: &[AccountId], keys: u32, random: &mut Rng) -> Profile {
    let account = &accounts[random.usize(..accounts.len())];
    Profile {
        id: MemberId {
            account_id: account.clone(),
            client_member_id: mpulse_shared::member::ClientMemberId::parse(&format!(
                "{}",
                random.u32(..keys)
            ))
            .expect("an id"),
        },
        first_name: pick(random, &["Ann", "Bo", "Zoë"]).to_owned(),
        last_name: pick(random, &["Lee", "O'Brien, Jr."]).to_owned(),
        phone_number: Phone::from_stored(
            pick(random, &["+17145550123", "+442079460018"]).to_owned(),
        ),
    }
}

fn row(accounts: &[AccountId], keys: u32, random: &mut Rng) -> Row {
    let profile = profile(accounts, keys, random);
    let account = &profile.id.account_id;
    let id = &profile.id.client_member_id;
    let line = |first: &str, phone: &str| {
        format!("{account},{id},{first},\"{}\",{phone}\n", profile.last_name)
    };
    let (text, verdict) = match random.u32(..12) {
        0 => (line(&profile.first_name, "12"), Err("invalid_phone")),
        1 => (line("", "7145550123"), Err("required")),
        2 => (format!("{account},{id},short\n"), Err("wrong_field_count")),
        3 => (
            format!(
                "\n{}",
                line(&profile.first_name, profile.phone_number.as_str())
            ),
            Ok(profile),
        ),
        _ => (
            line(&profile.first_name, profile.phone_number.as_str()),
            Ok(profile),
        ),
    };
    Row { text, verdict }
}

async fn work_through(ground: &Ground, case: &Case, random: &mut Rng) -> Batch {
    let bench = &ground.bench;
    for member in &case.before {
        bench.put(member).await;
    }
    let upload = bench.upload(case.mode, case.packing.pack(&case.file()), case.uploaded_at);
    let Upload { batch, event } = &upload.await;
    let service = &ground.services[random.usize(..SERVICES)];
    let minute = Duration::from_mins(1);
    for _ in 0..DISTURBED {
        match random.u32(..5) {
            // Killed.
            0 | 1 => {
                let life = Duration::from_micros(u64::from(random.u32(..60_000)));
                let run = deliver(service, event, minute);
                if matches!(tokio::time::timeout(life, run).await, Ok(true)) {
                    break;
                }
                bench.bury(batch).await;
            }
            // Handed back.
            2 => {
                let time = Duration::from_millis(u64::from(random.u32(..120)));
                if deliver(service, event, time).await {
                    break;
                }
                bench.bury(batch).await;
            }
            // Delivered twice at once.
            3 => {
                let (one, two) = tokio::join!(
                    deliver(service, event, minute),
                    deliver(service, event, minute)
                );
                if one || two {
                    break;
                }
                // For example, the response that confirms a run's end is lost.
                bench.bury(batch).await;
            }
            _ => {
                if deliver(service, event, minute).await {
                    break;
                }
            }
        }
    }
    for _ in 0..3 {
        if deliver(service, event, minute).await {
            break;
        }
        bench.bury(batch).await;
    }
    // Once more, as a queue may.
    deliver(service, event, minute).await;
    assert!(
        !bench.is_stored(batch).await,
        "seed {}: the upload is deleted after the end",
        case.seed
    );
    bench.batch(batch).await
}

async fn check(ground: &Ground, seed: u64) {
    let bench = &ground.bench;
    let random = &mut Rng::with_seed(seed);
    let case = Case::new(seed, random);
    let batch = work_through(ground, &case, random).await;
    let by = Author::batch(batch.batch_id.as_str());
    let (rows, table, rejects) = case.model(&by);
    let (mode, packing, runs) = (case.mode, case.packing, batch.attempts);
    let mut story = format!("seed {seed}, {mode:?}, {packing:?}, {runs} runs\n");
    let _ = write!(story, "{}", case.file());
    let wanted = match rows.rejected {
        0 => Status::Completed,
        _ => Status::CompletedWithRejects,
    };
    assert_eq!(batch.status, wanted, "{story}{:?}", batch.problem);
    assert_eq!(batch.checkpoint.rows, rows, "{story}");
    let report = bench.report(&batch).await.unwrap_or_default();
    assert_eq!(codes(&report), rejects, "{story}");
    let mut found = BTreeMap::new();
    for account in &case.accounts {
        found.extend(bench.members_of(account).await);
    }
    assert_eq!(found, table, "{story}");
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_equals_its_rows_one_by_one_whatever_fails() {
    let ground = Arc::new(Ground::start().await);
    let first = number("SEQUENTIAL_SEED", 1);
    let cases = number("SEQUENTIAL_CASES", CASES);
    let checked = stream::iter(first..first + cases)
        .map(|seed| {
            let ground = Arc::clone(&ground);
            async move { tokio::spawn(async move { check(&ground, seed).await }).await }
        })
        .buffer_unordered(AT_ONCE);
    let failures: Vec<_> = checked
        .filter_map(|result| async { result.err() })
        .collect()
        .await;
    assert!(
        failures.is_empty(),
        "{} of {cases} cases failed",
        failures.len()
    );
}
