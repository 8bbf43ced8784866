//! Keys that are bound to accounts: they have access to those, and learn nothing of others.

use mpulse_shared::key::Role;
use mpulse_tests::{HEADER, Login, Stack, client_id, roster, row, send, text};
use reqwest::Method;
use serde_json::{Value, json};

const PHONE: &str = "+17145550123";

fn member(account: &str, client: &str, phone: &str) -> Value {
    json!({"account_id": account, "client_member_id": client, "first_name": "Ann",
           "last_name": account, "phone_number": phone})
}

async fn get(stack: &Stack, login: &Login, path: &str) -> Value {
    let answer = send(stack.request_as(login, Method::GET, path)).await;
    answer.expect(200);
    answer.json()
}

/// Returns the ids of a list as a key sees it, page by page.
async fn ids(stack: &Stack, login: &Login, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut url = format!("/api/members/?{query}");
    loop {
        let page = get(stack, login, &url).await;
        let results = page["results"].as_array().expect("results");
        ids.extend(results.iter().map(|m| text(&m["id"]).to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut url),
            None => return ids,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_phones_and_client_ids_in_two_accounts_stay_separate() {
    let stack = Stack::start().await;
    for account in ["4", "5", "6"] {
        let made = stack
            .post("/api/members/", &member(account, "1", PHONE))
            .await;
        made.expect(201);
    }
    for account in ["4", "5"] {
        let login = stack.bound_key(account, Role::Writer, &[account]).await;
        let own = vec![format!("{account}~1")];
        for query in ["", "ph=7145550123", "cmid=1", "ph=7145550123&cmid=1"] {
            assert_eq!(ids(&stack, &login, query).await, own, "{query}");
            let asked = format!("aid={account}&{query}");
            assert_eq!(ids(&stack, &login, &asked).await, own, "{asked}");
        }
        for query in ["aid=6", "id=6~1", "aid=6&ph=7145550123", "aid=6&cmid=1"] {
            assert!(ids(&stack, &login, query).await.is_empty(), "{query}");
        }
        let asked = async |method: Method, id: &str| {
            let request = stack.request_as(&login, method, &format!("/api/members/{id}"));
            send(request.json(&json!({"last_name": "Low"}))).await
        };
        asked(Method::GET, &own[0]).await.expect(200);
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let others = asked(method.clone(), "6~1").await;
            let absent = asked(method, "6~2").await;
            others.problem(404, "not-found");
            let of = |text: &str| text.replace("6~2", "6~1");
            assert_eq!(
                others.text(),
                of(absent.text()),
                "the response does not reveal whether the member exists"
            );
        }
        let request = stack.request_as(&login, Method::POST, "/api/members/");
        let refused = send(request.json(&member("6", "1", PHONE))).await;
        let problem = refused.problem(403, "account-not-allowed");
        assert_eq!(problem["errors"][0]["field"], "account_id");
        assert_eq!(problem["errors"][0]["code"], "account_not_allowed");
    }
    assert_eq!(
        stack.ids("aid=6").await,
        ["6~1"],
        "and nothing has happened to it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_cover_exactly_the_accounts_of_a_key() {
    let stack = Stack::start().await;
    let mut file = HEADER.to_owned();
    for account in ["3", "4", "5", "6", "7"] {
        for index in 0..7 {
            file.push_str(&row(account, index));
        }
    }
    assert_eq!(stack.upload(file).await["rows"]["created"], 35);
    let login = stack.bound_key("two", Role::Reader, &["4", "6", "8"]).await;
    let all: Vec<String> = ["4", "6"]
        .iter()
        .flat_map(|account| (0..7).map(move |i| format!("{account}~{}", client_id(i))))
        .collect();
    for limit in [1, 2, 6, 7, 8, 13, 14, 15] {
        assert_eq!(
            ids(&stack, &login, &format!("limit={limit}")).await,
            all,
            "{limit}"
        );
    }
    let same = ids(&stack, &login, &format!("cmid={}&limit=1", client_id(3))).await;
    assert_eq!(same, ["4~c000003", "6~c000003"]);

    // A cursor of a key with more access is invalid for one with less.
    let page = stack.get("/api/members/?limit=1").await.json();
    let (_, cursor) = text(&page["next"]).split_once("cursor=").expect("a cursor");
    let path = format!("/api/members/?limit=1&cursor={cursor}");
    let stolen = send(stack.request_as(&login, Method::GET, &path)).await;
    assert_eq!(
        stolen.faults(),
        [("cursor".to_owned(), "invalid_cursor".to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_another_account_is_rejected() {
    let stack = Stack::start().await;
    let login = stack.bound_key("four", Role::Writer, &["4"]).await;
    let file = format!("{HEADER}{}{}{}", row("4", 0), row("5", 1), row("4", 2));
    let request = stack.request_as(&login, Method::POST, "/api/members/batch");
    let sent = send(request.header("content-type", "text/csv").body(file)).await;
    sent.expect(202);
    let batch = sent.json();
    assert_eq!(batch["accounts"], json!(["4"]));
    let id = text(&batch["batch_id"]);
    let ended = stack.wait_for_batch(id).await;
    assert_eq!(ended["rows"]["created"], 2, "{ended:#}");
    assert_eq!(ended["rows"]["rejected"], 1, "{ended:#}");
    let path = format!("/api/members/batch/{id}/rejects");
    let way = send(stack.request_as(&login, Method::GET, &path)).await;
    way.expect(302);
    let report = send(stack.anonymous(Method::GET, way.header("location"))).await;
    let line = report.text().lines().nth(1).expect("a rejected row");
    assert!(line.starts_with("3,account_not_allowed,"), "{line}");
    assert_eq!(stack.ids("").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_visible_to_keys_with_access_to_all_its_accounts() {
    let stack = Stack::start().await;
    let four = stack.bound_key("four", Role::Writer, &["4"]).await;
    let both = stack.bound_key("both", Role::Writer, &["4", "5"]).await;
    let five = stack.bound_key("five", Role::Writer, &["5"]).await;
    let open = async |login: &Login, body: Value| {
        let request = stack.request_as(login, Method::POST, "/api/members/batch");
        send(request.json(&body)).await
    };
    let mut batches = Vec::new();
    for login in [&stack.writer, &four, &both] {
        let made = open(login, json!({})).await;
        made.expect(201);
        batches.push(text(&made.json()["batch_id"]).to_owned());
    }
    let [free, of_four, of_both] = &batches[..] else {
        unreachable!("three were created");
    };
    let seen = [
        (&stack.reader, vec![of_both, of_four, free]),
        (&four, vec![of_four]),
        (&both, vec![of_both, of_four]),
        (&five, vec![]),
    ];
    for (login, expected) in seen {
        for limit in ["", "?limit=1", "?limit=2"] {
            let mut listed = Vec::new();
            let mut url = format!("/api/members/batch{limit}");
            loop {
                let page = get(&stack, login, &url).await;
                let results = page["results"].as_array().expect("results");
                listed.extend(results.iter().map(|b| text(&b["batch_id"]).to_owned()));
                match page["next"].as_str() {
                    Some(next) => next.clone_into(&mut url),
                    None => break,
                }
            }
            assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{}", login.id);
        }
        for id in &batches {
            let path = format!("/api/members/batch/{id}");
            let answer = send(stack.request_as(login, Method::GET, &path)).await;
            let status = if expected.contains(&id) { 200 } else { 404 };
            answer.expect(status);
        }
    }
    // A key that cannot see a batch cannot name it as a parent.
    let orphan = open(&four, json!({"parent_batch_id": of_both})).await;
    let fault = ("parent_batch_id".to_owned(), "unknown_batch".to_owned());
    assert_eq!(orphan.faults(), [fault]);
    open(&both, json!({"parent_batch_id": of_four}))
        .await
        .expect(201);
    let elsewhere = open(&four, json!({"account_id": "5"})).await;
    elsewhere.problem(403, "account-not-allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_other_accounts_are_skipped_in_lists() {
    let stack = Stack::start().await;
    let four = stack.bound_key("four", Role::Writer, &["4"]).await;
    let open = async |login: &Login| {
        let request = stack.request_as(login, Method::POST, "/api/members/batch");
        text(&send(request).await.json()["batch_id"]).to_owned()
    };
    let first = open(&four).await;
    for _ in 0..25 {
        open(&stack.writer).await;
    }
    let last = open(&four).await;
    let mut listed = Vec::new();
    let mut url = "/api/members/batch?limit=2".to_owned();
    loop {
        let page = get(&stack, &four, &url).await;
        let results = page["results"].as_array().expect("results");
        assert!(results.len() <= 2);
        listed.extend(results.iter().map(|b| text(&b["batch_id"]).to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut url),
            None => break,
        }
    }
    assert_eq!(listed, [last, first]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_sends_a_roster_without_an_account_column() {
    let stack = Stack::start().await;
    let bound = stack.bound_key("five", Role::Writer, &["5"]).await;
    let request = stack.request_as(&bound, Method::POST, "/api/members/batch?account_id=5");
    let file = roster("5", 3)
        .replace("\n5,", "\n")
        .replace("account_id,", "");
    let answer = send(request.header("content-type", "text/csv").body(file)).await;
    answer.expect(202);
    let ended = stack.wait_for_batch(text(&answer.json()["batch_id"])).await;
    assert_eq!(ended["rows"]["created"], 3, "{ended:#}");
}
