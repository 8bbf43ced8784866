//! Large reports: joined of several pieces, by as many runs as it takes, and kept in parts
//! where they can't be joined.

use std::fmt::Write;
use std::time::Duration;

use ingest::{Service, Tuning};
use mpulse_shared::batch::{Batch, BatchRequest, Joining, Status};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{HEADER, Stack};
use serde_json::Value;

use crate::by_hand::{BUCKET, bury, deliver, put_file};

/// Rows of the file: a report of three pieces of 8 MiB at most.
const ROWS: u64 = 120_000;

/// A piece, in bytes.
const PIECE: usize = 8 * 1024 * 1024;

/// Longer than any run takes.
const LONG: Duration = Duration::from_mins(5);

/// A batch all of whose rows are refused, and what it is worked on with. Only what ingest
/// asks of S3 meets faults.
struct Bench {
    stack: Stack,
    s3: aws_sdk_s3::Client,
    batches: Batches,
    service: Service,
    batch: Batch,
    event: Value,
    wanted: String,
}

impl Bench {
    async fn start() -> Self {
        // Slow enough for the test to see how far a run is.
        let stack = Stack::with_faults("latency=30..40,seed=7").await;
        let machine = &stack.machine;
        let [_, s3] = machine.faulty_urls().expect("faults were asked for");
        let slow = mpulse_local::setup_for(machine.template(), &machine.dynamodb_url(), s3);
        let tuning = Tuning {
            first_wait: Duration::from_millis(2),
            ..Tuning::default()
        };
        let service = ingest::service_tuned(&slow, tuning).expect("the setup is whole");
        let setup = machine.setup();
        let s3 = setup.s3().expect("the setup is whole");
        let created = s3.create_bucket().bucket(BUCKET).send().await;
        created.expect("a bucket");

        let name = "x".repeat(90);
        let mut file = HEADER.to_owned();
        let mut wanted = format!("line,code,message,{},raw\r\n", HEADER.trim_end());
        for index in 0..ROWS {
            let row = format!("4,{index},{name},Lee,");
            writeln!(file, "{row}").expect("memory");
            let line = index + 2;
            write!(
                wanted,
                "{line},required,phone_number is required,{row},\r\n"
            )
            .expect("memory");
        }
        assert!(wanted.len() > 2 * PIECE, "{}", wanted.len());
        let batches = Batches::from_setup(&setup).expect("the setup is whole");
        let now = Timestamp::now();
        let batch = Batch::new(BatchRequest::default(), "key:test".to_owned(), now);
        batches.create(&batch).await.expect("a batch");
        let event = put_file(&s3, &batch, now, file).await;
        Self {
            stack,
            s3,
            batches,
            service,
            batch,
            event,
            wanted,
        }
    }

    async fn record(&self) -> Batch {
        let record = self.batches.get(&self.batch.batch_id).await;
        record.expect("the engine").expect("the batch")
    }

    /// A run that is killed once so many pieces of the report are there.
    async fn killed_after(&self, pieces: u32) -> Joining {
        let mut run = Box::pin(deliver(&self.service, self.event.clone(), LONG));
        let joining = loop {
            tokio::select! {
                _ = &mut run => panic!("the run was quicker: {:#?}", self.record().await),
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
            }
            let joining = self.record().await.checkpoint.joining;
            if let Some(joining) = joining.filter(|joining| joining.pieces >= pieces) {
                break joining;
            }
        };
        drop(run);
        let dynamodb = self.stack.machine.setup().dynamodb();
        let dynamodb = dynamodb.expect("the setup is whole");
        bury(&self.stack.machine, &dynamodb, &self.batch).await;
        joining
    }

    /// A run to the end.
    async fn last_run(&self) -> Batch {
        assert!(deliver(&self.service, self.event.clone(), LONG).await);
        self.record().await
    }

    async fn abort(&self, joining: &Joining) {
        let abort = self.s3.abort_multipart_upload().bucket(BUCKET);
        let abort = abort.key(self.batch.batch_id.rejects_key());
        let aborted = abort.upload_id(&joining.upload_id).send().await;
        aborted.expect("the upload is under way");
    }

