//! A local stack with a key of each role, and a client of it that reads like a transcript.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mpulse_local::{BUILT_IN_TEMPLATE, Data, LocalStack, Options};
use mpulse_shared::key::{Key, Role, Secret};
use mpulse_shared::member::AccountId;
use mpulse_shared::scope::Scope;
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::keys::Keys;
use mpulse_shared::time::Timestamp;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::engines::engines;
use crate::response::{Answer, PATIENCE, client, count, has_ended, send, text};

/// The credentials of a key.
#[derive(Debug, Clone)]
pub struct Login {
    /// The key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// A local stack with three keys, and a client of it. It ends with the test's runtime.
#[derive(Debug)]
pub struct Stack {
    /// The local stack, for its template and its AWS clients.
    pub local_stack: LocalStack,
    /// The key `admin`.
    pub admin: Login,
    /// The key `writer`, the default of requests.
    pub writer: Login,
    /// The key `reader`.
    pub reader: Login,
    pub(crate) http: Client,
}

impl Stack {
    /// Starts a local stack from template.yaml without persistent data.
    pub async fn start() -> Self {
        Self::on(options()).await
    }

    /// Starts a local stack from another template, with values for its parameters.
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

    /// Starts a local stack without the event source of ingest, so that uploads stay queued.
    ///
    /// # Panics
    /// Panics if the template has no event source.
    pub async fn without_ingest() -> Self {
        let size = "            BatchSize: 1\n";
        let (before, after) = BUILT_IN_TEMPLATE.split_once(size).expect("an event source");
        let template = format!("{before}            Enabled: false\n{size}{after}");
        Self::with(&template, &[], Data::Ephemeral).await
    }

    /// Starts the local stack of [`Stack::start`] with these faults between the functions and the
    /// engines.
    pub async fn with_faults(spec: &str) -> Self {
        let faults = spec.parse().expect("the faults can be read");
        Self::on(Options {
            faults: Some(faults),
            ..options()
        })
        .await
    }

    pub(crate) async fn on(mut options: Options) -> Self {
        options.engines = engines(&options.data);
        let local_stack = LocalStack::start(options)
            .await
            .expect("the local stack starts");
        let keys =
            Keys::from_setup(&local_stack.setup()).expect("the template names the keys table");
        let [admin, writer, reader] = [
            ("admin", Role::Admin),
            ("writer", Role::Writer),
            ("reader", Role::Reader),
        ];
        Self {
            admin: make_key(&keys, admin, Scope::ALL).await,
            writer: make_key(&keys, writer, Scope::ALL).await,
            reader: make_key(&keys, reader, Scope::ALL).await,
            local_stack,
            http: client(),
        }
    }

    /// Returns the keys table.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::from_setup(&self.local_stack.setup()).expect("the template names the keys table")
    }

    /// Creates a key with a fixed secret.
    pub async fn fixed_key(&self, id: &str, secret: &str, role: Role) {
        let secret = Secret::from_text(secret.to_owned());
        let key_id = id.parse().expect("a key's id");
        let key = Key::new(key_id, &secret, role, Timestamp::now());
        self.keys().replace(&key).await.expect("the key is stored");
    }

    /// Creates a key that is bound to accounts.
    pub async fn bound_key(&self, id: &str, role: Role, accounts: &[&str]) -> Login {
        let account = |id: &&str| AccountId::parse(id).expect("an account id");
        let accounts = Scope::only(accounts.iter().map(account).collect());
        make_key(&self.keys(), (id, role), accounts).await
    }

