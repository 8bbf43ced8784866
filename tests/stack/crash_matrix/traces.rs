//! What all cells together leave: the objects in the bucket, multipart uploads, and events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::subject::Ground;
use crate::direct_ingest::BUCKET;

/// What a batch or an export of a cell is to leave.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Its id.
    pub id: String,
    /// Its runs that were killed.
    pub kills: u32,
    /// Fields of its event.
    pub detail: Value,
    /// The keys of its objects.
    pub keys: Vec<String>,
    /// Multipart uploads that were created and whose ids were not saved. They have no parts, and the bucket's lifecycle rule
    /// deletes them.
    pub uploads: u32,
}

impl Settled {
    /// What an undisturbed batch or export leaves.
    pub fn new(id: &str, detail: Value, keys: Vec<String>) -> Self {
        Self {
            id: id.to_owned(),
            kills: 0,
            detail,
            keys,
            uploads: 0,
        }
    }
}

/// Checks that there are exactly the objects and the events that the cells are to leave.
pub async fn check(ground: &Ground, settled: &[Settled]) {
    let wanted: BTreeSet<&String> = settled.iter().flat_map(|one| &one.keys).collect();
    let found = keys(ground).await;
    let found: BTreeSet<&String> = found.iter().collect();
    let excess: Vec<_> = found.difference(&wanted).collect();
    let missing: Vec<_> = wanted.difference(&found).collect();
    assert!(
        excess.is_empty() && missing.is_empty(),
        "left: {excess:?}, missing: {missing:?}"
    );

    let uploads: u32 = settled.iter().map(|one| one.uploads).sum();
    assert_eq!(
        open_uploads(ground),
        (uploads as usize, 0),
        "multipart uploads, and parts of them"
    );

    let mut events = events(ground);
    for one in settled {
        let found = events.remove(&one.id).unwrap_or_default();
        // Of each delivery once the end is stored: that of the last run, and the one after it.
        let most = 2 + one.kills as usize;
        assert!((1..=most).contains(&found.len()), "{}: {found:?}", one.id);
        for detail in found {
            assert_eq!(detail, found_fields(&one.detail, &detail), "{}", one.id);
        }
    }
    assert!(events.is_empty(), "{events:?}");
}

/// Returns an event's detail with the wanted fields in place of its own.
fn found_fields(wanted: &Value, detail: &Value) -> Value {
    let mut merged = detail.clone();
    for (name, value) in wanted.as_object().expect("an object") {
        merged[name] = value.clone();
    }
    merged
}

/// Returns the keys of all objects.
async fn keys(ground: &Ground) -> Vec<String> {
    let mut pages = ground
        .bench
        .s3
        .list_objects_v2()
        .bucket(BUCKET)
        .into_paginator()
        .send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let objects = page.expect("a page").contents.unwrap_or_default();
        all.extend(objects.into_iter().filter_map(|object| object.key));
    }
    all
}

/// Returns the numbers of open multipart uploads and of their parts. The local S3 cannot list them, so its files are counted.
fn open_uploads(ground: &Ground) -> (usize, usize) {
    let log = ground.bench.local_stack.event_log();
    let folder = log.parent().expect("the data folder").join("s3");
    let count = |prefix: &str| {
        let names = fs::read_dir(&folder).expect("the folder of S3");
        names
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name.to_string_lossy().starts_with(prefix)
            })
            .count()
    };
    (count(".upload-"), count(".upload_id-"))
}

/// Returns the details of the events by the id of their batch or export.
fn events(ground: &Ground) -> BTreeMap<String, Vec<Value>> {
    let log = fs::read_to_string(ground.bench.local_stack.event_log()).expect("a log");
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in log.lines() {
        let mut event: Value = serde_json::from_str(line).expect("JSON");
        let detail = event["detail"].take();
        let id = detail["batch_id"].as_str().or(detail["export_id"].as_str());
        all.entry(id.expect("an id").to_owned())
            .or_default()
            .push(detail);
    }
    all
}
