//! CPU time and memory of a process, from Linux's /proc.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::error::Error;

/// Ticks per second in /proc/PID/stat: `USER_HZ`, 100 on every Linux that is supported (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// The time between two samples of a process's memory.
const GLANCE: Duration = Duration::from_millis(20);

/// Returns the seconds of CPU that a process (a number, or `self`) has used: in itself and in the
/// kernel, by all threads, including those that have ended.
///
/// # Errors
/// Returns an error if the process does not exist.
pub fn cpu_seconds(process: &str) -> Result<f64, Error> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    ticks(&stat)
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .ok_or_else(|| format!("/proc/{process}/stat is not in the format of proc(5)").into())
}

/// Returns the seconds of CPU that a process's living threads have used, by their names.
///
/// # Errors
/// Returns an error if the process does not exist.
pub fn thread_cpu_seconds(process: u32) -> Result<BTreeMap<String, f64>, Error> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let folder = thread?.path();
        // A thread may end between the listing and this read.
        let (Ok(name), Ok(stat)) = (
            fs::read_to_string(folder.join("comm")),
            fs::read_to_string(folder.join("stat")),
        ) else {
            continue;
        };
        *all.entry(name.trim_end().to_owned()).or_insert(0.0) +=
            ticks(&stat).unwrap_or_default() / TICKS_PER_SECOND;
    }
    Ok(all)
}

/// utime + stime, the fields 14 and 15. The name (field 2) is in parentheses and may contain
/// anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Returns a line of /proc/PID/status in kB, as bytes.
///
/// # Errors
/// Returns an error if the process or the line does not exist.
pub fn memory(process: &str, name: &str) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    kilobytes(&status, name)
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| format!("/proc/{process}/status has no {name}").into())
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(':'))
    })?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Samples the anonymous memory of a process (its allocations, without its program's file), for
/// which the kernel keeps no peak.
#[derive(Debug)]
pub struct Watch {
    peak: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins to sample.
    pub fn start(process: u32) -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let of_task = Arc::clone(&peak);
        let process = process.to_string();
        let task = tokio::spawn(async move {
            while let Ok(now) = memory(&process, "RssAnon") {
                of_task.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(GLANCE).await;
            }
        });
        Self { peak, task }
    }

    /// Returns the highest sample, in bytes.
    pub fn peak(self) -> u64 {
        self.task.abort();
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_after_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 10 0 0 0 250 31 0 0 20 0 3 0 100 1 2";
        assert_eq!(ticks(stat), Some(281.0));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn memory_is_in_kilobytes() {
        let status = "Name:\tx\nVmHWM:\t   20480 kB\nRssAnon:\t 100 kB\n";
        assert_eq!(kilobytes(status, "VmHWM"), Some(20_480));
        assert_eq!(kilobytes(status, "Vm"), None);
    }

    #[test]
    fn this_process_can_be_measured() {
        assert!(cpu_seconds("self").expect("a number") >= 0.0);
        let threads = thread_cpu_seconds(std::process::id()).expect("threads");
        assert!(!threads.is_empty());
        assert!(memory("self", "VmHWM").expect("a size") > 0);
    }
}