    /// The keys of the batch's objects.
    async fn keys(&self) -> Vec<String> {
        let list = self.s3.list_objects_v2().bucket(BUCKET).send().await;
        let objects = list.expect("a list").contents.unwrap_or_default();
        objects
            .into_iter()
            .filter_map(|object| object.key)
            .collect()
    }

    /// Holds the end of the batch against what it should be.
    async fn check(&self, batch: &Batch) {
        let story = format!("{:?} {:?}", batch.status, batch.problem);
        assert_eq!(batch.status, Status::CompletedWithRejects, "{story}");
        assert!(batch.has_report);
        assert_eq!(batch.checkpoint.rows.rejected, ROWS);
        assert_eq!(batch.checkpoint.joining, None);
        let key = self.batch.batch_id.rejects_key();
        let object = self.s3.get_object().bucket(BUCKET).key(&key).send().await;
        let report = object.expect("the report").body.collect().await;
        let report = report.expect("the report is whole").to_vec();
        assert!(report == self.wanted.as_bytes(), "the report is another");
        assert_eq!(self.keys().await, [key], "nothing else is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_many_pieces_is_joined_by_as_many_runs_as_it_takes() {
    let bench = Bench::start().await;
    let first = bench.killed_after(1).await;
    let second = bench.killed_after(2).await;
    assert_eq!(second.upload_id, first.upload_id, "it goes on");
    let batch = bench.last_run().await;
    assert_eq!(batch.attempts, 3);
    bench.check(&batch).await;
    // The upload is the one that was completed, and none is left half sent.
    let key = bench.batch.batch_id.rejects_key();
    let head = bench.s3.head_object().bucket(BUCKET).key(&key).send().await;
    let etag = head.expect("the report").e_tag.expect("an ETag");
    assert!(etag.ends_with("-3\""), "of three pieces: {etag}");
    let parts = bench.s3.list_parts().bucket(BUCKET).key(&key);
    let parts = parts.upload_id(&first.upload_id).send().await;
    assert!(parts.is_err(), "{parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_whose_upload_is_gone_begins_anew() {
    let bench = Bench::start().await;
    let first = bench.killed_after(1).await;
    bench.abort(&first).await;
    bench.check(&bench.last_run().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_was_completed_and_not_noted_is_not_made_again() {
    let bench = Bench::start().await;
    let first = bench.killed_after(1).await;
    // As a run leaves it that dies between the two.
    bench.abort(&first).await;
    let key = bench.batch.batch_id.rejects_key();
    let put = bench.s3.put_object().bucket(BUCKET).key(&key);
    let put = put.body(bench.wanted.clone().into_bytes().into());
    let before = put.send().await.expect("it is stored").e_tag;
    bench.check(&bench.last_run().await).await;
    let head = bench.s3.head_object().bucket(BUCKET).key(&key).send().await;
    assert_eq!(head.expect("the report").e_tag, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_can_t_be_joined_is_kept_in_its_parts() {
    let bench = Bench::start().await;
    bench.killed_after(1).await;
    let before = bench.keys().await;
    let faults = bench.stack.machine.faults().expect("faults were asked for");
    faults.set("error=1,seed=7".parse().expect("a spec"));
    for _ in 0..3 {
        let done = deliver(&bench.service, bench.event.clone(), LONG).await;
        assert!(!done, "the upload can't be deleted now");
    }
    let batch = bench.record().await;
    assert_eq!(batch.status, Status::Failed);
    assert!(!batch.has_report);
    let problem = batch.problem.expect("a problem");
    let parts = bench.batch.batch_id.reject_parts_prefix();
    assert!(problem.message.contains(&parts), "{problem:?}");

    // The message comes back once S3 does: the upload goes, and the parts stay.
    faults.set(mpulse_local::faults::Spec::default());
    bench.last_run().await;
    let upload = bench.batch.batch_id.upload_key();
    let kept: Vec<_> = before.into_iter().filter(|key| *key != upload).collect();
    assert!(kept.len() > 10, "{kept:?}");
    assert_eq!(bench.keys().await, kept);
}
