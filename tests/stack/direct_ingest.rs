//! Ingest without the queue: a local stack whose notifications are ignored, and events that the
//! test delivers itself.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingest::Service;
use lambda_runtime::{Context, LambdaEvent};
use mpulse_local::{BUILT_IN_TEMPLATE, Data, LocalStack, Options};
use mpulse_shared::batch::{Batch, BatchRequest, FileFormat, Mode};
use mpulse_shared::member::{AccountId, Member, MemberId};
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::{FromSetup, Setup};
use mpulse_shared::store::batches::Batches;
use mpulse_shared::store::member_item::to_item;
use mpulse_shared::store::members::{Filter, Members};
use mpulse_shared::time::Timestamp;
use mpulse_tests::engines;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A bucket without notifications.
pub const BUCKET: &str = "by-hand";

/// A local stack's parts for such a test: directly, without faults.
pub struct Bench {
    pub local_stack: LocalStack,
    pub s3: aws_sdk_s3::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub batches: Batches,
    pub members: Members,
}

/// A batch whose file is stored, and its event.
pub struct Upload {
    pub batch: Batch,
    pub event: Value,
}

impl Bench {
    /// Starts a local stack without persistent data. The faults affect functions that use
    /// [`Bench::faulty_setup`].
    pub async fn start(faults: &str) -> Self {
        let local_stack = LocalStack::start(Options {
            template: BUILT_IN_TEMPLATE.to_owned(),
            parameters: HashMap::new(),
            data: Data::Ephemeral,
            engines: engines(&Data::Ephemeral),
            port: 0,
            invoke: None,
            faults: Some(faults.parse().expect("the faults can be read")),
            events_to: None,
        })
        .await
        .expect("the local stack starts");
        let setup = local_stack.setup();
        let s3 = setup.s3().expect("the settings are complete");
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
            local_stack,
        }
    }

    /// Returns the settings by which a function reaches the engines through the faults.
    pub fn faulty_setup(&self) -> Setup {
        let endpoints = self
            .local_stack
            .faulty_endpoints()
            .expect("faults were asked for");
        mpulse_local::setup_for(self.local_stack.template(), &endpoints)
    }

    /// Creates a batch and stores its file.
    pub async fn upload(&self, mode: Mode, file: impl Into<Vec<u8>>, at: Timestamp) -> Upload {
        let request = BatchRequest {
            mode,
            format: FileFormat {
                stop_early: false,
                ..FileFormat::default()
            },
            ..BatchRequest::default()
        };
        self.upload_for(request, file, at).await
    }

    /// Creates a batch for a request and stores its file.
    pub async fn upload_for(
        &self,
        request: BatchRequest,
        file: impl Into<Vec<u8>>,
        at: Timestamp,
    ) -> Upload {
        let file = file.into();
        let batch = Batch::new(request, "key:test".to_owned(), Scope::ALL, Timestamp::now());
        self.batches.create(&batch).await.expect("a batch");
        let (key, size) = (batch.batch_id.upload_key(), file.len());
        let put = self.s3.put_object().bucket(BUCKET).key(&key);
        let stored = put.body(file.into()).send().await;
        let etag = stored
            .expect("the file is stored")
            .e_tag
            .expect("S3 returns the ETag");
        let event = event(&key, size, &etag.replace('"', ""), at);
        Upload { batch, event }
    }

    /// Writes a member, whatever exists.
    pub async fn put(&self, member: &Member) {
        let setup = self.local_stack.setup();
        let table = setup.required("MEMBERS_TABLE").expect("set");
        let put = self.dynamodb.put_item().table_name(table);
        let put = put.set_item(Some(to_item(member))).send().await;
        put.expect("the engine itself doesn't fail");
    }

    /// Returns the stored batch.
    pub async fn batch(&self, batch: &Batch) -> Batch {
        let stored = self.batches.get(&batch.batch_id).await;
        stored.expect("the engine").expect("the batch")
    }

    /// Returns whether the batch's file still exists.
    pub async fn is_stored(&self, batch: &Batch) -> bool {
        let head = self.s3.head_object().bucket(BUCKET);
        head.key(batch.batch_id.upload_key()).send().await.is_ok()
    }

    /// Removes a dead run's lease, as waiting a minute would, once nothing of it is in flight.
    pub async fn bury(&self, batch: &Batch) {
        self.bury_record("BATCHES_TABLE", "batch_id", batch.batch_id.as_str())
            .await;
    }

    /// Like [`Bench::bury`], for a record of the table that this setting names.
    pub async fn bury_record(&self, table: &str, key: &str, id: &str) {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let setup = self.local_stack.setup();
        let id = aws_sdk_dynamodb::types::AttributeValue::S(id.to_owned());
        self.dynamodb
            .update_item()
            .table_name(setup.required(table).expect("set"))
            .key(key, id)
            .update_expression("REMOVE lease_owner, lease_until")
            .send()
            .await
            .expect("the engine itself doesn't fail");
    }

    /// Returns a batch's report of rejected rows as text; `None` if there is none.
    pub async fn report(&self, batch: &Batch) -> Option<String> {
        self.object(batch.batch_id.rejects_key()).await
    }

    /// Returns a batch's report of changes as text; `None` if there is none.
    pub async fn changes(&self, batch: &Batch) -> Option<String> {
        self.object(batch.batch_id.changes_key()).await
    }

    async fn object(&self, key: String) -> Option<String> {
        let get = self.s3.get_object().bucket(BUCKET);
        let object = get.key(key).send().await.ok()?;
        let bytes = object.body.collect().await.expect("the report is whole");
        Some(String::from_utf8(bytes.to_vec()).expect("the report is UTF-8"))
    }

    /// Returns all members of an account.
    pub async fn members_of(&self, account: &AccountId) -> BTreeMap<MemberId, Member> {
        let filter = Filter {
            account_id: Some(account.clone()),
            ..Filter::default()
        };
        let (mut all, mut next) = (BTreeMap::new(), None::<MemberId>);
        loop {
            let page = self.members.find(&filter, &Scope::ALL, 1000, next.as_ref());
            let page = page.await.expect("members");
            next = page.members.last().map(|member| member.profile.id.clone());
            all.extend(page.members.into_iter().map(|m| (m.profile.id.clone(), m)));
            if !page.has_more {
                return all;
            }
        }
    }
}

