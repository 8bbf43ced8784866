//! What this program is when it measures itself: a process of its own for the ingest
//! function, and one for the bare SDK loop.

pub mod function;
pub mod sdk_loop;
