//! `/api/members/`: creating, finding and reading members.

use std::fmt::Write;

use mpulse_tests::{Stack, client_id, phone, send, text};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::Form;
use serde_json::{Value, json};

const MEMBERS: &str = "/api/members/";

/// A valid member, which a test changes.
fn zoe() -> Value {
    json!({
        "account_id": "4",
        "client_member_id": "5622780",
        "first_name": "Zoë",
        "last_name": "O'Brien",
        "phone_number": "(714) 555-0123",
    })
}

fn person(account: &str, client: &str, phone: &str) -> Value {
    json!({
        "account_id": account,
        "client_member_id": client,
        "first_name": "Ann",
        "last_name": "Lee",
        "phone_number": phone,
    })
}

async fn create(stack: &Stack, member: &Value) -> Value {
    let answer = stack.post(MEMBERS, member).await;
    answer.expect(201);
    answer.json()
}

fn faults(faults: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(field, code): &(&str, &str)| ((*field).to_owned(), (*code).to_owned());
    faults.iter().map(owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_is_returned_with_all_fields_and_its_url() {
    let stack = Stack::start().await;
    let answer = stack.post(MEMBERS, &zoe()).await;
    answer.expect(201);
    assert_eq!(answer.header("content-type"), "application/json");
    let location = format!("{}/api/members/4~5622780", stack.local_stack.api_url());
    assert_eq!(answer.header("location"), location);
    let member = answer.json();
    let at = text(&member["created_at"]);
    let shape: String = at
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    assert_eq!(
        member,
        json!({
            "id": "4~5622780",
            "account_id": "4",
            "client_member_id": "5622780",
            "first_name": "Zoë",
            "last_name": "O'Brien",
            "phone_number": "+17145550123",
            "created_at": at,
            "updated_at": at,
            "created_by": "key:writer",
            "updated_by": "key:writer",
        })
    );
    let found = stack.get(&location).await;
    found.expect(200);
    assert_eq!(found.json(), member);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_that_creates_a_member_works() {
    let stack = Stack::start().await;
    let paths = [
        "/api/members",
        "/api/members/",
        "/api/members/create",
        "/api/members/create/",
    ];
    for (index, path) in (0..).zip(paths) {
        let answer = stack
            .post(path, &person("4", &client_id(index), &phone(index)))
            .await;
        answer.expect(201);
        assert_eq!(
            answer.json()["id"],
            format!("4~{}", client_id(index)),
            "{path}"
        );
    }
    assert_eq!(stack.ids("aid=4").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_creates_the_same_member_as_json() {
    let stack = Stack::start().await;
    let url_encoded = stack
        .post_text(
            MEMBERS,
            "application/x-www-form-urlencoded; charset=utf-8",
            "account_id=4&client_member_id=1&first_name=Zo%C3%AB&last_name=O%27Brien+Lee\
             &phone_number=%2B1+714+555+0123",
        )
        .await;
    let form = Form::new()
        .text("account_id", "4")
        .text("client_member_id", "2")
        .text("first_name", "Zoë")
        .text("last_name", "O'Brien Lee")
        .text("phone_number", "+1 714 555 0123");
    let multipart = send(stack.request(Method::POST, MEMBERS).multipart(form)).await;
    for (answer, client) in [(url_encoded, "1"), (multipart, "2")] {
        answer.expect(201);
        let member = answer.json();
        assert_eq!(member["client_member_id"], client);
        assert_eq!(member["first_name"], "Zoë");
        assert_eq!(member["last_name"], "O'Brien Lee");
        assert_eq!(member["phone_number"], "+17145550123");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_integers_are_read_as_digits_and_spaces_are_trimmed() {
    let stack = Stack::start().await;
    let member = create(
        &stack,
        &json!({
            "account_id": 4,
            "client_member_id": 5_622_780,
            "first_name": "  Zoë ",
            "last_name": "Lee",
            "phone_number": 7_145_550_123_u64,
            "nickname": "ignored",
        }),
    )
    .await;
    assert_eq!(member["id"], "4~5622780");
    assert_eq!(member["first_name"], "Zoë");
    assert_eq!(member["phone_number"], "+17145550123");
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_an_existing_member_is_a_conflict_and_changes_nothing() {
    let stack = Stack::start().await;
    let first = create(&stack, &zoe()).await;
    let again = stack
        .post(MEMBERS, &person("4", "5622780", "7145550199"))
        .await;
    again.problem(409, "conflict");
    assert_eq!(stack.get("/api/members/4~5622780").await.json(), first);
    // Another account may use the same client id.
    create(&stack, &person("5", "5622780", "7145550123")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_many_concurrent_requests_creates_the_member() {
    let stack = Stack::start().await;
    let body = zoe();
    let post = || stack.post(MEMBERS, &body);
    let answers = tokio::join!(post(), post(), post(), post(), post(), post());
    let mut statuses = [
        answers.0.status,
        answers.1.status,
        answers.2.status,
        answers.3.status,
        answers.4.status,
        answers.5.status,
    ];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_field_is_named_with_a_code() {
    let stack = Stack::start().await;
    let long_id = "x".repeat(65);
    let long_name = "é".repeat(101);
    for (field, value, code) in [
        ("account_id", "", "required"),
        ("account_id", "4 4", "invalid_account_id"),
        ("account_id", "4~4", "invalid_account_id"),
        ("account_id", &long_id, "invalid_account_id"),
        ("client_member_id", " ", "required"),
        ("client_member_id", "a\u{200B}b", "invalid_client_member_id"),
        ("client_member_id", "1.5E+05", "spreadsheet_number"),
        ("client_member_id", &long_id, "invalid_client_member_id"),
        ("first_name", "  ", "required"),
        ("first_name", "A\nB", "control_character"),
        ("first_name", &long_name, "too_long"),
        ("last_name", "", "required"),
        ("last_name", "A\u{7}", "control_character"),
        ("last_name", &long_name, "too_long"),
        ("phone_number", "", "required"),
        ("phone_number", "123", "invalid_phone"),
        ("phone_number", "call me", "invalid_phone"),
        ("phone_number", "714 555 0123 ext. 9", "phone_extension"),
        ("phone_number", "+999 555 0123 0000", "invalid_phone"),
        ("phone_number", "0000000000", "placeholder_phone"),
        ("phone_number", "1234567890", "placeholder_phone"),
    ] {
        let mut member = zoe();
        member[field] = value.into();
        let answer = stack.post(MEMBERS, &member).await;
        assert_eq!(answer.faults(), faults(&[(field, code)]), "{value:?}");
    }
    assert_eq!(stack.ids("aid=4").await, [""; 0], "nothing was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_invalid_fields_are_listed_at_once() {
    let stack = Stack::start().await;
    let answer = stack.post(MEMBERS, &json!({"last_name": null})).await;
    assert_eq!(
        answer.faults(),
        faults(&[
            ("account_id", "required"),
            ("client_member_id", "required"),
            ("first_name", "required"),
            ("last_name", "required"),
            ("phone_number", "required"),
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_ids_and_names_are_accepted() {
    let stack = Stack::start().await;
    let (id, name) = ("x".repeat(64), "é".repeat(100));
    let mut member = person(&id, &id, "7145550123");
    member["first_name"] = name.as_str().into();
    member["last_name"] = name.as_str().into();
    let member = create(&stack, &member).await;
    let found = stack.get(&format!("/api/members/{id}~{id}")).await;
    found.expect(200);
    assert_eq!(found.json(), member);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_another_type_is_an_invalid_field() {
    let stack = Stack::start().await;
    for value in [json!(1.5), json!(true), json!(["4"]), json!({"a": 1})] {
        let mut member = zoe();
        member["account_id"] = value;
        let answer = stack.post(MEMBERS, &member).await;
        assert_eq!(answer.faults(), faults(&[("account_id", "invalid_type")]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_match_its_media_type_is_malformed() {
    let stack = Stack::start().await;
    for (media_type, body) in [
        ("application/json", "{\"account_id\": "),
        ("application/json", "[1]"),
        ("application/json", "\"text\""),
        ("application/json", ""),
        ("multipart/form-data; boundary=x", "--x\r\nno part"),
        ("multipart/form-data", "no boundary"),
    ] {
        let answer = stack.post_text(MEMBERS, media_type, body).await;
        answer.problem(400, "malformed-body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_media_type_lists_the_supported_ones() {
    let stack = Stack::start().await;
    let accepted = "application/json, application/x-www-form-urlencoded, multipart/form-data";
    for media_type in ["text/xml", "text/csv", "application/octet-stream"] {
        let answer = stack.post_text(MEMBERS, media_type, "<member/>").await;
        answer.problem(415, "media-type");
        assert_eq!(answer.header("accept-post"), accepted);
    }
    let untyped = send(stack.request(Method::POST, MEMBERS)).await;
    untyped.problem(415, "media-type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_found_in_every_encoding_of_its_id() {
    let stack = Stack::start().await;
    let member = create(&stack, &person("A_b-1", "a.b:c@d-e", "7145550123")).await;
    for path in [
        "/api/members/A_b-1~a.b:c@d-e",
        "/api/members/A_b-1~a.b:c@d-e/",
        "/api/members/A_b-1%7Ea.b%3Ac%40d-e",
    ] {
        let answer = stack.get(path).await;
        answer.expect(200);
        assert_eq!(answer.json(), member, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_is_not_found() {
    let stack = Stack::start().await;
    create(&stack, &zoe()).await;
    for id in [
        "4~1",
        "5~5622780",
        "5622780",
        "4~",
        "4~5622780~",
        "4%205~1",
        "%20",
    ] {
        let answer = stack.get(&format!("/api/members/{id}")).await;
        answer.problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_found_by_each_filter_and_its_alias() {
    let stack = Stack::start().await;
    let zoe = create(&stack, &zoe()).await;
    create(&stack, &person("5", "77", "7145550177")).await;
    for query in [
        "id=4~5622780",
        "ph=7145550123",
        "ph=(714)%20555-0123",
        "ph=714.555.0123",
        "ph=%2B1%20714%20555%200123",
        "ph=+17145550123",
        "ph=1-714-555-0123",
        "phone_number=7145550123",
        "cmid=5622780",
        "client_member_id=5622780",
        "aid=4",
        "account_id=4",
        "aid=4&cmid=5622780",
        "aid=4&ph=7145550123",
        "cmid=5622780&ph=7145550123",
        "id=4~5622780&aid=4&cmid=5622780&ph=7145550123",
    ] {
        for path in ["/api/members", "/api/members/"] {
            let answer = stack.get(&format!("{path}?{query}")).await;
            answer.expect(200);
            let page = json!({"next": null, "results": [zoe]});
            assert_eq!(answer.json(), page, "{path}?{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contradicting_filters_find_nothing() {
    let stack = Stack::start().await;
    create(&stack, &zoe()).await;
    create(&stack, &person("5", "77", "7145550177")).await;
    for query in [
        "id=4~77",
        "ph=7145550188",
        "cmid=78",
        "aid=6",
        "aid=4&cmid=77",
        "aid=4&ph=7145550177",
        "cmid=5622780&ph=7145550177",
        "id=4~5622780&aid=5",
        "id=4~5622780&cmid=77",
        "id=4~5622780&ph=7145550177",
    ] {
        let answer = stack.get(&format!("/api/members/?{query}")).await;
        answer.expect(200);
        assert_eq!(
            answer.json(),
            json!({"next": null, "results": []}),
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_query_names_the_parameter() {
    let stack = Stack::start().await;
    for (query, field, code) in [
        ("limit=0", "limit", "invalid_limit"),
        ("limit=1001", "limit", "invalid_limit"),
        ("limit=-1", "limit", "invalid_limit"),
        ("limit=ten", "limit", "invalid_limit"),
        ("limit=", "limit", "invalid_limit"),
        ("cursor=!", "cursor", "invalid_cursor"),
        ("cursor=bm9uZQ", "cursor", "invalid_cursor"),
        ("id=4", "id", "invalid_id"),
        ("id=", "id", "invalid_id"),
        ("ph=12", "ph", "invalid_phone"),
        ("ph=", "ph", "invalid_phone"),
        ("phone_number=unknown", "phone_number", "invalid_phone"),
        ("aid=4%204", "aid", "invalid_account_id"),
        ("account_id=~", "account_id", "invalid_account_id"),
        ("cmid=a%E2%80%8Bb", "cmid", "invalid_client_member_id"),
        ("phone=7145550123", "phone", "unknown_parameter"),
    ] {
        let answer = stack.get(&format!("/api/members/?{query}")).await;
        assert_eq!(answer.faults(), faults(&[(field, code)]), "{query}");
    }
    let both = stack.get("/api/members/?limit=0&other=1").await;
    let two = faults(&[("limit", "invalid_limit"), ("other", "unknown_parameter")]);
    assert_eq!(both.faults(), two);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_valid_for_its_list_only() {
    let stack = Stack::start().await;
    for index in 0..3 {
        create(&stack, &person("4", &client_id(index), "7145550123")).await;
    }
    let page = stack.get("/api/members/?aid=4&limit=1").await.json();
    let (_, cursor) = text(&page["next"]).split_once("cursor=").expect("a cursor");
    let other = stack
        .get(&format!("/api/members/?aid=5&cursor={cursor}"))
        .await;
    assert_eq!(other.faults(), faults(&[("cursor", "invalid_cursor")]));
    let same = stack
        .get(&format!("/api/members/?aid=4&limit=2&cursor={cursor}"))
        .await;
    same.expect(200);
    assert_eq!(same.json()["results"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_neither_repeats_nor_skips_members() {
    let stack = Stack::start().await;
    // Four accounts share client ids and, in each account, three people share a phone.
    let mut file = mpulse_tests::HEADER.to_owned();
    let mut all = Vec::new();
    for account in ["1", "2", "3", "4"] {
        for index in 0..9 {
            let (client, phone) = (client_id(index), phone(index / 3));
            writeln!(file, "{account},{client},Ann,Lee,{phone}").unwrap();
            all.push((format!("{account}~{client}"), account, client, phone));
        }
    }
    mpulse_tests::Rows::created(36).check(&stack.upload(file).await);

    let phone = phone(1);
    let escaped = phone.replace('+', "%2B");
    for (query, wanted) in [
        (String::new(), all.iter().collect::<Vec<_>>()),
        (
            "aid=3".to_owned(),
            all.iter().filter(|m| m.1 == "3").collect(),
        ),
        (
            "cmid=c000004".to_owned(),
            all.iter().filter(|m| m.2 == "c000004").collect(),
        ),
        (
            format!("ph={escaped}"),
            all.iter().filter(|m| m.3 == phone).collect(),
        ),
        (
            format!("aid=2&ph={escaped}"),
            all.iter().filter(|m| m.1 == "2" && m.3 == phone).collect(),
        ),
    ] {
        let mut wanted: Vec<&str> = wanted.iter().map(|m| m.0.as_str()).collect();
        wanted.sort_unstable();
        for limit in [1, 2, 3, 4, 5, 35, 36, 37] {
            let pages = stack.pages(&format!("{query}&limit={limit}")).await;
            let (last, full) = pages.split_last().expect("a page");
            assert!(
                full.iter().all(|page| page.len() == limit),
                "{query}, {limit} a page"
            );
            assert!(last.len() <= limit);
            let mut found: Vec<&str> = pages.iter().flatten().map(|m| text(&m["id"])).collect();
            found.sort_unstable();
            assert_eq!(found, wanted, "{query}, {limit} a page");
        }
    }
    // The default is fifty per page.
    assert_eq!(stack.pages("").await[0].len(), 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_fifty_members_by_default_and_a_thousand_at_most() {
    let stack = Stack::start().await;
    mpulse_tests::Rows::created(1001).check(&stack.upload(mpulse_tests::roster("4", 1001)).await);
    let lengths = |pages: Vec<Vec<Value>>| pages.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(stack.pages("aid=4&limit=1000").await), [1000, 1]);
    let mut by_default = vec![50; 20];
    by_default.push(1);
    assert_eq!(lengths(stack.pages("aid=4").await), by_default);
    assert_eq!(
        stack.ids("aid=4").await,
        mpulse_tests::roster_ids("4", 1001)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_created_while_paging_does_not_disturb_the_pages() {
    let stack = Stack::start().await;
    for index in [1, 3, 5, 7] {
        create(&stack, &person("4", &client_id(index), &phone(index))).await;
    }
    let first = stack.get("/api/members/?aid=4&limit=2").await.json();
    for index in [2, 6] {
        create(&stack, &person("4", &client_id(index), &phone(index))).await;
    }
    let second = stack.get(text(&first["next"])).await.json();
    let ids = |page: &Value| -> Vec<String> {
        let results = page["results"].as_array().expect("results");
        results
            .iter()
            .map(|m| text(&m["client_member_id"]).to_owned())
            .collect()
    };
    assert_eq!(ids(&first), [client_id(1), client_id(3)]);
    assert_eq!(ids(&second), [client_id(5), client_id(6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charset_in_the_media_type_is_ignored() {
    let stack = Stack::start().await;
    let request = stack.request(Method::POST, MEMBERS);
    let body = zoe().to_string();
    let answer = send(
        request
            .header(CONTENT_TYPE, "Application/JSON; charset=utf-8")
            .body(body),
    );
    answer.await.expect(201);
}
