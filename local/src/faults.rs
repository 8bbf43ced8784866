//! Proxies that misbehave on purpose: in front of DynamoDB they hand items back, throttle
//! and keep to a budget of write units, in front of S3 they cut downloads, and in front of
//! either they fail, hang up and are slow. So the real SDK, over real connections, is under
//! test together with what it is used for.
//!
//! A [`Spec`] (see [`HELP`]) says what goes wrong and how often, [`Faults`] is the handle by
//! which it is changed and counted while requests come in, and a [`Proxy`] stands before one
//! endpoint. What happens to a request depends on the seed, the engine and how many requests
//! that engine was sent since the spec was set, and on nothing else (but for the budget,
//! which goes by the clock): the same requests one after the other see the same faults.
//!
//! Requests reach the engine with their `Host` and all signed headers as they were sent, and
//! bodies are streamed, except those of DynamoDB's batches (and of single writes, under a
//! budget). A batch that lost items no longer has the body that was signed: DynamoDB engines
//! for one machine don't look, AWS would.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::s3;
use crate::serve::Server;
use crate::template::Table;

/// The words of a [`Spec`], for people.
pub const HELP: &str = "\
Misbehave on purpose, to see what a bad day does. SPEC is one or more of these, with commas
between them:

  unprocessed=0.3  share of the items, keys and statements of DynamoDB batches handed back
  throttle=0.1     share of DynamoDB requests throttled
  error=0.05       share of requests answered 500, to DynamoDB and S3
  drop=0.02        share of requests whose connection is closed without an answer, as often
                   after the request was applied as before, to DynamoDB and S3
  latency=5..50    milliseconds added to each request; one number for always as many
  wcu=4000         write units each table takes a second: an item costs one, and one more
                   for each index; a second's worth may be saved up
  s3drop=1000000   bytes after which the body of each GET of an object breaks off
  seed=7           repeats the faults of another run; random unless given, and told at start

DynamoDB misbehaves to all functions, S3 to those that hand out no URLs of it (ingest).";

/// The same in a line, for errors.
const WORDS: &str = "it takes unprocessed, throttle, error and drop (shares from 0 to 1), latency \
     (milliseconds, as 20 or 5..50), wcu (write units a second), s3drop (bytes) and seed (a \
     number), each as word=value";
const SHARE: &str = "a share is a number from 0 to 1";
const LATENCY: &str = "latency is milliseconds up to 60000, as 20, or 5..50 with the lesser first";
const UNITS: &str = "write units are a whole number from 1 to 4294967295";
const BYTES: &str = "bytes are a whole number from 1";
const SEED: &str = "a seed is a whole number from 0 to 18446744073709551615";
const ONCE: &str = "each word is said once";

/// The longest latency, in milliseconds: any client has given up by then.
const MAX_LATENCY: u64 = 60_000;

/// How long an idle connection to an engine is kept: less than the engines keep it.
const IDLE: Duration = Duration::from_secs(15);

/// The time between the last bytes of a body that is cut and the cut itself, in which they
/// are sent: what a server has not yet written when it hangs up is lost.
const LAST_BYTES: Duration = Duration::from_millis(20);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

// ---- What goes wrong ---------------------------------------------------------------

/// What goes wrong, and how often. It is made from text (see [`HELP`]); by default nothing
/// goes wrong. Displayed, it is that text again.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spec {
    unprocessed: f64,
    throttle: f64,
    error: f64,
    drop: f64,
    /// The least and the most, in milliseconds.
    latency: (u64, u64),
    wcu: Option<u32>,
    s3_drop: Option<u64>,
    seed: Option<u64>,
}

/// A part of a [`Spec`] means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{part:?} can't be used: {allowed}")]
pub struct SpecError {
    part: String,
    allowed: &'static str,
}

