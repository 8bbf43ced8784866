//! What the file may do to members, as the arguments say.

use clap::{Args, ValueEnum};
use mpulse_shared::batch::Limit;

use crate::client::NewRemoval;
use crate::sample::account_id;

/// The arguments about the effect of the file.
#[derive(Debug, Clone, Default, Args)]
pub struct EffectArgs {
    /// The account of the rows, for a file without an account column; the account to replace
    #[arg(
        long,
        value_name = "ID",
        value_parser = account_id,
        required_if_eq_any([("replace", "true"), ("mode", "replace")])
    )]
    pub account: Option<String>,

    /// How to handle members [default: upsert]
    #[arg(long)]
    mode: Option<Mode>,

    /// Short for --mode replace: afterwards the account has exactly the members of the file
    #[arg(long, conflicts_with = "mode")]
    replace: bool,

    /// The most members that a replacement may remove: a number, or a percentage of the account's members. If more
    /// are absent from the file, none is removed [default: 10%]
    #[arg(long, value_name = "LIMIT")]
    removal_limit: Option<Limit>,

    /// Remove members although there are rows whose client member id cannot be read
    #[arg(long)]
    despite_unreadable_rows: bool,

    /// Do not record the changes. Such a batch cannot be reverted
    #[arg(long)]
    no_changes: bool,
}

/// How members are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Update members that differ
    Upsert,
    /// Do not change existing members
    Create,
    /// Write every row without comparing
    Overwrite,
    /// Update members that differ, and remove the account's members that are not in the file
    Replace,
}

impl EffectArgs {
    /// Returns whether there are arguments about removals without a replacement.
    pub fn misses_replace(&self) -> bool {
        self.removal().is_some() && self.mode() != Some(Mode::Replace.name())
    }

    /// Returns the API's name of the mode, if one was given.
    pub fn mode(&self) -> Option<&'static str> {
        if self.replace {
            Some(Mode::Replace.name())
        } else {
            self.mode.map(Mode::name)
        }
    }

    /// Returns which members may be removed, if an argument says so.
    pub fn removal(&self) -> Option<NewRemoval> {
        let removal = NewRemoval {
            limit: self.removal_limit,
            despite_unreadable_rows: self.despite_unreadable_rows,
        };
        (removal.limit.is_some() || removal.despite_unreadable_rows).then_some(removal)
    }

    /// Returns whether changes are recorded, if an argument says so.
    pub fn changes(&self) -> Option<bool> {
        self.no_changes.then_some(false)
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Create => "create",
            Self::Overwrite => "overwrite",
            Self::Replace => "replace",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        effect: EffectArgs,
    }

    fn effect(args: &[&str]) -> Result<EffectArgs, clap::Error> {
        Command::try_parse_from([&["x"], args].concat()).map(|command| command.effect)
    }

    #[test]
    fn a_replacement_needs_an_account() {
        for replace in [&["--replace"][..], &["--mode", "replace"]] {
            assert!(effect(replace).is_err());
            let effect = effect(&[replace, &["--account", "4"]].concat()).unwrap();
            assert_eq!(effect.mode(), Some("replace"));
        }
        assert!(effect(&["--replace", "--mode", "create", "--account", "4"]).is_err());
        assert_eq!(effect(&[]).unwrap().mode(), None);
        assert_eq!(
            effect(&["--mode", "create"]).unwrap().mode(),
            Some("create")
        );
    }

    #[test]
    fn a_removal_has_what_was_given() {
        let removal = |args: &[&str]| {
            let effect = effect(&[&["--replace", "--account", "4"], args].concat()).unwrap();
            assert!(!effect.misses_replace());
            json!(effect.removal())
        };
        assert_eq!(removal(&[]), json!(null));
        assert_eq!(removal(&["--removal-limit", "5%"]), json!({"limit": "5%"}));
        assert_eq!(
            removal(&["--removal-limit", "250", "--despite-unreadable-rows"]),
            json!({"limit": 250, "despite_unreadable_rows": true})
        );
        assert!(effect(&["--removal-limit", "5 %"]).is_err());
        assert!(effect(&["--removal-limit", "5%"]).unwrap().misses_replace());
        assert!(
            effect(&["--despite-unreadable-rows", "--mode", "upsert"])
                .unwrap()
                .misses_replace()
        );
    }

    #[test]
    fn changes_are_recorded_unless_the_arguments_say_otherwise() {
        assert_eq!(effect(&[]).unwrap().changes(), None);
        assert_eq!(effect(&["--no-changes"]).unwrap().changes(), Some(false));
    }
}
