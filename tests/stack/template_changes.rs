//! A change to template.yaml changes the stack, without a change to the code.

use std::fmt::Write;

use mpulse_local::{BUILT_IN_TEMPLATE, Data};
use mpulse_shared::batch::{REPORT_DAYS, UPLOAD_DAYS};
use mpulse_tests::{Rows, Stack, count, roster, roster_ids, send, text};
use reqwest::Method;
use serde_json::json;

/// The template with texts replaced, which it must contain.
fn template(changes: &[(&str, &str)]) -> String {
    let mut template = BUILT_IN_TEMPLATE.to_owned();
    for (from, to) in changes {
        assert!(template.contains(from), "the template has {from}");
        template = template.replace(from, to);
    }
    template
}

async fn started(changes: &[(&str, &str)]) -> Stack {
    Stack::with(&template(changes), &[], Data::Ephemeral).await
}

#[test]
fn files_are_kept_as_long_as_in_the_code() {
    for (folder, days) in [
        ("changes", REPORT_DAYS),
        ("rejects", REPORT_DAYS),
        ("uploads", UPLOAD_DAYS),
    ] {
        let rule = format!("Prefix: {folder}/\n            ExpirationInDays: {days}\n");
        assert!(BUILT_IN_TEMPLATE.contains(&rule), "{folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_route_is_served_at_its_new_path() {
    let stack = started(&[("Path: \"/api/health\" }", "Path: \"/v2/alive\" }")]).await;
    send(stack.anonymous(Method::GET, "/v2/alive"))
        .await
        .expect(200);
    // The path's other form is a route of its own.
    send(stack.anonymous(Method::GET, "/api/health/"))
        .await
        .expect(200);
    // Requests without a route reach $default, which knows the path and not that it moved.
    assert_ne!(
        send(stack.anonymous(Method::GET, "/api/health"))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_method_is_the_template_s() {
    let declared = "Method: POST, Path: \"/api/members/create/\" }";
    let stack = started(&[(declared, "Method: PATCH, Path: \"/api/members/create/\" }")]).await;
    let member = json!({
        "account_id": 4, "client_member_id": 1, "first_name": "Ann", "last_name": "Lee",
        "phone_number": "7145550123",
    });
    let patch = stack
        .request(Method::PATCH, "/api/members/create/")
        .json(&member);
    send(patch).await.expect(201);
    assert_eq!(
        stack.post("/api/members/create/", &member).await.status,
        405
    );
    stack
        .post("/api/members/create", &member)
        .await
        .problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table_has_the_new_name_and_works() {
    let table = "  MembersTable:\n    Type: AWS::DynamoDB::Table\n    DeletionPolicy: Retain\n    \
                 UpdateReplacePolicy: Retain\n    Properties:\n";
    let renamed = format!("{table}      TableName: people-of-note\n");
    let stack = started(&[(table, &renamed)]).await;
    Rows::created(30).check(&stack.upload(roster("4", 30)).await);
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 30));
    let client = stack.local_stack.setup().dynamodb().unwrap();
    let scan = client
        .scan()
        .table_name("people-of-note")
        .send()
        .await
        .unwrap();
    assert_eq!(scan.count(), 30);
    let tables = client.list_tables().send().await.unwrap();
    assert!(
        !tables
            .table_names()
            .iter()
            .any(|name| name.contains("Members")),
        "{tables:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_index_contains_existing_items() {
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().join("data"));
    let stack = Stack::with(BUILT_IN_TEMPLATE, &[], data()).await;
    Rows::created(5).check(&stack.upload(roster("4", 5)).await);
    let table = stack
        .local_stack
        .setup()
        .required("MEMBERS_TABLE")
        .unwrap()
        .to_owned();
    stack.local_stack.stop().await;

    let attribute = "        - { AttributeName: phone_number, AttributeType: S }\n";
    let index = "        - IndexName: client-member-index\n";
    let changed = template(&[
        (
            attribute,
            &format!("{attribute}        - {{ AttributeName: last_name, AttributeType: S }}\n"),
        ),
        (
            index,
            &format!(
                "        - IndexName: name-index\n          \
                 KeySchema: [{{ AttributeName: last_name, KeyType: HASH }}]\n          \
                 Projection: {{ ProjectionType: ALL }}\n{index}"
            ),
        ),
    ]);
    let stack = Stack::with(&changed, &[], data()).await;
    assert_eq!(stack.ids("aid=4").await, roster_ids("4", 5));
    let client = stack.local_stack.setup().dynamodb().unwrap();
    let scan = client.scan().table_name(table).index_name("name-index");
    assert_eq!(scan.send().await.unwrap().count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_index_is_the_template_s() {
    let stack = started(&[("IndexName: phone-index", "IndexName: by-phone")]).await;
    let setup = stack.local_stack.setup();
    let client = setup.dynamodb().unwrap();
    let table = setup.required("MEMBERS_TABLE").unwrap();
    Rows::created(5).check(&stack.upload(roster("4", 5)).await);
    let scan = |index: &str| client.scan().table_name(table).index_name(index).send();
    assert_eq!(scan("by-phone").await.unwrap().count(), 5);
    assert!(scan("phone-index").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_timeout_makes_more_runs_and_the_same_result() {
    // Lambda requires the visibility timeout to be at least the function's timeout.
    let stack = started(&[
        ("      Timeout: 900\n", "      Timeout: 2\n"),
        ("VisibilityTimeout: 930", "VisibilityTimeout: 2"),
    ])
    .await;
    // More than a fast computer loads in one run.
    let people = 80_000;
    let mut file = roster("4", people);
    for index in 0..10 {
        writeln!(file, "4,bad{index},Ann,Lee,12").unwrap();
    }
    let batch = stack.upload(file).await;
    assert!(count(&batch["attempts"]) > 1, "{batch:#}");
    let rows = Rows {
        created: people,
        rejected: 10,
        ..Rows::default()
    };
    rows.check(&batch);
    assert_eq!(stack.ids("aid=4&limit=1000").await, roster_ids("4", people));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_waits_as_long_as_the_route_says() {
    let get = "Method: GET, Path: \"/api/members\" }";
    let hurried = "Method: GET, Path: \"/api/members\", TimeoutInMillis: 1 }";
    let stack = started(&[(get, hurried)]).await;
    Rows::created(1000).check(&stack.upload(roster("4", 1000)).await);
    let answer = stack.get("/api/members?aid=4&limit=1000").await;
    answer.expect(503);
    assert_eq!(text(&answer.json()["message"]), "Service Unavailable");
    stack
        .get("/api/members/?aid=4&limit=1000")
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_a_name_of_its_own_receives_the_uploads() {
    let named = &[("FilesBucketName", "rosters-of-us-east-1")];
    let stack = Stack::with(BUILT_IN_TEMPLATE, named, Data::Ephemeral).await;
    let batch = stack.open_batch(&json!({})).await;
    let url = text(&batch["upload"]["url"]);
    assert!(
        url.starts_with(&format!(
            "{}/rosters-of-us-east-1/",
            stack.local_stack.endpoints().s3
        )),
        "{url}"
    );
    stack.put_file(&batch, roster("4", 3)).await.expect(200);
    Rows::created(3).check(&stack.wait_for_batch(text(&batch["batch_id"])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_region_is_a_parameter() {
    let british = &[("DefaultRegion", "GB")];
    let stack = Stack::with(BUILT_IN_TEMPLATE, british, Data::Ephemeral).await;
    let file = format!("{}4,1,Ann,Lee,020 7946 0018\n", mpulse_tests::HEADER);
    Rows::created(1).check(&stack.upload(file).await);
    let member = stack.get("/api/members/?ph=02079460018").await.json()["results"][0].clone();
    assert_eq!(member["phone_number"], "+442079460018");
}