impl Spec {
    /// The same faults, with this seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        let seed = Some(seed);
        Self { seed, ..self }
    }

    fn take(&mut self, word: &str, value: &str) -> Result<(), &'static str> {
        match word {
            "unprocessed" => self.unprocessed = share(value)?,
            "throttle" => self.throttle = share(value)?,
            "error" => self.error = share(value)?,
            "drop" => self.drop = share(value)?,
            "latency" => self.latency = latency(value)?,
            "wcu" => self.wcu = Some(positive(value).ok_or(UNITS)?),
            "s3drop" => self.s3_drop = Some(positive(value).ok_or(BYTES)?),
            "seed" => self.seed = Some(value.parse().map_err(|_| SEED)?),
            _ => return Err(WORDS),
        }
        Ok(())
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut spec = Self::default();
        let mut said = Vec::new();
        for part in text.split(',').map(str::trim) {
            let failed = |allowed| SpecError {
                part: part.to_owned(),
                allowed,
            };
            let (word, value) = part.split_once('=').ok_or_else(|| failed(WORDS))?;
            if said.contains(&word) {
                return Err(failed(ONCE));
            }
            said.push(word);
            spec.take(word, value).map_err(failed)?;
        }
        Ok(spec)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = [
            ("unprocessed", self.unprocessed),
            ("throttle", self.throttle),
            ("error", self.error),
            ("drop", self.drop),
        ];
        let shares = shares.into_iter().filter(|(_, share)| *share > 0.0);
        let mut parts: Vec<_> = shares
            .map(|(word, share)| format!("{word}={share}"))
            .collect();
        match self.latency {
            (_, 0) => {}
            (least, most) if least == most => parts.push(format!("latency={most}")),
            (least, most) => parts.push(format!("latency={least}..{most}")),
        }
        let numbers = [
            ("wcu", self.wcu.map(u64::from)),
            ("s3drop", self.s3_drop),
            ("seed", self.seed),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(word, n)| n.zip(Some(word)));
        parts.extend(numbers.map(|(number, word)| format!("{word}={number}")));
        f.write_str(&parts.join(","))
    }
}

fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or(SHARE)
}

fn latency(text: &str) -> Result<(u64, u64), &'static str> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (least.parse(), most.parse()) {
        (Ok(least), Ok(most)) if least <= most && most <= MAX_LATENCY => Ok((least, most)),
        _ => Err(LATENCY),
    }
}

fn positive<N: FromStr + PartialOrd + From<u8>>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number| *number >= N::from(1))
}

// ---- What happens to a request -----------------------------------------------------

/// What a proxy stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// DynamoDB.
    DynamoDb,
    /// S3.
    S3,
}

/// What is in store for one request.
#[derive(Debug, Clone)]
struct Plan {
    spec: Spec,
    latency: Duration,
    fate: Fate,
    /// For what is decided item by item.
    dice: Dice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It reaches the engine, and its answer the client.
    Served,
    /// It is answered so, and reaches nobody.
    Refused(Refusal),
    /// The connection is closed, and it reaches nobody.
    Lost,
    /// It reaches the engine; then the connection is closed.
    AnswerLost,
}

impl Plan {
    /// All is drawn whatever the spec, so that one word of it doesn't turn the others' dice.
    fn of(spec: Spec, seed: u64, engine: Engine, request: u64) -> Self {
        let mut dice = Dice::of(seed, engine, request);
        let latency = dice.between(spec.latency.0 * 1000, spec.latency.1 * 1000);
        let [lost, failed, throttled] =
            [spec.drop, spec.error, spec.throttle].map(|share| dice.chance(share));
        let coin = dice.chance(0.5);
        let fate = match (lost, failed, throttled && engine == Engine::DynamoDb) {
            (true, ..) if coin => Fate::AnswerLost,
            (true, ..) => Fate::Lost,
            (_, true, _) => Fate::Refused(FAILED),
            (_, _, true) if coin => Fate::Refused(THROTTLED),
            (_, _, true) => Fate::Refused(EXCEEDED),
            _ => Fate::Served,
        };
        Self {
            spec,
            latency: Duration::from_micros(latency),
            fate,
            dice,
        }
    }