/// Returns the second field of each line of a report: the codes, in order.
pub fn codes(report: &str) -> Vec<String> {
    report
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(1))
        .map(str::to_owned)
        .collect()
}

/// Returns an event as the queue delivers it.
pub fn event(key: &str, size: usize, etag: &str, at: Timestamp) -> Value {
    event_of(BUCKET, key, size, etag, at)
}

/// Like [`event`], of an object in this bucket.
pub fn event_of(bucket: &str, key: &str, size: usize, etag: &str, at: Timestamp) -> Value {
    let body = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
        "eventTime": at.to_string(), "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "test"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"}, "responseElements": {},
        "s3": {"s3SchemaVersion": "1.0", "configurationId": "uploads",
               "bucket": {"name": bucket, "arn": "", "ownerIdentity": {"principalId": "test"}},
               "object": {"key": key, "size": size, "eTag": etag, "sequencer": "1"}}}]});
    json!({"Records": [{"messageId": "m1", "receiptHandle": "r1", "body": body.to_string(),
        "attributes": {}, "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs",
        "eventSourceARN": "", "awsRegion": "us-east-1"}]})
}

/// Delivers an event, with this much time for the invocation. Returns whether the message is
/// acknowledged.
pub async fn deliver(service: &Service, event: &Value, time: Duration) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let mut context = Context::default();
    context.deadline = u64::try_from((now + time).as_millis()).expect("a time");
    let event = LambdaEvent::new(event.clone(), context);
    let answer = service.clone().oneshot(event).await;
    let answer = answer.expect("messages from a queue fail one by one");
    answer["batchItemFailures"] == json!([])
}
