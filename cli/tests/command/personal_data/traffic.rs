//! The requests of a run: every kind of call, with every kind of error, and with values where they do not belong.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mpulse_shared::key::Secret;
use mpulse_tests::packed;
use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::files_in;
use crate::dev::{GLANCE, PATIENCE};

const HEADER: &str = "account_id,client_member_id,first_name,last_name,phone_number\n";

impl Client {
    /// Creates, reads, changes and removes members, with every kind of error.
    pub(super) async fn members(&mut self) {
        let person = self.person("json");
        let path = format!("/api/members/4~{}", person.client_id);
        self.post("/api/members", &person.json()).await;
        let (status, _) = self.post("/api/members", &person.json()).await;
        assert_eq!(status, 409);
        for method in [Method::GET, Method::HEAD] {
            let (status, _) = self.send(self.request(method, &path)).await;
            assert_eq!(status, 200);
        }
        for query in [
            format!("ph={}", person.phone),
            format!("cmid={}", person.client_id),
            "aid=4&limit=1".to_owned(),
            format!("cursor={}", person.last),
            format!("unknown={}", person.last),
        ] {
            let (_, page) = self.get(&format!("/api/members/?{query}")).await;
            if let Some((_, cursor)) = page["next"].as_str().and_then(|n| n.split_once("cursor=")) {
                self.needles.add("cursor", cursor);
            }
        }
        let other = self.person("patch");
        let key = self.secret("idempotency key", "wiederholung-8e03978e");
        let change = json!({"last_name": other.last, "phone_number": other.phone});
        for request in [
            self.request(Method::PATCH, &path)
                .header("if-match", "\"x\"")
                .json(&change),
            self.request(Method::PATCH, &path).json(&change),
            self.request(Method::POST, "/api/members")
                .header("idempotency-key", &key)
                .json(&other.json()),
            self.request(Method::POST, "/api/members")
                .header("idempotency-key", &key)
                .json(&person.json()),
            self.request(Method::DELETE, &path),
            self.request(Method::DELETE, &path),
            // Values where they do not belong.
            self.request(Method::PUT, &path),
            self.request(Method::GET, &format!("/api/{}", other.last)),
            self.request(Method::GET, &format!("/api/members/{}", other.phone)),
            self.request(Method::GET, &format!("/api/members/batch/{}", other.last)),
            self.request(Method::GET, &format!("/api/keys/{}", other.client_id)),
            self.request(Method::GET, "/api/members")
                .header("user-agent", other.last.clone()),
        ] {
            self.send(request).await;
        }
        let person = self.person("malformed");
        let long = person.last.repeat(20_000);
        for (media_type, body) in [
            (
                "application/json",
                format!("{{\"first_name\": {}", person.last),
            ),
            ("application/json", format!("\"{}\"", person.last)),
            (
                "application/json",
                format!("{{\"{}\": 1, \"{0}\": 2}}", person.last),
            ),
            (
                "application/json",
                json!({"account_id": person.last, "client_member_id": "~",
                "first_name": format!("{}\n", person.first), "last_name": long,
                "phone_number": person.client_id})
                .to_string(),
            ),
            (
                "application/x-www-form-urlencoded",
                format!("first_name={0}&first_name={0}", person.first),
            ),
            (
                "multipart/form-data; boundary=b",
                format!("--b\r\n{}", person.last),
            ),
            ("multipart/form-data", person.last.clone()),
            ("text/plain", person.last.clone()),
            (
                format!("text/{}", person.client_id).as_str(),
                person.last.clone(),
            ),
        ] {
            for path in [
                "/api/members",
                "/api/members/batch",
                "/api/keys",
                "/api/exports",
            ] {
                let request = self.request(Method::POST, path);
                let request = request.header("content-type", media_type);
                let (status, _) = self.send(request.body(body.clone())).await;
                assert!(
                    status == 400 || status == 413 || status == 415 || status == 201,
                    "{path}: {status}"
                );
            }
        }
    }

