//! The first promise: a batch's result equals applying its rows one by one, in order. Small random
//! rosters, with repeated keys and invalid rows, are processed by ingest with unprocessed,
//! throttled, broken and lost requests, while runs are killed, cut short by their deadline, or
//! doubled by a second delivery; then table, counters and reports are compared with a model
//! that knows of none of this. Each roster is previewed by a dry run, loaded, reverted, and the revert is
//! reverted.
//!
//! `SEQUENTIAL_CASES` sets the number of rosters, `SEQUENTIAL_SEED` the seed: a failure prints its
//! seed.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use ingest::{Service, Tuning};
use mpulse_shared::batch::{Batch, BatchRequest, Mode, Rows, Status};
use mpulse_shared::member::{AccountId, Author, ClientMemberId, Member, MemberId};
use mpulse_shared::time::Timestamp;

use crate::direct_ingest::{Bench, Upload, codes, deliver};
use crate::sequential_model::{Case, Change, Expected, Table, pick, reverted, story};

/// The number of rosters if `SEQUENTIAL_CASES` is not set. Each is up to four batches.
const CASES: u64 = 400;

/// Rosters processed at once.
const AT_ONCE: usize = 16;

/// The number of tunings.
const SERVICES: usize = 32;

/// The faults between ingest and the engines.
const FAULTS: &str = "unprocessed=0.2,throttle=0.03,error=0.03,drop=0.03";

/// Partitions that throttle, and are divided while rosters are loaded.
const PARTITIONS: &str = "partition=30,split=1s,burst=0";

/// Rosters under them. They have few accounts and two phones, so their rows share hot partitions.
const PARTITION_CASES: u64 = 4;

/// How much larger these rosters are.
const PARTITION_SCALE: u32 = 10;

/// The maximum number of disturbed runs; after them the batch runs to its end.
const DISTURBED: u32 = 12;

/// The local stack, and ingest with faults, with many tunings: creating one costs more than a case.
struct Ground {
    bench: Bench,
    services: Vec<Service>,
    /// The scale of rosters.
    scale: u32,
}

impl Ground {
    async fn start(faults: &str, scale: u32) -> Self {
        let bench = Bench::start(faults).await;
        let setup = bench.faulty_setup();
        let random = &mut Rng::with_seed(0);
        let services = (0..SERVICES)
            .map(|_| tuning(scale, random))
            .map(|tuning| ingest::service_tuned(&setup, tuning).expect("the setup is whole"))
            .collect();
        Self {
            bench,
            services,
            scale,
        }
    }
}

/// So small that a few rows make many windows and pages.
fn tuning(scale: u32, random: &mut Rng) -> Tuning {
    let max_fingerprints = pick(random, &[0, 16, 40, 100_000]);
    // What a dry run does not remember whole, it needs fingerprints for.
    let max_remembered = match max_fingerprints {
        100_000 => pick(random, &[0, 3, 100_000]),
        _ => 100_000,
    };
    Tuning {
        max_remembered,
        window_members: random.usize(1..8) * scale as usize,
        window_report: random.usize(30..430) * scale as usize,
        depth: random.usize(1..4),
        max_fingerprints,
        max_file_keys: pick(random, &[2, 5, 100_000]),
        max_account_keys: pick(random, &[0, 12, 100_000]),
        large_part: pick(random, &[1, 300, 100_000]),
        first_page: random.u32(1..5),
        first_wait: Duration::from_millis(2),
    }
}

/// Processes a batch with disturbances.
async fn work_through(ground: &Ground, upload: &Upload, random: &mut Rng) -> Batch {
    let bench = &ground.bench;
    let Upload { batch, event } = upload;
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
    bench.batch(batch).await
}

/// The state of accounts.
pub async fn table(bench: &Bench, accounts: &[AccountId]) -> Table {
    let mut found = Table::new();
    for account in accounts {
        found.extend(bench.members_of(account).await);
    }
    found
}

/// Returns the fields of the lines of a report of changes.
fn lines(report: &str) -> Vec<Vec<String>> {
    let text = report.strip_prefix('\u{FEFF}').expect("a mark");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let records = reader.records();
    let plain = |field: &str| field.strip_prefix('\'').unwrap_or(field).to_owned();
    records
        .map(|record| record.expect("a line").iter().map(plain).collect())
        .collect()
}

/// Returns a change as a line of the report.
fn line_of(change: &Change) -> Vec<String> {
    let kind = match (&change.old, &change.new) {
        (None, _) => "created",
        (_, None) => "removed",
        _ => "updated",
    };
    let either = change.new.as_ref().or(change.old.as_ref());
    let id = &either.expect("a member").profile.id;
    let values = |member: &Option<Member>| match member {
        None => vec![String::new(); 3],
        Some(member) => vec![
            member.profile.first_name.clone(),
            member.profile.last_name.clone(),
            member.profile.phone_number.as_str().to_owned(),
        ],
    };
    let mut line = vec![
        change.line.map_or(String::new(), |line| line.to_string()),
        kind.to_owned(),
        id.account_id.to_string(),
        id.client_member_id.to_string(),
    ];
    line.extend(values(&change.new));
    line.extend(values(&change.old));
    line.extend(change.old.as_ref().map_or_else(
        || vec![String::new(); 4],
        |old| {
            vec![
                old.created_at.to_string(),
                old.created_by.as_str().to_owned(),
                old.updated_at.to_string(),
                old.updated_by.as_str().to_owned(),
            ]
        },
    ));
    line
}

