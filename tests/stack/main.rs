//! Tests of the running stack, driven over HTTP as a client would: one module for each behaviour.
//! `direct_ingest` and the library are how they drive it.

#![recursion_limit = "256"]

mod access;
mod account_bound_keys;
mod batch_cancellation;
mod batch_creation;
mod batch_derivation;
mod batch_listing;
mod batch_results;
mod body_uploads;
mod browser_defences;
mod conditional_reads;
mod conditional_writes;
mod contract;
mod crash_matrix;
mod direct_ingest;
mod erasure;
mod events;
mod export_runs;
mod exports;
mod fault_injection;
mod file_cases;
mod file_formats;
mod frozen_run;
mod head_requests;
mod hostile_names;
mod idempotency;
mod key_management;
mod loaded_roster;
mod member_changes;
mod members;
mod multipart_uploads;
mod packed_files;
mod policies;
mod raw_paths;
mod raw_requests;
mod redelivery;
mod rejected_rows;
mod replacing;
mod report_joining;
mod request_bodies;
mod routes;
mod row_defects;
mod sample_events;
mod sequential_equivalence;
mod sequential_model;
mod stopped_attempts;
mod template_changes;
mod wrong_secrets;
