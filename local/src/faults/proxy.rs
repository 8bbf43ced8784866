//! The proxy in front of one engine.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpListener;

use super::access::Access;
use super::batches::{
    Filtered, ItemFilter, Unprocessed, filter_statements, filter_tables, written_by,
};
use super::decision::{Outcome, Plan};
use super::downloads::{cut_after, names_object};
use super::engine::Engine;
use super::handle::Faults;
use super::operation::Operation;
use super::partitions::Throttling;
use super::refusal::{EXCEEDED, FAILED, Refusal, full, json_answer, throttled};
use super::spec::Spec;
use crate::addresses::Endpoints;
use crate::serve::Server;
use crate::template::Table;
use crate::upstream::{Body, Upstream, streamed};

/// Bytes that one read unit pays for (an AWS limit).
const READ_UNIT_BYTES: usize = 4096;

/// A proxy cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The endpoint is not supported.
    #[error("{0:?} is not an endpoint for a proxy: it must be http://HOST:PORT")]
    Endpoint(String),
    /// No port is free.
    #[error("no free port for a proxy")]
    Port(#[from] io::Error),
}

/// A proxy on a free port of 127.0.0.1. Dropping it closes it eventually.
#[derive(Debug)]
pub struct Proxy {
    pub(super) url: String,
    pub(super) server: Server,
}

