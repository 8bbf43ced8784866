use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, BatchStatementResponse,
    KeysAndAttributes, PutRequest, WriteRequest,
};
use aws_sdk_s3::Client as S3;
use mpulse_shared::setup::Setup;
use tokio::time::Instant;

use super::batches::table_written;
use super::budget::Bucket;
use super::decision::{Outcome, Plan};
use super::engine::Engine;
use super::handle::{Counters, Faults};
use super::refusal::{EXCEEDED, FAILED, THROTTLED};
use super::spec::{BYTES, LATENCY, ONCE, PARTITION, SECONDS, SEED, SHARE, Spec, UNITS, WORDS};
use crate::{BUILT_IN_TEMPLATE, Data, LocalStack, Options, setup_for};

/// The account that members are written to.
const ACCOUNT: &str = "4";

/// Irrelevant if nothing is retried.
const FIRST_WAIT: Duration = Duration::ZERO;

fn spec(text: &str) -> Spec {
    text.parse().unwrap()
}

// ---- Specs -------------------------------------------------------------------------

#[test]
fn valid_specs_are_parsed() {
    let none = Spec::default();
    let cases = [
        (
            "unprocessed=0.3",
            Spec {
                unprocessed: 0.3,
                ..none
            },
        ),
        (
            "throttle=1",
            Spec {
                throttle: 1.0,
                ..none
            },
        ),
        ("error=0", none),
        (
            "drop=0.02, error=.5",
            Spec {
                drop: 0.02,
                error: 0.5,
                ..none
            },
        ),
        (
            "latency=5..50",
            Spec {
                latency: (5, 50),
                ..none
            },
        ),
        (
            "latency=5",
            Spec {
                latency: (5, 5),
                ..none
            },
        ),
        ("latency=0..0", none),
        (
            "partition=1000",
            Spec {
                partition: Some(1000),
                ..none
            },
        ),
        (
            "split=60s,partition=10,burst=0",
            Spec {
                partition: Some(10),
                split: Some(60),
                burst: Some(0),
                ..none
            },
        ),
        (
            "wcu=4000,s3drop=1,seed=0",
            Spec {
                wcu: Some(4000),
                s3_drop: Some(1),
                seed: Some(0),
                ..none
            },
        ),
    ];
    for (text, expected) in cases {
        let spec = spec(text);
        assert_eq!(spec, expected, "{text}");
        let shown = spec.to_string();
        if spec != none {
            assert_eq!(shown.parse(), Ok(expected), "{shown}");
        }
    }
    assert_eq!(spec("drop=0.1").with_seed(9), spec("seed=9,drop=0.1"));
}

#[test]
fn invalid_specs_are_rejected() {
    let cases = [
        ("", "", WORDS),
        ("drop=0.1,", "", WORDS),
        ("drop", "drop", WORDS),
        ("seed=1,dorp=0.1", "dorp=0.1", WORDS),
        ("drop=1.1", "drop=1.1", SHARE),
        ("error=-0.1", "error=-0.1", SHARE),
        ("throttle=NaN", "throttle=NaN", SHARE),
        ("unprocessed=", "unprocessed=", SHARE),
        ("unprocessed=10%", "unprocessed=10%", SHARE),
        ("latency=50..5", "latency=50..5", LATENCY),
        ("latency=5..", "latency=5..", LATENCY),
        ("latency=5ms", "latency=5ms", LATENCY),
        ("latency=60001", "latency=60001", LATENCY),
        ("wcu=0", "wcu=0", UNITS),
        ("wcu=4e3", "wcu=4e3", UNITS),
        ("partition=0", "partition=0", UNITS),
        ("partition=1,split=1m", "split=1m", SECONDS),
        ("partition=1,burst=86401", "burst=86401", SECONDS),
        ("split=60s", "split", PARTITION),
        ("s3drop=0", "s3drop=0", BYTES),
        ("s3drop=1MB", "s3drop=1MB", BYTES),
        ("seed=-1", "seed=-1", SEED),
        ("drop=0.1,seed=1,drop=0.1", "drop=0.1", ONCE),
    ];
    for (text, part, allowed) in cases {
        let error = text.parse::<Spec>().unwrap_err().to_string();
        assert_eq!(error, format!("{part:?} is not valid: {allowed}"));
    }
}

