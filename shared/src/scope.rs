//! The accounts that a key, and everything created with it, has access to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::member::AccountId;

/// The maximum number of accounts of a key: a lookup by phone queries each of them.
pub const MAX_ACCOUNTS: usize = 100;

/// All accounts, or those that a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Option<BTreeSet<AccountId>>);

impl Scope {
    /// Every account, including future ones.
    pub const ALL: Self = Self(None);

    /// Returns a scope of only these accounts.
    #[must_use]
    pub fn only(accounts: BTreeSet<AccountId>) -> Self {
        Self(Some(accounts))
    }

    /// Returns [`Scope::ALL`], the scope of a record that is not bound to accounts.
    #[must_use]
    pub fn all() -> Self {
        Self::ALL
    }

    /// Returns whether the scope covers every account.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the accounts, or `None` for all.
    #[must_use]
    pub fn accounts(&self) -> Option<&BTreeSet<AccountId>> {
        self.0.as_ref()
    }

    /// Returns whether the scope covers an account.
    #[must_use]
    pub fn covers(&self, account: &AccountId) -> bool {
        self.0.as_ref().is_none_or(|own| own.contains(account))
    }

    /// Returns whether the scope covers every account of another scope.
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
    fn a_scope_includes_only_what_it_covers() {
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
    fn a_scope_is_serialised_as_a_list_or_null() {
        assert_eq!(serde_json::to_string(&Scope::ALL).unwrap(), "null");
        assert_eq!(
            serde_json::to_string(&only(&["5", "4"])).unwrap(),
            r#"["4","5"]"#
        );
    }
}
