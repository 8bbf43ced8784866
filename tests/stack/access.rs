//! Access control: every call with every kind of caller, credentials, and reads without a key.

use std::collections::BTreeSet;

use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_shared::key::{KeyId, Role};
use mpulse_shared::time::Timestamp;
use mpulse_tests::{Answer, Login, Stack, roster, send, text};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

const CHALLENGE: &str = "Basic realm=\"mpulse\", charset=\"UTF-8\"";

/// The callers, in the order of the columns of [`MATRIX`].
const CALLERS: [&str; 8] = [
    "no key",
    "wrong secret",
    "revoked",
    "reader",
    "writer",
    "admin",
    "writer bound to account 5",
    "admin bound to account 5",
];

/// A call, its body, and the expected status of each caller. `{n}` is replaced by the caller's
/// number: what a call uses up exists once per caller. No bound key has access to account 4.
type Call = (&'static str, &'static str, Option<&'static str>, [u16; 8]);

/// Every call of the API. `{batch}` has ended with a report; `{open-n}` waits for its file, and
/// `{parts}` for the parts of it.
const MATRIX: &[Call] = &[
    ("GET", "/", None, [200; 8]),
    ("GET", "/admin", None, [200; 8]),
    ("GET", "/assets/app.js", None, [200; 8]),
    ("GET", "/api/health", None, [200; 8]),
    ("GET", "/api/docs", None, [200; 8]),
    ("GET", "/api/openapi.yaml", None, [200; 8]),
    ("GET", "/api/members", None, looks(200)),
    ("GET", "/api/members/4~seed", None, looks(404)),
    ("POST", "/api/members", Some(NEW), writes(201, 403)),
    (
        "POST",
        "/api/members/create",
        Some(CREATED),
        writes(201, 403),
    ),
    (
        "PATCH",
        "/api/members/4~seed",
        Some(PATCH),
        writes(200, 404),
    ),
    ("DELETE", "/api/members/4~gone-{n}", None, writes(204, 404)),
    ("POST", "/api/members/batch", None, writes(201, 201)),
    ("PUT", "/api/members/batch", None, writes(201, 201)),
    ("POST", "/api/members/batch", Some(BATCH), writes(201, 403)),
    ("GET", "/api/members/batch", None, looks(200)),
    ("GET", "/api/members/batch/template.csv", None, looks(200)),
    ("GET", "/api/members/batch/{batch}", None, looks(404)),
    (
        "GET",
        "/api/members/batch/{batch}/rejects",
        None,
        [401, 401, 401, 302, 302, 302, 404, 404],
    ),
    // It changed no member, and is no dry run.
    (
        "GET",
        "/api/members/batch/{batch}/changes",
        None,
        [401, 401, 401, 404, 404, 404, 404, 404],
    ),
    (
        "POST",
        "/api/members/batch/{batch}/apply",
        None,
        writes(409, 404),
    ),
    (
        "POST",
        "/api/members/batch/{batch}/revert",
        None,
        writes(409, 404),
    ),
    (
        "GET",
        "/api/members/batch/{parts}/parts",
        None,
        writes(200, 404),
    ),
    // None of them has arrived.
    (
        "POST",
        "/api/members/batch/{parts}/complete",
        None,
        writes(409, 404),
    ),
    (
        "DELETE",
        "/api/members/batch/{open-n}",
        None,
        writes(200, 404),
    ),
    (
        "DELETE",
        "/api/accounts/{account}/members?expected_members=1000000",
        None,
        administers(202, 403),
    ),
    // Nobody has this number.
    (
        "GET",
        "/api/persons?phone_number=7145550199",
        None,
        administers(200, 200),
    ),
    (
        "DELETE",
        "/api/persons?phone_number=7145550199",
        None,
        administers(200, 200),
    ),
    ("POST", "/api/exports", Some(EXPORT), looks_at(202, 403)),
    ("GET", "/api/exports", None, looks(200)),
    ("GET", "/api/exports/{export}", None, looks(404)),
    ("POST", "/api/keys", Some(KEY), administers(201, 403)),
    ("POST", "/api/keys", Some(BOUND_KEY), administers(201, 201)),
    ("GET", "/api/keys", None, administers(200, 200)),
    ("GET", "/api/keys/victim-{n}", None, administers(200, 404)),
    (
        "DELETE",
        "/api/keys/victim-{n}",
        None,
        administers(200, 404),
    ),
    ("DELETE", "/api/health", None, [405; 8]),
    ("GET", "/api/nothing", None, [404; 8]),
];

/// A file of the console.
const FILE: &str = "app.js";
const NEW: &str = r#"{"account_id": "4", "client_member_id": "new-{n}", "first_name": "Ann",
                      "last_name": "Lee", "phone_number": "7145550123"}"#;
const CREATED: &str = r#"{"account_id": "4", "client_member_id": "created-{n}",
                          "first_name": "Ann", "last_name": "Lee",
                          "phone_number": "7145550123"}"#;
