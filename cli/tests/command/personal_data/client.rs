//! A client that remembers the values that must not be logged.

use std::time::Instant;

use mpulse_shared::key::Secret;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::dev::{Api, Dev, GLANCE, KEY, PATIENCE, has_ended};
use crate::needles::Needles;

/// A person whose values occur nowhere else.
pub(super) struct Person {
    pub(super) client_id: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) phone: String,
}

impl Person {
    pub(super) fn json(&self) -> Value {
        json!({"account_id": "4", "client_member_id": self.client_id, "first_name": self.first,
               "last_name": self.last, "phone_number": self.phone})
    }

    pub(super) fn row(&self) -> String {
        let Self {
            client_id,
            first,
            last,
            phone,
        } = self;
        format!("4,{client_id},{first},{last},{phone}\n")
    }
}

/// A client that remembers what must not be logged.
pub(super) struct Client {
    pub(super) api: Api,
    pub(super) url: String,
    pub(super) needles: Needles,
    people: u32,
}

impl Client {
    pub(super) fn new(dev: &Dev) -> Self {
        let mut needles = Needles::default();
        let (_, secret) = KEY.split_once(':').expect("ID:SECRET");
        needles.add("secret", secret);
        needles.add("hash", &Secret::from_text(secret.to_owned()).hash());
        needles.add("AWS secret", mpulse_local::SECRET_ACCESS_KEY);
        Self {
            api: Api::new(dev, KEY),
            url: dev.url.clone(),
            needles,
            people: 0,
        }
    }

    pub(super) fn person(&mut self, step: &str) -> Person {
        self.people += 1;
        let number = 100 + self.people;
        let person = Person {
            client_id: format!("kundennr-{step}-{number}"),
            first: format!("Vornamé {step}{number}"),
            last: format!("Nâchname-{step}{number}"),
            phone: format!("(714) 555-0{number}"),
        };
        self.needles.add("client member id", &person.client_id);
        self.needles.add("first name", &person.first);
        self.needles.add("last name", &person.last);
        self.needles.add("phone", &format!("7145550{number}"));
        self.needles.add("phone", &format!("555-0{number}"));
        person
    }

    pub(super) fn secret(&mut self, what: &str, value: &str) -> String {
        self.needles.add(what, value);
        value.to_owned()
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.api.request(method, path)
    }

    pub(super) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.api.http.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request, again while the database has too many faults, and returns the response.
    pub(super) async fn send(&mut self, request: RequestBuilder) -> (u16, Value) {
        let mut attempts = 0..10;
        loop {
            let again = request.try_clone().expect("the body is in memory");
            let answer = again.send().await.expect("an answer");
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap_or_default();
            self.remember_signatures(&body);
            if status < 500 || attempts.next().is_none() {
                return (status, body);
            }
        }
    }

    /// A signed URL is a secret while it is valid.
    pub(super) fn remember_signatures(&mut self, body: &Value) {
        match body {
            Value::String(text) => {
                if let Some((_, rest)) = text.split_once("X-Amz-Signature=") {
                    let signature = rest.split('&').next().unwrap_or_default();
                    self.needles.add("signature", signature);
                }
            }
            Value::Array(all) => all.iter().for_each(|one| self.remember_signatures(one)),
            Value::Object(all) => all.values().for_each(|one| self.remember_signatures(one)),
            _ => {}
        }
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.request(Method::POST, path).json(body);
        self.send(request).await
    }

    pub(super) async fn get(&mut self, path: &str) -> (u16, Value) {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// Waits for the end of a batch or an export.
    pub(super) async fn ended(&mut self, path: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, body) = self.get(path).await;
            if has_ended(&body) {
                return body;
            }
            assert!(Instant::now() < deadline, "waited too long for {body:#}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub(super) async fn batch_ended(&mut self, (status, batch): (u16, Value)) -> Value {
        assert!((200..300).contains(&status), "{status}: {batch:#}");
        let id = batch["batch_id"].as_str().expect("an id");
        self.ended(&format!("/api/members/batch/{id}")).await
    }

    /// Sends a file by a signed URL.
    pub(super) async fn upload(&mut self, options: &Value, file: Vec<u8>) -> Value {
        let (status, batch) = self.post("/api/members/batch", options).await;
        assert_eq!(status, 201, "{batch:#}");
        let url = batch["upload"]["url"].as_str().expect("a URL");
        let put = self.api.http.put(url).header("content-type", "text/csv");
        let (stored, _) = self.send(put.body(file)).await;
        assert_eq!(stored, 200, "{batch:#}");
        self.batch_ended((status, batch)).await
    }
}
