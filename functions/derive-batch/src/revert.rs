//! Which batches can be reverted, and the batch that reverts one.

use mpulse_shared::batch::{Batch, BatchRequest, Mode, REPORT_DAYS};
use mpulse_shared::member::AccountId;
use mpulse_shared::problem::Problem;
use mpulse_shared::time::Timestamp;

/// Checks that a batch has ended and reported its changes.
///
/// # Errors
/// Returns 409 with the reason.
pub fn check(batch: &Batch, now: Timestamp) -> Result<(), Problem> {
    match refusal(batch, now) {
        Some(reason) => Err(Problem::conflict(reason)),
        None => Ok(()),
    }
}

fn refusal(batch: &Batch, now: Timestamp) -> Option<String> {
    if batch.dry_run {
        return Some("The batch is a dry run, which changes no member.".to_owned());
    }
    let status = batch.status_at(false, now);
    if !status.has_ended() {
        let name = status.name();
        return Some(format!(
            "The batch has not ended yet: its status is {name}. Its report of changes is made at the end."
        ));
    }
    if let Some(reason) = batch.why_no_changes() {
        return Some(reason.to_owned());
    }
    (!batch.changes_are_available(now)).then(gone)
}

/// 409: the report of changes does not exist any more.
#[must_use]
pub fn report_gone() -> Problem {
    Problem::conflict(gone())
}

fn gone() -> String {
    format!("The report of changes was deleted after {REPORT_DAYS} days.")
}

/// Returns a batch that reverts the changes of another, in the same accounts.
#[must_use]
pub fn child(parent: &Batch, bytes: u64, author: &str, now: Timestamp) -> Batch {
    let id = &parent.batch_id;
    let request = BatchRequest {
        file_name: Some(format!("changes-{id}.csv")),
        size: Some(bytes),
        account_id: parent.account_id.clone().map(AccountId::from_stored),
        mode: Mode::Revert,
        changes: Some(true),
        parent_batch_id: Some(id.clone()),
        ..BatchRequest::default()
    };
    Batch::new(request, author.to_owned(), parent.accounts.clone(), now)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mpulse_shared::batch::Status;
    use mpulse_shared::scope::Scope;

    use super::*;

    /// A change of a record.
    type Change = fn(&mut Batch);

    fn ended() -> Batch {
        let scope = Scope::only(BTreeSet::from([AccountId::parse("4").unwrap()]));
        let now = Timestamp::now();
        let mut batch = Batch::new(BatchRequest::default(), "key:a".into(), scope, now);
        batch.status = Status::Completed;
        batch.finished_at = Some(now);
        batch.has_changes = true;
        batch
    }

    #[test]
    fn only_an_ended_batch_with_changes_can_be_reverted() {
        let now = Timestamp::now();
        let cases: [(&str, Change, Option<&str>); 7] = [
            ("ended", |_| {}, None),
            ("failed", |batch| batch.status = Status::Failed, None),
            (
                "running",
                |batch| batch.status = Status::Processing,
                Some("has not ended yet"),
            ),
            (
                "dry run",
                |batch| batch.dry_run = true,
                Some("is a dry run"),
            ),
            (
                "nothing changed",
                |batch| batch.has_changes = false,
                Some("changed no member"),
            ),
            (
                "without a report",
                |batch| (batch.has_changes, batch.changes) = (false, false),
                Some("does not report its changes"),
            ),
            (
                "old",
                |batch| {
                    let long_ago = -(REPORT_DAYS + 1) * 24 * 3600 * 1000;
                    batch.finished_at = Some(Timestamp::now().plus_millis(long_ago));
                },
                Some("was deleted after 30 days"),
            ),
        ];
        for (name, change, reason) in cases {
            let mut batch = ended();
            change(&mut batch);
            let refused = refusal(&batch, now);
            assert_eq!(refused.is_some(), reason.is_some(), "{name}");
            let (refused, reason) = (refused.unwrap_or_default(), reason.unwrap_or_default());
            assert!(refused.contains(reason), "{name}: {refused}");
        }
    }

    #[test]
    fn a_child_reverts_with_its_own_changes_in_the_accounts_of_the_parent() {
        let mut parent = ended();
        parent.account_id = Some("4".to_owned());
        parent.changes = true;
        parent.format.header = false;
        let child = child(&parent, 12, "key:b", Timestamp::now());
        assert_eq!((child.mode, child.changes), (Mode::Revert, true));
        assert_eq!(child.parent_batch_id.as_ref(), Some(&parent.batch_id));
        assert_eq!(child.account_id, parent.account_id);
        assert_eq!(child.accounts, parent.accounts);
        assert_eq!((child.bytes_total, child.uploaded_at), (Some(12), None));
        assert!(child.format.is_default() && !child.dry_run);
    }
}
