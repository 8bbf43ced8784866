//! Which accounts a key, and what is made with it, may touch.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::member::AccountId;

/// The most accounts that a key may be bound to: a lookup by phone asks for each of them.
pub const MAX_ACCOUNTS: usize = 100;

/// All accounts, or those that a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Option<BTreeSet<AccountId>>);

impl Scope {
    /// Every account, also those to come.
    pub const ALL: Self = Self(None);

    /// These accounts and no other.
    #[must_use]
    pub fn only(accounts: BTreeSet<AccountId>) -> Self {
        Self(Some(accounts))
    }

    /// Every account: what a record says that knows of no binding.
    #[must_use]
    pub fn all() -> Self {
        Self::ALL
    }

    /// Whether nothing is out of bounds.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// The accounts, unless they are all.
    #[must_use]
    pub fn accounts(&self) -> Option<&BTreeSet<AccountId>> {
        self.0.as_ref()
    }

    /// Whether an account is within.
    #[must_use]
    pub fn covers(&self, account: &AccountId) -> bool {
        self.0.as_ref().is_none_or(|own| own.contains(account))
    }

    /// Whether all of another scope is within.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.is_subset(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(accounts: &[&str]) -> Scope {
        Scope::only(
            accounts
                .iter()
                .map(|id| AccountId::parse(id).unwrap())
                .collect(),
        )
    }

    #[test]
    fn a_scope_includes_what_it_covers_and_no_more() {
        for (wide, narrow) in [
            (Scope::ALL, Scope::ALL),
            (Scope::ALL, only(&["4"])),
            (only(&["4", "5"]), only(&["4"])),
            (only(&["4"]), only(&["4"])),
        ] {
            assert!(wide.includes(&narrow), "{wide:?} {narrow:?}");
        }
        assert!(!only(&["4"]).includes(&Scope::ALL));
        assert!(!only(&["4"]).includes(&only(&["4", "5"])));
        let five = AccountId::parse("5").unwrap();
        assert!(Scope::ALL.covers(&five) && !only(&["4"]).covers(&five));
    }

    #[test]
    fn it_is_written_as_a_list_or_null() {
        assert_eq!(serde_json::to_string(&Scope::ALL).unwrap(), "null");
        assert_eq!(
            serde_json::to_string(&only(&["5", "4"])).unwrap(),
            r#"["4","5"]"#
        );
    }
}
