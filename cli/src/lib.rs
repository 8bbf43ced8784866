//! What of the `mpulse` command others use too: the samples, which are measured with as well.

pub mod output;
pub mod sample;
