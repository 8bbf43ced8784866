//! Runs that are frozen (SIGSTOP) in the middle of writing, for longer than their lease lasts,
//! while another run takes over and ends the batch; then the members are changed and the frozen
//! runs resume. Nothing of theirs may be written any more.
//!
//! The runs are separate processes: this test's binary, started again for one test.

#![cfg(unix)]

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use ingest::{Service, Tuning};
use mpulse_local::environment_for;
use mpulse_shared::batch::{Batch, Mode, Status};
use mpulse_shared::member::{AccountId, Author, Member, MemberId};
use mpulse_shared::setup::Setup;
use mpulse_shared::store::member_item::key_of;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{HEADER, PATIENCE, row, row_of};
use serde_json::{Value, json};

use crate::direct_ingest::{Bench, Upload, deliver};

/// Batches, each with a run that is frozen. Every other one is in mode `overwrite`.
const RUNS: u64 = 8;

/// People of each batch's account; the file changes them all.
const PEOPLE: u64 = 4000;

/// The environment variable with the settings of the process that is frozen.
const SETTINGS: &str = "MPULSE_TEST_RUN";

const MINUTE: Duration = Duration::from_mins(1);

/// Many small windows, so that there is always one in flight.
fn service(setup: &Setup) -> Service {
    let tuning = Tuning {
        window_members: 200,
        ..Tuning::default()
    };
    ingest::service_tuned(setup, tuning).expect("the settings are complete")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the run that another test freezes, in its own process"]
async fn the_run_that_is_frozen() {
    let Ok(settings) = env::var(SETTINGS) else {
        return;
    };
    let (environment, event): (HashMap<_, _>, Value) =
        serde_json::from_str(&settings).expect("JSON");
    let setup = Setup::new(environment);
    // Longer than it is frozen, so that the deadline is not what stops it.
    let time = Duration::from_mins(15);
    let done = deliver(&service(&setup), &event, time).await;
    assert!(!done, "another run holds the lease");
}

/// A process that is killed when it is dropped, frozen or not.
struct Run(Child);

impl Run {
    fn start(bench: &Bench, event: &Value) -> Self {
        let endpoints = bench
            .local_stack
            .faulty_endpoints()
            .expect("faults were asked for");
        let template = bench.local_stack.template();
        let settings = json!([environment_for(template, &endpoints), event]);
        let child = Command::new(env::current_exe().expect("a path"))
            .args(["--ignored", "--exact", "frozen_run::the_run_that_is_frozen"])
            .env(SETTINGS, settings.to_string())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("it starts"))
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Returns whether it succeeded, once it has ended.
    async fn end(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().expect("a status") {
                return status.success();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not end");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A batch, its account, and the run that is frozen.
struct Frozen {
    upload: Upload,
    account: AccountId,
    run: Run,
}

impl Frozen {
    /// Starts a run, and freezes it in the middle of writing.
    async fn start(bench: &Bench, number: u64) -> Self {
        let random = &mut Rng::with_seed(number);
        let account = AccountId::parse(&format!("frozen-{number}")).expect("an account");
        let mode = [Mode::Upsert, Mode::Overwrite][usize::from(number % 2 == 1)];
        let mut file = HEADER.to_owned();
        for index in 0..PEOPLE {
            file.push_str(&row(account.as_str(), index));
            if index % 10 == 0 {
                file.push_str(&row_of(account.as_str(), index, "Bob"));
                writeln!(file, "{account},bad,Ann,Lee,12").expect("a string");
            }
        }
        let at = Timestamp::from_millis(1_700_000_000_000);
        let upload = bench.upload(mode, file, at).await;
        let run = Run::start(bench, &upload.event);
        let (enough, deadline) = (random.u64(400..2000), Instant::now() + PATIENCE);
        while bench.batch(&upload.batch).await.checkpoint.rows.read < enough {
            assert!(Instant::now() < deadline, "it makes no progress");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.u64(..30_000))).await;
        run.signal("-STOP");
        Self {
            upload,
            account,
            run,
        }
    }

    /// Ends the batch by another run, and changes members afterwards. Returns what is stored then.
    async fn taken_over_by(&self, second: &Service, bench: &Bench) -> Taken {
        let Upload { batch, event } = &self.upload;
        let held = bench.batch(batch).await;
        assert_eq!(held.status, Status::Processing);
        let until = held.lease_until.expect("a lease");
        let early = deliver(second, event, MINUTE).await;
        assert!(
            !early || Timestamp::now().millis() > until,
            "the lease is held"
        );
        let left = u64::try_from(until - Timestamp::now().millis()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(left + 10)).await;
        assert!(deliver(second, event, MINUTE).await, "it takes over");

        let ended = bench.batch(batch).await;
        let rows = ended.checkpoint.rows;
        assert_eq!(ended.attempts, 2);
        assert_eq!(rows.read, PEOPLE + PEOPLE / 10 * 2);
        assert_eq!(rows.rejected, PEOPLE / 10);
        let wanted = match ended.mode {
            Mode::Overwrite => (0, PEOPLE + PEOPLE / 10),
            _ => (PEOPLE, PEOPLE / 10),
        };
        assert_eq!((rows.created, rows.updated), wanted);
        let members = bench.members_of(&self.account).await;
        assert_eq!(members.len() as u64, PEOPLE);
        change(bench, members.values().step_by(3)).await;
        Taken {
            members: bench.members_of(&self.account).await,
            report: bench.report(batch).await,
            batch: ended,
        }
    }
}

/// The stored state of a batch at the end.
struct Taken {
    batch: Batch,
    members: BTreeMap<MemberId, Member>,
    report: Option<String>,
}

/// Changes members as requests would: some are written again, some deleted.
async fn change(bench: &Bench, members: impl Iterator<Item = &Member>) {
    let setup = bench.local_stack.setup();
    let table = setup.required("MEMBERS_TABLE").expect("set");
    for (index, member) in members.enumerate() {
        if index % 2 == 0 {
            let mut member = member.clone();
            "Zoë".clone_into(&mut member.profile.first_name);
            member.updated_at = Timestamp::now();
            member.updated_by = Author::key("ops");
            bench.put(&member).await;
        } else {
            let delete = bench.dynamodb.delete_item().table_name(table);
            let key = key_of(&member.profile.id);
            let deleted = delete.set_key(Some(key)).send().await;
            deleted.expect("the engine itself doesn't fail");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_frozen_while_another_took_over_writes_nothing() {
    let bench = Bench::start("latency=5..30,seed=1").await;
    let frozen = (0..RUNS).map(|number| Frozen::start(&bench, number));
    let mut frozen = futures_util::future::join_all(frozen).await;
    // Requests that were sent before the freeze are applied.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let second = service(&bench.faulty_setup());
    let wanted = frozen
        .iter()
        .map(|frozen| frozen.taken_over_by(&second, &bench));
    let wanted = futures_util::future::join_all(wanted).await;
    for Frozen { run, .. } in &frozen {
        run.signal("-CONT");
    }
    for (frozen, wanted) in frozen.iter_mut().zip(wanted) {
        assert!(frozen.run.end().await, "it reports that it is not finished");
        let batch = bench.batch(&frozen.upload.batch).await;
        let mode = batch.mode;
        assert_eq!(batch.checkpoint.rows, wanted.batch.checkpoint.rows);
        assert_eq!((batch.status, batch.attempts), (wanted.batch.status, 2));
        let found = bench.members_of(&frozen.account).await;
        for (id, member) in &wanted.members {
            assert_eq!(found.get(id), Some(member), "{mode:?}");
        }
        assert_eq!(
            found.len(),
            wanted.members.len(),
            "no member reappears, {mode:?}"
        );
        assert_eq!(bench.report(&frozen.upload.batch).await, wanted.report);
    }
}