// ---- Decisions ---------------------------------------------------------------------

fn plans(spec: Spec, seed: u64, engine: Engine) -> Vec<(Duration, Outcome, u64)> {
    let plan = |request| {
        let mut plan = Plan::of(spec, seed, engine, request);
        (plan.latency, plan.outcome, plan.random.next())
    };
    (0..10_000).map(plan).collect()
}

#[test]
fn a_seed_decides() {
    let spec = spec("drop=0.1,error=0.1,throttle=0.1,latency=5..50");
    let first = plans(spec, 7, Engine::DynamoDb);
    assert_eq!(first, plans(spec, 7, Engine::DynamoDb));
    assert_ne!(first, plans(spec, 8, Engine::DynamoDb));
    assert_ne!(first, plans(spec, 7, Engine::S3));
}

#[test]
fn one_option_does_not_change_the_effect_of_others() {
    let drops = |spec| {
        let plans = plans(spec, 7, Engine::DynamoDb).into_iter();
        plans
            .map(|(_, outcome, _)| matches!(outcome, Outcome::RequestLost | Outcome::ResponseLost))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        drops(spec("drop=0.1")),
        drops(spec("error=0.5,drop=0.1,latency=3"))
    );
}

#[test]
fn shares_are_kept() {
    let spec = spec("drop=0.2,error=0.25,throttle=0.5,latency=5..50");
    let plans = plans(spec, 7, Engine::DynamoDb);
    let of = |outcome| plans.iter().filter(|(_, one, _)| *one == outcome).count();
    // Of ten thousand: what is lost can't fail, and what fails can't be throttled.
    let expected = [
        (Outcome::RequestLost, 1000),
        (Outcome::ResponseLost, 1000),
        (Outcome::Refused(FAILED), 2000),
        (Outcome::Refused(THROTTLED), 1500),
        (Outcome::Refused(EXCEEDED), 1500),
        (Outcome::Forwarded, 3000),
    ];
    for (outcome, count) in expected {
        assert!(
            of(outcome).abs_diff(count) < 150,
            "{outcome:?}: {}",
            of(outcome)
        );
    }
    let [least, most] = [5, 50].map(Duration::from_millis);
    assert!(plans.iter().all(|(time, ..)| (least..=most).contains(time)));
    let early = plans
        .iter()
        .filter(|(time, ..)| *time < (least + most) / 2)
        .count();
    assert!(early.abs_diff(5000) < 200, "{early}");
    assert!(plans_never_throttle_s3(spec));
}

fn plans_never_throttle_s3(spec: Spec) -> bool {
    let plans = plans(spec, 7, Engine::S3);
    plans
        .iter()
        .all(|(_, outcome, _)| !matches!(outcome, Outcome::Refused(THROTTLED | EXCEEDED)))
}

#[test]
fn a_bucket_gives_what_it_has() {
    let start = Instant::now();
    let later = |millis| start + Duration::from_millis(millis);
    let mut bucket = Bucket::full(10, 3, start);
    let takes = |bucket: &mut Bucket, now| (0..9).filter(|_| bucket.take(3.0, now)).count();
    assert_eq!(takes(&mut bucket, start), 3);
    assert_eq!(takes(&mut bucket, later(100)), 0);
    assert_eq!(takes(&mut bucket, later(200)), 1);
    assert_eq!(takes(&mut bucket, later(60_000)), 3, "not saved for longer");
    // A clock that goes back changes nothing.
    assert_eq!(takes(&mut bucket, later(50_000)), 0);
    let mut small = Bucket::full(1, 3, start);
    assert!(small.take(3.0, start), "an expensive write succeeds");
    assert!(!small.take(3.0, later(2900)) && small.take(3.0, later(3000)));
}

