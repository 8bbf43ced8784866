//! The summary at the end of a batch: the outcomes of its rows, and where its reports are.

use std::fmt;
use std::time::Duration;

use crate::client::Batch;
use crate::progress::outcomes;

/// The summary on standard output.
pub struct Report<'a> {
    /// The batch, ended.
    pub batch: &'a Batch,
    /// The URL of the report of rejected rows.
    pub rejects_url: String,
    /// The id of the key that may read it.
    pub key_id: &'a str,
    /// The command that downloads the report of changes.
    pub changes: String,
    /// How long sending took, if a file was sent.
    pub sent: Option<Duration>,
    /// How long everything took.
    pub elapsed: Duration,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.batch;
        writeln!(f, "{:12}{}", "batch", batch.id)?;
        writeln!(f, "{:12}{}", "status", batch.status)?;
        if batch.dry_run {
            writeln!(f, "{:12}nothing was written", "dry run")?;
        }
        if let Some(problem) = batch.problem_text() {
            writeln!(f, "{:12}{problem}", "problem")?;
        }
        self.write_counters(f)?;
        self.write_times(f)?;
        writeln!(f, "{:12}{:.0} rows/s", "rate", self.rate())?;
        // A plan has the price of applying it.
        if let Some(price) = batch.price.as_ref().filter(|_| !batch.is_plan()) {
            writeln!(f, "{:12}{price}", "price")?;
        }
        if !batch.ignored_columns.is_empty() {
            writeln!(f, "{:12}{}", "ignored", batch.ignored_columns.join(", "))?;
        }
        for warning in &batch.warnings {
            write!(f, "{:12}{} ", "warning", warning.message)?;
            match warning.line {
                Some(line) => writeln!(f, "({} rows, first line {line})", warning.count)?,
                None => writeln!(f)?,
            }
        }
        if batch.rows.rejected > 0 {
            let (id, url) = (self.key_id, &self.rejects_url);
            writeln!(f, "{:12}{url}", "rejects")?;
            writeln!(f, "{:12}curl -L -u {id}:… -o rejects.csv {url}", "")?;
        }
        if batch.links.changes.is_some() {
            writeln!(f, "{:12}{}", "changes", self.changes)?;
        }
        Ok(())
    }
}

impl Report<'_> {
    /// Writes the counters. Those of a plan are part of the plan.
    fn write_counters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.batch;
        let width = batch.rows.read.max(batch.rows.absent).to_string().len();
        let mut line = |word: &str, count: u64| writeln!(f, "{word:12}{count:>width$}");
        line("read", batch.rows.read)?;
        if batch.mode == "replace" {
            line("absent", batch.rows.absent)?;
        }
        if batch.is_plan() {
            return Ok(());
        }
        for (count, word) in outcomes(batch) {
            if word != "removed" || batch.may_remove() {
                line(word, count)?;
            }
        }
        Ok(())
    }

    fn write_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.elapsed.as_secs_f64();
        match self.sent {
            Some(sent) => writeln!(
                f,
                "{:12}{elapsed:.1} s (upload {:.1} s, processing {:.1} s)",
                "elapsed",
                sent.as_secs_f64(),
                self.processing().as_secs_f64(),
            ),
            None => writeln!(f, "{:12}{elapsed:.1} s", "elapsed"),
        }
    }

    fn processing(&self) -> Duration {
        self.elapsed.saturating_sub(self.sent.unwrap_or_default())
    }

    /// Rows per second during processing: the batch's own figure, or by our clock.
    fn rate(&self) -> f64 {
        let reported = self.batch.rows_per_second.filter(|rate| *rate > 0.0);
        reported.unwrap_or_else(|| {
            let processing = self.processing().as_secs_f64();
            let rows = u32::try_from(self.batch.rows.read).unwrap_or(u32::MAX);
            f64::from(rows) / processing.max(0.001)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Links, Price, Rows};

    fn report(batch: &Batch) -> String {
        Report {
            batch,
            rejects_url: "http://127.0.0.1:9000/api/members/batch/01K/rejects".into(),
            key_id: "admin",
            changes: "mpulse changes 01K".into(),
            sent: Some(Duration::from_millis(500)),
            elapsed: Duration::from_millis(2500),
        }
        .to_string()
    }

    fn batch(status: &str) -> Batch {
        Batch {
            id: "01K".into(),
            status: status.into(),
            rows: Rows {
                read: 1000,
                created: 990,
                rejected: 10,
                ..Rows::default()
            },
            ..Batch::default()
        }
    }

    #[test]
    fn counters_are_aligned_and_the_report_is_named() {
        assert_eq!(
            report(&batch("completed_with_rejects")),
            "\
batch       01K
status      completed_with_rejects
read        1000
created      990
updated        0
unchanged      0
superseded     0
rejected      10
elapsed     2.5 s (upload 0.5 s, processing 2.0 s)
rate        500 rows/s
rejects     http://127.0.0.1:9000/api/members/batch/01K/rejects
            curl -L -u admin:… -o rejects.csv http://127.0.0.1:9000/api/members/batch/01K/rejects
"
        );
    }

    #[test]
    fn a_replacement_counts_members_too() {
        let replaced = Batch {
            mode: "replace".into(),
            rows: Rows {
                read: 5,
                absent: 12,
                created: 5,
                removed: 12,
                ..Rows::default()
            },
            links: Links {
                changes: Some("/changes".into()),
                ..Links::default()
            },
            ..batch("completed")
        };
        let text = report(&replaced);
        assert!(
            text.contains("read         5\nabsent      12\ncreated      5\n"),
            "{text}"
        );
        assert!(text.contains("rejected     0\nremoved     12\n"), "{text}");
        assert!(text.ends_with("changes     mpulse changes 01K\n"), "{text}");
    }

    #[test]
    fn a_plan_s_counters_and_price_are_not_repeated() {
        let plan = Batch {
            dry_run: true,
            price: Some(Price::default()),
            ..batch("completed")
        };
        let text = report(&plan);
        assert!(text.contains("dry run     nothing was written\n"), "{text}");
        assert!(text.contains("read        1000\nelapsed"), "{text}");
        assert!(!text.contains("price"), "{text}");
        let failed = report(&Batch {
            status: "failed".into(),
            ..plan
        });
        assert!(
            failed.contains("created") && failed.contains("price"),
            "{failed}"
        );
    }

    #[test]
    fn a_failure_says_why() {
        let failed = Batch {
            problem: Some(
                serde_json::json!({"code": "empty_file", "message": "the file is empty"}),
            ),
            rows: Rows::default(),
            ignored_columns: vec!["id".into(), "notes".into()],
            ..batch("failed")
        };
        let text = report(&failed);
        assert!(
            text.contains("problem     the file is empty (empty_file)\n"),
            "{text}"
        );
        assert!(text.contains("ignored     id, notes\n"), "{text}");
        assert!(!text.contains("rejects.csv"), "{text}");
    }

    #[test]
    fn the_price_is_shown_if_it_is_known() {
        let priced = Batch {
            price: Some(Price {
                usd: 0.012_345,
                region: "us-east-1".into(),
            }),
            ..batch("completed")
        };
        let line = "price       $0.0123 (DynamoDB on demand, us-east-1)\n";
        assert!(report(&priced).contains(line));
        assert!(!report(&batch("completed")).contains("price"));
    }

    #[test]
    fn the_rate_is_the_batch_s_own_if_it_has_one() {
        let rated = Batch {
            rows_per_second: Some(8200.0),
            ..batch("completed")
        };
        assert!(report(&rated).contains("rate        8200 rows/s\n"));
    }
}