/// Compares a report of changes with the expected changes. The lines of created members may have their keys only, and a
/// dry run may have forgotten its prediction of an earlier row.
fn check_changes(report: Option<&str>, expected: &[Change], is_dry_run: bool, story: &str) {
    let mut found = report.map(lines).unwrap_or_default();
    let mut wanted: Vec<Vec<String>> = expected.iter().map(line_of).collect();
    // Absent members are removed in the order of their ids in each pass, and there may be several passes.
    let of_rows = found.partition_point(|line| !line[0].is_empty());
    found[of_rows..].sort();
    for (wanted, found) in wanted.iter_mut().zip(&found) {
        if wanted[1] == "created" && found.get(4..7).is_some_and(|new| new.concat().is_empty()) {
            wanted[4..7].fill(String::new());
        }
        let by_itself = wanted.last().is_some_and(|by| by.starts_with("batch:"));
        if let (true, true, Some(old)) = (is_dry_run, by_itself, found.get(7..13)) {
            // The values, or at least who created the member.
            let from = if old.concat().is_empty() { 7 } else { 10 };
            wanted[from..12].clone_from_slice(&found[from..12]);
            if from == 7 {
                wanted[12].clear();
            }
        }
    }
    assert_eq!(found, wanted, "{story}");
}

/// Puts changes in the order of a report: that of absent members depends on the number of passes.
pub fn in_order_of(report: Option<&str>, mut changes: Vec<Change>) -> Vec<Change> {
    let found = report.map(lines).unwrap_or_default();
    let place = |change: &Change| {
        found
            .iter()
            .position(|line| line[..4] == line_of(change)[..4])
    };
    let of_rows = changes.partition_point(|change| change.line.is_some());
    changes[of_rows..].sort_by_key(place);
    changes
}

/// Applies a report of changes to a table, as a script would. Returns the first name, last name and phone of each
/// member. Of lines that have keys only, the values are those of `after`.
fn replayed(
    report: Option<&str>,
    before: &Table,
    after: &Table,
) -> BTreeMap<MemberId, [String; 3]> {
    let values = |table: &Table, id: &MemberId| {
        table.get(id).map(|member| {
            let profile = &member.profile;
            let phone = profile.phone_number.as_str().to_owned();
            [profile.first_name.clone(), profile.last_name.clone(), phone]
        })
    };
    let own = |id: &MemberId| (id.clone(), values(before, id).expect("a member"));
    let mut table: BTreeMap<_, _> = before.keys().map(own).collect();
    for line in report.map(lines).unwrap_or_default() {
        let id = MemberId {
            account_id: AccountId::from_stored(line[2].clone()),
            client_member_id: ClientMemberId::from_stored(line[3].clone()),
        };
        if line[1] == "removed" {
            table.remove(&id);
        } else if line[4].is_empty() {
            let value = values(after, &id);
            table.extend(value.map(|value| (id, value)));
        } else {
            table.insert(id, [line[4].clone(), line[5].clone(), line[6].clone()]);
        }
    }
    table
}

/// Compares a batch with what is expected of it.
pub async fn check_batch(bench: &Bench, batch: &Batch, expected: &Expected, story: &str) {
    let Expected {
        rows,
        rejects,
        changes,
        problem,
        ..
    } = expected;
    let wanted = match (problem, rows.rejected) {
        (Some(_), _) => Status::Failed,
        (None, 0) => Status::Completed,
        (None, _) => Status::CompletedWithRejects,
    };
    let code = batch.problem.as_ref().map(|problem| problem.code.as_str());
    assert_eq!((batch.status, code), (wanted, *problem), "{story}");
    assert_eq!(batch.checkpoint.rows, *rows, "{story}");
    let Rows {
        read,
        absent,
        created,
        updated,
        unchanged,
        superseded,
        rejected,
        removed,
    } = *rows;
    let outcomes = created + updated + unchanged + superseded + rejected + removed;
    assert_eq!(read + absent, outcomes, "{story}");
    let report = bench.report(batch).await.unwrap_or_default();
    assert_eq!(codes(&report), *rejects, "{story}");
    let report = bench.changes(batch).await;
    assert_eq!(report.is_some(), batch.has_changes, "{story}");
    check_changes(report.as_deref(), changes, batch.dry_run, story);
}

