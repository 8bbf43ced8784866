//! The requests of the mixed load, and whether each response is the expected one.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::connection::{Answer, Connection};
use crate::dev::KEY;
use crate::error::Error;
use crate::roster::{ACCOUNT, Person};

/// The members of an account are listed in pages of this size, the default.
const PAGE: u32 = 50;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A member by its id.
    ById,
    /// A member by its phone number.
    ByPhone,
    /// A member by the client's id.
    ByClientId,
    /// A page of the members of the account.
    Account,
    /// A new member.
    Create,
    /// Another name of a member that this session has created, with its `ETag` as `If-Match`.
    Change,
}

/// The kinds of twenty requests; the first [`READS`] of them are reads.
const MIX: [Kind; 20] = {
    use Kind::{Account, ByClientId, ById, ByPhone, Change, Create};
    [
        ById, ByPhone, ByClientId, ById, ByPhone, ByClientId, ById, ByPhone, ByClientId, ById,
        ByPhone, ByClientId, ById, ByPhone, ByClientId, ById, Account, Account, Create, Change,
    ]
};
const READS: u64 = 18;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ById,
        Self::ByPhone,
        Self::ByClientId,
        Self::Account,
        Self::Create,
        Self::Change,
    ];

    /// Returns the kind of a request by its number.
    pub fn of(number: u64, reads_only: bool) -> Self {
        let kinds = if reads_only { READS } else { 20 };
        let at = usize::try_from(spread(number) % kinds).unwrap_or_default();
        MIX[at]
    }

    /// Returns whether it changes nothing.
    pub fn is_read(self) -> bool {
        !matches!(self, Self::Create | Self::Change)
    }

    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ById => "GET by id",
            Self::ByPhone => "GET by phone",
            Self::ByClientId => "GET by client id",
            Self::Account => "GET a page of an account",
            Self::Create => "POST a new member",
            Self::Change => "PATCH with If-Match",
        }
    }
}

/// Maps successive numbers to numbers in no visible order (Fibonacci hashing; Knuth, vol. 3, 6.4).
fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// A client with one connection.
#[derive(Debug)]
pub struct Session<'a> {
    port: u16,
    connection: Option<Connection>,
    credentials: String,
    people: &'a [Person],
    /// Members that it has created.
    own: VecDeque<Own>,
    /// The path of the next page of the account.
    next: Option<String>,
}

/// A member that a session has created.
#[derive(Debug)]
struct Own {
    client_member_id: String,
    etag: String,
}

impl<'a> Session<'a> {
    /// Creates a session that reads these members of the account.
    pub fn new(port: u16, people: &'a [Person]) -> Self {
        Self {
            port,
            connection: None,
            credentials: STANDARD.encode(KEY),
            people,
            own: VecDeque::new(),
            next: None,
        }
    }

    /// Performs the request with this number.
    ///
    /// # Errors
    /// Returns an error if there is no response, or not the expected one. Its text contains no data.
    pub fn perform(&mut self, number: u64, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::ById | Kind::ByPhone | Kind::ByClientId => self.find(number, kind),
            Kind::Account => self.list(),
            Kind::Create => self.create(number),
            Kind::Change => match self.own.pop_front() {
                Some(own) => self.change(own, number),
                None => self.create(number),
            },
        }
    }

    fn find(&mut self, number: u64, kind: Kind) -> Result<(), Error> {
        let people = u64::try_from(self.people.len())?;
        let person = &self.people[usize::try_from(spread(number) % people)?];
        let id = &person.client_member_id;
        let path = match kind {
            Kind::ByPhone => format!("/api/members/?ph={}", person.phone_in_url()),
            Kind::ByClientId => format!("/api/members/?cmid={id}"),
            _ => format!("/api/members/{ACCOUNT}~{id}"),
        };
        let answer = self.send("GET", &path, "", "")?;
        expect(&answer, "200", &has_id(id))
    }

    /// Reads the next page of the account, and the first one after the last.
    fn list(&mut self) -> Result<(), Error> {
        let path = self.next.take();
        let path = path.unwrap_or_else(|| format!("/api/members/?aid={ACCOUNT}&limit={PAGE}"));
        let answer = self.send("GET", &path, "", "")?;
        expect(&answer, "200", "\"results\":[{")?;
        let page: Value = serde_json::from_str(&answer.body)?;
        self.next = page["next"].as_str().and_then(path_of).map(str::to_owned);
        Ok(())
    }

    fn create(&mut self, number: u64) -> Result<(), Error> {
        let client_member_id = format!("load-{number}");
        let body = json!({
            "account_id": ACCOUNT, "client_member_id": client_member_id, "first_name": "Ann", "last_name": "Lee",
            "phone_number": format!("+1212{}", 5_550_000 + number % 10_000),
        });
        let answer = self.send("POST", "/api/members/", JSON, &body.to_string())?;
        expect(&answer, "201", &has_id(&client_member_id))?;
        self.keep(client_member_id, &answer)
    }

    fn change(&mut self, own: Own, number: u64) -> Result<(), Error> {
        let last_name = format!("Lee {number}");
        let path = format!("/api/members/{ACCOUNT}~{}", own.client_member_id);
        let headers = format!("{JSON}if-match: {}\r\n", own.etag);
        let body = json!({ "last_name": last_name }).to_string();
        let answer = self.send("PATCH", &path, &headers, &body)?;
        expect(&answer, "200", &last_name)?;
        self.keep(own.client_member_id, &answer)
    }

    fn keep(&mut self, client_member_id: String, answer: &Answer) -> Result<(), Error> {
        let etag = answer.header("etag").ok_or("a member without an ETag")?;
        self.own.push_back(Own {
            client_member_id,
            etag: etag.to_owned(),
        });
        Ok(())
    }

    /// Sends a request. After an error, the next one has a new connection.
    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<Answer, Error> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Basic {}\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            self.port,
            self.credentials,
            body.len()
        );
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.port)?,
        };
        let answer = connection.send(request.as_bytes())?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

const JSON: &str = "content-type: application/json\r\n";

/// Returns what a response with this member contains.
fn has_id(client_member_id: &str) -> String {
    format!("\"client_member_id\":\"{client_member_id}\"")
}

fn expect(answer: &Answer, status: &str, part: &str) -> Result<(), Error> {
    if answer.status() != status {
        return Err(format!("status {}", answer.status()).into());
    }
    if !answer.body.contains(part) {
        return Err("not the expected member".into());
    }
    Ok(())
}

/// Returns the path and the query of a URL.
fn path_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.find('/').map(|at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_requests_write() {
        let count = |wanted: &dyn Fn(Kind) -> bool, reads_only| {
            let kinds = (0..100_000).map(|number| Kind::of(number, reads_only));
            kinds.filter(|kind| wanted(*kind)).count()
        };
        for kind in [Kind::Create, Kind::Change] {
            let share = count(&|one| one == kind, false);
            assert!(share.abs_diff(5_000) < 200, "{share}");
            assert_eq!(count(&|one| one == kind, true), 0);
        }
        assert_eq!(count(&Kind::is_read, true), 100_000);
    }

    #[test]
    fn the_next_page_is_a_path() {
        let next = path_of("http://127.0.0.1:9700/api/members/?aid=4&cursor=x");
        assert_eq!(next, Some("/api/members/?aid=4&cursor=x"));
        assert_eq!(path_of("/api"), None);
    }
}
