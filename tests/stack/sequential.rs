//! The first promise: a batch's result equals applying its rows one by one, in order. Small
//! random rosters, with repeated keys and bad rows, go through ingest while requests are
//! handed back, refused, broken off and lost, and while runs are killed, cut short by their
//! deadline, or doubled by a second delivery; then table, counters and report are held
//! against a model that knows of none of this.
//!
//! `SEQUENTIAL_CASES` sets how many, `SEQUENTIAL_SEED` which: a failure names its seed.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use ingest::{Service, Tuning};
use mpulse_local::{BUILT_IN_TEMPLATE, Data, Machine, Options};
use mpulse_shared::batch::{Batch, BatchRequest, Mode, Rows, Status};
use mpulse_shared::member::{AccountId, Author, Member, MemberId, Profile};
use mpulse_shared::phone::Phone;
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::members::{Filter, Members, to_item};
use mpulse_shared::time::Timestamp;

use crate::by_hand::{BUCKET, bury, deliver, put_file};

/// How many rosters, where `SEQUENTIAL_CASES` doesn't say.
const CASES: u64 = 2000;

/// How many of them are under way at once.
const AT_ONCE: usize = 16;

/// How many ways of tuning there are.
const SERVICES: usize = 32;

/// What goes wrong between ingest and the engines.
const FAULTS: &str = "unprocessed=0.2,throttle=0.03,error=0.03,drop=0.03";

/// The most runs that are disturbed; after them the batch is left to end.
const DISTURBED: u32 = 12;

/// The parts of the machine that a case needs: directly, without faults.
struct Bench {
    machine: Machine,
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    batches: Batches,
    members: Members,
    /// Ingest with faults, tuned in many ways. Making one costs more than a case.
    services: Vec<Service>,
}

impl Bench {
    async fn start() -> Self {
        let machine = Machine::start(Options {
            template: BUILT_IN_TEMPLATE.to_owned(),
            parameters: std::collections::HashMap::new(),
            data: Data::Ephemeral,
            port: 0,
            invoke: None,
            faults: Some(FAULTS.parse().expect("the faults can be read")),
        })
        .await
        .expect("the machine starts");
        let setup = machine.setup();
        let [dynamodb_url, s3_url] = machine.faulty_urls().expect("faults were asked for");
        let faulty = mpulse_local::setup_for(machine.template(), dynamodb_url, s3_url);
        let s3 = setup.s3().expect("the setup is whole");
        let random = &mut Rng::with_seed(0);
        let services = (0..SERVICES)
            .map(|_| ingest::service_tuned(&faulty, tuning(random)).expect("the setup is whole"))
            .collect();
        s3.create_bucket()
            .bucket(BUCKET)
            .send()
            .await
            .expect("a bucket");
        Self {
            s3,
            dynamodb: setup.dynamodb().expect("the setup is whole"),
            batches: Batches::from_setup(&setup).expect("the setup is whole"),
            members: Members::from_setup(&setup).expect("the setup is whole"),
            services,
            machine,
        }
    }
}

/// A row of a roster: its text, and the member or the code that it should come to.
struct Row {
    text: String,
    verdict: Result<Profile, &'static str>,
}

/// A roster and what it meets.
struct Case {
    seed: u64,
    mode: Mode,
    uploaded_at: Timestamp,
    before: Vec<Member>,
    rows: Vec<Row>,
    accounts: Vec<AccountId>,
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
        }
    }

    fn file(&self) -> String {
        let mut file = mpulse_tests::HEADER.to_owned();
        for row in &self.rows {
            file.push_str(&row.text);
        }
        file
    }

    /// What applying the rows one by one comes to: the whole promise.
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

