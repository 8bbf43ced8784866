//! Small random rosters, and what applying their rows one by one leaves: the table, the counters, the rejected rows and the
//! changes. It knows nothing of windows, faults and runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use fastrand::Rng;
use mpulse_shared::batch::{BatchId, BatchRequest, FileFormat, Limit, Mode, Removal, Rows};
use mpulse_shared::member::{AccountId, Author, ClientMemberId, Member, MemberId, Profile};
use mpulse_shared::phone::Phone;
use mpulse_shared::time::Timestamp;
use mpulse_tests::packed::Packing;

/// Members by id.
pub type Table = BTreeMap<MemberId, Member>;

/// A row of a roster: its text, and the expected member or code.
pub struct Row {
    text: String,
    verdict: Result<Profile, &'static str>,
    /// The id of a rejected row, if it can be read.
    id: Option<MemberId>,
}

/// A roster and the members before it.
pub struct Case {
    pub mode: Mode,
    pub uploaded_at: Timestamp,
    pub before: Table,
    pub rows: Vec<Row>,
    pub accounts: Vec<AccountId>,
    pub packing: Packing,
    pub removal: Removal,
}

/// A change of one member: the line of the file, and the member before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `None` for an absent member.
    pub line: Option<u64>,
    pub old: Option<Member>,
    pub new: Option<Member>,
}

/// What a batch leaves.
#[derive(Debug, Default)]
pub struct Expected {
    pub rows: Rows,
    pub table: Table,
    pub rejects: Vec<&'static str>,
    pub changes: Vec<Change>,
    /// The code of the problem with which it fails.
    pub problem: Option<&'static str>,
}

impl Case {
    /// Creates a roster of up to 60 rows, or of `scale` times as many with as many times the members.
    pub fn new(seed: u64, scale: u32, random: &mut Rng) -> Self {
        let accounts: Vec<AccountId> = (0..=random.u32(..2))
            .map(|n| AccountId::parse(&format!("s{seed}-{n}")).expect("an account"))
            .collect();
        let keys = scale * (1 + random.u32(..12));
        let uploaded_at = Timestamp::from_millis(1_700_000_000_000);
        let before = (0..random.u32(..2 * keys))
            .map(|_| {
                let profile = profile(&accounts, keys, random);
                let at = uploaded_at.plus_millis(i64::from(random.u32(..3)) - 1);
                Member::new(profile, at, Author::key("before"))
            })
            .map(|member| (member.profile.id.clone(), member))
            .collect();
        let rows = (0..random.u32(..60 * scale))
            .map(|_| row(&accounts, keys, random))
            .collect();
        let limits = [Limit::default(), Limit::Share(10_000), Limit::Members(2)];
        Self {
            mode: pick(
                random,
                &[
                    Mode::Upsert,
                    Mode::Upsert,
                    Mode::Replace,
                    Mode::Replace,
                    Mode::Create,
                    Mode::Overwrite,
                ],
            ),
            uploaded_at,
            before,
            rows,
            accounts,
            packing: pick(random, &Packing::ALL),
            removal: Removal {
                limit: pick(random, &limits),
                despite_unreadable_rows: random.bool(),
            },
        }
    }

    /// Returns the request that creates the batch.
    pub fn request(&self, dry_run: bool) -> BatchRequest {
        let replaces = self.mode == Mode::Replace;
        BatchRequest {
            mode: self.mode,
            dry_run,
            account_id: replaces.then(|| self.accounts[0].clone()),
            removal: replaces.then_some(self.removal),
            format: FileFormat {
                stop_early: false,
                ..FileFormat::default()
            },
            ..BatchRequest::default()
        }
    }

    pub fn file(&self) -> String {
        let mut file = mpulse_tests::HEADER.to_owned();
        for row in &self.rows {
            file.push_str(&row.text);
        }
        file
    }

