//! The crash matrix: a run is killed at each of its named points, in every mode, the first, a middle and the last time that
//! it reaches the point, and twice in a row. Then the message is delivered again, and everything is checked: members,
//! counters, reports, the objects in the bucket, events and lease. Nothing is lost, nothing happens twice, and nothing is
//! left behind.
//!
//! `MATRIX` lists the points of each scenario. An undisturbed run of each scenario must reach exactly these, and all scenarios
//! together all points, so a point that is added, renamed or removed is noticed. `CRASH_SCENARIO` selects one scenario.

mod batches;
mod derivations;
mod exports;
mod kills;
mod queue;
mod rosters;
mod subject;
mod traces;

use std::collections::BTreeSet;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use mpulse_shared::run::Point::{
    self, Claimed, Compared, Ended, EventSent, FileStored, Finished, InputDeleted, PartStored,
    PartsDeleted, PieceCopied, PieceSent, Read, Released, ReplacementStored, Saved, UploadCreated,
    WindowRemoved, WorkbookStored, Writing, Written,
};

use kills::Counts;
use subject::{Ground, Scenario, Subject};
use traces::Settled;

/// Cells at once.
const AT_ONCE: usize = 8;

/// Longer than any run takes.
const LONG: Duration = Duration::from_mins(5);

/// The environment variable that selects one scenario by its name.
const SELECTED: &str = "CRASH_SCENARIO";

/// The points of each scenario. Of some scenarios, only those that differ from another one are listed.
const MATRIX: [(Scenario, &[Point]); 14] = [
    (
        Scenario::Upsert,
        &[
            Claimed,
            Read,
            Compared,
            PartStored,
            Saved,
            Writing,
            Written,
            FileStored,
            WorkbookStored,
            Ended,
            EventSent,
            InputDeleted,
            PartsDeleted,
            Finished,
        ],
    ),
    (
        Scenario::Replace,
        &[
            Claimed,
            Read,
            Compared,
            PartStored,
            Saved,
            Writing,
            Written,
            ReplacementStored,
            WindowRemoved,
            FileStored,
            WorkbookStored,
            Ended,
            EventSent,
            InputDeleted,
            PartsDeleted,
            Finished,
        ],
    ),
    (
        Scenario::DryRun,
        &[
            Claimed,
            Read,
            Compared,
            PartStored,
            Saved,
            FileStored,
            WorkbookStored,
            Ended,
            EventSent,
            PartsDeleted,
            Finished,
        ],
    ),
    (
        Scenario::Revert,
        &[
            Claimed,
            Read,
            Compared,
            PartStored,
            Saved,
            Writing,
            Written,
            FileStored,
            Ended,
            EventSent,
            InputDeleted,
            PartsDeleted,
            Finished,
        ],
    ),
    (
        Scenario::Erase,
        &[
            Claimed,
            Saved,
            Writing,
            Written,
            ReplacementStored,
            WindowRemoved,
            Ended,
            EventSent,
            InputDeleted,
            PartsDeleted,
            Finished,
        ],
    ),
    (
        Scenario::Overwrite,
        &[Compared, PartStored, Saved, Writing, Written],
    ),
    (Scenario::Workbook, &[Read, Saved, Written]),
    (Scenario::OutOfTime, &[Claimed, Released]),
    (
        Scenario::Export,
        &[Claimed, Read, FileStored, Ended, EventSent, Finished],
    ),
    (
        Scenario::ExportWorkbook,
        &[Claimed, Read, Saved, FileStored, Ended, EventSent, Finished],
    ),
    (Scenario::ExportOutOfTime, &[Claimed, Released]),
    (
        Scenario::LargeRejects,
        &[UploadCreated, PieceSent, FileStored, WorkbookStored],
    ),
    (
        Scenario::LargeChanges,
        &[UploadCreated, PieceSent, PieceCopied],
    ),
    (
        Scenario::LargeExport,
        &[UploadCreated, PieceSent, Saved, FileStored],
    ),
];

/// One kill, or two at the same point.
#[derive(Debug, Clone, Copy)]
struct Cell {
    scenario: Scenario,
    point: Point,
    /// Which time that the run reaches the point.
    count: u32,
    kills: u32,
}

/// Returns the cells of a scenario whose undisturbed run reaches its points this often.
fn cells(scenario: Scenario, points: &[Point], counts: &Counts) -> Vec<Cell> {
    let mut all = Vec::new();
    for &point in points {
        let last = counts[&point];
        let times = BTreeSet::from([1, last.div_ceil(2), last]);
        let cell = |count, kills| Cell {
            scenario,
            point,
            count,
            kills,
        };
        all.extend(times.into_iter().map(|count| cell(count, 1)));
        all.push(cell(1, 2));
    }
    all
}

