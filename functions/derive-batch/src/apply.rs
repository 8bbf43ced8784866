//! Which dry runs can be applied, and the batch that applies one.

use mpulse_shared::batch::{Batch, BatchRequest, Status, UPLOAD_DAYS};
use mpulse_shared::member::AccountId;
use mpulse_shared::problem::Problem;
use mpulse_shared::time::Timestamp;

/// Checks that a batch is a completed dry run. It may have been applied already.
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
    if !batch.dry_run {
        return Some(
            "The batch is not a dry run. Create a batch with \"dry_run\": true to preview a file."
                .to_owned(),
        );
    }
    let status = batch.status_at(false, now);
    if status.is_completed() {
        return None;
    }
    let name = status.name();
    Some(if status.has_ended() {
        format!(
            "The dry run was not completed, so there is nothing to apply: its status is {name}."
        )
    } else {
        format!("The dry run has not ended yet: its status is {name}.")
    })
}

/// 409: another batch applies the dry run.
#[must_use]
pub fn applied_already(child: &Batch, status: Status) -> Problem {
    Problem::conflict(format!(
        "The dry run was applied already, by the batch {}, whose status is {}.",
        child.batch_id,
        status.name()
    ))
}

/// 409: the dry run's file does not exist any more.
#[must_use]
pub fn file_gone() -> Problem {
    Problem::conflict(format!(
        "The file of the dry run is gone: it was replaced, or deleted after {UPLOAD_DAYS} days. Create another dry run."
    ))
}

/// Returns a batch that applies a dry run to the same accounts. Its rows have the time of the dry run's upload, so that
/// writes since then are not overwritten.
#[must_use]
pub fn child(dry_run: &Batch, bytes: u64, author: &str, now: Timestamp) -> Batch {
    let request = BatchRequest {
        file_name: dry_run.file_name.clone(),
        size: Some(bytes),
        multipart: false,
        account_id: dry_run.account_id.clone().map(AccountId::from_stored),
        mode: dry_run.mode,
        format: dry_run.format.clone(),
        dry_run: false,
        changes: Some(dry_run.changes),
        removal: Some(dry_run.removal),
        parent_batch_id: Some(dry_run.batch_id.clone()),
    };
    let mut child = Batch::new(request, author.to_owned(), dry_run.accounts.clone(), now);
    child.uploaded_at = dry_run.uploaded_at;
    child
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mpulse_shared::batch::{FileFormat, Limit, Mode, Removal};
    use mpulse_shared::scope::Scope;

    use super::*;

    fn dry_run(status: Status) -> Batch {
        let request = BatchRequest {
            file_name: Some("members.csv".into()),
            account_id: AccountId::parse("4").ok(),
            mode: Mode::Replace,
            format: FileFormat {
                default_region: Some("GB".into()),
                ..FileFormat::default()
            },
            dry_run: true,
            changes: Some(false),
            removal: Some(Removal {
                limit: Limit::Members(7),
                despite_unreadable_rows: true,
            }),
            ..BatchRequest::default()
        };
        let scope = Scope::only(BTreeSet::from([AccountId::parse("4").unwrap()]));
        let now = Timestamp::now();
        let mut batch = Batch::new(request, "key:a".into(), scope, now);
        batch.status = status;
        batch.uploaded_at = Some(now.plus_millis(5));
        batch
    }

    #[test]
    fn only_a_completed_dry_run_can_be_applied() {
        let now = Timestamp::now();
        for (status, reason) in [
            (Status::Completed, None),
            (Status::CompletedWithRejects, None),
            (Status::AwaitingUpload, Some("has not ended yet")),
            (Status::Processing, Some("its status is processing")),
            (Status::Failed, Some("its status is failed")),
            (Status::Cancelled, Some("its status is cancelled")),
        ] {
            let refused = refusal(&dry_run(status), now);
            assert_eq!(refused.is_some(), reason.is_some(), "{status:?}");
            let (refused, reason) = (refused.unwrap_or_default(), reason.unwrap_or_default());
            assert!(refused.contains(reason), "{refused}");
        }
        let mut batch = dry_run(Status::Completed);
        batch.dry_run = false;
        assert!(refusal(&batch, now).unwrap().contains("not a dry run"));
    }

    #[test]
    fn a_child_is_the_dry_run_without_being_one() {
        let dry_run = dry_run(Status::Completed);
        let child = child(&dry_run, 12, "key:b", Timestamp::now());
        assert!(!child.dry_run);
        assert_eq!(child.parent_batch_id.as_ref(), Some(&dry_run.batch_id));
        assert_eq!((&*child.created_by, child.bytes_total), ("key:b", Some(12)));
        assert_eq!(child.file_name, dry_run.file_name);
        assert_eq!(child.account_id, dry_run.account_id);
        assert_eq!(child.accounts, dry_run.accounts);
        assert_eq!(child.mode, dry_run.mode);
        assert_eq!(child.format, dry_run.format);
        assert_eq!(child.changes, dry_run.changes);
        assert_eq!(child.removal, dry_run.removal);
        assert_eq!(child.uploaded_at, dry_run.uploaded_at);
        assert_eq!(child.status, Status::AwaitingUpload);
        assert_eq!((child.started_at, child.etag), (None, None));
    }
}