    /// Whether the body must be read to know what becomes of the request.
    fn looks_into(&self, operation: Operation) -> bool {
        let (picks, budgets) = (self.spec.unprocessed > 0.0, self.spec.wcu.is_some());
        match operation {
            Operation::BatchWrite | Operation::Statements => picks || budgets,
            Operation::BatchGet => picks,
            Operation::Write | Operation::Statement => budgets,
            Operation::Other => false,
        }
    }
}

/// Splitmix64 (Steele, Lea and Flood, 2014), written out so that a seed that somebody wrote
/// down stays good.
#[derive(Debug, Clone)]
struct Dice {
    state: u64,
}

impl Dice {
    /// The dice of one request.
    fn of(seed: u64, engine: Engine, request: u64) -> Self {
        let stream = request * 2 + u64::from(engine == Engine::S3);
        let mut dice = Self { state: seed };
        let state = dice.next() ^ Self { state: stream }.next();
        Self { state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// True in this share of cases: never for 0, always for 1.
    fn chance(&mut self, share: f64) -> bool {
        const ALL: f64 = 4_294_967_296.0;
        f64::from((self.next() >> 32) as u32) < share * ALL
    }

    /// A number from `least` to `most`, which are small and in this order.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
}

/// An answer of the engine's that the engine knows nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    /// DynamoDB's `__type`; its answers have no header for it.
    kind: &'static str,
    message: &'static str,
}

const THROTTLED: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    kind: "com.amazon.coral.availability#ThrottlingException",
    message: "Rate of requests exceeds the allowed throughput.",
};
const EXCEEDED: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    kind: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    message: "The level of configured provisioned throughput for the table was exceeded. \
              Consider increasing your provisioning level with the UpdateTable API.",
};
const FAILED: Refusal = Refusal {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    kind: "com.amazonaws.dynamodb.v20120810#InternalServerError",
    message: "Internal server error",
};

impl Refusal {
    fn answer(self, engine: Engine) -> Response<Body> {
        match engine {
            Engine::S3 => s3::error(self.status, "InternalError", self.message)
                .map(|body| body.map_err(Into::into).boxed_unsync()),
            Engine::DynamoDb => {
                let body = json!({"__type": self.kind, "message": self.message});
                let mut response = json_answer(&body);
                *response.status_mut() = self.status;
                response
            }
        }
    }
}

// ---- The handle --------------------------------------------------------------------

/// The faults of some proxies: one spec, one budget, one set of counters. Clones are the
/// same handle.
#[derive(Debug, Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What a write costs, by table.
    costs: HashMap<String, u32>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    spec: Spec,
    seed: u64,
    buckets: HashMap<String, Bucket>,
    counters: Counters,
}

/// What happened since the spec was set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests to DynamoDB.
    pub dynamodb: u64,
    /// Requests to S3.
    pub s3: u64,
    /// Requests to DynamoDB that were throttled, or over budget, as a whole.
    pub refused: u64,
    /// Batches of which a part, or all, was handed back.
    pub partly_refused: u64,
    /// Items, keys and statements that were handed back.
    pub handed_back: u64,
    /// Requests answered 500.
    pub failed: u64,
    /// Requests whose connection was closed, before or after.
    pub dropped: u64,
    /// Bodies from S3 that were cut.
    pub cut: u64,
    /// Write units granted, by table. They are counted under a budget (`wcu`) only.
    pub units: BTreeMap<String, u64>,
}

impl Faults {
    /// A handle for proxies in front of an engine with these tables: their indexes are what
    /// makes a write dear. A table that isn't among them costs one unit an item.
    #[must_use]
    pub fn new(spec: Spec, tables: &[Table]) -> Self {
        let cost = |table: &Table| {
            let indexes = u32::try_from(table.indexes.len()).unwrap_or(u32::MAX);
            (table.name.clone(), indexes.saturating_add(1))
        };
        let shared = Shared {
            costs: tables.iter().map(cost).collect(),
            state: Mutex::new(State::new(spec)),
        };
        let faults = Self {
            shared: Arc::new(shared),
        };
        tracing::info!(spec = %faults.spec(), "faults on purpose");
        faults
    }

