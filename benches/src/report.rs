//! `mpulse-bench report`: writes results into docs/performance.md, between the markers there, and
//! draws docs/performance.svg and docs/load.svg. None of these is edited by hand.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::cold_start::ColdStart;
use crate::cost::Cost;
use crate::error::Error;
use crate::export::Exported;
use crate::figures::{Figures, Origin, mebibytes};
use crate::load;
use crate::lookup::Lookup;
use crate::measured::Measured;
use crate::partitions::Loads;
use crate::plot;
use crate::speed::Speed;
use crate::throttle::Throttle;
use crate::upload::Upload;

/// The arguments.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The JSON that other subcommands printed
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The page
    #[arg(long, default_value = "docs/performance.md")]
    page: PathBuf,

    /// The plot
    #[arg(long, default_value = "docs/performance.svg")]
    plot: PathBuf,

    /// The plot of the mixed load
    #[arg(long, default_value = "docs/load.svg")]
    load_plot: PathBuf,
}

/// Writes the page.
///
/// # Errors
/// Returns an error if a file cannot be read or written, or a marker is missing.
pub fn run(args: &ReportArgs) -> Result<(), Error> {
    let mut page = fs::read_to_string(&args.page)?;
    let mut scale = Vec::new();
    for file in &args.files {
        let measured = serde_json::from_str(&fs::read_to_string(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let (section, text) = match measured {
            // One without variants and peers is a point of the plot.
            Measured::Speed(alone) if alone.ratios().is_empty() => {
                scale.push(alone);
                continue;
            }
            Measured::Speed(speed) => (speed_section_of(&speed), speed_section(&speed)),
            Measured::Rejects(rejects) => (
                "rejects",
                origin(&rejects.origin) + &figures(&rejects.ingest),
            ),
            Measured::Export(exported) => ("export", export_section(&exported)),
            Measured::Cost(cost) => ("cost", cost_section(&cost)),
            Measured::Throttle(throttle) => ("throttle", throttle_section(&throttle)),
            Measured::Partitions(loads) => ("partitions", partitions_section(&loads)),
            Measured::Upload(upload) => {
                let section = upload.program.as_ref().map_or("upload", |_| "upload-dev");
                (section, upload_section(&upload))
            }
            Measured::Load(load) => {
                fs::write(&args.load_plot, load::draw(&load))?;
                ("load", load::section(&load))
            }
            Measured::Lookup(lookup) => ("lookup", lookup_section(&lookup)),
            Measured::ColdStart(started) => ("cold-start", cold_start_section(&started)),
        };
        page = replaced(&page, section, &text)?;
    }
    if let Some(last) = scale.last() {
        let points: Vec<Figures> = scale.iter().flat_map(Speed::all).collect();
        let text = origin(&last.origin) + &figures(&points);
        page = replaced(&page, "scale", &text)?;
        fs::write(&args.plot, plot::draw(&points))?;
    }
    fs::write(&args.page, page)?;
    Ok(())
}

/// Returns the page with one section replaced: the text between the lines `<!-- measured: SECTION
/// -->` and `<!-- end -->`.
fn replaced(page: &str, section: &str, text: &str) -> Result<String, Error> {
    let marker = format!("<!-- measured: {section} -->\n");
    let missing = || format!("the page has no {marker:?} with an end");
    let (before, rest) = page.split_once(&marker).ok_or_else(missing)?;
    let (_, after) = rest.split_once("<!-- end -->").ok_or_else(missing)?;
    Ok(format!("{before}{marker}\n{text}\n<!-- end -->{after}"))
}

/// Returns where and when a measurement ran.
pub fn origin(origin: &Origin) -> String {
    format!(
        "`{}`\n\n{}, {}, {} cores, load {} before.\n\n",
        origin.command,
        &origin.at.to_string()[..10],
        origin.cpu,
        origin.cores,
        origin.load,
    )
}

fn figures(all: &[Figures]) -> String {
    let mut text =
        "| | rows | wall s | CPU s | rows per CPU-second | peak RSS | of it anonymous |\n\
                    | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    for one in all {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {} | {} | {} |",
            one.what,
            grouped(one.rows),
            one.wall_seconds,
            one.cpu_seconds,
            rounded(one.rate()),
            mebibytes(one.peak_rss_bytes),
            mebibytes(one.peak_anon_bytes),
        );
    }
    text
}

/// Returns the section of a measurement of ingest: with its peers, packed, or of rosters.
fn speed_section_of(speed: &Speed) -> &'static str {
    if speed.sdk_loop.is_some() {
        "speed"
    } else if speed.origin.command.contains("--packed") {
        "packed"
    } else {
        "rosters"
    }
}

