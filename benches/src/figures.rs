//! The results: the JSON that commands print and `report` reads.

use std::fmt::Write;
use std::fs;

use mpulse_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What one process used for its rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// The name of the measurement.
    pub what: String,
    /// Rows processed.
    pub rows: u64,
    /// Requests about members.
    pub requests: u64,
    /// Elapsed seconds.
    pub wall_seconds: f64,
    /// Seconds of CPU, in the process and in the kernel for it.
    pub cpu_seconds: f64,
    /// The peak of resident memory, program included.
    pub peak_rss_bytes: Option<u64>,
    /// The peak of anonymous memory, sampled every 20 ms.
    pub peak_anon_bytes: Option<u64>,
}

impl Figures {
    /// Returns the rows per second of CPU.
    #[expect(clippy::cast_precision_loss, reason = "no roster has 2^52 rows")]
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.cpu_seconds.max(f64::EPSILON)
    }
}

/// Where and when the measurement ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Origin {
    /// The command line.
    pub command: String,
    /// When it began.
    pub at: Timestamp,
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The load average over the last minute, which shows what else was running.
    pub load: String,
}

impl Origin {
    /// Describes this computer, now, for this command line.
    pub fn here() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            command: format!(
                "cargo run --release -p mpulse-bench -- {}",
                arguments.join(" ")
            ),
            at: Timestamp::now(),
            cpu: model(&processors).unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn model(processors: &str) -> Option<&str> {
    let line = processors.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// Formats results as a text table.
pub fn table(all: &[Figures]) -> String {
    let mut text = format!(
        "{:<20} {:>10} {:>9} {:>9} {:>12} {:>10} {:>10}\n",
        "", "rows", "wall s", "CPU s", "rows/CPU-s", "peak RSS", "RssAnon"
    );
    for figures in all {
        let _ = writeln!(
            text,
            "{:<20} {:>10} {:>9.2} {:>9.2} {:>12.0} {:>10} {:>10}",
            figures.what,
            figures.rows,
            figures.wall_seconds,
            figures.cpu_seconds,
            figures.rate(),
            mebibytes(figures.peak_rss_bytes),
            mebibytes(figures.peak_anon_bytes),
        );
    }
    text
}

/// Formats a size.
#[expect(clippy::cast_precision_loss, reason = "no memory has 2^52 bytes")]
pub fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "-".to_owned(),
        |bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    )
}

/// Returns a percentile (500 is the median, 990 is exceeded by one value in a hundred) of sorted microseconds, in
/// milliseconds.
pub fn percentile_ms(sorted: &[u32], per_mille: usize) -> f64 {
    let at = (sorted.len() * per_mille / 1000).min(sorted.len().saturating_sub(1));
    f64::from(sorted.get(at).copied().unwrap_or_default()) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times: Vec<u32> = (1..=1000).map(|n| n * 1000).collect();
        assert!((percentile_ms(&times, 500) - 501.0).abs() < 1e-9);
        assert!((percentile_ms(&times, 990) - 991.0).abs() < 1e-9);
        assert!((percentile_ms(&times, 999) - 1000.0).abs() < 1e-9);
        assert!(percentile_ms(&[], 990).abs() < 1e-9);
    }

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(model("processor\t: 0\nmodel name\t: A B\n"), Some("A B"));
    }
}
