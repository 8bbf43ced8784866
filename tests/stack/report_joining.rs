//! Large reports: joined of several pieces, by several runs, and kept in parts if they cannot be
//! joined.

use std::fmt::Write;
use std::time::Duration;

use ingest::{Service, Tuning};
use mpulse_local::Endpoints;
use mpulse_shared::batch::{Batch, Joining, Mode, Status};
use mpulse_shared::time::Timestamp;
use mpulse_tests::HEADER;

use crate::direct_ingest::{BUCKET, Bench, Upload, deliver};

/// Rows of the file: a report of three pieces of 8 MiB at most.
const ROWS: u64 = 120_000;

/// A piece, in bytes.
const PIECE: usize = 8 * 1024 * 1024;

/// Longer than any run takes.
const LONG: Duration = Duration::from_mins(5);

/// A batch whose rows are all rejected, and its service. Faults affect only ingest's requests to
/// S3.
struct Ground {
    bench: Bench,
    service: Service,
    upload: Upload,
    wanted: String,
}

impl Ground {
    async fn start() -> Self {
        // Slow enough for the test to see the progress of a run.
        let bench = Bench::start("latency=30..40,seed=7").await;
        let local_stack = &bench.local_stack;
        let faulty = local_stack
            .faulty_endpoints()
            .expect("faults were asked for");
        let endpoints = Endpoints {
            s3: faulty.s3,
            ..local_stack.endpoints()
        };
        let slow = mpulse_local::setup_for(local_stack.template(), &endpoints);
        let tuning = Tuning {
            first_wait: Duration::from_millis(2),
            ..Tuning::default()
        };
        let service = ingest::service_tuned(&slow, tuning).expect("the setup is whole");

        let name = "x".repeat(90);
        let mut file = HEADER.to_owned();
        let mut wanted = format!("\u{FEFF}line,code,message,{},raw\r\n", HEADER.trim_end());
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
        let upload = bench.upload(Mode::Upsert, file, Timestamp::now()).await;
        Self {
            bench,
            service,
            upload,
            wanted,
        }
    }

    async fn record(&self) -> Batch {
        self.bench.batch(&self.upload.batch).await
    }

    async fn deliver(&self) -> bool {
        deliver(&self.service, &self.upload.event, LONG).await
    }

    /// Runs until a number of pieces exist, and kills the run.
    async fn killed_after(&self, pieces: u32) -> Joining {
        let mut run = Box::pin(self.deliver());
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
        self.bench.bury(&self.upload.batch).await;
        joining
    }

    /// Runs to the end.
    async fn last_run(&self) -> Batch {
        assert!(self.deliver().await);
        self.record().await
    }

    async fn abort(&self, joining: &Joining) {
        let abort = self.bench.s3.abort_multipart_upload().bucket(BUCKET);
        let abort = abort.key(self.upload.batch.batch_id.rejects_key());
        let aborted = abort.upload_id(&joining.upload_id).send().await;
        aborted.expect("the upload is under way");
    }

    /// Returns the ETag of the joined report.
    async fn e_tag(&self) -> Option<String> {
        let head = self.bench.s3.head_object().bucket(BUCKET);
        let head = head.key(self.upload.batch.batch_id.rejects_key());
        head.send().await.expect("the report").e_tag
    }

    /// Returns the keys of the batch's objects.
    async fn keys(&self) -> Vec<String> {
        let list = self.bench.s3.list_objects_v2().bucket(BUCKET).send().await;
        let objects = list.expect("a list").contents.unwrap_or_default();
        let batch = self.upload.batch.batch_id.as_str();
        objects
            .into_iter()
            .filter_map(|object| object.key)
            .filter(|key| key.contains(batch))
            .collect()
    }

    /// Checks the end of the batch.
    async fn check(&self, batch: &Batch) {
        let story = format!("{:?} {:?}", batch.status, batch.problem);
        assert_eq!(batch.status, Status::CompletedWithRejects, "{story}");
        assert!(batch.has_report);
        assert_eq!(batch.checkpoint.rows.rejected, ROWS);
        assert_eq!(batch.checkpoint.joining, None);
        let key = self.upload.batch.batch_id.rejects_key();
        let report = self.bench.report(&self.upload.batch).await;
        assert!(
            report.as_ref() == Some(&self.wanted),
            "the report is another"
        );
        assert_eq!(self.keys().await, [key], "nothing else is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_many_pieces_is_joined_by_several_runs() {
    let ground = Ground::start().await;
    let first = ground.killed_after(1).await;
    let second = ground.killed_after(2).await;
    assert_eq!(second.upload_id, first.upload_id, "it continues");
    let batch = ground.last_run().await;
    assert_eq!(batch.attempts, 3);
    ground.check(&batch).await;
    // This upload was completed, and no other is open.
    let key = ground.upload.batch.batch_id.rejects_key();
    let etag = ground.e_tag().await.expect("an ETag");
    assert!(etag.ends_with("-3\""), "of three pieces: {etag}");
    let parts = ground.bench.s3.list_parts().bucket(BUCKET).key(&key);
    let parts = parts.upload_id(&first.upload_id).send().await;
    assert!(parts.is_err(), "{parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_whose_upload_is_gone_starts_again() {
    let ground = Ground::start().await;
    let first = ground.killed_after(1).await;
    ground.abort(&first).await;
    ground.check(&ground.last_run().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_join_that_was_not_saved_is_not_repeated() {
    let ground = Ground::start().await;
    let first = ground.killed_after(1).await;
    // The state after a run that dies between the two.
    ground.abort(&first).await;
    let key = ground.upload.batch.batch_id.rejects_key();
    let put = ground.bench.s3.put_object().bucket(BUCKET).key(&key);
    let put = put.body(ground.wanted.clone().into_bytes().into());
    let before = put.send().await.expect("it is stored").e_tag;
    ground.check(&ground.last_run().await).await;
    assert_eq!(ground.e_tag().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_joined_stays_in_its_parts() {
    let ground = Ground::start().await;
    ground.killed_after(1).await;
    let before = ground.keys().await;
    let faults = ground
        .bench
        .local_stack
        .faults()
        .expect("faults were asked for");
    faults.set("error=1,seed=7".parse().expect("a spec"));
    for _ in 0..3 {
        let done = ground.deliver().await;
        assert!(!done, "the upload cannot be deleted now");
    }
    let batch = ground.record().await;
    assert_eq!(batch.status, Status::Failed);
    assert!(!batch.has_report);
    let problem = batch.problem.expect("a problem");
    let parts = ground.upload.batch.batch_id.reject_parts_prefix();
    assert!(problem.message.contains(&parts), "{problem:?}");

    // The message is redelivered once S3 works: the upload is deleted, and the parts stay.
    faults.set(mpulse_local::faults::Spec::default());
    ground.last_run().await;
    let upload = ground.upload.batch.batch_id.upload_key();
    let kept: Vec<_> = before.into_iter().filter(|key| *key != upload).collect();
    assert!(kept.len() > 10, "{kept:?}");
    assert_eq!(ground.keys().await, kept);
}
