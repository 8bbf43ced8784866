//! Exports: the file has every member, and imported again it changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use mpulse_shared::export::{Export, Format, QUEUED_HOURS};
use mpulse_shared::key::Role;
use mpulse_shared::member::AccountId;
use mpulse_shared::setup::FromSetup;
use mpulse_shared::store::exports::Exports;
use mpulse_shared::time::Timestamp;
use mpulse_tests::{Answer, HEADER, Login, PATIENCE, Rows, Stack, client_id, count, phone};
use mpulse_tests::{roster, row_of, send, text};
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::direct_ingest::event_of;

/// The header of exported files.
const EXPORTED: &str = "\u{FEFF}account_id,client_member_id,first_name,last_name,phone_number\r\n";

/// Ids that need care in CSV or in a spreadsheet.
const IDS: [&str; 10] = [
    "007",
    "1E5",
    "=1+1",
    "a,b",
    "a;b",
    "say \"x\"",
    "#1",
    "-",
    "~%7E",
    "李 1",
];

/// Names that need care in CSV or in a spreadsheet.
const NAMES: [&str; 20] = [
    "=1+1",
    "+Ann",
    "@Ann",
    "-",
    "'t Hooft",
    "''=1",
    "\"Ann\"",
    "O'Brien, \"Jr.\"",
    "back\\slash\"",
    "x \"y\" z",
    "ends with \"",
    "\"",
    "a;b|c",
    "sep=;",
    "#Ann",
    "NULL",
    "José",
    "\u{1F600}",
    "\u{202E}mark\u{FEFF}",
    "first_name",
];

/// Creates an export and waits for its end.
async fn export(stack: &Stack, request: &Value) -> Value {
    let answer = stack.post("/api/exports", request).await;
    answer.expect(202);
    let created = answer.json();
    assert_eq!(answer.header("location"), text(&created["links"]["self"]));
    ended(stack, &created).await
}

