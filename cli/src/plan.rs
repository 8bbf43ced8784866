//! The plan: what a dry run predicts, for people and for logs.

use std::fmt;

use indicatif::HumanCount;

use crate::change::Change;
use crate::client::{Batch, Rows};

/// The most changes that a plan shows.
pub const MOST_CHANGES: usize = 20;

/// The plan on standard output.
pub struct Plan<'a> {
    /// The dry run, completed.
    pub batch: &'a Batch,
    /// The first changes.
    pub changes: &'a [Change],
    /// The command that downloads all changes.
    pub all_changes: String,
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Counters(&self.batch.rows))?;
        for change in self.changes {
            writeln!(f, "  {change}")?;
        }
        let shown = self.changes.len() as u64;
        let more = self.batch.rows.changed().saturating_sub(shown);
        if shown > 0 && more > 0 {
            writeln!(f, "  {} more: {}", HumanCount(more), self.all_changes)?;
        }
        if let Some(price) = &self.batch.price {
            writeln!(f, "to apply it costs about {price}")?;
        }
        Ok(())
    }
}

/// The counters of a plan, on one line.
struct Counters<'a>(&'a Rows);

impl fmt::Display for Counters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0;
        write!(
            f,
            "+ {} created  ~ {} updated  - {} removed  = {} unchanged",
            HumanCount(rows.created),
            HumanCount(rows.updated),
            HumanCount(rows.removed),
            HumanCount(rows.unchanged),
        )?;
        if rows.superseded > 0 {
            write!(f, "  < {} superseded", HumanCount(rows.superseded))?;
        }
        if rows.rejected > 0 {
            write!(f, "  ! {} rejected", HumanCount(rows.rejected))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Price;

    fn plan(rows: Rows, changes: &[Change]) -> String {
        let batch = Batch {
            rows,
            dry_run: true,
            price: Some(Price {
                usd: 0.012_345,
                region: "us-east-1".into(),
            }),
            ..Batch::default()
        };
        Plan {
            batch: &batch,
            changes,
            all_changes: "mpulse changes 01K".into(),
        }
        .to_string()
    }

    #[test]
    fn a_plan_has_counters_changes_and_a_price() {
        let rows = Rows {
            created: 1_120,
            updated: 43,
            removed: 12,
            unchanged: 999_825,
            rejected: 3,
            ..Rows::default()
        };
        let changes = [
            b",removed,4,7,,,,Ann,Lee,'+17145550123,,,,".as_slice(),
            b"9,updated,4,8,Bo,Li,'+17145550124,Bo,Lo,'+17145550124,,,,",
        ];
        let changes = changes.map(|record| Change::parse(record).unwrap());
        assert_eq!(
            plan(rows, &changes),
            "\
+ 1,120 created  ~ 43 updated  - 12 removed  = 999,825 unchanged  ! 3 rejected
  - 4~7  Ann Lee  +17145550123
  ~ 4~8  last_name Lo → Li
  1,173 more: mpulse changes 01K
to apply it costs about $0.0123 (DynamoDB on demand, us-east-1)
"
        );
    }

    #[test]
    fn a_plan_without_changes_has_counters() {
        let rows = Rows {
            unchanged: 5,
            superseded: 2,
            ..Rows::default()
        };
        let text = plan(rows, &[]);
        let counters = "+ 0 created  ~ 0 updated  - 0 removed  = 5 unchanged  < 2 superseded\n";
        assert!(text.starts_with(counters), "{text}");
        assert!(!text.contains("more"), "{text}");
    }
}
