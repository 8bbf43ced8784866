//! Members that another author writes between a batch's read and its write.

use std::time::Duration;

use mpulse_shared::batch::{Mode, Rows, Status};
use mpulse_shared::member::{AccountId, Author, Member, MemberId, Profile};
use mpulse_shared::phone::Phone;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{HEADER, client_id, phone, row};

use crate::direct_ingest::{Bench, deliver};

fn member(account: &AccountId, index: u64, first: &str, at: Timestamp) -> Member {
    let id = format!("{account}~{}", client_id(index));
    let profile = Profile {
        id: id.parse::<MemberId>().expect("an id"),
        first_name: first.to_owned(),
        last_name: format!("Lee {index}"),
        phone_number: Phone::from_stored(phone(index)),
    };
    Member::new(profile, at, Author::key("ops"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_between_read_and_write_is_undone_only_in_mode_overwrite() {
    // Each request is delayed long enough for another write.
    let bench = Bench::start("latency=300").await;
    let service = ingest::service(&bench.faulty_setup()).expect("the settings are complete");
    let uploaded = Timestamp::from_millis(1_700_000_000_000);
    for (name, mode) in [
        ("upsert", Mode::Upsert),
        ("create", Mode::Create),
        ("overwrite", Mode::Overwrite),
    ] {
        let account = AccountId::parse(name).expect("an account");
        // The first exists and differs; the second is new.
        let before = member(&account, 0, "Old", uploaded.plus_millis(-1));
        bench.put(&before).await;
        let file = format!("{HEADER}{}{}", row(name, 0), row(name, 1));
        let upload = bench.upload(mode, file, uploaded).await;
        let write = async {
            // Counted, so read; the writes are delayed.
            while bench.batch(&upload.batch).await.checkpoint.rows.read == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for index in [0, 1] {
                let newer = member(&account, index, "Zoë", uploaded.plus_millis(1));
                bench.put(&newer).await;
            }
        };
        let minute = Duration::from_mins(1);
        let (done, ()) = tokio::join!(deliver(&service, &upload.event, minute), write);
        assert!(done);
        let batch = bench.batch(&upload.batch).await;
        assert_eq!(batch.status, Status::Completed);
        let (counted, names) = match mode {
            Mode::Upsert => ((1, 1, 0), ["Zoë", "Zoë"]),
            Mode::Create => ((1, 0, 1), ["Zoë", "Zoë"]),
            Mode::Overwrite => ((0, 2, 0), ["Ann", "Ann"]),
            Mode::Replace | Mode::Revert | Mode::Erase => unreachable!("not tried here"),
        };
        let rows = Rows {
            read: 2,
            created: counted.0,
            updated: counted.1,
            unchanged: counted.2,
            ..Rows::default()
        };
        assert_eq!(batch.checkpoint.rows, rows, "as of the comparison, {name}");
        let members = bench.members_of(&account).await;
        let found: Vec<_> = members.values().map(|m| &*m.profile.first_name).collect();
        assert_eq!(found, names, "{name}");
    }
}
