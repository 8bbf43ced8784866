//! The summary at the end of an upload: the outcomes of the rows, and where the rejected ones are.

use std::fmt;
use std::time::Duration;

use super::progress::outcomes;
use crate::client::Batch;

/// The summary on standard output.
pub struct Report<'a> {
    /// The batch, ended.
    pub batch: &'a Batch,
    /// The URL of the report of rejected rows.
    pub rejects_url: String,
    /// The id of the key that may read it.
    pub key_id: &'a str,
    /// How long sending took.
    pub sent: Duration,
    /// How long everything took.
    pub elapsed: Duration,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.batch;
        writeln!(f, "{:12}{}", "batch", batch.id)?;
        writeln!(f, "{:12}{}", "status", batch.status)?;
        if let Some(problem) = batch.problem_text() {
            writeln!(f, "{:12}{problem}", "problem")?;
        }
        let width = batch.rows.read.to_string().len();
        writeln!(f, "{:12}{:>width$}", "read", batch.rows.read)?;
        for (count, word) in outcomes(batch) {
            writeln!(f, "{word:12}{count:>width$}")?;
        }
        writeln!(
            f,
            "{:12}{:.1} s (upload {:.1} s, processing {:.1} s)",
            "elapsed",
            self.elapsed.as_secs_f64(),
            self.sent.as_secs_f64(),
            self.elapsed.saturating_sub(self.sent).as_secs_f64(),
        )?;
        writeln!(f, "{:12}{:.0} rows/s", "rate", self.rate())?;
        if let Some(price) = &batch.price {
            let (usd, region) = (price.usd, &price.region);
            writeln!(f, "{:12}${usd:.4} (DynamoDB on demand, {region})", "price")?;
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
        Ok(())
    }
}

impl Report<'_> {
    /// Rows per second during processing: the batch's own figure, or by our clock.
    fn rate(&self) -> f64 {
        let reported = self.batch.rows_per_second.filter(|rate| *rate > 0.0);
        reported.unwrap_or_else(|| {
            let processing = self.elapsed.saturating_sub(self.sent).as_secs_f64();
            let rows = u32::try_from(self.batch.rows.read).unwrap_or(u32::MAX);
            f64::from(rows) / processing.max(0.001)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Price, Rows};

    fn report(batch: &Batch) -> String {
        Report {
            batch,
            rejects_url: "http://127.0.0.1:9000/api/members/batch/01K/rejects".into(),
            key_id: "admin",
            sent: Duration::from_millis(500),
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
