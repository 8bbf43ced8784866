//! Fault injection by proxies. The one in front of DynamoDB returns items as unprocessed, throttles
//! requests, and enforces a budget of write units or the throughput of partitions; the one in front of
//! S3 cuts downloads; both fail requests, close connections and add latency. So the real SDK, over
//! real connections, is tested together with its caller.
//!
//! A [`Spec`] (see [`HELP`]) specifies the faults and their probability, [`Faults`] is the handle
//! that changes and counts them while requests arrive, and a [`Proxy`] is in front of one endpoint.
//! What happens to a request depends only on the seed, the engine and the number of requests sent
//! to that engine since the specification was set (budget and partitions also depend on the clock): the same
//! requests in the same order get the same faults.
//!
//! Requests reach the engine with their original `Host` and signed headers. Bodies are streamed,
//! except those of DynamoDB's batches (and of single writes, under a budget, and of reads, with
//! partitions). A batch from which
//! items were removed no longer matches its signature; local DynamoDB engines do not check it, AWS
//! would.

mod access;
mod batches;
mod budget;
mod decision;
mod downloads;
mod engine;
mod handle;
mod operation;
mod partitions;
mod proxy;
mod random;
mod refusal;
mod spec;

pub use engine::Engine;
pub use handle::{Counters, Faults};
pub use partitions::PartitionUse;
pub(crate) use proxy::FaultProxies;
pub use proxy::{Proxy, ProxyError};
pub use spec::{HELP, Spec, SpecError};

#[cfg(test)]
mod tests;
