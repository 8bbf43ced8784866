//! The running stack, driven over HTTP as a client would: one module per resource, one
//! test per call and per documented error.

mod access;
mod batches;
mod between;
mod bound;
mod changes;
mod contract;
mod defects;
mod deliveries;
mod events;
mod faults;
mod files;
mod freeze;
mod hand;
mod joins;
mod keys;
mod members;
mod parts;
mod policies;
mod rejects;
mod roster;
mod routes;
mod sequential;
mod template;