#[test]
fn the_table_of_a_write_statement_is_found() {
    let cases = [
        (r#"INSERT INTO "T-1" VALUE {'a': ?}"#, Some("T-1")),
        (r#"insert  into "T"VALUE {'a': ?}"#, Some("T")),
        ("\n UPDATE \"T\"\nSET a=? WHERE k=?", Some("T")),
        ("UPDATE T SET a=? WHERE k=?", Some("T")),
        (r#"DELETE FROM "T" WHERE k=?"#, Some("T")),
        (r#"SELECT * FROM "T" WHERE k=?"#, None),
        (r#"UPDATE "T"#, None),
        ("", None),
    ];
    for (statement, table) in cases {
        assert_eq!(table_written(statement), table, "{statement}");
    }
}

// ---- Through the SDK ---------------------------------------------------------------

/// A local stack, and clients of its engines with and without faults. None of them retries.
struct TestStack {
    local_stack: LocalStack,
    direct: Setup,
    faulty: Setup,
    table: String,
}

impl TestStack {
    async fn start(text: &str) -> Self {
        let local_stack = LocalStack::start(Options {
            template: BUILT_IN_TEMPLATE.to_owned(),
            parameters: HashMap::new(),
            data: Data::Ephemeral,
            engines: None,
            port: 0,
            invoke: None,
            faults: Some(spec(text)),
            events_to: None,
        })
        .await
        .unwrap();
        let endpoints = local_stack.faulty_endpoints().unwrap();
        let faulty = setup_for(local_stack.template(), &endpoints).with_retries(1, FIRST_WAIT);
        let direct = local_stack.setup().with_retries(1, FIRST_WAIT);
        let table = direct.required("MEMBERS_TABLE").unwrap().to_owned();
        Self {
            local_stack,
            direct,
            faulty,
            table,
        }
    }

    fn faults(&self) -> &Faults {
        self.local_stack.faults().unwrap()
    }

    fn dynamodb(&self) -> DynamoDb {
        self.faulty.dynamodb().unwrap()
    }

    fn s3(&self) -> (S3, String) {
        let bucket = self.faulty.required("FILES_BUCKET").unwrap();
        (self.faulty.s3().unwrap(), bucket.to_owned())
    }

    /// Returns the ids of the members that are really in the table.
    async fn written(&self) -> BTreeSet<String> {
        let query = self.direct.dynamodb().unwrap().query();
        let query = query
            .table_name(&self.table)
            .key_condition_expression("account_id = :a")
            .expression_attribute_values(":a", AttributeValue::S(ACCOUNT.into()));
        let pages = query.into_paginator().items().send();
        let items = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
        items.iter().map(id_of).collect()
    }

    /// Writes the members; returns the ids of unprocessed ones.
    async fn put(
        &self,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<BTreeSet<String>, (String, u16)> {
        let writes: Vec<_> = ids.into_iter().map(|id| write(&id)).collect();
        let request = self.dynamodb().batch_write_item();
        let answer = request.request_items(&self.table, writes).send().await;
        let mut left = answer
            .map_err(refusal)?
            .unprocessed_items
            .unwrap_or_default();
        let left = left.remove(&self.table).unwrap_or_default();
        let items = left
            .into_iter()
            .map(|write| write.put_request.unwrap().item);
        Ok(items.map(|item| id_of(&item)).collect())
    }

    async fn put_one(&self, id: &str) -> Result<(), (String, u16)> {
        let request = self.dynamodb().put_item().table_name(&self.table);
        let sent = request.set_item(Some(member(id))).send().await;
        sent.map(|_| ()).map_err(refusal)
    }

    /// Inserts the members by statements, and returns the response to each.
    async fn insert(&self, ids: &[String]) -> Result<Vec<BatchStatementResponse>, (String, u16)> {
        let text = format!(
            "INSERT INTO \"{}\" VALUE {{'account_id': ?, 'client_member_id': ?, \
             'phone_number': ?}}",
            self.table
        );
        let statement = |id: &String| {
            let member = member(id);
            let values = ["account_id", "client_member_id", "phone_number"];
            BatchStatementRequest::builder()
                .statement(&text)
                .set_parameters(Some(values.map(|name| member[name].clone()).into()))
                .build()
                .unwrap()
        };
        let request = self.dynamodb().batch_execute_statement();
        let request = request.set_statements(Some(ids.iter().map(statement).collect()));
        let answer = request.send().await.map_err(refusal)?;
        Ok(answer.responses.unwrap_or_default())
    }
}

fn ids(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|index| format!("c{index:06}")).collect()
}

fn member(id: &str) -> HashMap<String, AttributeValue> {
    let fields = [
        ("account_id", ACCOUNT),
        ("client_member_id", id),
        ("phone_number", "+17145550123"),
    ];
    let fields = fields.map(|(name, value)| (name.into(), AttributeValue::S(value.into())));
    fields.into()
}

fn write(id: &str) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(member(id)));
    let put = put.build().unwrap();
    WriteRequest::builder().put_request(put).build()
}

fn id_of(item: &HashMap<String, AttributeValue>) -> String {
    item["client_member_id"].as_s().unwrap().clone()
}

/// Returns the code and the status of an error response; `hung up` and 0 if there was no
/// response.
fn refusal<E: ProvideErrorMetadata>(
    error: SdkError<E, aws_sdk_dynamodb::config::http::HttpResponse>,
) -> (String, u16) {
    match error {
        SdkError::ServiceError(error) => (
            error.err().code().unwrap_or_default().to_owned(),
            error.raw().status().as_u16(),
        ),
        SdkError::DispatchFailure(_) => ("hung up".to_owned(), 0),
        _ => panic!("neither a response nor a lost connection"),
    }
}

fn service_error(code: &str, status: u16) -> (String, u16) {
    (code.to_owned(), status)
}

#[tokio::test(flavor = "multi_thread")]
async fn unprocessed_items_are_returned_and_the_rest_is_written() {
    let stack = TestStack::start("unprocessed=0.4,seed=7").await;
    let mut waiting = BTreeSet::from_iter(ids(0..25));
    let mut rounds = 0;
    while !waiting.is_empty() {
        let back = stack.put(waiting.clone()).await.unwrap();
        assert!(back.is_subset(&waiting));
        let written = stack.written().await;
        assert_eq!(written.intersection(&back).count(), 0);
        assert_eq!(written.len() + back.len(), 25);
        rounds += u64::from(!back.is_empty());
        waiting = back;
    }
    let counters = stack.faults().counters();
    assert!(rounds > 0);
    assert_eq!(counters.partly_refused, rounds);
    assert_eq!((counters.dynamodb, counters.refused), (rounds + 1, 0));

    stack.faults().set(spec("unprocessed=1"));
    let all = BTreeSet::from_iter(ids(100..110));
    assert_eq!(stack.put(all.clone()).await.unwrap(), all);
    assert_eq!(stack.written().await.len(), 25);
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_leaves_the_same_items_unprocessed() {
    let stack = TestStack::start("unprocessed=0.3").await;
    let all = ids(0..25);
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        stack.faults().set(spec("unprocessed=0.3").with_seed(seed));
        let mut run = Vec::new();
        for _ in 0..4 {
            run.push(stack.put(all.clone()).await.unwrap());
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_seed_is_told() {
    let faults = Faults::new(spec("drop=0.5"), &[]);
    let fates = |faults: &Faults| {
        let plan = |_| faults.plan(Engine::DynamoDb).outcome;
        (0..100).map(plan).collect::<Vec<_>>()
    };
    let first = fates(&faults);
    faults.set(faults.spec());
    assert_eq!(fates(&faults), first);
    assert_eq!(faults.counters().dynamodb, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn unprocessed_keys_are_returned_as_requested() {
    let stack = TestStack::start("seed=7").await;
    let all = BTreeSet::from_iter(ids(0..25));
    stack.put(all.clone()).await.unwrap();
    stack.faults().set(spec("unprocessed=0.4,seed=7"));
    let key = |id: &String| {
        let mut key = member(id);
        key.remove("phone_number");
        key
    };
    let mut asked = KeysAndAttributes::builder()
        .set_keys(Some(all.iter().map(key).collect()))
        .consistent_read(true)
        .projection_expression("#id")
        .expression_attribute_names("#id", "client_member_id")
        .build()
        .unwrap();
    let mut found = BTreeSet::new();
    loop {
        let request = stack.dynamodb().batch_get_item();
        let request = request.request_items(&stack.table, asked.clone());
        let answer = request.send().await.unwrap();
        let items = answer.responses.unwrap_or_default();
        found.extend(items.values().flatten().map(id_of));
        let mut left = answer.unprocessed_keys.unwrap_or_default();
        let Some(left) = left.remove(&stack.table) else {
            break;
        };
        assert_eq!(left.consistent_read, Some(true));
        assert_eq!(left.projection_expression.as_deref(), Some("#id"));
        assert_eq!(
            left.expression_attribute_names,
            asked.expression_attribute_names
        );
        let back = left.keys.iter().map(id_of);
        assert!(
            back.clone()
                .all(|id| all.contains(&id) && !found.contains(&id))
        );
        assert_eq!(found.len() + back.count(), 25);
        asked = left;
    }
    assert_eq!(found, all);
    assert!(stack.faults().counters().partly_refused > 0);
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_to_statements_keep_their_order() {
    let stack = TestStack::start("seed=7").await;
    stack.put(ids(0..1)).await.unwrap();
    stack.faults().set(spec("unprocessed=0.4,seed=7"));
    let mut waiting = ids(0..25);
    let mut duplicates = 0;
    while !waiting.is_empty() {
        let answers = stack.insert(&waiting).await.unwrap();
        assert_eq!(answers.len(), waiting.len());
        let written = stack.written().await;
        let mut left = Vec::new();
        for (id, answer) in waiting.into_iter().zip(answers) {
            let code = answer.error.and_then(|error| error.code);
            let held = code == Some(BatchStatementErrorCodeEnum::ThrottlingError);
            assert!(id == "c000000" || written.contains(&id) != held, "{id}");
            match code {
                None => {}
                Some(BatchStatementErrorCodeEnum::ThrottlingError) => left.push(id),
                // The one that existed: the engine's own response, at its index.
                Some(BatchStatementErrorCodeEnum::DuplicateItem) if id == "c000000" => {
                    duplicates += 1;
                }
                Some(other) => panic!("{id}: {other}"),
            }
        }
        waiting = left;
    }
    assert_eq!(duplicates, 1);
    assert!(stack.faults().counters().handed_back > 0);
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_throttled_and_fail() {
    let stack = TestStack::start("throttle=1,seed=7").await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(stack.put(ids(0..1)).await.unwrap_err());
    }
    let both = [
        service_error("ProvisionedThroughputExceededException", 400),
        service_error("ThrottlingException", 400),
    ];
    assert_eq!(seen, both.into());
    assert_eq!(stack.faults().counters().refused, 20);
    let (s3, bucket) = stack.s3();
    s3.list_objects_v2().bucket(&bucket).send().await.unwrap();

    stack.faults().set(spec("error=1"));
    let failed = stack.put_one("a").await;
    assert_eq!(failed, Err(service_error("InternalServerError", 500)));
    let put = s3.put_object().bucket(&bucket).key("a");
    let failed = put.body(vec![7; 1 << 20].into()).send().await.unwrap_err();
    assert_eq!(refusal(failed), service_error("InternalError", 500));
    let failed = s3.head_object().bucket(&bucket).key("a").send().await;
    assert_eq!(refusal(failed.unwrap_err()).1, 500);
    let counters = stack.faults().counters();
    assert_eq!((counters.failed, counters.s3), (3, 2));
    assert_eq!(stack.written().await.len(), 0);
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_lost_before_and_after() {
    let stack = TestStack::start("drop=1,seed=7").await;
    let all = ids(0..20);
    let mut expected = BTreeSet::new();
    for (request, id) in (0..).zip(&all) {
        let outcome = Plan::of(spec("drop=1"), 7, Engine::DynamoDb, request).outcome;
        if outcome == Outcome::ResponseLost {
            expected.insert(id.clone());
        }
        let lost = stack.put_one(id).await;
        assert_eq!(lost, Err(service_error("hung up", 0)));
    }
    assert!((1..20).contains(&expected.len()));
    assert_eq!(stack.written().await, expected);

    let (s3, bucket) = stack.s3();
    for key in &all {
        let put = s3.put_object().bucket(&bucket).key(key);
        let lost = put.body(vec![7; 1000].into()).send().await.unwrap_err();
        assert_eq!(refusal(lost), service_error("hung up", 0));
    }
    assert_eq!(stack.faults().counters().dropped, 40);
    stack.faults().set(Spec::default());
    let stored = s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
    assert!((1..20).contains(&stored.contents().len()));
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_take_longer() {
    let stack = TestStack::start("latency=40").await;
    let start = Instant::now();
    for id in ids(0..5) {
        stack.put_one(&id).await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(200));
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_for_two_seconds() {
    const UNITS: u32 = 300;
    let stack = Arc::new(TestStack::start(&format!("wcu={UNITS}")).await);
    let start = Instant::now();
    let until = start + Duration::from_secs(2);
    let workers = (0..4).map(|worker| {
        let stack = Arc::clone(&stack);
        tokio::spawn(async move {
            let mut first = worker * 1_000_000;
            while Instant::now() < until {
                match stack.put(ids(first..first + 10)).await {
                    Ok(_) => first += 10,
                    Err(refused) => assert_eq!(refused.0, "ProvisionedThroughputExceededException"),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let took = start.elapsed();
    let counters = stack.faults().counters();
    let granted = counters.units[&stack.table];
    assert_eq!(granted, 3 * stack.written().await.len() as u64);
    let granted = u32::try_from(granted).unwrap();
    // A second's worth at the start, and what was added since; not all of it was requested.
    assert!(granted >= UNITS + UNITS * 3 / 2, "{granted} in {took:?}");
    assert!(
        f64::from(granted) <= f64::from(UNITS) * (1.0 + took.as_secs_f64()),
        "{granted} in {took:?}"
    );
    assert!(counters.refused > 0 && counters.partly_refused > 0);
    Arc::into_inner(stack).unwrap().local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_over_budget_are_throttled() {
    let stack = TestStack::start("seed=7").await;
    let exceeded = || service_error("ProvisionedThroughputExceededException", 400);
    // Twelve units are four members; what a fast computer adds in the meantime is less than one.
    let fresh = || stack.faults().set(spec("wcu=12"));

    fresh();
    assert_eq!(stack.put(ids(0..10)).await.unwrap().len(), 6);
    assert_eq!(stack.put(ids(10..20)).await, Err(exceeded()));
    assert_eq!(stack.put_one("one").await, Err(exceeded()));
    let delete = stack.dynamodb().delete_item().table_name(&stack.table);
    let mut key = member("c000000");
    key.remove("phone_number");
    let refused = delete.set_key(Some(key)).send().await.unwrap_err();
    assert_eq!(refusal(refused), exceeded());
    assert_eq!(stack.insert(&ids(0..1)).await.unwrap_err(), exceeded());
    let counters = stack.faults().counters();
    assert_eq!((counters.refused, counters.partly_refused), (4, 1));
    assert_eq!((counters.handed_back, counters.dynamodb), (6, 5));
    assert_eq!(counters.units[&stack.table], 12);

    fresh();
    let answers = stack.insert(&ids(100..106)).await.unwrap();
    let codes = answers
        .into_iter()
        .map(|answer| answer.error.and_then(|error| error.code));
    let over = Some(BatchStatementErrorCodeEnum::ProvisionedThroughputExceeded);
    let expected = [None, None, None, None, over.clone(), over];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    assert_eq!(stack.written().await.len(), 8);

    // Another table has its own budget, and reads have none.
    let keys = stack.direct.required("KEYS_TABLE").unwrap();
    for id in ids(0..12) {
        let put = stack.dynamodb().put_item().table_name(keys);
        let put = put.item("key_id", AttributeValue::S(id));
        put.send().await.unwrap();
    }
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_partition_are_throttled_as_aws_does() {
    let stack = TestStack::start("seed=7").await;
    // What is added in the meantime is less than one.
    let fresh = || stack.faults().set(spec("partition=1,burst=0"));
    let throttled = || service_error("ThrottlingException", 400);

    fresh();
    assert_eq!(stack.put(ids(0..10)).await.unwrap().len(), 9);
    assert_eq!(stack.put(ids(10..20)).await, Err(throttled()));
    assert_eq!(stack.put_one("one").await, Err(throttled()));
    let put = stack.dynamodb().put_item().table_name(&stack.table);
    let error = put.set_item(Some(member("two"))).send().await.unwrap_err();
    let PutItemError::ThrottlingException(error) = error.into_service_error() else {
        panic!("another error");
    };
    let reason = &error.throttling_reasons()[0];
    assert_eq!(
        reason.reason(),
        Some("TableWriteKeyRangeThroughputExceeded")
    );
    let arn = format!(
        "arn:aws:dynamodb:us-east-1:000000000000:table/{}",
        stack.table
    );
    assert_eq!(reason.resource(), Some(arn.as_str()));
    let answers = stack.insert(&ids(0..3)).await.unwrap();
    for answer in answers {
        let code = answer.error.and_then(|error| error.code);
        assert_eq!(code, Some(BatchStatementErrorCodeEnum::ThrottlingError));
    }
    let counters = stack.faults().counters();
    assert_eq!((counters.refused, counters.partly_refused), (3, 2));
    assert_eq!(
        (counters.handed_back, counters.units[&stack.table]),
        (12, 3)
    );

    // Another account has another partition in the table, but an index has no unit left.
    let mut other = member("c1");
    other.insert("account_id".into(), AttributeValue::S("1".into()));
    let put = stack.dynamodb().put_item().table_name(&stack.table);
    let error = put.set_item(Some(other)).send().await.unwrap_err();
    let PutItemError::ThrottlingException(error) = error.into_service_error() else {
        panic!("another error");
    };
    let reason = &error.throttling_reasons()[0];
    assert_eq!(
        reason.reason(),
        Some("IndexWriteKeyRangeThroughputExceeded")
    );
    let resource = reason.resource().expect("an ARN");
    assert!(resource.starts_with(&format!("{arn}/index/")), "{resource}");

    // Three read units.
    fresh();
    let query = || {
        let query = stack.dynamodb().query().table_name(&stack.table);
        query
            .key_condition_expression("account_id = :a")
            .expression_attribute_values(":a", AttributeValue::S(ACCOUNT.into()))
            .send()
    };
    let get = || {
        let get = stack.dynamodb().get_item().table_name(&stack.table);
        let key = member("c000000").into_iter();
        let key = key.filter(|(name, _)| name != "phone_number").collect();
        get.set_key(Some(key)).consistent_read(true).send()
    };
    query().await.unwrap();
    let mut granted = 0;
    let refused = loop {
        match get().await {
            Ok(_) => granted += 1,
            Err(error) => break refusal(error),
        }
    };
    assert_eq!(refused, throttled());
    assert!(granted >= 2, "a query of one member costs one unit");
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_break_off() {
    const CUT: usize = 300_000;
    let stack = TestStack::start("seed=7").await;
    let (s3, bucket) = stack.s3();
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for (key, length) in [("long", content.len()), ("short", CUT)] {
        let put = s3.put_object().bucket(&bucket).key(key);
        let put = put.body(content[..length].to_vec().into());
        put.send().await.unwrap();
    }
    stack.faults().set(spec(&format!("s3drop={CUT}")));
    let get = |key: &str, range: Option<&str>| {
        let get = s3.get_object().bucket(&bucket).key(key);
        let get = get.set_range(range.map(str::to_owned));
        async move {
            let mut body = get.send().await.unwrap().body;
            let mut taken = Vec::new();
            loop {
                match body.next().await {
                    Some(Ok(bytes)) => taken.extend_from_slice(&bytes),
                    end => return (taken, end.is_none()),
                }
            }
        }
    };
    let first = get("long", None).await;
    assert!(
        first == (content[..CUT].to_vec(), false),
        "{}",
        first.0.len()
    );
    let ranged = get("long", Some("bytes=500000-")).await;
    assert!(ranged == (content[500_000..500_000 + CUT].to_vec(), false));
    let end = get("long", Some("bytes=700000-")).await;
    assert!(end == (content[700_000..].to_vec(), true));
    let whole = get("short", None).await;
    assert!(whole == (content[..CUT].to_vec(), true));
    s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
    assert_eq!(stack.faults().counters().cut, 2);
    stack.local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_faults_nothing_changes() {
    let stack = TestStack::start("seed=7").await;
    assert_eq!(stack.put(ids(0..25)).await, Ok(BTreeSet::new()));
    assert_eq!(stack.written().await.len(), 25);
    let (s3, bucket) = stack.s3();
    // Larger than any buffer on the way, with a checksum in its trailer.
    let content = vec![7; 9 << 20];
    let put = s3.put_object().bucket(&bucket).key("a b/ü+c");
    put.body(content.clone().into()).send().await.unwrap();
    let get = s3.get_object().bucket(&bucket).key("a b/ü+c");
    let body = get.send().await.unwrap().body.collect().await.unwrap();
    assert!(body.into_bytes() == content);
    let missing = s3.get_object().bucket(&bucket).key("b").send().await;
    assert_eq!(
        refusal(missing.unwrap_err()),
        service_error("NoSuchKey", 404)
    );
    let counters = stack.faults().counters();
    let expected = Counters {
        dynamodb: 1,
        s3: 3,
        ..Counters::default()
    };
    assert_eq!(counters, expected);
    stack.local_stack.stop().await;
}
