//! What the tests of the running stack share: a machine of one's own with a key of each
//! role, a client that a test reads like a transcript, and rosters to send.
//!
//! Everything here panics where it can't go on: a test that can't be set up has failed.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is how all of this tells that something doesn't hold"
)]

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use mpulse_local::{BUILT_IN_TEMPLATE, Data, Machine, Options};
use mpulse_shared::access::{Key, Role, Secret};
use mpulse_shared::member::AccountId;
use mpulse_shared::scope::Scope;
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, redirect};
use serde_json::{Value, json};

/// How long anything that is waited for may take.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The time between two looks at something that is waited for.
const GLANCE: Duration = Duration::from_millis(15);

/// The header of the rosters made here.
pub const HEADER: &str = "account_id,client_member_id,first_name,last_name,phone_number\n";

/// A key, as its holder has it.
#[derive(Debug, Clone)]
pub struct Login {
    /// The key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// A machine with three keys, and a client of it. It ends with the test's runtime.
#[derive(Debug)]
pub struct Stack {
    /// The machine, for its template and its AWS clients.
    pub machine: Machine,
    /// The key `admin`.
    pub admin: Login,
    /// The key `writer`, which requests are made with unless a test says otherwise.
    pub writer: Login,
    /// The key `reader`.
    pub reader: Login,
    http: Client,
}

impl Stack {
    /// A machine made from template.yaml that keeps nothing.
    pub async fn start() -> Self {
        Self::on(options()).await
    }

    /// A machine made from another template, with values for its parameters.
    pub async fn with(template: &str, parameters: &[(&str, &str)], data: Data) -> Self {
        let parameters: HashMap<_, _> = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::on(Options {
            template: template.to_owned(),
            parameters,
            data,
            ..options()
        })
        .await
    }

    /// The machine of [`Stack::start`], where this goes wrong on purpose between the
    /// functions and the engines.
    pub async fn with_faults(spec: &str) -> Self {
        let faults = spec.parse().expect("the faults can be read");
        Self::on(Options {
            faults: Some(faults),
            ..options()
        })
        .await
    }

    async fn on(options: Options) -> Self {
        let machine = Machine::start(options).await.expect("the machine starts");
        let keys = Keys::from_setup(&machine.setup()).expect("the template names the keys table");
        let [admin, writer, reader] = [
            ("admin", Role::Admin),
            ("writer", Role::Writer),
            ("reader", Role::Reader),
        ];
        Self {
            admin: make_key(&keys, admin, Scope::ALL).await,
            writer: make_key(&keys, writer, Scope::ALL).await,
            reader: make_key(&keys, reader, Scope::ALL).await,
            machine,
            http: client(),
        }
    }

    /// The keys table.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::from_setup(&self.machine.setup()).expect("the template names the keys table")
    }

    /// A key whose secret is fixed.
    pub async fn fixed_key(&self, id: &str, secret: &str, role: Role) {
        let secret = Secret::from_text(secret.to_owned());
        let key_id = id.parse().expect("a key's id");
        let key = Key::new(key_id, &secret, role, Timestamp::now());
        self.keys().replace(&key).await.expect("the key is stored");
    }

    /// A key that is bound to accounts.
    pub async fn bound_key(&self, id: &str, role: Role, accounts: &[&str]) -> Login {
        let account = |id: &&str| AccountId::parse(id).expect("an account id");
        let accounts = Scope::only(accounts.iter().map(account).collect());
        make_key(&self.keys(), (id, role), accounts).await
    }