    /// From now on other things go wrong. Counters, budget and dice begin anew; what is
    /// under way ends as it was to.
    pub fn set(&self, spec: Spec) {
        *self.state() = State::new(spec);
    }

    /// What goes wrong, with the seed in use whether or not one was given.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let state = self.state();
        state.spec.with_seed(state.seed)
    }

    /// What happened since the spec was set.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state().counters.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.state().counters);
    }

    /// What is in store for the next request.
    fn plan(&self, engine: Engine) -> Plan {
        let mut state = self.state();
        let counter = match engine {
            Engine::DynamoDb => &mut state.counters.dynamodb,
            Engine::S3 => &mut state.counters.s3,
        };
        let request = *counter;
        *counter += 1;
        Plan::of(state.spec, state.seed, engine, request)
    }

    /// Whether a write to the table is within the budget, which it then takes from.
    fn grant(&self, table: &str) -> bool {
        let cost = self.shared.costs.get(table).copied().unwrap_or(1);
        let mut state = self.state();
        let Some(rate) = state.spec.wcu else {
            return true;
        };
        let now = Instant::now();
        let full = Bucket::full(rate, cost, now);
        let bucket = state.buckets.entry(table.to_owned()).or_insert(full);
        let granted = bucket.take(cost, now);
        if granted {
            *state.counters.units.entry(table.to_owned()).or_default() += u64::from(cost);
        }
        granted
    }
}

impl State {
    fn new(spec: Spec) -> Self {
        // Its keys are random: that is all the randomness a seed needs, and it stays short.
        let random = || RandomState::new().hash_one("seed") >> 32;
        let seed = spec.seed.unwrap_or_else(random);
        Self {
            spec,
            seed,
            buckets: HashMap::new(),
            counters: Counters::default(),
        }
    }
}

/// A token bucket of write units.
#[derive(Debug)]
struct Bucket {
    /// Units a second.
    rate: f64,
    /// What it holds at most.
    most: f64,
    /// What it held at that time.
    units: f64,
    at: Instant,
}

impl Bucket {
    /// A bucket for writes of this cost. It holds a second's worth, and one write in any
    /// case: a write that costs more than a second gives must get through some time.
    fn full(rate: u32, cost: u32, now: Instant) -> Self {
        let most = f64::from(rate.max(cost));
        Self {
            rate: rate.into(),
            most,
            units: most,
            at: now,
        }
    }

    fn take(&mut self, cost: u32, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.units = (self.units + passed * self.rate).min(self.most);
        self.at = now;
        let left = self.units - f64::from(cost);
        if left >= 0.0 {
            self.units = left;
        }
        left >= 0.0
    }
}

// ---- The proxy ---------------------------------------------------------------------

/// A proxy can't stand where it was to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The endpoint is none that it can be in front of.
    #[error("{0:?} is no endpoint for a proxy: it must be http://HOST:PORT")]
    Endpoint(String),
    /// It finds no port.
    #[error("no port for a proxy")]
    Port(#[from] io::Error),
}

/// A proxy on a free port of 127.0.0.1. Dropping it closes it some time soon.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    server: Server,
}