const PATCH: &str = r#"{"last_name": "Low {n}"}"#;
const BATCH: &str = r#"{"account_id": "4"}"#;
const EXPORT: &str = r#"{"account_id": "4"}"#;
const KEY: &str = r#"{"key_id": "free-{n}", "role": "reader"}"#;
const BOUND_KEY: &str = r#"{"key_id": "bound-{n}", "role": "reader", "accounts": ["5"]}"#;

/// A call for readers, with the status for bound keys.
const fn looks(bound: u16) -> [u16; 8] {
    looks_at(200, bound)
}

/// A call for readers, with its status and that for bound keys.
const fn looks_at(done: u16, bound: u16) -> [u16; 8] {
    [401, 401, 401, done, done, done, bound, bound]
}

/// A call for writers, with the status for bound keys.
const fn writes(done: u16, bound: u16) -> [u16; 8] {
    [401, 401, 401, 403, done, done, bound, bound]
}

/// A call for admins, with the status for bound keys.
const fn administers(done: u16, bound: u16) -> [u16; 8] {
    [401, 401, 401, 403, 403, done, 403, bound]
}

/// Returns every call of [`MATRIX`], and a HEAD for each GET, with the same statuses.
fn calls() -> Vec<Call> {
    let gets = MATRIX.iter().filter(|call| call.0 == "GET");
    let heads = gets.map(|&(_, path, body, statuses)| ("HEAD", path, body, statuses));
    MATRIX.iter().copied().chain(heads).collect()
}

/// A call with its placeholders replaced.
fn request(
    stack: &Stack,
    (method, path, body, _): &Call,
    caller: usize,
    login: Option<&Login>,
    names: &[(String, String)],
) -> RequestBuilder {
    let fill = |text: &str| {
        names.iter().fold(
            text.replace("{n}", &caller.to_string())
                .replace("-n}", &format!("-{caller}}}")),
            |text, (name, value)| text.replace(&format!("{{{name}}}"), value),
        )
    };
    let method = method.parse().expect("a method");
    let request = match login {
        Some(login) => stack.request_as(login, method, &fill(path)),
        None => stack.anonymous(method, &fill(path)),
    };
    match body {
        Some(body) => request
            .header(CONTENT_TYPE, "application/json")
            .body(fill(body)),
        None => request,
    }
}

/// Creates what the paths and bodies of [`MATRIX`] refer to.
async fn furnish(stack: &Stack) -> Vec<(String, String)> {
    let member = async |client: &str| {
        let member = json!({"account_id": "4", "client_member_id": client, "first_name": "Ann",
                            "last_name": "Lee", "phone_number": "7145550123"});
        stack.post("/api/members/", &member).await.expect(201);
    };
    member("seed").await;
    let ended =
        stack.upload("account_id,client_member_id,first_name,last_name,phone_number\n4,1,,,\n");
    let mut names = vec![
        ("account".to_owned(), "4".to_owned()),
        (
            "batch".to_owned(),
            text(&ended.await["batch_id"]).to_owned(),
        ),
    ];
    let parts = stack
        .open_batch(&json!({"size": 5, "multipart": true}))
        .await;
    names.push(("parts".to_owned(), text(&parts["batch_id"]).to_owned()));
    let export = stack
        .post("/api/exports", &json!({"account_id": "4"}))
        .await;
    names.push((
        "export".to_owned(),
        text(&export.json()["export_id"]).to_owned(),
    ));
    for caller in 0..CALLERS.len() {
        member(&format!("gone-{caller}")).await;
        let open = stack.open_batch(&json!({})).await;
        names.push((format!("open-{caller}"), text(&open["batch_id"]).to_owned()));
        let key = json!({"key_id": format!("victim-{caller}"), "role": "reader"});
        let made = stack.request_as(&stack.admin, Method::POST, "/api/keys");
        send(made.json(&key)).await.expect(201);
    }
    names
}

/// Returns the keys of the callers, in the order of [`CALLERS`].
async fn callers(stack: &Stack) -> [Option<Login>; 8] {
    let revoked = stack.bound_key("revoked", Role::Admin, &["4"]).await;
    revoke(stack, "revoked").await;
    let wrong = Login {
        id: "admin".to_owned(),
        secret: stack.writer.secret.clone(),
    };
    [
        None,
        Some(wrong),
        Some(revoked),
        Some(stack.reader.clone()),
        Some(stack.writer.clone()),
        Some(stack.admin.clone()),
        Some(stack.bound_key("five", Role::Writer, &["5"]).await),
        Some(stack.bound_key("fives-admin", Role::Admin, &["5"]).await),
    ]
}

