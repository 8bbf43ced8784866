//! The parts of the `mpulse` command that the benchmarks use too.

pub mod output;
pub mod sample;
