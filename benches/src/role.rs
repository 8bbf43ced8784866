//! The roles of this program when it measures itself: a process for the ingest function, and one
//! for the bare SDK loop.

pub mod function;
pub mod sdk_loop;
