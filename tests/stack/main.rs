//! The running stack, driven over HTTP as a client would: one module per resource, one
//! test per call and per documented error.

mod access;
mod batches;
mod by_hand;
mod faults;
mod files;
mod joins;
mod members;
mod rejects;
mod roster;
mod routes;
mod sequential;
mod template;
