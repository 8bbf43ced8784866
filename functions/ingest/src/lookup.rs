//! Looks up the existing members of a window: in the index of fingerprints if it knows them, else
//! in the table, in the cheaper of two ways. Reading by key costs one read unit per member; reading
//! a page of the account costs one for about sixteen. A page is read only when reading by key has
//! cost as much since the last page, so no file pays more than about twice the cheaper way.
//!

use std::collections::{HashMap, HashSet};

use mpulse_shared::batch::Mode;
use mpulse_shared::member::{AccountId, MemberId, Profile};
use mpulse_shared::run::RunError;
use tokio::task::JoinSet;

use crate::index::{Answer, Index, Next};
use crate::table::{AccountPage, Members, RunTable, joined};

/// The existing members of a window's rows, except for those in flight.
#[derive(Debug, Default)]
pub struct Found {
    /// Members that were read.
    pub members: Members,
    /// For each row, whether its member is known to equal it.
    pub equal: Vec<bool>,
    /// The rows that differ from a member that only this dry run knows.
    pub predicted: HashSet<usize>,
}

/// The requests of one round.
#[derive(Default)]
struct Round<'a> {
    keys: Vec<&'a MemberId>,
    pages: Vec<(AccountId, u32)>,
}

/// Looks up the existing members of a window's rows, except for those `in_flight`.
///
/// # Errors
/// Returns an error if the run must stop.
pub async fn find(
    table: &RunTable,
    index: &mut Index,
    mode: Mode,
    rows: &[Profile],
    in_flight: impl Fn(&MemberId) -> bool,
) -> Result<Found, RunError> {
    let mut found = Found {
        members: Members::new(),
        equal: vec![false; rows.len()],
        predicted: HashSet::new(),
    };
    if mode == Mode::Overwrite {
        return Ok(found);
    }
    let mut asked: HashSet<&MemberId> = HashSet::new();
    let mut differ = Vec::new();
    let mut unknown: Vec<usize> = (0..rows.len())
        .filter(|&row| !in_flight(&rows[row].id))
        .collect();
    loop {
        unknown.retain(|&row| match index.answer(&rows[row]) {
            Answer::Unknown => !asked.contains(&rows[row].id),
            Answer::Absent => false,
            Answer::Predicted => {
                found.predicted.insert(row);
                false
            }
            Answer::Unchanged => {
                found.equal[row] = true;
                false
            }
            Answer::Differs if mode == Mode::Create => {
                found.equal[row] = true;
                false
            }
            Answer::Differs => {
                if asked.insert(&rows[row].id) {
                    differ.push(&rows[row].id);
                }
                false
            }
        });
        if unknown.is_empty() && differ.is_empty() {
            return Ok(found);
        }
        let mut round = plan(index, rows, &unknown);
        asked.extend(round.keys.iter().copied());
        round.keys.append(&mut differ);
        let (members, pages) =
            tokio::try_join!(table.fetch(&round.keys), buy(table, index, &round.pages))?;
        found.members.extend(members);
        for page in pages {
            index.add_page(&page.account_id, &page.members, page.last);
        }
    }
}

/// Returns the requests for rows whose members are unknown: for each account either its next page,
/// or as many keys as are read before a page is worthwhile.
fn plan<'a>(index: &mut Index, rows: &'a [Profile], unknown: &[usize]) -> Round<'a> {
    let mut round = Round::default();
    let mut accounts: HashMap<&AccountId, HashSet<&'a MemberId>> = HashMap::new();
    for &row in unknown {
        let id = &rows[row].id;
        accounts.entry(&id.account_id).or_default().insert(id);
    }
    for (account, ids) in accounts {
        match index.next(account) {
            Next::Page(limit) => round.pages.push((account.clone(), limit)),
            Next::Keys(most) => {
                let count = ids.len().min(most);
                index.read_by_key(account, count);
                round.keys.extend(ids.into_iter().take(count));
            }
        }
    }
    round
}

async fn buy(
    table: &RunTable,
    index: &Index,
    pages: &[(AccountId, u32)],
) -> Result<Vec<AccountPage>, RunError> {
    let mut requests = JoinSet::new();
    for (account, limit) in pages {
        let after = index.page_after(account).cloned();
        requests.spawn(table.clone().page(account.clone(), after, *limit));
    }
    let mut bought = Vec::with_capacity(pages.len());
    while let Some(result) = requests.join_next().await {
        bought.push(joined(result)?);
    }
    Ok(bought)
}