impl Proxy {
    /// Stands in front of `endpoint` (a URL of plain HTTP, without a path).
    ///
    /// # Errors
    /// Where the endpoint is something else, or no port is free.
    pub async fn start(
        faults: &Faults,
        engine: Engine,
        endpoint: &str,
    ) -> Result<Self, ProxyError> {
        let upstream = authority(endpoint);
        let upstream = upstream.ok_or_else(|| ProxyError::Endpoint(endpoint.to_owned()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let road = Arc::new(Road::new(faults.clone(), engine, upstream));
        let server = Server::start_or_hang_up(listener, move |request, _| {
            let road = Arc::clone(&road);
            async move { road.answer(request).await }
        });
        Ok(Self { url, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes it, with what is under way.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn authority(endpoint: &str) -> Option<Authority> {
    let parts = endpoint.parse::<Uri>().ok()?.into_parts();
    let bare = parts.path_and_query.is_none_or(|path| path == "/");
    parts
        .authority
        .filter(|_| bare && parts.scheme == Some(Scheme::HTTP))
}

/// The proxies of one machine.
#[derive(Debug)]
pub(crate) struct Detour {
    pub(crate) faults: Faults,
    pub(crate) dynamodb: Proxy,
    pub(crate) s3: Proxy,
}

impl Detour {
    /// Stands in front of both engines of a machine.
    pub(crate) async fn start(
        spec: Spec,
        tables: &[Table],
        dynamodb_url: &str,
        s3_url: &str,
    ) -> Result<Self, ProxyError> {
        let faults = Faults::new(spec, tables);
        Ok(Self {
            dynamodb: Proxy::start(&faults, Engine::DynamoDb, dynamodb_url).await?,
            s3: Proxy::start(&faults, Engine::S3, s3_url).await?,
            faults,
        })
    }

    pub(crate) async fn stop(self) {
        self.dynamodb.stop().await;
        self.s3.stop().await;
    }
}

/// The way from a client to an engine and back. Wherever `None` is the answer, the
/// connection to the client is closed.
#[derive(Debug)]
struct Road {
    faults: Faults,
    engine: Engine,
    upstream: Authority,
    client: Client<HttpConnector, Body>,
}

impl Road {
    fn new(faults: Faults, engine: Engine, upstream: Authority) -> Self {
        let mut connector = HttpConnector::new();
        // Small requests must not wait for the engine's acknowledgement.
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            faults,
            engine,
            upstream,
            client,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Option<Response<Body>> {
        let plan = self.faults.plan(self.engine);
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        match plan.fate {
            Fate::Served => self.serve(request, plan).await,
            Fate::AnswerLost => {
                self.faults.count(|all| all.dropped += 1);
                self.serve(request, plan).await;
                None
            }
            Fate::Lost => {
                self.faults.count(|all| all.dropped += 1);
                None
            }
            Fate::Refused(refusal) => {
                drain(request.into_body()).await?;
                Some(self.refuse(refusal))
            }
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        self.faults.count(|all| match refusal {
            FAILED => all.failed += 1,
            _ => all.refused += 1,
        });
        refusal.answer(self.engine)
    }

    async fn serve(&self, request: Request<Incoming>, plan: Plan) -> Option<Response<Body>> {
        match self.engine {
            Engine::DynamoDb => self.serve_dynamodb(request, plan).await,
            Engine::S3 => self.serve_s3(request, plan).await,
        }
    }

    async fn serve_s3(&self, request: Request<Incoming>, plan: Plan) -> Option<Response<Body>> {
        let is_download = request.method() == Method::GET && names_object(request.uri().path());
        let response = self.forward(request.map(streamed)).await?;
        let cut = plan.spec.s3_drop.filter(|_| is_download);
        Some(match cut {
            Some(bytes) if response.status().is_success() => {
                let faults = self.faults.clone();
                response.map(|body| cut_after(body, bytes, faults))
            }
            _ => response,
        })
    }

    async fn serve_dynamodb(
        &self,
        request: Request<Incoming>,
        plan: Plan,
    ) -> Option<Response<Body>> {
        let operation = Operation::of(request.headers());
        if !plan.looks_into(operation) {
            return self.forward(request.map(streamed)).await;
        }
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        match self.sift(operation, &body, plan) {
            Sifted::Whole => self.forward(Request::from_parts(parts, full(body))).await,
            Sifted::Nothing(refusal) => Some(self.refuse(refusal)),
            Sifted::Part(None, held) => Some(json_answer(&held.alone()?)),
            Sifted::Part(Some(rest), held) => {
                // It is shorter than it was, and hyper writes how long it is.
                parts.headers.remove(CONTENT_LENGTH);
                let rest = full(rest.to_string().into());
                let answer = self.forward(Request::from_parts(parts, rest)).await?;
                held.join(answer).await
            }
        }
    }

    /// Sends a request to the engine.
    async fn forward(&self, mut request: Request<Body>) -> Option<Response<Body>> {
        let path = request.uri().path_and_query().cloned()?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.upstream.clone())
            .path_and_query(path);
        *request.uri_mut() = uri.build().ok()?;
        forget_connection(request.headers_mut());
        match self.client.request(request).await {
            Ok(mut response) => {
                forget_connection(response.headers_mut());
                Some(response.map(streamed))
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no answer");
                None
            }
        }
    }
}

/// Takes away what is between two ends of one connection only (RFC 9110, 7.6.1).
fn forget_connection(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(HeaderName::from_static("keep-alive"));
}

fn streamed(body: Incoming) -> Body {
    body.map_err(Into::into).boxed_unsync()
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn json_answer(body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string().into()));
    let json = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Reads what is left of a request: an answer before its end may not reach the client.
async fn drain(mut body: Incoming) -> Option<()> {
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    Some(())
}

/// Whether a path is `/BUCKET/KEY`.
fn names_object(path: &str) -> bool {
    let path = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    path.is_some_and(|(_, key)| !key.is_empty())
}

/// The body up to so many bytes; if it is longer, an error comes after them.
fn cut_after(body: Body, bytes: u64, faults: Faults) -> Body {
    let start = (body, bytes, false);
    let frames = try_unfold(start, move |(mut body, left, over)| {
        let faults = faults.clone();
        async move {
            if over {
                tokio::time::sleep(LAST_BYTES).await;
                faults.count(|all| all.cut += 1);
                return Err(BoxError::from("cut on purpose"));
            }
            let Some(frame) = body.frame().await.transpose()? else {
                return Ok(None);
            };
            let (frame, left, over) = match frame.into_data() {
                Ok(data) => first_bytes(data, left),
                Err(other) => (other, left, false),
            };
            Ok(Some((frame, (body, left, over))))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// As much of the data as is left to send, what is then left, and whether there was more.
fn first_bytes(mut data: Bytes, left: u64) -> (Frame<Bytes>, u64, bool) {
    let length = data.len() as u64;
    let over = length > left;
    if let (true, Ok(left)) = (over, usize::try_from(left)) {
        data.truncate(left);
    }
    (Frame::data(data), left.saturating_sub(length), over)
}

// ---- Batches -----------------------------------------------------------------------

/// What a request to DynamoDB asks for, as far as it matters here. Transactions pass
/// without being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    BatchWrite,
    BatchGet,
    /// `BatchExecuteStatement`.
    Statements,
    /// A write of one item.
    Write,
    /// `ExecuteStatement`.
    Statement,
    Other,
}

impl Operation {
    fn of(headers: &HeaderMap) -> Self {
        let target = headers.get("x-amz-target");
        let target = target.and_then(|target| target.to_str().ok());
        let (_, name) = target.and_then(|t| t.split_once('.')).unwrap_or_default();
        match name {
            "BatchWriteItem" => Self::BatchWrite,
            "BatchGetItem" => Self::BatchGet,
            "BatchExecuteStatement" => Self::Statements,
            "PutItem" | "UpdateItem" | "DeleteItem" => Self::Write,
            "ExecuteStatement" => Self::Statement,
            _ => Self::Other,
        }
    }
}

/// What of a request goes on to the engine.
#[derive(Debug)]
enum Sifted {
    /// All of it, as it came.
    Whole,
    /// Nothing, and this is the answer.
    Nothing(Refusal),
    /// The request without what is handed back, unless that is all of it.
    Part(Option<Value>, Held),
}

/// What is handed back.
#[derive(Debug)]
enum Held {
    /// Writes, by table.
    Items(Map<String, Value>),
    /// Keys and what else a table's entry says, by table.
    Keys(Map<String, Value>),
    /// The answers of statements that were held, and `None` in place of the others'.
    Statements(Vec<Option<Value>>),
}

/// Why one item is held.
#[derive(Debug, Clone, Copy)]
enum Hold {
    Picked,
    OverBudget,
}

/// Decides item by item, and keeps count.
struct Gate<'a> {
    faults: &'a Faults,
    dice: Dice,
    share: f64,
    passed: u64,
    picked: u64,
    over_budget: u64,
}

impl Gate<'_> {
    /// Why the next item is held, if it is. `written` is the table that it is written to.
    fn holds(&mut self, written: Option<&str>) -> Option<Hold> {
        if self.dice.chance(self.share) {
            self.picked += 1;
            Some(Hold::Picked)
        } else if written.is_some_and(|table| !self.faults.grant(table)) {
            self.over_budget += 1;
            Some(Hold::OverBudget)
        } else {
            self.passed += 1;
            None
        }
    }
}

impl Road {
    /// Decides what of a request goes on. What makes no sense does: the engine says so best.
    fn sift(&self, operation: Operation, body: &[u8], plan: Plan) -> Sifted {
        match operation {
            Operation::BatchWrite | Operation::BatchGet | Operation::Statements => self
                .sift_batch(operation, body, plan)
                .unwrap_or(Sifted::Whole),
            Operation::Write | Operation::Statement => match written_by(body) {
                Some(table) if !self.faults.grant(&table) => Sifted::Nothing(EXCEEDED),
                _ => Sifted::Whole,
            },
            Operation::Other => Sifted::Whole,
        }
    }

    fn sift_batch(&self, operation: Operation, body: &[u8], plan: Plan) -> Option<Sifted> {
        let mut body: Value = serde_json::from_slice(body).ok()?;
        let mut gate = Gate {
            faults: &self.faults,
            dice: plan.dice,
            share: plan.spec.unprocessed,
            passed: 0,
            picked: 0,
            over_budget: 0,
        };
        let held = match operation {
            Operation::Statements => Held::Statements(sift_statements(&mut body, &mut gate)?),
            Operation::BatchGet => Held::Keys(sift_tables(&mut body, &mut gate, false)?),
            _ => Held::Items(sift_tables(&mut body, &mut gate, true)?),
        };
        let back = gate.picked + gate.over_budget;
        if back == 0 {
            return Some(Sifted::Whole);
        }
        if gate.passed == 0 && gate.over_budget > 0 {
            return Some(Sifted::Nothing(EXCEEDED));
        }
        self.faults.count(|all| {
            all.partly_refused += 1;
            all.handed_back += back;
        });
        Some(Sifted::Part((gate.passed > 0).then_some(body), held))
    }
}

/// Takes what is held out of the `RequestItems` of a batch, and gives it in their form: the
/// rest of a table's entry (`ConsistentRead`, say) stays and comes back as well.
fn sift_tables(body: &mut Value, gate: &mut Gate<'_>, write: bool) -> Option<Map<String, Value>> {
    let tables = body.get_mut("RequestItems")?.as_object_mut()?;
    let mut held = Map::new();
    for (table, entry) in tables.iter_mut() {
        let all = std::mem::take(items_of(entry)?);
        let mut back = entry.clone();
        let written = write.then_some(table.as_str());
        let (kept, out) = all
            .into_iter()
            .partition::<Vec<_>, _>(|_| gate.holds(written).is_none());
        *items_of(entry)? = kept;
        *items_of(&mut back)? = out;
        held.insert(table.clone(), back);
    }
    for all in [tables, &mut held] {
        all.retain(|_, entry| items_of(entry).is_some_and(|items| !items.is_empty()));
    }
    Some(held)
}

/// The items of a table's entry in a batch: the entry itself, or its keys.
fn items_of(entry: &mut Value) -> Option<&mut Vec<Value>> {
    match entry {
        Value::Array(items) => Some(items),
        entry => entry.get_mut("Keys")?.as_array_mut(),
    }
}

/// Takes the statements that are held out of a batch, and gives the answer to each of them.
fn sift_statements(body: &mut Value, gate: &mut Gate<'_>) -> Option<Vec<Option<Value>>> {
    let statements = body.get_mut("Statements")?.as_array_mut()?;
    let mut answers = Vec::with_capacity(statements.len());
    statements.retain(|statement| {
        let text = statement.get("Statement").and_then(Value::as_str);
        let table = text.and_then(table_written);
        let answer = gate.holds(table).map(|hold| held_statement(hold, table));
        let passes = answer.is_none();
        answers.push(answer);
        passes
    });
    Some(answers)
}

/// The answer to a statement that is held.
fn held_statement(hold: Hold, table: Option<&str>) -> Value {
    let (code, refusal) = match hold {
        Hold::Picked => ("ThrottlingError", THROTTLED),
        Hold::OverBudget => ("ProvisionedThroughputExceeded", EXCEEDED),
    };
    let mut answer = json!({"Error": {"Code": code, "Message": refusal.message}});
    if let Some(table) = table {
        answer["TableName"] = table.into();
    }
    answer
}

/// The table that the body of a single write names.
fn written_by(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Write {
        #[serde(rename = "TableName")]
        table: Option<String>,
        #[serde(rename = "Statement")]
        statement: Option<String>,
    }
    let write: Write = serde_json::from_slice(body).ok()?;
    let stated = || table_written(write.statement.as_deref()?).map(str::to_owned);
    write.table.or_else(stated)
}

/// The table that a statement of `PartiQL` writes to; `None` if it reads.
fn table_written(statement: &str) -> Option<&str> {
    let (verb, rest) = word(statement);
    let target = match verb.to_ascii_uppercase().as_str() {
        "INSERT" | "DELETE" => word(rest).1,
        "UPDATE" => rest,
        _ => return None,
    };
    match target.trim_start().strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(table, _)| table),
        None => Some(word(target).0),
    }
}

/// The first word of a text, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

impl Held {
    /// The answer where nothing went on to the engine.
    fn alone(self) -> Option<Value> {
        let nothing = match &self {
            Self::Items(_) => json!({}),
            Self::Keys(_) => json!({"Responses": {}}),
            Self::Statements(_) => json!({"Responses": []}),
        };
        self.joined(nothing)
    }

    /// Puts what is held into the engine's answer to the rest. An answer that can't be read
    /// must not reach the client, to whom it would say that everything was done.
    async fn join(self, answer: Response<Body>) -> Option<Response<Body>> {
        if answer.status() != StatusCode::OK {
            return Some(answer);
        }
        let (mut head, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let joined = self.joined(serde_json::from_slice(&body).ok()?)?;
        for outdated in [CONTENT_LENGTH, HeaderName::from_static("x-amz-crc32")] {
            head.headers.remove(outdated);
        }
        Some(Response::from_parts(head, full(joined.to_string().into())))
    }

    /// The answer with what is held; `None` where it has another form than it should.
    fn joined(self, mut answer: Value) -> Option<Value> {
        match self {
            Self::Items(held) => give_back(&mut answer, "UnprocessedItems", held)?,
            Self::Keys(held) => give_back(&mut answer, "UnprocessedKeys", held)?,
            Self::Statements(held) => {
                let responses = answer.get_mut("Responses")?.as_array_mut()?;
                let mut others = std::mem::take(responses).into_iter();
                let all = held.into_iter().map(|held| held.or_else(|| others.next()));
                *responses = all.collect::<Option<_>>()?;
            }
        }
        Some(answer)
    }
}

/// Adds what is held to what the engine itself hands back in this field.
fn give_back(answer: &mut Value, field: &str, held: Map<String, Value>) -> Option<()> {
    let tables = answer.as_object_mut()?.entry(field);
    let tables = tables.or_insert_with(|| json!({})).as_object_mut()?;
    for (table, mut back) in held {
        match tables.get_mut(&table) {
            Some(entry) => items_of(entry)?.append(items_of(&mut back)?),
            None => drop(tables.insert(table, back)),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