    /// Sends wrong credentials, and secrets where they do not belong.
    pub(super) async fn credentials(&mut self) {
        let wrong = self.secret("wrong secret", "geheimnis-das-falsch-ist");
        let unknown = self.secret("unknown key", "id-als-passwort-vertippt");
        let bearer = self.secret("token", "eyJhbGciOi.bearer.token");
        let url = format!("/api/members?aid=4&token={bearer}");
        for request in [
            self.anonymous(Method::GET, "/api/members")
                .basic_auth("ops", Some(&wrong)),
            self.anonymous(Method::GET, "/api/members")
                .basic_auth(&unknown, Some(&wrong)),
            self.anonymous(Method::GET, "/api/members")
                .bearer_auth(&bearer),
            self.anonymous(Method::GET, "/api/members")
                .header("authorization", wrong.clone()),
            self.anonymous(Method::GET, &url),
            self.anonymous(Method::GET, "/api/members")
                .header("x-api-key", &bearer),
            self.anonymous(Method::GET, "/api/members")
                .header("cookie", format!("s={bearer}")),
        ] {
            self.send(request).await;
        }
        let (status, made) = self
            .post("/api/keys", &json!({"key_id": "nacht", "role": "admin"}))
            .await;
        assert_eq!(status, 201, "{made:#}");
        let secret = made["secret"].as_str().expect("a secret").to_owned();
        self.needles.add("created secret", &secret);
        self.needles
            .add("hash", &Secret::from_text(secret.clone()).hash());
        for (method, path) in [
            (Method::GET, "/api/members?aid=4"),
            (Method::DELETE, "/api/keys/nacht"),
            (Method::GET, "/api/keys/nacht"),
        ] {
            let request = self
                .anonymous(method, path)
                .basic_auth("nacht", Some(&secret));
            self.send(request).await;
        }
    }