/// Waits for the end of an export.
async fn ended(stack: &Stack, export: &Value) -> Value {
    let path = text(&export["links"]["self"]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = stack.get(path).await;
        answer.expect(200);
        let export = answer.json();
        if !["queued", "processing"].contains(&text(&export["status"])) {
            return export;
        }
        assert!(Instant::now() < deadline, "waited too long for {export:#}");
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
}

/// Downloads the file of a completed export.
async fn download(stack: &Stack, export: &Value) -> Answer {
    assert_eq!(export["status"], "completed", "{export:#}");
    let file = send(stack.anonymous(Method::GET, text(&export["links"]["file"]))).await;
    file.expect(200);
    assert_eq!(count(&export["bytes"]), file.body.len() as u64);
    let attachment = format!("attachment; filename=\"{}\"", text(&export["file_name"]));
    assert_eq!(file.header("content-disposition"), attachment);
    file
}

/// Exports an account as CSV.
async fn exported(stack: &Stack, account: &str) -> String {
    let export = export(stack, &json!({"account_id": account})).await;
    download(stack, &export).await.text().to_owned()
}

/// Creates a member with each id, and one with each name.
async fn create_odd_members(stack: &Stack) -> usize {
    let members = IDS.iter().map(|id| (*id, "Ann"));
    let ids: Vec<String> = (0..NAMES.len()).map(|n| format!("n{n}")).collect();
    let names = ids.iter().map(String::as_str).zip(NAMES);
    let all: Vec<(&str, &str)> = members.chain(names).collect();
    for (index, (id, name)) in (0..).zip(&all) {
        let member = json!({"account_id": "4", "client_member_id": id, "first_name": name,
                            "last_name": name, "phone_number": phone(index)});
        stack.post("/api/members/", &member).await.expect(201);
    }
    all.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_imported_again_changes_nothing_and_is_exported_as_the_same_file() {
    let stack = Stack::start().await;
    let odd = create_odd_members(&stack).await;
    stack.upload(roster("4", 1500)).await;
    stack.upload(roster("5", 3)).await;
    let all = odd as u64 + 1500;
    let export = export(&stack, &json!({"account_id": 4})).await;
    assert_eq!(count(&export["rows"]), all);
    assert_eq!(export["attempts"], 1);
    let file = download(&stack, &export).await;
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    assert!(file.text().starts_with(EXPORTED), "{}", &file.text()[..99]);
    let rows = file.text().strip_prefix('\u{FEFF}').expect("a mark");
    let mut reader = csv::Reader::from_reader(rows.as_bytes());
    let ids: Vec<String> = reader
        .records()
        .map(|record| record.expect("a record")[1].to_owned())
        .collect();
    assert!(ids.is_sorted() && ids.len() as u64 == all, "{ids:?}");

    let again = stack.upload(file.body.clone()).await;
    Rows::unchanged(all).check(&again);

    let fresh = Stack::start().await;
    Rows::created(all).check(&fresh.upload(file.body.clone()).await);
    assert!(exported(&fresh, "4").await == file.text(), "the same file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_imported_again_changes_nothing() {
    let stack = Stack::start().await;
    let odd = create_odd_members(&stack).await as u64;
    let export = export(&stack, &json!({"account_id": "4", "format": "xlsx"})).await;
    assert_eq!(count(&export["rows"]), odd);
    let (_, extension) = text(&export["file_name"]).split_once('.').expect("a name");
    assert_eq!(extension, "xlsx");
    let file = download(&stack, &export).await;
    Rows::unchanged(odd).check(&stack.upload(file.body).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_members_has_a_file_with_a_header() {
    let stack = Stack::start().await;
    stack.upload(roster("5", 3)).await;
    assert_eq!(exported(&stack, "4").await, EXPORTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_nobody_changes_are_exported_once_while_a_batch_runs() {
    const PEOPLE: u64 = 12_000;
    let stack = Stack::start().await;
    stack.upload(roster("4", PEOPLE)).await;
    // Every second member is changed, and as many are created between them.
    let mut file = HEADER.to_owned();
    for index in (0..PEOPLE).step_by(2) {
        file.push_str(&row_of("4", index, "Bo"));
        let id = format!("{}+", client_id(index));
        writeln!(file, "4,{id},Bo,New,{}", phone(PEOPLE + index)).expect("a string");
    }
    let batch = stack.open_batch(&json!({})).await;
    stack.put_file(&batch, file).await.expect(200);
    let id = text(&batch["batch_id"]);
    let has_begun = |batch: &Value| count(&batch["rows"]["read"]) > 0;
    stack.wait_until(id, has_begun).await;
    let export = export(&stack, &json!({"account_id": "4"})).await;
    let batch = stack.wait_for_batch(id).await;
    assert!(
        text(&export["started_at"]) < text(&batch["finished_at"]),
        "they overlap"
    );

    let file = download(&stack, &export).await;
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for line in file.text().lines().skip(1) {
        let (id, rest) = line[2..].split_once(',').expect("a row");
        let before = found.insert(id.to_owned(), rest.to_owned());
        assert_eq!(before, None, "{id} is there twice");
    }
    let expected = |index: u64, name: &str| format!("{name},Lee {index},{}", phone(index));
    for index in 0..PEOPLE {
        let row = found.remove(&client_id(index)).expect("every member");
        let changed = index % 2 == 0 && row == expected(index, "Bo");
        assert!(changed || row == expected(index, "Ann"), "{row}");
    }
    assert!(found.keys().all(|id| id.ends_with('+')), "only new members");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_exact_with_injected_faults() {
    let stack = Stack::with_faults("seed=3").await;
    stack.upload(roster("4", 5000)).await;
    let without = export(&stack, &json!({"account_id": "4"})).await;
    let without = download(&stack, &without).await;
    let faults = stack.local_stack.faults().expect("faults were asked for");
    for seed in 1..=3 {
        let spec = format!("throttle=0.3,error=0.2,drop=0.1,seed={seed}");
        faults.set(spec.parse().expect("a spec"));
        let created = loop {
            let answer = stack
                .post("/api/exports", &json!({"account_id": "4"}))
                .await;
            if answer.status == 202 {
                break answer.json();
            }
            assert!(answer.status >= 500, "{}", answer.text());
        };
        let path = text(&created["links"]["self"]);
        let mut export = json!(null);
        while !["completed", "failed"].contains(&export["status"].as_str().unwrap_or_default()) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let answer = stack.get(path).await;
            if answer.status == 200 {
                export = answer.json();
            }
        }
        let file = download(&stack, &export).await;
        assert!(file.body == without.body, "with the seed {seed}");
    }
    assert!(faults.counters().failed > 0, "{:?}", faults.counters());
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_of_other_accounts_are_not_found() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 2)).await;
    let export = export(&stack, &json!({"account_id": "4"})).await;
    let (four, five) = (
        stack.bound_key("four", Role::Reader, &["4"]).await,
        stack.bound_key("five", Role::Reader, &["5"]).await,
    );
    let path = text(&export["links"]["self"]);
    let get =
        async |login: &Login, path: &str| send(stack.request_as(login, Method::GET, path)).await;
    get(&five, path).await.problem(404, "not-found");
    assert_eq!(
        get(&five, "/api/exports").await.json()["results"],
        json!([])
    );
    // It was created by a key of all accounts, and has members of its account only.
    get(&four, path).await.expect(200);
    let listed = get(&four, "/api/exports").await.json();
    assert_eq!(listed["results"][0]["export_id"], export["export_id"]);
    for (login, status) in [(&four, 202), (&five, 403)] {
        let request = stack.request_as(login, Method::POST, "/api/exports");
        send(request.json(&json!({"account_id": "4"})))
            .await
            .expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_name_the_field() {
    let stack = Stack::start().await;
    for (request, field, code) in [
        (json!({}), "account_id", "required"),
        (
            json!({"account_id": "4~"}),
            "account_id",
            "invalid_account_id",
        ),
        (
            json!({"account_id": "4", "format": "pdf"}),
            "format",
            "invalid_format",
        ),
        (
            json!({"account_id": "4", "fields": "x"}),
            "fields",
            "unknown_field",
        ),
    ] {
        let answer = stack.post("/api/exports", &request).await;
        let faults = [(field.to_owned(), code.to_owned())];
        assert_eq!(answer.faults(), faults, "{request}");
    }
    let form = stack
        .post_text("/api/exports", "text/plain", "account_id=4")
        .await;
    form.problem(415, "media-type");
    let unknown = stack.get("/api/exports/01ARZ3NDEKTSV4RRFFQ69G5FAV").await;
    unknown.problem(404, "not-found");
    stack.get("/api/exports/x").await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_the_newest_export_first_page_by_page() {
    let stack = Stack::start().await;
    let mut created = Vec::new();
    for account in 0..5 {
        let request = json!({"account_id": account});
        let answer = stack.post("/api/exports", &request).await;
        created.push(answer.json()["export_id"].clone());
    }
    created.reverse();
    let (mut found, mut next) = (Vec::new(), "/api/exports?limit=2".to_owned());
    loop {
        let answer = stack.get(&next).await;
        answer.expect(200);
        let page = answer.json();
        let results = page["results"].as_array().expect("results");
        assert!(results.len() <= 2);
        found.extend(results.iter().map(|export| export["export_id"].clone()));
        match page["next"].as_str() {
            Some(url) => url.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(found, created);
    for query in ["limit=0", "limit=101", "cursor=x", "account_id=4"] {
        let answer = stack.get(&format!("/api/exports?{query}")).await;
        answer.problem(400, "invalid-fields");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_without_a_run_expires_and_does_not_start_late() {
    let stack = Stack::start().await;
    let setup = stack.local_stack.setup();
    let exports = Exports::from_setup(&setup).expect("a table");
    let account = AccountId::parse("4").expect("an account");
    let before = Timestamp::now().plus_millis(-(QUEUED_HOURS * 3600 * 1000 + 1));
    let export = Export::new(account, Format::Csv, "key:test".to_owned(), before);
    exports.create(&export).await.expect("an export");
    let path = format!("/api/exports/{}", export.export_id);
    let shown = stack.get(&path).await.json();
    assert_eq!(shown["status"], "expired", "{shown:#}");

    let key = export.export_id.request_key();
    let bucket = &stack.local_stack.template().buckets[0].name;
    let event = event_of(bucket, &key, 2, "e", Timestamp::now());
    let answer = stack.local_stack.invoke("export", event).await;
    assert_eq!(answer.expect("an answer")["batchItemFailures"], json!([]));
    let again = stack.get(&path).await.json();
    assert_eq!(again, shown, "nothing has run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_members_as_csv_has_the_same_members_and_pages() {
    let stack = Stack::start().await;
    stack.upload(roster("4", 25)).await;
    let ids: BTreeSet<String> = (0..25).map(client_id).collect();
    let (mut found, mut next) = (BTreeSet::new(), "/api/members/?aid=4&limit=10".to_owned());
    let mut whole = EXPORTED.to_owned();
    let mut pages = 0;
    while !next.is_empty() {
        let request = stack.request(Method::GET, &next).header(ACCEPT, "text/csv");
        let page = send(request).await;
        page.expect(200);
        assert_eq!(page.header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(page.header("vary"), "Accept");
        let rows = page.text().strip_prefix(EXPORTED).expect("a header");
        found.extend(
            rows.lines()
                .map(|row| row.split(',').nth(1).expect("an id").to_owned()),
        );
        whole.push_str(rows);
        pages += 1;
        let link = page.header("link").split_once('>');
        next = link.map_or(String::new(), |(url, _)| url[1..].to_owned());
    }
    assert_eq!((pages, found), (3, ids));
    assert_eq!(exported(&stack, "4").await, whole);

    let json = stack.get("/api/members/?aid=4").await;
    assert_eq!(json.header("vary"), "Accept");
    assert_eq!(json.json()["results"].as_array().map(Vec::len), Some(25));
}
