//! Keys over REST.

use mpulse_shared::key::Role;
use mpulse_tests::{Answer, Login, Stack, send, text};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

async fn make(stack: &Stack, login: &Login, key: &Value) -> Answer {
    let request = stack.request_as(login, Method::POST, "/api/keys");
    send(request.json(key)).await
}

async fn revoke(stack: &Stack, login: &Login, id: &str) -> Answer {
    let path = format!("/api/keys/{id}");
    send(stack.request_as(login, Method::DELETE, &path)).await
}

async fn list(stack: &Stack, login: &Login) -> Vec<Value> {
    let answer = send(stack.request_as(login, Method::GET, "/api/keys")).await;
    answer.expect(200);
    let page = answer.json();
    assert_eq!(page["next"], Value::Null);
    page["results"].as_array().expect("results").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_used_listed_and_revoked() {
    let stack = Stack::start().await;
    let asked = json!({"key_id": "night-job", "role": "writer", "accounts": ["4"]});
    let made = make(&stack, &stack.admin, &asked).await;
    made.expect(201);
    assert!(made.header("location").ends_with("/api/keys/night-job"));
    let mut key = made.json();
    let login = Login {
        id: "night-job".to_owned(),
        secret: text(&key["secret"]).to_owned(),
    };
    assert!(login.secret.len() >= 40);
    let look = async || send(stack.request_as(&login, Method::GET, "/api/members/")).await;
    look().await.expect(200);

    key.as_object_mut().expect("an object").remove("secret");
    let keys = list(&stack, &stack.admin).await;
    assert!(keys.contains(&key), "{keys:?}");
    let ids: Vec<&str> = keys.iter().map(|key| text(&key["key_id"])).collect();
    assert_eq!(ids, ["admin", "night-job", "reader", "writer"]);
    let shown = serde_json::to_string(&keys).unwrap();
    assert!(!shown.contains("secret"), "{shown}");

    make(&stack, &stack.admin, &asked)
        .await
        .problem(409, "conflict");
    let revoked = revoke(&stack, &stack.admin, "night-job").await;
    revoked.expect(200);
    assert!(revoked.json()["revoked_at"].is_string());
    look().await.problem(401, "wrong-key");
    let again = revoke(&stack, &stack.admin, "night-job").await;
    assert_eq!(again.json(), revoked.json(), "the first time stays");
    make(&stack, &stack.admin, &asked)
        .await
        .problem(409, "conflict");
    look().await.problem(401, "wrong-key");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_key_request_lists_the_fields() {
    let stack = Stack::start().await;
    for (asked, field, code) in [
        (json!({"role": "reader"}), "key_id", "required"),
        (json!({"key_id": "x"}), "role", "required"),
        (
            json!({"key_id": "a:b", "role": "reader"}),
            "key_id",
            "invalid_key_id",
        ),
        (
            json!({"key_id": "x", "role": "owner"}),
            "role",
            "invalid_role",
        ),
        (json!({"key_id": "x", "role": true}), "role", "invalid_type"),
        (
            json!({"key_id": "x", "role": "reader", "accounts": []}),
            "accounts",
            "invalid_accounts",
        ),
        (
            json!({"key_id": "x", "role": "reader", "secret": "mine"}),
            "secret",
            "unknown_field",
        ),
    ] {
        let answer = make(&stack, &stack.admin, &asked).await;
        assert_eq!(
            answer.faults(),
            [(field.to_owned(), code.to_owned())],
            "{asked}"
        );
    }
    let request = stack.request_as(&stack.admin, Method::POST, "/api/keys");
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let form = send(request.body("key_id=x&role=reader")).await;
    form.problem(415, "media-type");
    assert_eq!(form.header("accept-post"), "application/json");
    assert_eq!(list(&stack, &stack.admin).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_cannot_revoke_itself_or_exceed_its_accounts() {
    let stack = Stack::start().await;
    revoke(&stack, &stack.admin, "admin")
        .await
        .problem(409, "conflict");
    for id in ["unknown", "a%3Ab"] {
        revoke(&stack, &stack.admin, id)
            .await
            .problem(404, "not-found");
    }
    let bound = stack.bound_key("fours", Role::Admin, &["4", "5"]).await;
    for accounts in [json!(null), json!(["6"]), json!(["4", "6"])] {
        let asked = json!({"key_id": "more", "role": "reader", "accounts": accounts});
        let problem = make(&stack, &bound, &asked)
            .await
            .problem(403, "account-not-allowed");
        assert_eq!(problem["errors"][0]["field"], "accounts");
    }
    let asked = json!({"key_id": "less", "role": "admin", "accounts": ["4"]});
    make(&stack, &bound, &asked).await.expect(201);
    let ids: Vec<String> = list(&stack, &bound)
        .await
        .iter()
        .map(|key| text(&key["key_id"]).to_owned())
        .collect();
    assert_eq!(ids, ["fours", "less"]);
    revoke(&stack, &bound, "writer")
        .await
        .problem(404, "not-found");
    revoke(&stack, &bound, "less").await.expect(200);
    stack.get("/api/members/").await.expect(200);
}