impl Proxy {
    /// Starts a proxy in front of `endpoint` (a URL of plain HTTP, without a path).
    ///
    /// # Errors
    /// Returns an error if the endpoint is not supported, or no port is free.
    pub async fn start(
        faults: &Faults,
        engine: Engine,
        endpoint: &str,
    ) -> Result<Self, ProxyError> {
        let upstream = Upstream::new(endpoint);
        let upstream = upstream.ok_or_else(|| ProxyError::Endpoint(endpoint.to_owned()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let forwarder = Arc::new(Forwarder {
            faults: faults.clone(),
            engine,
            upstream,
        });
        let server = Server::start_or_hang_up(listener, move |request, _| {
            let forwarder = Arc::clone(&forwarder);
            async move { forwarder.answer(request).await }
        });
        Ok(Self { url, server })
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes it, including open connections.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// The proxies of one local stack.
#[derive(Debug)]
pub(crate) struct FaultProxies {
    pub(crate) faults: Faults,
    pub(crate) dynamodb: Proxy,
    pub(crate) s3: Proxy,
}

impl FaultProxies {
    /// Starts proxies in front of both engines of a local stack.
    pub(crate) async fn start(
        spec: Spec,
        tables: &[Table],
        endpoints: &Endpoints,
    ) -> Result<Self, ProxyError> {
        let faults = Faults::new(spec, tables);
        Ok(Self {
            dynamodb: Proxy::start(&faults, Engine::DynamoDb, &endpoints.dynamodb).await?,
            s3: Proxy::start(&faults, Engine::S3, &endpoints.s3).await?,
            faults,
        })
    }

    pub(crate) async fn stop(self) {
        self.dynamodb.stop().await;
        self.s3.stop().await;
    }
}

/// Passes a request to an engine and returns the response. `None` closes the connection to the
/// client.
#[derive(Debug)]
pub(super) struct Forwarder {
    pub(super) faults: Faults,
    pub(super) engine: Engine,
    pub(super) upstream: Upstream,
}

impl Forwarder {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Option<Response<Body>> {
        let plan = self.faults.plan(self.engine);
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        match plan.outcome {
            Outcome::Forwarded => self.serve(request, plan).await,
            Outcome::ResponseLost => {
                self.faults.count(|all| all.dropped += 1);
                self.serve(request, plan).await;
                None
            }
            Outcome::RequestLost => {
                self.faults.count(|all| all.dropped += 1);
                None
            }
            Outcome::Refused(refusal) => {
                drain(request.into_body()).await?;
                Some(self.refuse(refusal))
            }
        }
    }

    pub(super) fn refuse(&self, refusal: Refusal) -> Response<Body> {
        self.faults.count(|all| match refusal {
            FAILED => all.failed += 1,
            _ => all.refused += 1,
        });
        refusal.answer(self.engine)
    }

    pub(super) fn throttle(&self, throttling: &Throttling) -> Response<Body> {
        self.faults.count(|all| all.refused += 1);
        throttled(throttling)
    }

    pub(super) async fn serve(
        &self,
        request: Request<Incoming>,
        plan: Plan,
    ) -> Option<Response<Body>> {
        match self.engine {
            Engine::DynamoDb => self.serve_dynamodb(request, plan).await,
            Engine::S3 => self.serve_s3(request, plan).await,
        }
    }

    pub(super) async fn serve_s3(
        &self,
        request: Request<Incoming>,
        plan: Plan,
    ) -> Option<Response<Body>> {
        let is_download = request.method() == Method::GET && names_object(request.uri().path());
        let response = self.upstream.forward(request.map(streamed)).await?;
        let cut = plan.spec.s3_drop.filter(|_| is_download);
        Some(match cut {
            Some(bytes) if response.status().is_success() => {
                let faults = self.faults.clone();
                response.map(|body| cut_after(body, bytes, faults))
            }
            _ => response,
        })
    }

    pub(super) async fn serve_dynamodb(
        &self,
        request: Request<Incoming>,
        plan: Plan,
    ) -> Option<Response<Body>> {
        let operation = Operation::of(request.headers());
        if !plan.looks_into(operation) {
            return self.upstream.forward(request.map(streamed)).await;
        }
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        match self.filter(operation, &body, plan) {
            Filtered::Whole if operation == Operation::Query => {
                let query = Request::from_parts(parts, full(body.clone()));
                let answer = self.upstream.forward(query).await?;
                self.charge_query(&body, answer).await
            }
            Filtered::Throttled(throttling) => Some(self.throttle(&throttling)),
            Filtered::Whole => {
                self.upstream
                    .forward(Request::from_parts(parts, full(body)))
                    .await
            }
            Filtered::Nothing(refusal) => Some(self.refuse(refusal)),
            Filtered::Part(None, held) => Some(json_answer(&held.alone()?)),
            Filtered::Part(Some(rest), held) => {
                // The body is shorter than before, and hyper writes its new length.
                parts.headers.remove(CONTENT_LENGTH);
                let rest = full(rest.to_string().into());
                let answer = self
                    .upstream
                    .forward(Request::from_parts(parts, rest))
                    .await?;
                held.join(answer).await
            }
        }
    }

    /// Takes the units of a query, which only its response reports.
    async fn charge_query(&self, query: &[u8], answer: Response<Body>) -> Option<Response<Body>> {
        let (head, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let query = serde_json::from_slice(query).ok();
        let access = query.and_then(|query| Access::of_request(Operation::Query, &query));
        if let Some(access) = access {
            self.faults.charge(&access, query_units(&body));
        }
        Some(Response::from_parts(head, full(body)))
    }
}

impl Forwarder {
    /// Decides what is passed on. An invalid request is passed on, so that the engine responds with
    /// the right error.
    pub(super) fn filter(&self, operation: Operation, body: &[u8], plan: Plan) -> Filtered {
        match operation {
            Operation::BatchWrite | Operation::BatchGet | Operation::Statements => self
                .filter_batch(operation, body, plan)
                .unwrap_or(Filtered::Whole),
            Operation::Write | Operation::Statement => match written_by(body) {
                Some(table) if !self.faults.grant(&table) => Filtered::Nothing(EXCEEDED),
                _ => self.filter_one(operation, body),
            },
            Operation::Read | Operation::Query => self.filter_one(operation, body),
            Operation::Other => Filtered::Whole,
        }
    }

    /// Decides whether the partitions have the units of a request that is not a batch.
    fn filter_one(&self, operation: Operation, body: &[u8]) -> Filtered {
        let access = || Access::of_request(operation, &serde_json::from_slice(body).ok()?);
        match self.faults.take(access) {
            Ok(()) => Filtered::Whole,
            Err(throttling) => Filtered::Throttled(throttling),
        }
    }

    pub(super) fn filter_batch(
        &self,
        operation: Operation,
        body: &[u8],
        plan: Plan,
    ) -> Option<Filtered> {
        let mut body: Value = serde_json::from_slice(body).ok()?;
        let mut filter = ItemFilter {
            faults: &self.faults,
            random: plan.random,
            share: plan.spec.unprocessed,
            passed: 0,
            picked: 0,
            over_budget: 0,
            throttled: None,
        };
        let held = match operation {
            Operation::Statements => {
                Unprocessed::Statements(filter_statements(&mut body, &mut filter)?)
            }
            Operation::BatchGet => Unprocessed::Keys(filter_tables(&mut body, &mut filter, false)?),
            _ => Unprocessed::Items(filter_tables(&mut body, &mut filter, true)?),
        };
        let back = filter.picked + filter.over_budget;
        if back == 0 {
            return Some(Filtered::Whole);
        }
        if filter.passed == 0 && filter.over_budget > 0 {
            return Some(Filtered::Nothing(EXCEEDED));
        }
        if let Some(throttling) = filter.throttled
            && filter.passed == 0
            && operation != Operation::Statements
        {
            return Some(Filtered::Throttled(throttling));
        }
        self.faults.count(|all| {
            all.partly_refused += 1;
            all.handed_back += back;
        });
        Some(Filtered::Part((filter.passed > 0).then_some(body), held))
    }
}

/// Returns the read units of a query: what the response reports, or else those of its size, consistently read.
fn query_units(answer: &[u8]) -> f64 {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "ConsumedCapacity")]
        consumed: Option<Consumed>,
    }
    #[derive(Deserialize)]
    struct Consumed {
        #[serde(rename = "CapacityUnits")]
        units: f64,
    }
    let reported = serde_json::from_slice::<Answer>(answer).ok();
    let reported = reported.and_then(|answer| answer.consumed);
    let by_size = || u32::try_from(answer.len().div_ceil(READ_UNIT_BYTES)).unwrap_or(u32::MAX);
    reported.map_or_else(|| f64::from(by_size()), |consumed| consumed.units)
}

/// Reads the rest of a request, because a response sent earlier may not reach the client.
pub(super) async fn drain(mut body: Incoming) -> Option<()> {
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    Some(())
}
