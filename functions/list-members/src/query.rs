//! The query of a list: filters, page size and position.

use mpulse_shared::http::cursor;
use mpulse_shared::http::fields::{Fields, phone_number, repeated, unplussed};
use mpulse_shared::http::form::whole_number;
use mpulse_shared::member::{AccountId, ClientMemberId, FieldError, InvalidMemberId, MemberId};
use mpulse_shared::phone::{DefaultRegion, Phone};
use mpulse_shared::scope::Scope;
use mpulse_shared::store::members::Filter;

/// Members per page by default.
const DEFAULT_LIMIT: usize = 50;

/// The maximum number of members per page.
pub const MAX_LIMIT: usize = 1000;

/// A validated query.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// The member of this public id.
    id: Option<MemberId>,
    /// The other filters.
    filter: Filter,
    /// Members on a page.
    pub limit: usize,
    /// The position of the page.
    cursor: Option<String>,
}

impl Query {
    /// Reads the parameters. An unknown one is an error: ignoring a misspelt filter would list the wrong members. So is a
    /// filter that is given by both of its names.
    ///
    /// # Errors
    /// Returns every error found.
    pub fn parse(parameters: &Fields, region: DefaultRegion) -> Result<Self, Vec<FieldError>> {
        let mut query = Self {
            id: None,
            filter: Filter::default(),
            limit: DEFAULT_LIMIT,
            cursor: None,
        };
        let mut errors = Vec::new();
        for (name, value) in parameters {
            if let Err(mut error) = query.take(name, value, region) {
                error.field.clone_from(name);
                errors.push(error);
            }
        }
        if errors.is_empty() {
            Ok(query)
        } else {
            Err(errors)
        }
    }

    fn take(&mut self, name: &str, value: &str, region: DefaultRegion) -> Result<(), FieldError> {
        match name {
            "id" => {
                self.id = Some(value.parse().map_err(|error: InvalidMemberId| {
                    FieldError::new(name, "invalid_id", error.to_string())
                })?);
            }
            "aid" | "account_id" => set(&mut self.filter.account_id, AccountId::parse(value)?)?,
            "cmid" | "client_member_id" => {
                set(
                    &mut self.filter.client_member_id,
                    ClientMemberId::parse(value)?,
                )?;
            }
            "ph" | "phone_number" => {
                set(
                    &mut self.filter.phone_number,
                    phone_number(name, value, region)?,
                )?;
            }
            "limit" => {
                self.limit = whole_number(value)
                    .and_then(|limit| usize::try_from(limit).ok())
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                    .ok_or_else(|| {
                        FieldError::new(
                            name,
                            "invalid_limit",
                            format!("must be a whole number from 1 to {MAX_LIMIT}"),
                        )
                    })?;
            }
            "cursor" => self.cursor = Some(value.to_owned()),
            _ => {
                return Err(FieldError::new(
                    name,
                    "unknown_parameter",
                    "must be one of id, ph, cmid, aid, limit, cursor",
                ));
            }
        }
        Ok(())
    }

    /// Returns whether the query has no filter.
    pub fn is_unfiltered(&self) -> bool {
        self.id.is_none() && self.filter == Filter::default()
    }

    /// Returns the filter; `None` if the id and the other filters contradict each other. The id is
    /// a filter like the others: it names the account and the client member id.
    pub fn filter(&self) -> Option<Filter> {
        let Some(id) = &self.id else {
            return Some(self.filter.clone());
        };
        let Filter {
            account_id,
            client_member_id,
            phone_number,
        } = &self.filter;
        let fits = account_id
            .as_ref()
            .is_none_or(|account| *account == id.account_id)
            && client_member_id
                .as_ref()
                .is_none_or(|client| *client == id.client_member_id);
        fits.then(|| Filter {
            account_id: Some(id.account_id.clone()),
            client_member_id: Some(id.client_member_id.clone()),
            phone_number: phone_number.clone(),
        })
    }