/// Checks that the matrix names the points of an undisturbed run.
fn check_points(scenario: Scenario, points: &[Point], counts: &Counts) {
    let named: BTreeSet<Point> = points.iter().copied().collect();
    let reached: BTreeSet<Point> = counts.keys().copied().collect();
    if scenario.is_partial() {
        assert!(
            named.is_subset(&reached),
            "{scenario:?} reaches {reached:?}"
        );
    } else {
        assert_eq!(named, reached, "{scenario:?}");
    }
}

/// Kills a subject as the cell says, and lets it end. Returns what it leaves.
async fn survive(ground: &Ground, cell: Cell) -> Vec<Settled> {
    let subject = Subject::new(ground, cell.scenario).await;
    let (mut kills, mut count, mut is_acknowledged) = (0, cell.count, false);
    while kills < cell.kills {
        let run = subject.deliver(cell.scenario.time());
        match kills::killed_at((subject.id(), cell.point, count), run).await {
            None => {
                kills += 1;
                count = 1;
                subject.bury(ground).await;
            }
            // The first run has done what is left to do at this point.
            Some(done) if kills > 0 => {
                is_acknowledged = done;
                break;
            }
            Some(_) => panic!("{cell:?}: the run ended before it was killed"),
        }
    }
    kills::forget(subject.id());
    if !is_acknowledged {
        is_acknowledged = subject.deliver(LONG).await;
    }
    let story = subject.story(ground).await;
    assert!(
        is_acknowledged,
        "{cell:?}: the message is not acknowledged: {story}"
    );
    // A run that is killed once its batch has ended is the last one.
    let has_ended = matches!(
        cell.point,
        Ended | EventSent | InputDeleted | PartsDeleted | Finished
    );
    let runs = if has_ended { 1 } else { 1 + kills };
    subject.check(ground, runs).await;
    // Once more, as a queue may.
    assert!(subject.deliver(LONG).await, "{cell:?}");
    assert_eq!(subject.story(ground).await, story, "{cell:?}");
    let leaves_upload = cell.point == UploadCreated;
    subject.settled(ground, kills, leaves_upload).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_at_any_point_leaves_what_an_undisturbed_one_does() {
    let started = Instant::now();
    let ground = Arc::new(Ground::start().await);
    let mut all = Vec::new();
    let mut settled = Vec::new();
    let selected = env::var(SELECTED).ok();
    let is_selected = |name: &str| selected.as_ref().is_none_or(|selected| selected == name);
    for (scenario, points) in MATRIX {
        if !is_selected(&format!("{scenario:?}")) {
            continue;
        }
        let subject = Subject::new(&ground, scenario).await;
        let run = subject.deliver(scenario.time());
        let (_, counts) = kills::counted(subject.id(), run).await;
        check_points(scenario, points, &counts);
        // One that hands its message back has not ended.
        assert!(subject.deliver(LONG).await, "{scenario:?}");
        let runs = if scenario.time() == LONG { 1 } else { 2 };
        subject.check(&ground, runs).await;
        settled.extend(subject.settled(&ground, 0, false).await);
        all.extend(cells(scenario, points, &counts));
    }
    let of_runs = MATRIX.iter().flat_map(|(_, points)| *points);
    let of_requests = derivations::POINTS.iter().flat_map(|(_, points)| *points);
    let named: BTreeSet<Point> = of_runs.chain(of_requests).copied().collect();
    assert_eq!(named, BTreeSet::from(Point::ALL), "each point has a cell");

    // Large cells are spread, because they keep a core busy.
    Rng::with_seed(1).shuffle(&mut all);
    let count = all.len();
    let results: Vec<_> = stream::iter(all)
        .map(|cell| {
            let ground = Arc::clone(&ground);
            async move {
                let survived = tokio::spawn(async move { survive(&ground, cell).await }).await;
                survived.map_err(|_| cell)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut failed = Vec::new();
    for result in results {
        match result {
            Ok(some) => settled.extend(some),
            Err(cell) => failed.push(cell),
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {count} cells failed: {failed:#?}",
        failed.len()
    );
    let kills: u32 = settled.iter().map(|one| one.kills).sum();
    traces::check(&ground, &settled).await;
    ground.check_large_members().await;
    println!(
        "crash matrix: {count} cells, {kills} kills survived, {:.0?}",
        started.elapsed()
    );
}
