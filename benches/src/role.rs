//! The roles of this program when it measures itself: a process for the ingest function, one for the export function, and
//! one for the bare SDK loop.

pub mod child;
pub mod export;
pub mod function;
pub mod sdk_loop;