    /// Returns what distinguishes this list from others: a cursor is valid for one list only.
    pub fn identity(&self, scope: &Scope) -> String {
        let Filter {
            account_id,
            client_member_id,
            phone_number,
        } = &self.filter;
        let mut list = String::from("members");
        for part in [
            self.id.as_ref().map(MemberId::to_string).as_deref(),
            account_id.as_ref().map(AccountId::as_str),
            client_member_id.as_ref().map(ClientMemberId::as_str),
            phone_number.as_ref().map(Phone::as_str),
        ] {
            list.push(' ');
            list.push_str(part.unwrap_or_default());
        }
        for account in scope.accounts().into_iter().flatten() {
            list.push(' ');
            list.push_str(account.as_str());
        }
        list
    }

    /// Returns the last member of the previous page, if there was one.
    pub fn after(&self, list: &str) -> Result<Option<MemberId>, FieldError> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        cursor::decode(text, list)
            .and_then(|last| last.parse().ok())
            .map(Some)
            .ok_or_else(|| {
                FieldError::new("cursor", "invalid_cursor", "is not a cursor of this list")
            })
    }
}

/// Sets a filter that has two names.
fn set<T>(filter: &mut Option<T>, value: T) -> Result<(), FieldError> {
    match filter.replace(value) {
        None => Ok(()),
        // The caller knows the name.
        Some(_) => Err(repeated("")),
    }
}

/// Returns the query string with another cursor.
pub fn with_cursor(parameters: &Fields, cursor: &str) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        match name.as_str() {
            "cursor" => {}
            // Written with the restored plus sign, so that the link does not depend on the
            // restoring.
            "ph" | "phone_number" => {
                out.append_pair(name, unplussed(value).as_ref());
            }
            _ => {
                out.append_pair(name, value);
            }
        }
    }
    out.append_pair("cursor", cursor);
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect()
    }

    fn parse(text: &str) -> Result<Query, Vec<(String, &'static str)>> {
        Query::parse(&fields(text), "US".parse().unwrap())
            .map_err(|errors| errors.into_iter().map(|e| (e.field, e.code)).collect())
    }

    #[test]
    fn every_notation_of_a_phone_is_the_same_query() {
        let wanted = parse("ph=7145550123").unwrap();
        for text in [
            "ph=%2B17145550123",
            "ph=+17145550123",
            "ph=+1%20714+555+0123",
            "phone_number=(714)%20555-0123",
        ] {
            assert_eq!(parse(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn errors_name_their_parameter() {
        for (text, field, code) in [
            ("id=4", "id", "invalid_id"),
            ("aid=4~", "aid", "invalid_account_id"),
            ("ph=12", "ph", "invalid_phone"),
            ("limit=0", "limit", "invalid_limit"),
            ("limit=1001", "limit", "invalid_limit"),
            ("limit=x", "limit", "invalid_limit"),
            ("limit=%2B5", "limit", "invalid_limit"),
            ("phone=7145550123", "phone", "unknown_parameter"),
            ("account_id=4&aid=4", "aid", "repeated"),
            ("cmid=1&client_member_id=2", "cmid", "repeated"),
            (
                "phone_number=7145550123&ph=7145550123",
                "phone_number",
                "repeated",
            ),
        ] {
            assert_eq!(parse(text), Err(vec![(field.to_owned(), code)]), "{text}");
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_invalid() {
        let four = Scope::only([AccountId::parse("4").unwrap()].into());
        let mine = parse("aid=4").unwrap().identity(&Scope::ALL);
        let cursor = cursor::encode("4~1", &mine);
        let after = |text: &str, scope: &Scope| {
            let query = parse(&format!("{text}&cursor={cursor}")).unwrap();
            query
                .after(&query.identity(scope))
                .map_err(|error| error.code)
        };
        let there = Ok(Some("4~1".parse().unwrap()));
        assert_eq!(after("aid=4", &Scope::ALL), there);
        assert_eq!(after("aid=4&limit=7", &Scope::ALL), there);
        for other in ["aid=5", "cmid=4", "limit=7", "aid=4&ph=7145550123"] {
            assert_eq!(after(other, &Scope::ALL), Err("invalid_cursor"), "{other}");
        }
        assert_eq!(after("aid=4", &four), Err("invalid_cursor"));
    }

    #[test]
    fn the_next_link_keeps_the_filters() {
        assert_eq!(
            with_cursor(&fields("aid=4&cursor=old&ph=+17145550123"), "new"),
            "aid=4&ph=%2B17145550123&cursor=new"
        );
    }
}
