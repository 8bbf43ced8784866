//! The rosters of the matrix: small ones of several windows, each of which is written by two requests, and large ones whose
//! reports have several pieces.

use std::fmt::Write;
use std::time::Duration;

use fastrand::Rng;
use ingest::Tuning;
use mpulse_shared::batch::{Limit, Mode, Removal};
use mpulse_shared::member::{AccountId, Author, ClientMemberId, Member, MemberId, Profile};
use mpulse_shared::phone::Phone;
use mpulse_shared::time::Timestamp;
use mpulse_tests::packed::Packing;

use crate::sequential_model::{Case, Row, Table};

/// The smallest piece of a multipart upload that S3 accepts, except the last, in bytes.
pub const SMALLEST_PIECE: usize = 5 << 20;

/// Valid rows in a window. A request writes up to 25 members.
const WINDOW: usize = 30;

/// Valid rows of a small roster.
const ROWS: u32 = 3 * 30;

/// Members of the account that are not in the small roster: two windows of them are removed.
const ABSENT: u32 = 40;

/// The name of the account with long names.
pub const LARGE: &str = "large";

/// Members of the account with long names, and the length of each name. Five windows of their changes are a part that S3
/// can copy, so the report has two such parts and a rest.
const LARGE_MEMBERS: u32 = 310;
const LONG_NAME: usize = 17_600;

/// Rows of the roster whose rows are all rejected, and the length of each. Their report has two pieces.
const LARGE_REJECTS: u32 = 300;
const LONG_NOTE: usize = 30_000;

/// Returns the sizes for small reports, and for parts of reports that S3 can copy.
pub fn tunings() -> [Tuning; 2] {
    let small = Tuning {
        window_members: WINDOW,
        depth: 2,
        // So that a replacement has several passes.
        max_file_keys: 64,
        // So that there are parts of one window, and parts of several.
        large_part: 8_000,
        first_page: 4,
        first_wait: Duration::from_millis(2),
        ..Tuning::default()
    };
    let large = Tuning {
        large_part: SMALLEST_PIECE,
        ..small
    };
    [small, large]
}

/// The time of all uploads.
pub fn uploaded_at() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

/// A small roster, and the lines of its report of rejected rows.
pub struct Roster {
    pub case: Case,
    pub rejects: Vec<Vec<String>>,
}

/// Returns a roster that creates, updates and repeats members, leaves some unchanged, and has rejected rows. Other members of
/// the account are not in it.
pub fn small(account: &AccountId, mode: Mode, packing: Packing) -> Roster {
    let (mut before, mut rows, mut rejects) = (Table::new(), Vec::new(), Vec::new());
    let mut exists = |profile: Profile| {
        let at = uploaded_at().plus_millis(-1000);
        let member = Member::new(profile, at, Author::key("before"));
        before.insert(member.profile.id.clone(), member);
    };
    for index in 0..ROWS {
        let old = profile(account, index, "Ann");
        let row = match index % 8 {
            0 => {
                exists(old.clone());
                old
            }
            1..=4 => {
                exists(old.clone());
                profile(account, index, "Bo")
            }
            // A key of the window before, whose members may still be in flight.
            7 if index >= 40 => profile(account, index - 33, "Zoë"),
            _ => old,
        };
        rows.push(Row::valid(row));
        if index % 6 == 0 {
            let bad = profile(account, 500 + index, "Cy");
            // The header is line 1.
            let line = rows.len() + 2;
            let fields = [
                account.as_str(),
                bad.id.client_member_id.as_str(),
                "Cy",
                "Lee",
                "12",
            ];
            let mut reject = vec![line.to_string(), "invalid_phone".to_owned()];
            reject.extend(fields.map(str::to_owned));
            rejects.push(reject);
            rows.push(Row::with_invalid_phone(bad));
        }
    }
    for index in 0..ABSENT {
        exists(profile(account, 1000 + index, "Dee"));
    }
    let case = Case {
        mode,
        uploaded_at: uploaded_at(),
        before,
        rows,
        accounts: vec![account.clone()],
        packing,
        removal: Removal {
            limit: Limit::Share(10_000),
            despite_unreadable_rows: true,
        },
    };
    Roster { case, rejects }
}

fn profile(account: &AccountId, index: u32, first_name: &str) -> Profile {
    Profile {
        id: MemberId {
            account_id: account.clone(),
            client_member_id: ClientMemberId::from_stored(format!("m{index:04}")),
        },
        first_name: first_name.to_owned(),
        last_name: "Lee".to_owned(),
        phone_number: Phone::from_stored("+17145550123".to_owned()),
    }
}

/// Returns members with names so long that a few hundred fill several pieces. They are not valid, but stored. Compressed, they
/// are long too.
pub fn large_members() -> Vec<Member> {
    let account = AccountId::parse(LARGE).expect("an account");
    let random = &mut Rng::with_seed(1);
    let mut name = || {
        (0..LONG_NAME)
            .map(|_| random.alphanumeric())
            .collect::<String>()
    };
    (0..LARGE_MEMBERS)
        .map(|index| {
            let mut member = profile(&account, index, &name());
            member.last_name = name();
            Member::new(member, Timestamp::from_millis(0), Author::key("before"))
        })
        .collect()
}

/// Returns a roster that changes all of these members.
pub fn of_large_members(members: &[Member]) -> Case {
    let account = AccountId::parse(LARGE).expect("an account");
    let rows = (0..LARGE_MEMBERS).map(|index| Row::valid(profile(&account, index, "Bo")));
    Case {
        mode: Mode::Upsert,
        uploaded_at: uploaded_at(),
        before: members
            .iter()
            .map(|member| (member.profile.id.clone(), member.clone()))
            .collect(),
        rows: rows.collect(),
        accounts: vec![account],
        packing: Packing::Plain,
        removal: Removal::default(),
    }
}

/// Returns a file whose rows are all rejected, and its report.
pub fn large_rejects(account: &AccountId) -> (String, String) {
    let header = format!("{},notes", mpulse_tests::HEADER.trim_end());
    let note = "x".repeat(LONG_NOTE);
    let mut report = format!("\u{FEFF}line,code,message,{header},raw\r\n");
    let mut file = format!("{header}\n");
    for index in 0..LARGE_REJECTS {
        let row = format!("{account},{index},Ann,Lee,,{note}");
        let line = index + 2;
        writeln!(file, "{row}").expect("memory");
        write!(
            report,
            "{line},required,phone_number is required,{row},\r\n"
        )
        .expect("memory");
    }
    (file, report)
}