async fn revoke(stack: &Stack, id: &str) {
    let id: KeyId = id.parse().expect("a key's id");
    let revoked = stack.keys().revoke(&id, Timestamp::now()).await;
    revoked
        .expect("the table answers")
        .expect("there is such a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_the_expected_status_for_every_caller() {
    let stack = Stack::start().await;
    let (names, callers) = (furnish(&stack).await, callers(&stack).await);
    let mut wrong = Vec::new();
    for call in &calls() {
        for (n, login) in callers.iter().enumerate() {
            let answer = send(request(&stack, call, n, login.as_ref(), &names)).await;
            let expected = call.3[n];
            if answer.status != expected {
                let (method, path) = (call.0, call.1);
                let (caller, is) = (CALLERS[n], answer.status);
                wrong.push(format!("{method} {path} of {caller}: {is}, not {expected}"));
            }
            match answer.status {
                _ if call.0 == "HEAD" => assert!(answer.body.is_empty(), "{}", call.1),
                401 if n == 0 => refused(&answer, "no-key"),
                401 => refused(&answer, "wrong-key"),
                400.. => assert_eq!(answer.header("content-type"), "application/problem+json"),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_has_every_route_of_the_template() {
    let stack = Stack::start().await;
    let functions = &stack.local_stack.template().functions;
    let declared: BTreeSet<(String, String)> = functions
        .iter()
        .filter(|function| function.binary != "default-route")
        .flat_map(|function| &function.routes)
        .filter_map(|route| {
            let path = route.path.clone()?;
            let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty());
            let path = bare.unwrap_or(&path).to_owned();
            Some((route.method.clone()?, path))
        })
        .collect();
    let tried: BTreeSet<(String, String)> = calls()
        .iter()
        .filter(|(_, _, _, statuses)| statuses[0] < 404)
        .map(|(method, path, ..)| {
            let path = path.split('?').next().unwrap_or_default();
            let parts: Vec<&str> = path
                .split('/')
                .map(|part| {
                    if part.contains(['{', '~']) {
                        "{id}"
                    } else if part == FILE {
                        "{file}"
                    } else {
                        part
                    }
                })
                .collect();
            ((*method).to_owned(), parts.join("/"))
        })
        .collect();
    assert_eq!(tried, declared);
}

#[track_caller]
fn refused(answer: &Answer, kind: &str) {
    answer.problem(401, kind);
    assert_eq!(answer.header("www-authenticate"), CHALLENGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_unknown_and_revoked_keys_get_the_same_response() {
    let stack = Stack::start().await;
    let login = |id: &str, secret: &str| Login {
        id: id.to_owned(),
        secret: secret.to_owned(),
    };
    revoke(&stack, "admin").await;
    let mut bodies = Vec::new();
    for wrong in [
        login("writer", "wrong"),
        login("writer", ""),
        login("writer", &stack.reader.secret),
        login("unknown", &stack.writer.secret),
        login("", &stack.writer.secret),
        login("no such id", "x"),
        login("WRITER", &stack.writer.secret),
        stack.admin.clone(),
    ] {
        for call in MATRIX.iter().filter(|call| call.3[1] == 401) {
            let answer = send(request(&stack, call, 0, Some(&wrong), &[])).await;
            refused(&answer, "wrong-key");
            bodies.push(answer.body);
        }
    }
    bodies.dedup();
    assert_eq!(
        bodies.len(),
        1,
        "the response does not reveal what was wrong"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_authorization_headers_are_rejected() {
    let stack = Stack::start().await;
    for header in [
        "Bearer abc",
        "Basic",
        "Basic !!!",
        "Basic d3JpdGVy",
        "writer:secret",
    ] {
        let request = stack.anonymous(Method::GET, "/api/members/");
        let answer = send(request.header(AUTHORIZATION, header)).await;
        refused(&answer, "wrong-key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_invalid_from_the_next_request() {
    let stack = Stack::start().await;
    stack.get("/api/members/").await.expect(200);
    revoke(&stack, "writer").await;
    refused(&stack.get("/api/members/").await, "wrong-key");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_credentials_are_rejected_before_the_body_is_read() {
    let stack = Stack::start().await;
    let wrong = Login {
        id: "writer".into(),
        secret: "wrong".into(),
    };
    for path in ["/api/members/", "/api/members/batch"] {
        let request = stack.request_as(&wrong, Method::POST, path);
        let request = request.header("content-type", "application/json").body("{");
        refused(&send(request).await, "wrong-key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_reads_apply_to_members_only() {
    let open = &[("AnonymousReads", "true")];
    let stack = Stack::with(BUILT_IN_TEMPLATE, open, Data::Ephemeral).await;
    let batch = stack.upload(roster("4", 3)).await;
    assert_eq!(batch["status"], "completed");

    let get = async |path: &str| send(stack.anonymous(Method::GET, path)).await;
    let list = get("/api/members/?aid=4&limit=2").await;
    list.expect(200);
    get(text(&list.json()["next"])).await.expect(200);
    get("/api/members/4~c000001").await.expect(200);
    let unfiltered = get("/api/members/").await;
    assert_eq!(
        unfiltered.faults(),
        [("aid".to_owned(), "required".to_owned())]
    );

    for call in MATRIX.iter().filter(|call| call.3[0] == 401) {
        if call.0 != "GET" || !["/api/members", "/api/members/4~seed"].contains(&call.1) {
            refused(&send(request(&stack, call, 0, None, &[])).await, "no-key");
        }
    }
    let wrong = Login {
        id: "reader".into(),
        secret: "wrong".into(),
    };
    let sent = send(stack.request_as(&wrong, Method::GET, "/api/members/?aid=4")).await;
    refused(&sent, "wrong-key");
    stack.get("/api/members/").await.expect(200);
}
