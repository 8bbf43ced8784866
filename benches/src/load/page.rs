//! The section of docs/performance.md.

use std::fmt::Write;

use super::batches::File;
use super::summary::{Load, Times};
use crate::report::{grouped, origin};

/// Returns the section.
pub fn section(load: &Load) -> String {
    let mut text = origin(&load.origin);
    text.push_str("![Response times of reads and memory during the mixed load](load.svg)\n\n");
    let _ = writeln!(
        text,
        "{} minutes, {} requests, {:.1} per second.\n\n| | |\n| --- | --- |",
        load.seconds / 60,
        grouped(u64::try_from(load.requests).unwrap_or_default()),
        load.throughput(),
    );
    for check in &load.checks {
        let passed = if check.passed { "met" } else { "**not met**" };
        let _ = writeln!(text, "| {} | {passed}: {} |", check.what, check.found);
    }
    times(&mut text, "reads by what ran beside them", &load.reads);
    times(&mut text, "the mixed load by request", &load.kinds);
    text.push_str("\n| batches | number | rows of each | rows a second, least and most |\n");
    text.push_str("| --- | ---: | ---: | ---: |\n");
    for file in [File::Nightly, File::FirstLoad] {
        let runs: Vec<_> = load.batches.iter().filter(|run| run.file == file).collect();
        let rates = runs.iter().map(|run| run.rate());
        let (least, most) = rates.fold((f64::INFINITY, 0.0), |(least, most), rate| {
            (rate.min(least), rate.max(most))
        });
        if let Some(run) = runs.first() {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {least:.0} to {most:.0} |",
                file.name(),
                runs.len(),
                grouped(run.rows),
            );
        }
    }
    text
}

fn times(text: &mut String, what: &str, all: &[Times]) {
    let _ = writeln!(
        text,
        "\n| {what} | requests | p50 ms | p99 ms | p99.9 ms | longest ms |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |"
    );
    for times in all {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.1} |",
            times.what,
            grouped(u64::try_from(times.requests).unwrap_or_default()),
            times.p50_ms,
            times.p99_ms,
            times.p999_ms,
            times.most_ms,
        );
    }
}