    /// A request without a key. `path` may be a whole URL.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.machine.api_url())
        } else {
            path.to_owned()
        };
        self.http.request(method, url)
    }

    /// A request with that key.
    pub fn request_as(&self, login: &Login, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path)
            .basic_auth(&login.id, Some(&login.secret))
    }

    /// A request of the writer's.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.writer, method, path)
    }

    /// What a GET answers.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// What a DELETE answers.
    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// What a POST of JSON answers.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// What a POST of any text answers.
    pub async fn post_text(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.request(Method::POST, path);
        send(request.header(CONTENT_TYPE, media_type).body(body)).await
    }

    /// Opens a batch; gives it with its `upload`.
    pub async fn open_batch(&self, options: &Value) -> Value {
        let answer = self.post("/api/members/batch", options).await;
        answer.expect(201);
        answer.json()
    }

    /// Sends a file as the batch's `upload` says.
    pub async fn put_file(&self, batch: &Value, content: impl Into<reqwest::Body>) -> Answer {
        let upload = &batch["upload"];
        let mut request = self.anonymous(Method::PUT, text(&upload["url"]));
        for (name, value) in upload["headers"].as_object().expect("headers") {
            // The client itself says how long the body is.
            if name != "content-length" {
                request = request.header(name, text(value));
            }
        }
        send(request.body(content)).await
    }

    /// Sends those parts of a file, as the batch's list of parts says.
    pub async fn put_parts(&self, batch: &Value, content: &[u8], numbers: &[u64]) {
        for &number in numbers {
            let part = self.part(batch, number).await;
            let (from, size) = (count(&part["offset"]), count(&part["size"]));
            let bytes = usize::try_from(from).and_then(|from| {
                let size = usize::try_from(size)?;
                Ok(content[from..from + size].to_vec())
            });
            let url = text(&part["url"]);
            // Of an empty body, the client itself says no length.
            let request = self
                .anonymous(Method::PUT, url)
                .header(CONTENT_LENGTH, size);
            send(request.body(bytes.expect("a size"))).await.expect(200);
        }
    }

    /// A part of a batch's file, as its list of parts tells of it.
    pub async fn part(&self, batch: &Value, number: u64) -> Value {
        let path = format!("{}?from={number}&limit=1", text(&batch["links"]["parts"]));
        let answer = self.get(&path).await;
        answer.expect(200);
        answer.json()["results"][0].take()
    }

    /// Sends a file by a presigned URL and waits for the end of its batch.
    pub async fn upload(&self, content: impl Into<reqwest::Body>) -> Value {
        self.upload_with(&json!({}), content).await
    }

    /// The same for a batch that is opened with these fields.
    pub async fn upload_with(&self, options: &Value, content: impl Into<reqwest::Body>) -> Value {
        let batch = self.open_batch(options).await;
        self.put_file(&batch, content).await.expect(200);
        self.wait_for_batch(text(&batch["batch_id"])).await
    }

    /// A batch as it is now.
    pub async fn batch(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/members/batch/{id}")).await;
        answer.expect(200);
        answer.json()
    }

    /// The batch, once it has ended.
    pub async fn wait_for_batch(&self, id: &str) -> Value {
        self.wait_until(id, has_ended).await
    }

    /// The batch, once `enough` holds of it.
    pub async fn wait_until(&self, id: &str, enough: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let batch = self.batch(id).await;
            if enough(&batch) {
                return batch;
            }
            assert!(Instant::now() < deadline, "waited too long for {batch:#}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// The ids of a list, all pages of it, in the order in which they came.
    pub async fn ids(&self, query: &str) -> Vec<String> {
        let pages = self.pages(query).await;
        pages
            .iter()
            .flatten()
            .map(|m| text(&m["id"]).to_owned())
            .collect()
    }

    /// The pages of a list, from the first to the one without a `next`.
    pub async fn pages(&self, query: &str) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut url = format!("/api/members/?{query}");
        loop {
            let answer = self.get(&url).await;
            answer.expect(200);
            let mut page = answer.json();
            let Value::Array(results) = page["results"].take() else {
                panic!("results is a list: {page}");
            };
            pages.push(results);
            let link = answer.header("link");
            let Some(next) = page["next"].as_str() else {
                assert!(page["next"].is_null(), "{page}");
                assert_eq!(link, "", "a last page has no link");
                return pages;
            };
            assert_eq!(link, format!("<{next}>; rel=\"next\""));
            assert!(pages.len() < 10_000, "the pages don't end");
            next.clone_into(&mut url);
        }
    }

    /// Whether the object of a batch's upload is in the bucket.
    pub async fn upload_is_stored(&self, batch: &Value) -> bool {
        let setup = self.machine.setup();
        let bucket = setup.required("FILES_BUCKET").expect("a bucket");
        let head = setup
            .s3()
            .expect("an S3 client")
            .head_object()
            .bucket(bucket)
            .key(format!("uploads/{}.csv", text(&batch["batch_id"])))
            .send()
            .await;
        match head {
            Ok(_) => true,
            Err(error) => {
                let error = error.into_service_error();
                assert!(error.is_not_found(), "{error:?}");
                false
            }
        }
    }
}

/// What the machine of a test is made of, unless it says otherwise.
fn options() -> Options {
    Options {
        template: BUILT_IN_TEMPLATE.to_owned(),
        parameters: HashMap::new(),
        data: Data::Ephemeral,
        port: 0,
        invoke: None,
        faults: None,
    }
}

