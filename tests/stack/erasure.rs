//! Erasing an account, and what is stored of one person.

use mpulse_tests::{Answer, HEADER, Stack, roster, row, send, text};
use reqwest::Method;
use serde_json::{Value, json};

async fn as_admin(stack: &Stack, method: Method, path: &str) -> Answer {
    send(stack.request_as(&stack.admin, method, path)).await
}

/// Requests the erasure of account 4, and returns the batch when it has ended.
async fn erase(stack: &Stack, expected: u64) -> Value {
    let path = format!("/api/accounts/4/members?expected_members={expected}");
    let answer = as_admin(stack, Method::DELETE, &path).await;
    answer.expect(202);
    stack.wait_for_batch(text(&answer.json()["batch_id"])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_erased_if_it_has_the_expected_number_of_members() {
    let stack = Stack::start().await;
    let loaded = stack.upload(roster("4", 2500)).await;
    stack.upload(roster("5", 3)).await;

    let refused = erase(&stack, 2499).await;
    assert_eq!(refused["status"], "failed", "{refused:#}");
    assert_eq!(refused["problem"]["code"], "unexpected_member_count");
    let message = text(&refused["problem"]["message"]);
    assert!(message.contains("expected_members=2500"), "{message}");
    assert_eq!(stack.ids("aid=4").await.len(), 2500);

    let erased = erase(&stack, 2500).await;
    assert_eq!(erased["status"], "completed", "{erased:#}");
    assert_eq!(erased["mode"], "erase");
    assert_eq!(erased["rows"]["absent"], 2500);
    assert_eq!(erased["rows"]["removed"], 2500);
    assert_eq!(stack.ids("aid=4").await, [""; 0]);
    assert_eq!(stack.ids("aid=5").await.len(), 3);
    // Nothing is kept of the members, and nothing brings them back.
    for link in ["changes", "rejects", "revert"] {
        assert_eq!(erased["links"][link], Value::Null, "{link}");
    }
    let path = format!("/api/members/batch/{}/revert", text(&loaded["batch_id"]));
    let reverted = stack.post(&path, &json!({})).await;
    reverted.expect(202);
    stack
        .wait_for_batch(text(&reverted.json()["batch_id"]))
        .await;
    assert_eq!(stack.ids("aid=4").await, [""; 0]);
    // An account without members is erased too.
    assert_eq!(erase(&stack, 0).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_needs_the_number_and_an_account_of_the_key() {
    let stack = Stack::start().await;
    for (path, code) in [
        ("/api/accounts/4/members", "required"),
        (
            "/api/accounts/4/members?expected_members=x",
            "invalid_number",
        ),
        (
            "/api/accounts/4~/members?expected_members=1",
            "invalid_account_id",
        ),
    ] {
        let answer = as_admin(&stack, Method::DELETE, path).await;
        answer.problem(400, "invalid-fields");
        assert_eq!(answer.json()["errors"][0]["code"], code, "{path}");
    }
    // Nobody can create such a batch in another way.
    let answer = stack
        .post(
            "/api/members/batch",
            &json!({"mode": "erase", "account_id": "4"}),
        )
        .await;
    answer.problem(400, "invalid-fields");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_of_a_person_is_returned_and_removed_in_all_accounts() {
    let stack = Stack::start().await;
    let person = "7145550123";
    let rows: String = ["4", "5", "6"]
        .map(|account| format!("{account},zoe,Zoë,Brien,{person}\n"))
        .concat();
    stack.upload(format!("{HEADER}{rows}{}", row("4", 7))).await;

    let path = format!("/api/persons?phone_number={person}");
    let found = as_admin(&stack, Method::GET, &path).await;
    found.expect(200);
    let found = found.json();
    assert_eq!(found["phone_number"], "+17145550123");
    let members = found["members"].as_array().expect("members");
    let ids: Vec<&str> = members.iter().map(|member| text(&member["id"])).collect();
    assert_eq!(ids, ["4~zoe", "5~zoe", "6~zoe"]);
    assert_eq!(members[0], stack.get("/api/members/4~zoe").await.json());

    // A key that is bound to an account sees and removes only what is in it.
    let bound = stack
        .bound_key("fives", mpulse_shared::key::Role::Admin, &["5"])
        .await;
    let removed = send(stack.request_as(&bound, Method::DELETE, &path)).await;
    assert_eq!(removed.json()["removed"], json!(["5~zoe"]));
    let removed = as_admin(&stack, Method::DELETE, &path).await;
    removed.expect(200);
    assert_eq!(removed.json()["removed"], json!(["4~zoe", "6~zoe"]));
    let left = as_admin(&stack, Method::GET, &path).await.json();
    assert_eq!(left["members"], json!([]));
    assert_eq!(stack.ids("aid=4").await.len(), 1);
}
