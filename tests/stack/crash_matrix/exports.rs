//! The exports of the matrix, and the file that each must leave.

use std::time::Duration;

use mpulse_shared::batch::Mode;
use mpulse_shared::csv;
use mpulse_shared::export::{Export, Format, Status};
use mpulse_shared::member::{AccountId, Member};
use mpulse_shared::run::Service;
use mpulse_shared::time::Timestamp;
use mpulse_tests::packed::Packing;
use serde_json::{Value, json};

use super::batches::rows_of;
use super::rosters;
use super::subject::{Ground, Scenario};
use super::traces::Settled;
use crate::direct_ingest::{BUCKET, deliver, event};

/// An export, and what it must leave.
pub struct ExportSubject {
    export: Export,
    event: Value,
    service: Service,
    /// The members in its file.
    members: u64,
    /// The file as CSV.
    file: String,
}

impl ExportSubject {
    pub async fn new(ground: &Ground, scenario: Scenario) -> Self {
        let (account, members) = if scenario == Scenario::LargeExport {
            let account = AccountId::parse(rosters::LARGE).expect("an account");
            (account, ground.large.clone())
        } else {
            let account = ground.account();
            let roster = rosters::small(&account, Mode::Upsert, Packing::Plain);
            let members: Vec<Member> = roster.case.before.into_values().collect();
            ground.put(&members).await;
            (account, members)
        };
        let format = match scenario {
            Scenario::ExportWorkbook => Format::Xlsx,
            _ => Format::Csv,
        };
        let mut file = csv::member_header();
        for member in &members {
            csv::push_member(&mut file, &member.profile);
        }
        let export = Export::new(account, format, "key:test".to_owned(), Timestamp::now());
        ground.exports.create(&export).await.expect("an export");
        let key = export.export_id.request_key();
        let put = ground.bench.s3.put_object().bucket(BUCKET).key(&key);
        put.send().await.expect("a request");
        Self {
            event: event(&key, 0, "e", Timestamp::now()),
            export,
            service: ground.export.clone(),
            members: members.len() as u64,
            file,
        }
    }

    pub fn id(&self) -> &str {
        self.export.export_id.as_str()
    }

    pub async fn deliver(&self, time: Duration) -> bool {
        deliver(&self.service, &self.event, time).await
    }

    pub async fn bury(&self, ground: &Ground) {
        ground
            .bench
            .bury_record("EXPORTS_TABLE", "export_id", self.id())
            .await;
    }

    async fn stored(&self, ground: &Ground) -> Export {
        let stored = ground.exports.get(&self.export.export_id).await;
        stored.expect("the engine").expect("the export")
    }

    pub async fn story(&self, ground: &Ground) -> String {
        format!("{:?}", self.stored(ground).await)
    }

    pub async fn check(&self, ground: &Ground, runs: u32) {
        let export = self.stored(ground).await;
        let story = format!("{:?} {}", export.format, export.export_id);
        assert_eq!(
            export.status,
            Status::Completed,
            "{story}: {:?}",
            export.problem
        );
        assert_eq!(export.checkpoint.rows, self.members, "{story}");
        assert_eq!(
            (export.lease_owner.as_ref(), export.lease_until),
            (None, None),
            "{story}"
        );
        assert_eq!((export.attempts, export.stalled), (runs, 0), "{story}");
        let get = ground.bench.s3.get_object().bucket(BUCKET);
        let object = get.key(export.file_key()).send().await.expect("a file");
        let found = object.body.collect().await.expect("a file").to_vec();
        assert_eq!(export.checkpoint.bytes, found.len() as u64, "{story}");
        match export.format {
            Format::Csv => assert!(
                found == self.file.as_bytes(),
                "the file is another: {story}"
            ),
            Format::Xlsx => assert_eq!(rows_of(found) as u64, self.members + 1, "{story}"),
        }
    }

    /// Returns what an undisturbed export leaves.
    pub async fn left(&self, ground: &Ground) -> Settled {
        let export = self.stored(ground).await;
        let detail = json!({
            "status": export.status,
            "rows": export.checkpoint.rows,
            "bytes": export.checkpoint.bytes,
            "attempts": export.attempts,
            "finished_at": export.finished_at,
        });
        Settled::new(self.id(), detail, vec![export.file_key()])
    }
}