/// So little at once that a few rows make many windows and pages.
fn tuning(random: &mut Rng) -> Tuning {
    Tuning {
        window_members: random.usize(1..8),
        window_report: random.usize(30..430),
        depth: random.usize(1..4),
        most_fingerprints: pick(random, &[0, 16, 40, 100_000]),
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

async fn work_through(bench: &Bench, case: &Case, random: &mut Rng) -> Batch {
    let request = BatchRequest {
        mode: case.mode,
        ..BatchRequest::default()
    };
    let batch = Batch::new(request, "key:test".to_owned(), Timestamp::now());
    bench.batches.create(&batch).await.expect("a batch");
    for member in &case.before {
        let put = bench.dynamodb.put_item().set_item(Some(to_item(member)));
        let table = bench.machine.setup();
        put.table_name(table.required("MEMBERS_TABLE").expect("set"))
            .send()
            .await
            .expect("a member");
    }
    let event = put_file(&bench.s3, &batch, case.uploaded_at, case.file()).await;
    let key = batch.batch_id.upload_key();
    let service = &bench.services[random.usize(..bench.services.len())];
    let minute = Duration::from_mins(1);
    for _ in 0..DISTURBED {
        match random.u32(..5) {
            // Killed.
            0 | 1 => {
                let life = Duration::from_micros(u64::from(random.u32(..60_000)));
                let run = deliver(service, event.clone(), minute);
                if matches!(tokio::time::timeout(life, run).await, Ok(true)) {
                    break;
                }
                bury(&bench.machine, &bench.dynamodb, &batch).await;
            }
            // Handed back.
            2 => {
                let time = Duration::from_millis(u64::from(random.u32(..120)));
                if deliver(service, event.clone(), time).await {
                    break;
                }
                bury(&bench.machine, &bench.dynamodb, &batch).await;
            }
            // Delivered twice at once.
            3 => {
                let (one, two) = tokio::join!(
                    deliver(service, event.clone(), minute),
                    deliver(service, event.clone(), minute)
                );
                if one || two {
                    break;
                }
                // The answer that told a run of its end was lost, say.
                bury(&bench.machine, &bench.dynamodb, &batch).await;
            }
            _ => {
                if deliver(service, event.clone(), minute).await {
                    break;
                }
            }
        }
    }
    for _ in 0..3 {
        if deliver(service, event.clone(), minute).await {
            break;
        }
        bury(&bench.machine, &bench.dynamodb, &batch).await;
    }
    // Once more, as a queue may.
    deliver(service, event, minute).await;
    let gone = bench.s3.head_object().bucket(BUCKET).key(&key).send().await;
    assert!(
        gone.is_err(),
        "seed {}: the upload is deleted after the end",
        case.seed
    );
    bench
        .batches
        .get(&batch.batch_id)
        .await
        .expect("the engine")
        .expect("the batch")
}

/// The codes of a batch's report, in its order.
async fn report(bench: &Bench, batch: &Batch) -> Vec<String> {
    let key = batch.batch_id.rejects_key();
    let Ok(object) = bench.s3.get_object().bucket(BUCKET).key(key).send().await else {
        return Vec::new();
    };
    let text = object
        .body
        .collect()
        .await
        .expect("the report is whole")
        .to_vec();
    let text = String::from_utf8(text).expect("the report is UTF-8");
    text.lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(1))
        .map(str::to_owned)
        .collect()
}

async fn check(bench: &Bench, seed: u64) {
    let random = &mut Rng::with_seed(seed);
    let case = Case::new(seed, random);
    let batch = work_through(bench, &case, random).await;
    let by = Author::batch(batch.batch_id.as_str());
    let (rows, table, rejects) = case.model(&by);
    let mut story = format!("seed {seed}, {:?}, {} runs\n", case.mode, batch.attempts);
    let _ = write!(story, "{}", case.file());
    let wanted = match rows.rejected {
        0 => Status::Completed,
        _ => Status::CompletedWithRejects,
    };
    assert_eq!(batch.status, wanted, "{story}{:?}", batch.problem);
    assert_eq!(batch.checkpoint.rows, rows, "{story}");
    assert_eq!(report(bench, &batch).await, rejects, "{story}");
    let mut found = BTreeMap::new();
    for account in &case.accounts {
        let filter = Filter {
            account_id: Some(account.clone()),
            ..Filter::default()
        };
        let page = bench
            .members
            .find(&filter, 1000, None)
            .await
            .expect("members");
        found.extend(page.members.into_iter().map(|m| (m.profile.id.clone(), m)));
    }
    assert_eq!(found, table, "{story}");
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_its_rows_one_by_one_whatever_fails() {
    let bench = Arc::new(Bench::start().await);
    let first = number("SEQUENTIAL_SEED", 1);
    let cases = number("SEQUENTIAL_CASES", CASES);
    let checked = stream::iter(first..first + cases)
        .map(|seed| {
            let bench = Arc::clone(&bench);
            async move { tokio::spawn(async move { check(&bench, seed).await }).await }
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
