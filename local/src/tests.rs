use std::time::Duration;

use super::*;

fn options(data: Data) -> Options {
    Options {
        template: BUILT_IN_TEMPLATE.to_owned(),
        parameters: HashMap::new(),
        data,
        engines: None,
        port: 0,
        invoke: None,
        faults: None,
        events_to: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_stack_starts_responds_and_stops() {
    let local_stack = LocalStack::start(options(Data::Ephemeral)).await.unwrap();
    let http = crate::http_client::builder().no_proxy().build().unwrap();
    let health = http
        .get(format!("{}/api/health", local_stack.api_url()))
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
    assert!(health.headers().contains_key("apigw-requestid"));
    let large = http.post(format!("{}/api/members", local_stack.api_url()));
    let large = large
        .body(vec![b'x'; gateway::MAX_BODY_BYTES + 1])
        .send()
        .await
        .unwrap();
    assert_eq!(large.status(), 413);
    let body = large.text().await.unwrap();
    assert_eq!(body, r#"{"message":"Request Entity Too Large"}"#);
    let tables = local_stack
        .setup()
        .dynamodb()
        .unwrap()
        .list_tables()
        .send()
        .await
        .unwrap();
    assert_eq!(
        tables.table_names().len(),
        local_stack.template().tables.len()
    );
    let api = local_stack.api_url();
    local_stack.stop().await;
    assert!(
        http.get(api)
            .timeout(Duration::from_secs(1))
            .send()
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn data_survives_and_a_folder_has_one_local_stack() {
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().join("data"));
    let local_stack = LocalStack::start(options(data())).await.unwrap();
    let second = LocalStack::start(options(data())).await;
    assert!(matches!(second, Err(LocalStackError::InUse(_))));
    let table = local_stack.template().tables[0].name.clone();
    let setup = local_stack.setup();
    let client = setup.dynamodb().unwrap();
    let key = &local_stack.template().tables[0].key;
    let value = || aws_sdk_dynamodb::types::AttributeValue::S("x".into());
    let mut put = client
        .put_item()
        .table_name(&table)
        .item(&key.hash, value());
    if let Some(range) = &key.range {
        put = put.item(range, value());
    }
    put.send().await.unwrap();
    local_stack.stop().await;

    let local_stack = LocalStack::start(options(data())).await.unwrap();
    let client = local_stack.setup().dynamodb().unwrap();
    let scan = client.scan().table_name(&table).send().await.unwrap();
    assert_eq!(scan.count(), 1);
    let port = local_stack.ports.api;
    let taken = LocalStack::start(Options {
        port,
        ..options(Data::Ephemeral)
    });
    let error = taken.await.err().unwrap().to_string();
    assert!(
        error.contains(&port.to_string()) && error.contains("the API"),
        "{error}"
    );
    local_stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_index_is_added_and_another_key_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |template: &str| {
        LocalStack::start(Options {
            template: template.to_owned(),
            ..options(Data::Folder(folder.path().to_owned()))
        })
        .await
    };
    let template = |key: &str, index: &str| {
        format!(
            "Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions:
        - {{ AttributeName: {key}, AttributeType: S }}
        - {{ AttributeName: color, AttributeType: S }}
      KeySchema: [{{ AttributeName: {key}, KeyType: HASH }}]
      GlobalSecondaryIndexes:
        - IndexName: first
          KeySchema: [{{ AttributeName: color, KeyType: HASH }}]
          Projection: {{ ProjectionType: ALL }}
{index}"
        )
    };
    let second = "        - IndexName: second
          KeySchema: [{ AttributeName: color, KeyType: HASH }, { AttributeName: id, KeyType: RANGE }]
          Projection: { ProjectionType: KEYS_ONLY }
";
    start(&template("id", "")).await.unwrap().stop().await;
    let local_stack = start(&template("id", second)).await.unwrap();
    let client = local_stack.setup().dynamodb().unwrap();
    let table = client
        .describe_table()
        .table_name("mpulse-Things")
        .send()
        .await
        .unwrap();
    let table = table.table.unwrap();
    assert_eq!(table.global_secondary_indexes().len(), 2);
    local_stack.stop().await;
    start(&template("id", second)).await.unwrap().stop().await;
    for (text, difference) in [
        (template("id", ""), "index second"),
        (template("name", ""), "another key"),
    ] {
        let error = start(&text).await.err().unwrap().to_string();
        assert!(error.contains(difference), "{error}");
    }
}