    /// Sends files of every kind, with rows that are rejected, previews, applies, replaces and reverts.
    pub(super) async fn files(&mut self) {
        let (good, bad) = (self.person("file"), self.person("reject"));
        let name = self.secret("file name", "mitglieder-von-nachname.csv");
        let (cut, no_name) = (
            format!("4,{},{}\n", bad.client_id, bad.last),
            format!("4,,{},,{}\n", bad.first, bad.phone),
        );
        let wrong_phone = format!(
            "4,{},{},{},{}\n",
            bad.client_id, bad.first, bad.last, bad.client_id
        );
        let open_quote = format!(
            "4,\"{},{},{},{}\n",
            bad.client_id, bad.first, bad.last, bad.phone
        );
        let file = [
            HEADER,
            &good.row(),
            &cut,
            &no_name,
            &wrong_phone,
            &open_quote,
        ]
        .concat();
        let batch = self.upload(&json!({"file_name": name}), file.into()).await;
        assert_eq!(batch["status"], "completed_with_rejects", "{batch:#}");
        for link in ["rejects", "changes"] {
            let path = batch["links"][link].as_str().expect("a link").to_owned();
            let request = self
                .request(Method::GET, &path)
                .header("accept", "application/json");
            let (_, report) = self.send(request).await;
            let url = report["url"].as_str().expect("a URL").to_owned();
            for url in [url.clone(), format!("{url}x"), url.replace(".csv", ".txt")] {
                self.send(self.api.http.get(url)).await;
            }
        }
        // Files that fail, and say why to their sender.
        let person = self.person("broken");
        for file in [
            person.row().into_bytes(),
            format!("{HEADER}{}", person.row())
                .replace('é', "\u{1}")
                .into_bytes(),
            [
                HEADER.as_bytes(),
                b"4,",
                person.client_id.as_bytes(),
                b",J\xfcrgen,",
                person.last.as_bytes(),
                b",1\n",
            ]
            .concat(),
            packed::zip(&[
                ("a.csv", b"x"),
                (&person.client_id, person.row().as_bytes()),
            ]),
            packed::workbook(&person.row()),
            b"PK\x03\x04".to_vec(),
        ] {
            self.upload(&json!({"file_name": person.last}), file).await;
        }
        let columns =
            json!({"columns": {(person.first.clone()): "first_name"}, "encoding": person.last});
        self.post("/api/members/batch", &columns).await;
        let form = format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\r\n{HEADER}{}\r\n--b--\r\n",
            self.secret("file name", "formular-von-nachname.csv"),
            self.person("form").row()
        );
        let request = self.request(Method::POST, "/api/members/batch");
        let request = request.header("content-type", "multipart/form-data; boundary=b");
        let answer = self.send(request.body(form)).await;
        self.batch_ended(answer).await;
        // A roster that is previewed, applied and reverted.
        let options = json!({"account_id": "4", "mode": "replace", "dry_run": true, "removal": {"limit": 100}});
        let roster = format!("{HEADER}{}", self.person("replace").row());
        let preview = self.upload(&options, roster.into()).await;
        let path = preview["links"]["apply"]
            .as_str()
            .expect("a link")
            .to_owned();
        let answer = self.post(&path, &json!({})).await;
        let applied = self.batch_ended(answer).await;
        assert_ne!(applied["rows"]["removed"], 0, "{applied:#}");
        let path = applied["links"]["revert"]
            .as_str()
            .expect("a link")
            .to_owned();
        let answer = self.post(&path, &json!({})).await;
        self.batch_ended(answer).await;
    }

    /// Exports, looks a person up, and erases.
    pub(super) async fn exports(&mut self) {
        let person = self.person("person");
        self.post("/api/members", &person.json()).await;
        for format in ["csv", "xlsx"] {
            let (status, export) = self
                .post(
                    "/api/exports",
                    &json!({"account_id": "4", "format": format}),
                )
                .await;
            assert_eq!(status, 202, "{export:#}");
            let id = export["export_id"].as_str().expect("an id");
            let export = self.ended(&format!("/api/exports/{id}")).await;
            let url = export["links"]["file"].as_str().expect("a link").to_owned();
            self.send(self.api.http.get(url)).await;
        }
        for method in [Method::GET, Method::DELETE] {
            let path = format!("/api/persons?phone_number={}", person.phone);
            let (status, _) = self.send(self.request(method, &path)).await;
            assert_eq!(status, 200);
        }
        for expected in [1_000_000, 3] {
            let path = format!("/api/accounts/4/members?expected_members={expected}");
            let answer = self.send(self.request(Method::DELETE, &path)).await;
            self.batch_ended(answer).await;
        }
    }

    /// Sends requests to functions without a table, and a file and an export that end as dead letters.
    pub(super) async fn failures(&mut self, queues: &Path) {
        let person = self.person("failure");
        let path = format!("/api/members/4~{}", person.client_id);
        for request in [
            self.request(Method::POST, "/api/members")
                .json(&person.json()),
            self.request(Method::GET, &path),
            self.request(Method::PATCH, &path)
                .json(&json!({"last_name": person.last})),
            self.request(Method::DELETE, &path),
            self.request(Method::GET, &format!("/api/members?ph={}", person.phone)),
            self.request(
                Method::GET,
                &format!("/api/persons?phone_number={}", person.phone),
            ),
        ] {
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 500);
        }
        let name = self.secret("file name", "unzustellbar-von-nachname.csv");
        let (_, batch) = self
            .post("/api/members/batch", &json!({"file_name": name}))
            .await;
        let url = batch["upload"]["url"].as_str().expect("a URL");
        let put = self.api.http.put(url).header("content-type", "text/csv");
        self.send(put.body(format!("{HEADER}{}", person.row())))
            .await;
        self.post("/api/exports", &json!({"account_id": "4"})).await;
        let deadline = Instant::now() + PATIENCE;
        let letters = |file: &PathBuf| file.to_string_lossy().contains("DeadLetters");
        while files_in(queues).into_iter().filter(letters).count() < 2 {
            assert!(
                Instant::now() < deadline,
                "waited too long for dead letters"
            );
            tokio::time::sleep(GLANCE).await;
        }
    }
}
