//! Random decisions: what happens to one request. They depend only on the seed, the engine and the number of the
//! request.

use std::time::Duration;

use super::engine::Engine;
use super::operation::Operation;
use super::random::Random;
use super::refusal::{EXCEEDED, FAILED, Refusal, THROTTLED};
use super::spec::Spec;

/// The faults of one request.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) spec: Spec,
    pub(super) latency: Duration,
    pub(super) outcome: Outcome,
    /// Decides item by item.
    pub(super) random: Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The request reaches the engine, and the response reaches the client.
    Forwarded,
    /// The proxy responds, and the engine gets nothing.
    Refused(Refusal),
    /// The connection is closed, and the engine gets nothing.
    RequestLost,
    /// The request reaches the engine; then the connection is closed.
    ResponseLost,
}

impl Plan {
    /// All random numbers are drawn whatever the specification, so that one option does not change
    /// the effect of the others.
    pub(super) fn of(spec: Spec, seed: u64, engine: Engine, request: u64) -> Self {
        let mut random = Random::of(seed, engine, request);
        let latency = random.between(spec.latency.0 * 1000, spec.latency.1 * 1000);
        let [lost, failed, throttled] =
            [spec.drop, spec.error, spec.throttle].map(|share| random.chance(share));
        let coin = random.chance(0.5);
        let outcome = match (lost, failed, throttled && engine == Engine::DynamoDb) {
            (true, ..) if coin => Outcome::ResponseLost,
            (true, ..) => Outcome::RequestLost,
            (_, true, _) => Outcome::Refused(FAILED),
            (_, _, true) if coin => Outcome::Refused(THROTTLED),
            (_, _, true) => Outcome::Refused(EXCEEDED),
            _ => Outcome::Forwarded,
        };
        Self {
            spec,
            latency: Duration::from_micros(latency),
            outcome,
            random,
        }
    }

    /// Returns whether the body must be read to decide what happens to the request.
    pub(super) fn looks_into(&self, operation: Operation) -> bool {
        let (picks, budgets) = (self.spec.unprocessed > 0.0, self.spec.wcu.is_some());
        let partitions = self.spec.partition.is_some();
        match operation {
            Operation::BatchWrite | Operation::Statements => picks || budgets || partitions,
            Operation::BatchGet => picks || partitions,
            Operation::Write | Operation::Statement => budgets || partitions,
            Operation::Read | Operation::Query => partitions,
            Operation::Other => false,
        }
    }
}