    /// Applies the rows one by one: the whole promise.
    pub fn model(&self, by: &Author) -> Expected {
        let mut expected = Expected {
            table: self.before.clone(),
            ..Expected::default()
        };
        let mut line = 1;
        for row in &self.rows {
            // The last line of a row's text is the row.
            line += row.text.lines().count() as u64;
            expected.rows.read += 1;
            let other =
                |id: &MemberId| self.mode == Mode::Replace && id.account_id != self.accounts[0];
            let verdict = match &row.verdict {
                Ok(profile) if other(&profile.id) => Err("other_account"),
                verdict => verdict.clone(),
            };
            match verdict {
                Ok(profile) => self.apply(&mut expected, profile, line, by),
                Err(code) => {
                    expected.rows.rejected += 1;
                    expected.rejects.push(code);
                }
            }
        }
        if self.mode == Mode::Replace {
            self.sweep(&mut expected);
        }
        expected
    }

    fn apply(&self, expected: &mut Expected, profile: Profile, line: u64, by: &Author) {
        let (rows, table) = (&mut expected.rows, &mut expected.table);
        let id = profile.id.clone();
        let old = table.get(&id).cloned();
        let new = match (self.mode, &old) {
            (Mode::Overwrite, _) => {
                rows.updated += 1;
                table.insert(id, Member::new(profile, self.uploaded_at, by.clone()));
                return;
            }
            (_, None) => {
                rows.created += 1;
                Member::new(profile, self.uploaded_at, by.clone())
            }
            (Mode::Create, Some(_)) => return rows.unchanged += 1,
            (_, Some(is)) if is.profile == profile => return rows.unchanged += 1,
            (_, Some(is)) if is.updated_at > self.uploaded_at => return rows.superseded += 1,
            (_, Some(is)) => {
                rows.updated += 1;
                is.changed(profile, self.uploaded_at, by.clone())
            }
        };
        table.insert(id, new.clone());
        expected.changes.push(Change {
            line: Some(line),
            old,
            new: Some(new),
        });
    }

    /// Removes the members that are not in the file.
    fn sweep(&self, expected: &mut Expected) {
        let account = &self.accounts[0];
        let own = |id: &&MemberId| id.account_id == *account;
        let valid = self.rows.iter().filter_map(|row| row.verdict.as_ref().ok());
        let rejected = self.rows.iter().filter(|row| row.verdict.is_err());
        let protected = rejected.clone().filter_map(|row| row.id.as_ref());
        let keys: BTreeSet<&MemberId> = valid
            .clone()
            .map(|profile| &profile.id)
            .chain(protected)
            .filter(own)
            .collect();
        let absent: Vec<MemberId> = expected.table.keys().filter(own).cloned().collect();
        let absent: Vec<MemberId> = absent.into_iter().filter(|id| !keys.contains(id)).collect();
        if absent.is_empty() {
            return;
        }
        let members: BTreeSet<&MemberId> = valid.map(|profile| &profile.id).filter(own).collect();
        let had =
            absent.len() as u64 + (members.len() as u64).saturating_sub(expected.rows.created);
        if self.removal.limit.is_exceeded(absent.len() as u64, had) {
            expected.problem = Some("removal_limit_exceeded");
            return;
        }
        let has_unreadable = rejected.clone().any(|row| row.id.is_none());
        if has_unreadable && !self.removal.despite_unreadable_rows {
            expected.problem = Some("unreadable_rows");
            return;
        }
        for id in absent {
            expected.rows.absent += 1;
            let member = &expected.table[&id];
            let is_newer = member.updated_at > self.uploaded_at;
            if is_newer {
                expected.rows.superseded += 1;
                continue;
            }
            expected.rows.removed += 1;
            let old = expected.table.remove(&id);
            expected.changes.push(Change {
                line: None,
                old,
                new: None,
            });
        }
    }
}