async fn make_key(keys: &Keys, (id, role): (&str, Role), accounts: Scope) -> Login {
    let secret = Secret::generate().expect("randomness");
    let key_id = id.parse().expect("letters make an id");
    let key = Key::new(key_id, &secret, role, Timestamp::now()).bound_to(accounts);
    keys.replace(&key).await.expect("the key is stored");
    Login {
        id: id.to_owned(),
        secret: secret.reveal().to_owned(),
    }
}

/// A client that follows no redirect, so that tests see them.
#[must_use]
pub fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

/// Sends a request and takes the whole answer.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.expect("a whole answer").to_vec();
    Answer {
        status,
        headers,
        body,
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header; empty where it isn't there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Holds the status against the one that was promised.
    #[track_caller]
    pub fn expect(&self, status: u16) {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
    }

    /// Holds the answer against the problem that was promised, and gives it.
    #[expect(
        clippy::must_use_candidate,
        reason = "often the kind alone is promised"
    )]
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for name in ["title", "detail"] {
            assert!(!text(&problem[name]).is_empty(), "{name} of {problem}");
        }
        problem
    }

    /// The faults of a 400 as (field, code), sorted.
    #[must_use]
    #[track_caller]
    pub fn faults(&self) -> Vec<(String, String)> {
        let problem = self.problem(400, "invalid-fields");
        let mut faults: Vec<_> = problem["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|error| {
                assert!(!text(&error["message"]).is_empty(), "{error}");
                (
                    text(&error["field"]).to_owned(),
                    text(&error["code"]).to_owned(),
                )
            })
            .collect();
        faults.sort();
        faults
    }
}

/// A JSON string.
#[track_caller]
#[must_use]
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// A JSON number that counts something.
#[track_caller]
#[must_use]
pub fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

/// Whether nothing more will happen to a batch.
#[must_use]
pub fn has_ended(batch: &Value) -> bool {
    [
        "completed",
        "completed_with_rejects",
        "failed",
        "cancelled",
        "expired",
    ]
    .contains(&text(&batch["status"]))
}

/// Counters of rows, to compare a batch's `rows` with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// Members that were new.
    pub created: u64,
    /// Members that differed.
    pub updated: u64,
    /// Members that were the same.
    pub unchanged: u64,
    /// Rows in the report.
    pub rejected: u64,
}

impl Rows {
    /// Holds a batch's counters against these, and its status against what they mean.
    #[track_caller]
    pub fn check(self, batch: &Value) {
        let Self {
            created,
            updated,
            unchanged,
            rejected,
        } = self;
        let rows = json!({
            "read": created + updated + unchanged + rejected,
            "created": created,
            "updated": updated,
            "unchanged": unchanged,
            "superseded": 0,
            "rejected": rejected,
        });
        assert_eq!(batch["rows"], rows, "{batch:#}");
        let status = if rejected == 0 {
            "completed"
        } else {
            "completed_with_rejects"
        };
        assert_eq!(batch["status"], status, "{batch:#}");
        assert_eq!(batch["problem"], Value::Null, "{batch:#}");
    }

    /// Only new members.
    #[must_use]
    pub fn created(created: u64) -> Self {
        Self {
            created,
            ..Self::default()
        }
    }

    /// Only members that were the same.
    #[must_use]
    pub fn unchanged(unchanged: u64) -> Self {
        Self {
            unchanged,
            ..Self::default()
        }
    }
}

/// The client id of the `index`th person of a roster: of one width, so that the order of
/// ids is the order of rows.
#[must_use]
pub fn client_id(index: u64) -> String {
    format!("c{index:06}")
}

/// The phone of the `index`th person of a roster, in E.164.
#[must_use]
pub fn phone(index: u64) -> String {
    format!("+1714{:07}", 2_000_000 + index)
}

/// A row of a roster, with its line end.
#[must_use]
pub fn row(account: &str, index: u64) -> String {
    row_of(account, index, "Ann")
}

/// The same for a person of another first name.
#[must_use]
pub fn row_of(account: &str, index: u64, first_name: &str) -> String {
    let (id, phone) = (client_id(index), phone(index));
    format!("{account},{id},{first_name},Lee {index},{phone}\n")
}

/// A roster of so many people of an account.
#[must_use]
pub fn roster(account: &str, people: u64) -> String {
    let mut file = HEADER.to_owned();
    for index in 0..people {
        write!(file, "{}", row(account, index)).expect("writing to a string can't fail");
    }
    file
}

/// The public ids of that roster, in order.
#[must_use]
pub fn roster_ids(account: &str, people: u64) -> Vec<String> {
    (0..people)
        .map(|index| format!("{account}~{}", client_id(index)))
        .collect()
}