fn speed_section(speed: &Speed) -> String {
    let mut text = origin(&speed.origin) + &figures(&speed.all());
    text.push_str("\n| rows per CPU-second | ratio |\n| --- | ---: |\n");
    for (name, ratio) in speed.ratios() {
        let _ = writeln!(text, "| {name} | {ratio:.2} |");
    }
    text
}

fn export_section(exported: &Exported) -> String {
    let mut text = origin(&exported.origin) + &figures(&exported.exports);
    text.push_str("\nThe same as the first file, byte for byte or row for row:\n\n");
    for what in &exported.equal {
        let _ = writeln!(text, "- {what}");
    }
    text
}

fn upload_section(upload: &Upload) -> String {
    let mut text = origin(&upload.origin);
    text.push_str(
        "| rows | stored in | rows a second | engine, CPU µs a row | everything else, CPU µs a row | reverted, rows a second | peak anonymous memory |\n\
         | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for load in &upload.loads {
        let [engine, other] = load.micros_per_row();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {engine:.0} | {other:.0} | {} | {} |",
            grouped(load.rows),
            load.place(),
            rounded(load.rate()),
            load.revert_rate().map_or_else(|| "-".to_owned(), rounded),
            mebibytes(Some(load.peak_anon_bytes)),
        );
    }
    text
}

fn lookup_section(lookup: &Lookup) -> String {
    let mut text = origin(&lookup.origin);
    text.push_str(
        "| looked for by | members | requests a second | p50 ms | p99 ms |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
    );
    for round in &lookup.rounds {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} | {:.2} |",
            round.by,
            grouped(round.members),
            rounded(round.rate()),
            round.p50_ms,
            round.p99_ms,
        );
    }
    text.push_str("\n| requests a second, most members / fewest | ratio |\n| --- | ---: |\n");
    for (by, ratio) in lookup.ratios() {
        let _ = writeln!(text, "| by {by} | {ratio:.2} |");
    }
    text
}

fn cold_start_section(cold_start: &ColdStart) -> String {
    let mut text = origin(&cold_start.origin);
    let _ = write!(
        text,
        "Medians of {} starts.\n\n\
         | function | ready ms | first answer ms | resident | program | zipped |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
        cold_start.starts,
    );
    for one in &cold_start.functions {
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {} | {} | {} |",
            one.what,
            one.ready_ms,
            one.answer_ms,
            mebibytes(Some(one.rss_bytes)),
            mebibytes(one.bytes),
            mebibytes(one.zipped_bytes),
        );
    }
    text
}

fn cost_section(cost: &Cost) -> String {
    let mut text = origin(&cost.origin);
    text.push_str(
        "| file | rows | written | read units | write units | dollars | \
         writing every row costs | rows/s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for load in &cost.loads {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.4} | {:.1} × | {} |",
            load.what,
            grouped(load.rows.read),
            grouped(load.rows.created + load.rows.updated),
            rounded(load.read_units),
            rounded(load.write_units),
            load.dollars(),
            load.saving(),
            rounded(load.rate()),
        );
    }
    let peak = mebibytes(Some(cost.peak_anon_bytes));
    let _ = writeln!(
        text,
        "\nPeak of the local stack's anonymous memory in the first load, engine included: {peak}."
    );
    text
}

fn throttle_section(throttle: &Throttle) -> String {
    format!(
        "{}| cap, units a second | seconds | units written | of the cap | requests | throttled, \
         wholly or in part |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n\
         | {} | {:.1} | {} | {:.1} % | {} | {} ({:.2} %) |\n",
        origin(&throttle.origin),
        throttle.cap,
        throttle.seconds,
        grouped(throttle.units),
        100.0 * throttle.used(),
        grouped(throttle.requests),
        grouped(throttle.refused),
        100.0 * throttle.refused_share(),
    )
}

fn partitions_section(loads: &Loads) -> String {
    let mut text = origin(&loads.origin);
    text += "| file | of what the partitions allow | rows a second | requests | throttled, wholly or in part |\n\
             | --- | ---: | ---: | ---: | ---: |\n";
    for load in &loads.files {
        let _ = writeln!(
            text,
            "| {} | {:.1} % | {} | {} | {} |",
            load.file.describe(),
            100.0 * load.used,
            rounded(load.rows_per_second),
            grouped(load.requests),
            grouped(load.throttled),
        );
    }
    text
}

/// Formats a count with commas.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a measure as a count with commas.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "measures are positive, and small"
)]
fn rounded(measure: f64) -> String {
    grouped(measure.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        let counts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn only_the_text_between_the_markers_is_replaced() {
        let page = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n";
        let new = "a\n<!-- measured: x -->\n\nnew\n\n<!-- end -->\nb\n";
        assert_eq!(replaced(page, "x", "new\n").expect("markers"), new);
        assert_eq!(replaced(new, "x", "new\n").expect("markers"), new);
        assert!(replaced(page, "y", "new").is_err());
    }
}
