//! Who may do what: keys, roles, and reads without a key.

use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_shared::access::KeyId;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{Answer, Login, Stack, roster, send, text};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::json;

const BATCH: &str = "/api/members/batch/01ARZ3NDEKTSV4RRFFQ69G5FAV";
const CHALLENGE: &str = "Basic realm=\"mpulse\", charset=\"UTF-8\"";

/// Every call that looks at something, with what a key of any role is answered here.
fn looking() -> Vec<(Method, String, u16)> {
    vec![
        (Method::GET, "/api/members/".into(), 200),
        (Method::GET, "/api/members/?aid=4".into(), 200),
        (Method::GET, "/api/members/4~1".into(), 404),
        (Method::GET, "/api/members/batch".into(), 200),
        (Method::GET, "/api/members/batch/template.csv".into(), 200),
        (Method::GET, BATCH.into(), 404),
        (Method::GET, format!("{BATCH}/rejects"), 404),
    ]
}

/// Every call that changes something, with what a writer's empty request is answered.
fn changing() -> Vec<(Method, String, u16)> {
    vec![
        (Method::POST, "/api/members/".into(), 415),
        (Method::POST, "/api/members/create/".into(), 415),
        (Method::POST, "/api/members/batch".into(), 201),
        (Method::PUT, "/api/members/batch".into(), 201),
        (Method::DELETE, BATCH.into(), 404),
    ]
}

fn all() -> Vec<(Method, String, u16)> {
    [looking(), changing()].concat()
}

#[track_caller]
fn refused(answer: &Answer, kind: &str) {
    answer.problem(401, kind);
    assert_eq!(answer.header("www-authenticate"), CHALLENGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_but_health_and_console_answers_without_a_key() {
    let stack = Stack::start().await;
    for (method, path, _) in all() {
        refused(&send(stack.anonymous(method, &path)).await, "no-key");
    }
    for path in ["/api/health", "/", "/admin"] {
        send(stack.anonymous(Method::GET, path)).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_an_unknown_id_and_a_revoked_key_are_told_the_same() {
    let stack = Stack::start().await;
    let login = |id: &str, secret: &str| Login {
        id: id.to_owned(),
        secret: secret.to_owned(),
    };
    let revoked: KeyId = "admin".parse().unwrap();
    assert!(
        stack
            .keys()
            .revoke(&revoked, Timestamp::now())
            .await
            .unwrap()
    );
    let mut bodies = Vec::new();
    for wrong in [
        login("writer", "wrong"),
        login("writer", ""),
        login("writer", &stack.reader.secret),
        login("nobody", &stack.writer.secret),
        login("", &stack.writer.secret),
        login("no such id", "x"),
        login("WRITER", &stack.writer.secret),
        stack.admin.clone(),
    ] {
        for (method, path, _) in all() {
            let answer = send(stack.request_as(&wrong, method, &path)).await;
            refused(&answer, "wrong-key");
            bodies.push(answer.body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "nobody learns what was wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_is_no_key_opens_nothing() {
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
async fn a_reader_looks_and_changes_nothing() {
    let stack = Stack::start().await;
    for (method, path, status) in looking() {
        send(stack.request_as(&stack.reader, method, &path))
            .await
            .expect(status);
    }
    for (method, path, _) in changing() {
        let answer = send(stack.request_as(&stack.reader, method, &path)).await;
        answer.problem(403, "role-too-low");
        assert_eq!(answer.header("www-authenticate"), "");
    }
    let batches = stack.get("/api/members/batch").await.json();
    assert_eq!(batches["results"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_and_an_admin_may_make_every_call() {
    let stack = Stack::start().await;
    for login in [&stack.writer, &stack.admin] {
        for (method, path, status) in all() {
            send(stack.request_as(login, method, &path))
                .await
                .expect(status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_nothing_from_the_moment_it_is_revoked() {
    let stack = Stack::start().await;
    stack.get("/api/members/").await.expect(200);
    let id: KeyId = "writer".parse().unwrap();
    assert!(stack.keys().revoke(&id, Timestamp::now()).await.unwrap());
    refused(&stack.get("/api/members/").await, "wrong-key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_before_the_body_is_looked_at() {
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
async fn anonymous_reads_open_the_members_alone() {
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

    for (method, path, _) in all() {
        let about_members = path.starts_with("/api/members/?") || path.contains('~');
        if method != Method::GET || (!about_members && path != "/api/members/") {
            refused(&send(stack.anonymous(method, &path)).await, "no-key");
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