/// Returns what taking back the changes of a batch leaves of a table. The members that it restores have the revert's provenance.
pub fn reverted(
    changes: &[Change],
    table: &Table,
    parent: &BatchId,
    at: Timestamp,
    by: &Author,
) -> Expected {
    let parent = Author::batch(parent.as_str());
    let mut expected = Expected {
        table: table.clone(),
        ..Expected::default()
    };
    for (index, change) in changes.iter().enumerate() {
        expected.rows.read += 1;
        let id = [&change.old, &change.new]
            .into_iter()
            .flatten()
            .map(|member| member.profile.id.clone())
            .next()
            .expect("a member");
        let rows = &mut expected.rows;
        let current = expected.table.get(&id).cloned();
        let ours = current.as_ref().is_some_and(|is| is.updated_by == parent);
        let restored = |old: &Member| Member {
            updated_at: at,
            updated_by: by.clone(),
            ..old.clone()
        };
        let new = match (&change.old, &change.new) {
            (Some(old), Some(_)) if old.updated_by == parent => {
                rows.unchanged += 1;
                continue;
            }
            (Some(old), Some(_)) if ours => {
                rows.updated += 1;
                Some(restored(old))
            }
            (Some(old), None) if current.is_none() => {
                rows.created += 1;
                Some(restored(old))
            }
            (None, Some(_)) if ours => {
                rows.removed += 1;
                None
            }
            _ => {
                rows.superseded += 1;
                continue;
            }
        };
        match &new {
            Some(member) => expected.table.insert(id, member.clone()),
            None => expected.table.remove(&id),
        };
        expected.changes.push(Change {
            line: Some(index as u64 + 2),
            old: current,
            new,
        });
    }
    expected
}

pub fn pick<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

fn profile(accounts: &[AccountId], keys: u32, random: &mut Rng) -> Profile {
    let account = &accounts[random.usize(..accounts.len())];
    Profile {
        id: MemberId {
            account_id: account.clone(),
            client_member_id: ClientMemberId::parse(&format!("{}", random.u32(..keys)))
                .expect("an id"),
        },
        first_name: pick(random, &["Ann", "Bo", "Zoë"]).to_owned(),
        last_name: pick(random, &["Lee", "O'Brien, Jr.", "=Lee"]).to_owned(),
        phone_number: Phone::from_stored(
            pick(random, &["+17145550123", "+442079460018"]).to_owned(),
        ),
    }
}

impl Row {
    /// A row of a member.
    pub fn valid(profile: Profile) -> Self {
        Self {
            text: text(&profile, &profile.first_name, profile.phone_number.as_str()),
            id: Some(profile.id.clone()),
            verdict: Ok(profile),
        }
    }

    /// A row of a member whose phone number is rejected.
    pub fn with_invalid_phone(profile: Profile) -> Self {
        Self {
            text: text(&profile, &profile.first_name, "12"),
            verdict: Err("invalid_phone"),
            id: Some(profile.id),
        }
    }
}

/// Returns a row's text, with this first name and phone number.
fn text(profile: &Profile, first_name: &str, phone_number: &str) -> String {
    let (account, id) = (&profile.id.account_id, &profile.id.client_member_id);
    let last_name = &profile.last_name;
    format!("{account},{id},{first_name},\"{last_name}\",{phone_number}\n")
}

fn row(accounts: &[AccountId], keys: u32, random: &mut Rng) -> Row {
    let profile = profile(accounts, keys, random);
    match random.u32(..12) {
        0 => Row::with_invalid_phone(profile),
        1 => Row {
            text: text(&profile, "", "7145550123"),
            verdict: Err("required"),
            id: Some(profile.id),
        },
        2 => Row {
            text: format!(
                "{},{},short\n",
                profile.id.account_id, profile.id.client_member_id
            ),
            verdict: Err("wrong_field_count"),
            id: None,
        },
        3 => {
            let row = Row::valid(profile);
            let text = format!("\n{}", row.text);
            Row { text, ..row }
        }
        _ => Row::valid(profile),
    }
}

/// Describes a case for a failure.
pub fn story(seed: u64, case: &Case) -> String {
    let mut story = format!(
        "seed {seed}, {:?}, {:?}, {:?}\n",
        case.mode, case.packing, case.removal
    );
    for member in case.before.values() {
        let _ = writeln!(story, "before: {member:?}");
    }
    story + &case.file()
}
