//! Plots the response times of reads and the memory by minute, as an SVG.

use super::batches::File;
use super::summary::{Load, Point};
use crate::plot::{Panel, Scale, Series, image};

/// The step of the memory's axis, in MiB: its quarters are whole numbers.
const MEMORY_STEP: f64 = 40.0;

/// Draws both panels.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
pub fn draw(load: &Load) -> String {
    let minute = |second: f64| second / 60.0;
    let line = |name: &str, value: &dyn Fn(&Point) -> f64| Series {
        name: name.to_owned(),
        points: load
            .course
            .iter()
            .map(|point| (minute(point.second), value(point)))
            .filter(|(_, value)| *value > 0.0)
            .collect(),
    };
    let times = [
        line("p50", &|point| point.p50_ms),
        line("p99", &|point| point.p99_ms),
    ];
    let memory = [line("RssAnon", &|point| point.memory as f64 / 1_048_576.0)];
    let values = |all: &[Series]| -> Vec<f64> {
        let points = all.iter().flat_map(|series| &series.points);
        points.map(|(_, value)| *value).collect()
    };
    let minutes = Scale::linear(minute(f64::from(load.seconds)));
    let most = values(&memory).into_iter().fold(1.0, f64::max);
    let bands: Vec<(f64, f64)> = [File::Nightly, File::FirstLoad]
        .into_iter()
        .flat_map(|file| load.batches.iter().filter(move |run| run.file == file))
        .map(|run| (minute(run.from), minute(run.to)))
        .collect();
    let panel = |title, y, all| Panel {
        title,
        x_title: "minutes; shaded: a batch runs",
        x: minutes,
        y,
        all,
        bands: &bands,
        dots: false,
    };
    image(
        "Response times of reads and memory of the local stack during the mixed load",
        &[
            panel(
                "reads, milliseconds",
                Scale::decades(values(&times).into_iter()),
                &times,
            ),
            panel(
                "anonymous memory, MiB",
                Scale::linear((most / MEMORY_STEP).ceil() * MEMORY_STEP),
                &memory,
            ),
        ],
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Origin;
    use crate::load::batches::BatchRun;

    #[test]
    fn the_course_and_the_batches_are_drawn() {
        let point = |second: f64| Point {
            second,
            rate: 500.0,
            p50_ms: 1.0,
            p99_ms: 3.0,
            memory: 90 << 20,
        };
        let load = Load {
            origin: Origin::here(),
            seconds: 600,
            rate: 500,
            requests: 300_000,
            reads: Vec::new(),
            kinds: Vec::new(),
            errors: std::collections::BTreeMap::default(),
            batches: vec![BatchRun {
                file: File::Nightly,
                rows: 10,
                from: 60.0,
                to: 120.0,
            }],
            course: vec![point(2.5), point(7.5)],
            checks: Vec::new(),
        };
        let svg = draw(&load);
        // One band in each panel, and three lines.
        assert_eq!(svg.matches("fill=\"#eee\"").count(), 2);
        assert_eq!(svg.matches("stroke-width=\"1.5\"").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