    /// Returns a request without a key. `path` may be a whole URL.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.local_stack.api_url())
        } else {
            path.to_owned()
        };
        self.http.request(method, url)
    }

    /// Returns a request with a key.
    pub fn request_as(&self, login: &Login, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path)
            .basic_auth(&login.id, Some(&login.secret))
    }

    /// Returns a request with the writer's key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.writer, method, path)
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// Sends a POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a POST of any text.
    pub async fn post_text(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.request(Method::POST, path);
        send(request.header(CONTENT_TYPE, media_type).body(body)).await
    }

    /// Creates a batch; returns it with its `upload`.
    pub async fn open_batch(&self, options: &Value) -> Value {
        let answer = self.post("/api/members/batch", options).await;
        answer.expect(201);
        answer.json()
    }

    /// Sends a file as the batch's `upload` describes.
    pub async fn put_file(&self, batch: &Value, content: impl Into<reqwest::Body>) -> Answer {
        let upload = &batch["upload"];
        let mut request = self.anonymous(Method::PUT, text(&upload["url"]));
        for (name, value) in upload["headers"].as_object().expect("headers") {
            // The client sets the length of the body.
            if name != "content-length" {
                request = request.header(name, text(value));
            }
        }
        send(request.body(content)).await
    }

    /// Sends parts of a file, as the batch's list of parts describes.
    pub async fn put_parts(&self, batch: &Value, content: &[u8], numbers: &[u64]) {
        for &number in numbers {
            let part = self.part(batch, number).await;
            let (from, size) = (count(&part["offset"]), count(&part["size"]));
            let bytes = usize::try_from(from).and_then(|from| {
                let size = usize::try_from(size)?;
                Ok(content[from..from + size].to_vec())
            });
            let url = text(&part["url"]);
            // The client sets no length for an empty body.
            let request = self
                .anonymous(Method::PUT, url)
                .header(CONTENT_LENGTH, size);
            send(request.body(bytes.expect("a size"))).await.expect(200);
        }
    }

    /// Returns a part of a batch's file from its list of parts.
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

    /// Like [`Stack::upload`], for a batch with these fields.
    pub async fn upload_with(&self, options: &Value, content: impl Into<reqwest::Body>) -> Value {
        let batch = self.open_batch(options).await;
        self.put_file(&batch, content).await.expect(200);
        self.wait_for_batch(text(&batch["batch_id"])).await
    }

    /// Returns a batch.
    pub async fn batch(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/members/batch/{id}")).await;
        answer.expect(200);
        answer.json()
    }

    /// Waits for the end of a batch.
    pub async fn wait_for_batch(&self, id: &str) -> Value {
        self.wait_until(id, has_ended).await
    }

    /// Waits until `enough` holds of a batch.
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

    /// Returns the ids of a list, all pages of it, in order.
    pub async fn ids(&self, query: &str) -> Vec<String> {
        let pages = self.pages(query).await;
        pages
            .iter()
            .flatten()
            .map(|m| text(&m["id"]).to_owned())
            .collect()
    }

    /// Returns the pages of a list, from the first to the one without a `next`.
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

    /// Waits until a batch's upload is deleted: shortly after the end is visible.
    pub async fn wait_for_deletion(&self, batch: &Value) {
        let deadline = Instant::now() + PATIENCE;
        while self.upload_is_stored(batch).await {
            assert!(Instant::now() < deadline, "the upload stays: {batch:#}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Returns whether the object of a batch's upload is in the bucket.
    pub async fn upload_is_stored(&self, batch: &Value) -> bool {
        let setup = self.local_stack.setup();
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

/// The default options of a test's local stack.
pub(crate) fn options() -> Options {
    Options {
        template: BUILT_IN_TEMPLATE.to_owned(),
        parameters: HashMap::new(),
        data: Data::Ephemeral,
        engines: None,
        port: 0,
        invoke: None,
        faults: None,
        events_to: None,
    }
}

pub(crate) async fn make_key(keys: &Keys, (id, role): (&str, Role), accounts: Scope) -> Login {
    let secret = Secret::generate().expect("randomness");
    let key_id = id.parse().expect("letters make an id");
    let key = Key::new(key_id, &secret, role, Timestamp::now()).bound_to(accounts);
    keys.replace(&key).await.expect("the key is stored");
    Login {
        id: id.to_owned(),
        secret: secret.reveal().to_owned(),
    }
}

/// The time between two polls.
pub(crate) const GLANCE: Duration = Duration::from_millis(15);