/// Takes back the changes of a batch, and compares the result with the model. Returns the batch that does it, and its
/// changes.
async fn check_revert(
    ground: &Ground,
    case: &Case,
    parent: &Batch,
    changes: &[Change],
    random: &mut Rng,
    story: &str,
) -> (Batch, Vec<Change>) {
    let bench = &ground.bench;
    let file = bench.changes(parent).await.expect("changes");
    let request = BatchRequest {
        mode: Mode::Revert,
        parent_batch_id: Some(parent.batch_id.clone()),
        ..BatchRequest::default()
    };
    let at = parent.uploaded_at.expect("it is uploaded").plus_millis(10);
    let before = table(bench, &case.accounts).await;
    let upload = bench.upload_for(request, file, at).await;
    let by = Author::batch(upload.batch.batch_id.as_str());
    let expected = reverted(changes, &before, &parent.batch_id, at, &by);
    let batch = work_through(ground, &upload, random).await;
    let story = format!("the revert of {:?} in {story}", parent.mode);
    check_batch(bench, &batch, &expected, &story).await;
    assert_eq!(
        table(bench, &case.accounts).await,
        expected.table,
        "{story}"
    );
    (batch, expected.changes)
}

async fn check(ground: &Ground, seed: u64) {
    let bench = &ground.bench;
    let random = &mut Rng::with_seed(seed);
    let case = Case::new(seed, ground.scale, random);
    let story = story(seed, &case);
    for member in case.before.values() {
        bench.put(member).await;
    }
    let file = || case.packing.pack(&case.file());
    let mut predicted = None;
    if random.bool() {
        let upload = bench
            .upload_for(case.request(true), file(), case.uploaded_at)
            .await;
        let batch = work_through(ground, &upload, random).await;
        let story = format!("the dry run of {story}");
        let by = Author::batch(batch.batch_id.as_str());
        let expected = case.model(&by);
        check_batch(bench, &batch, &expected, &story).await;
        assert_eq!(table(bench, &case.accounts).await, case.before, "{story}");
        assert!(batch.checkpoint.capacity.write_units == 0.0, "{story}");
        let is_kept = bench.is_stored(&batch).await;
        assert_eq!(is_kept, expected.problem.is_none(), "{story}");
        predicted = Some(batch.checkpoint.rows);
    }
    let upload = bench
        .upload_for(case.request(false), file(), case.uploaded_at)
        .await;
    let batch = work_through(ground, &upload, random).await;
    let expected = case.model(&Author::batch(batch.batch_id.as_str()));
    check_batch(bench, &batch, &expected, &story).await;
    if let Some(predicted) = predicted {
        assert_eq!(predicted, batch.checkpoint.rows, "{story}");
    }
    assert!(!bench.is_stored(&batch).await, "{story}");
    let after = table(bench, &case.accounts).await;
    assert_eq!(after, expected.table, "{story}");
    let report = bench.changes(&batch).await;
    if case.mode != Mode::Overwrite {
        let replayed = replayed(report.as_deref(), &case.before, &after);
        let none = Table::new();
        assert_eq!(replayed, self::replayed(None, &after, &none), "{story}");
    }
    if expected.changes.is_empty() {
        return;
    }
    // Something else may write a member in between: it stays as it is.
    let touched = random
        .bool()
        .then(|| after.values().next().cloned())
        .flatten();
    if let Some(mut member) = touched.clone() {
        "Cy".clone_into(&mut member.profile.first_name);
        member.updated_at = Timestamp::from_millis(1_700_000_000_005);
        member.updated_by = Author::key("other");
        bench.put(&member).await;
    }
    let changes = in_order_of(report.as_deref(), expected.changes);
    let (revert, changes) = check_revert(ground, &case, &batch, &changes, random, &story).await;
    let values = |table: &Table| self::replayed(None, table, &Table::new());
    if touched.is_none() {
        let restored = table(bench, &case.accounts).await;
        assert_eq!(values(&restored), values(&case.before), "{story}");
    }
    if changes.is_empty() {
        return;
    }
    check_revert(ground, &case, &revert, &changes, random, &story).await;
    if touched.is_none() {
        assert_eq!(
            values(&table(bench, &case.accounts).await),
            values(&after),
            "{story}"
        );
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_equals_its_rows_one_by_one_whatever_fails() {
    check_cases(FAULTS, 1, number("SEQUENTIAL_CASES", CASES)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_equals_its_rows_one_by_one_if_partitions_throttle() {
    let ground = check_cases(PARTITIONS, PARTITION_SCALE, PARTITION_CASES).await;
    let local_stack = &ground.bench.local_stack;
    let faults = local_stack.faults().expect("faults were asked for");
    let setup = local_stack.setup();
    let members = setup.required("MEMBERS_TABLE").expect("a table");
    let usage = faults.partition_use(members).expect("partitions");
    assert!(usage.throttled[members] > 0, "{usage:?}");
    assert!(usage.partitions[members] > 4, "{usage:?}");
}

async fn check_cases(faults: &str, scale: u32, cases: u64) -> Arc<Ground> {
    let ground = Arc::new(Ground::start(faults, scale).await);
    let first = number("SEQUENTIAL_SEED", 1);
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
    ground
}
