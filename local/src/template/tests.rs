use std::collections::HashMap;
use std::time::Duration;

use mpulse_shared::{batch, export};

use super::*;

const SMALL: &str = r#"
Parameters:
  Color: { Type: String, Default: red, AllowedValues: [red, blue] }
Conditions:
  IsBlue: !Equals [!Ref Color, blue]
  IsNotBlue: !Not [!Equals [!Ref Color, blue]]
Globals:
  Function:
    Timeout: 10
    Environment: { Variables: { RUST_LOG: info, COLOR: none } }
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
  Work:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 60
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3 }
  Dead: { Type: AWS::SQS::Queue }
  Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties: { Dimensions: !If [A, B, C] }
  Doer:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: doer } }
    Properties:
      MemorySize: 512
      Policies: [!Ref Nowhere]
      Environment:
        Variables:
          COLOR: !Ref Color
          TABLE: { Ref: Things }
          MIX: !Sub "${AWS::Region}/${Things.Arn}/${!Kept}/${Own}-${Color}"
          LONG: { "Fn::Sub": ["${Own}", { Own: !GetAtt Work.QueueName }] }
          STACK: !Join ["-", [stack, !Select [1, !Split ["/", !Ref AWS::StackId]]]]
          SHADE: !If [IsBlue, dark, !If [IsNotBlue, !Ref Color, none]]
      Events:
        Any: { Type: HttpApi }
        One: { Type: HttpApi, Properties: { Method: get, Path: "/x/{id}" } }
        Queue:
          Type: SQS
          Properties:
            Queue: !GetAtt Work.Arn
            FunctionResponseTypes: [ReportBatchItemFailures]
"#;

fn parse(text: &str) -> Result<Template, TemplateError> {
    Template::parse(text, &HashMap::new())
}

fn small() -> String {
    SMALL.replace("${Own}-", "")
}

#[test]
fn references_are_resolved_and_defaults_filled_in() {
    let template = parse(&small()).unwrap();
    assert_eq!(template.tables[0].name, "mpulse-Things");
    let work = template
        .queues
        .iter()
        .find(|queue| queue.logical_id == "Work")
        .unwrap();
    assert_eq!(work.arn, "arn:aws:sqs:us-east-1:000000000000:mpulse-Work");
    assert_eq!(work.retention, Duration::from_hours(96));
    let redrive = work.redrive.as_ref().unwrap();
    assert_eq!(redrive.max_receive_count, 3);
    assert!(redrive.target_arn.ends_with(":mpulse-Dead"));
    let doer = &template.functions[0];
    assert_eq!((doer.memory, doer.timeout), (512, Duration::from_secs(10)));
    assert_eq!(doer.environment["RUST_LOG"], "info");
    assert_eq!(doer.environment["COLOR"], "red");
    assert_eq!(doer.environment["TABLE"], "mpulse-Things");
    assert_eq!(
        doer.environment["MIX"],
        "us-east-1/arn:aws:dynamodb:us-east-1:000000000000:table/mpulse-Things/${Kept}/red"
    );
    assert_eq!(doer.environment["LONG"], "mpulse-Work");
    assert_eq!(doer.environment["STACK"], "stack-mpulse");
    assert_eq!(doer.environment["SHADE"], "red");
    assert_eq!(doer.routes[0].path, None);
    assert_eq!(doer.routes[1].method.as_deref(), Some("GET"));
    let source = &doer.queues[0];
    assert_eq!((source.batch_size, source.maximum_concurrency), (10, None));
    assert!(source.report_batch_item_failures);
}

#[test]
fn another_stack_has_other_names() {
    let stack = Stack::with_id("01J");
    let template = Template::of_stack(&stack, &small(), &HashMap::new()).unwrap();
    assert_eq!(template.tables[0].name, "mpulse-01j-Things");
    let environment = &template.functions[0].environment;
    assert_eq!(environment["TABLE"], "mpulse-01j-Things");
    assert_eq!(environment["STACK"], "stack-mpulse-01j");
    let built_in = crate::BUILT_IN_TEMPLATE;
    let template = Template::of_stack(&stack, built_in, &HashMap::new()).unwrap();
    assert_eq!(template.buckets[0].name, "mpulse-files-01j");
}

#[test]
fn parameters_can_be_overridden_within_what_is_allowed() {
    let with = |name: &str, value: &str| {
        Template::parse(&small(), &HashMap::from([(name.into(), value.into())]))
    };
    let template = with("Color", "blue").unwrap();
    assert_eq!(template.functions[0].environment["COLOR"], "blue");
    assert_eq!(template.functions[0].environment["SHADE"], "dark");
    assert!(with("Color", "green").is_err());
    assert!(with("Colour", "red").is_err());
}

#[test]
fn unsupported_properties_are_named() {
    let cases = [
        ("COLOR: !Ref Color", "COLOR: !Ref Colour", "Colour"),
        ("!GetAtt Work.Arn", "!GetAtt Work.Url", "Work.Url"),
        ("!GetAtt Dead.Arn", "!Ref Alarm", "Alarm"),
        (
            "COLOR: !Ref Color",
            "COLOR: !ImportValue x",
            "Fn::ImportValue",
        ),
        ("!If [IsBlue,", "!If [IsGreen,", "IsGreen"),
        ("!If [IsBlue, dark,", "!If [IsBlue,", "Fn::If"),
        (
            "!Equals [!Ref Color, blue]",
            "!Or [!Ref Color, blue]",
            "Conditions.IsBlue",
        ),
        ("!Select [1,", "!Select [3,", "Fn::Select"),
        ("!Split [\"/\",", "!Split [\"\",", "Fn::Split"),
        ("[stack, !Select", "[stack, [stack], !Select", "Fn::Join"),
        (
            "BillingMode: PAY_PER_REQUEST",
            "StreamSpecification: {}",
            "Things",
        ),
        ("MemorySize: 512", "Layers: [x]", "Layers"),
        ("VisibilityTimeout: 60", "DelaySeconds: 5", "DelaySeconds"),
        (
            "VisibilityTimeout: 60",
            "VisibilityTimeout: 5",
            "Work.VisibilityTimeout",
        ),
        ("Type: HttpApi }", "Type: Schedule }", "Doer.Events.Any"),
        ("Binary: doer", "Other: doer", "Doer.Metadata"),
    ];
    for (from, to, named) in cases {
        let error = parse(&small().replacen(from, to, 1))
            .expect_err(to)
            .to_string();
        assert!(error.contains(named), "{to}: {error}");
    }
}

#[test]
fn the_built_in_template_is_supported() {
    let template = parse(crate::BUILT_IN_TEMPLATE).unwrap();
    assert!(template.tables.iter().any(|table| table.indexes.len() == 2));
    let bucket = &template.buckets[0];
    assert_eq!(bucket.name, "mpulse-files-local");
    let notification = &bucket.notifications[0];
    assert!(notification.takes("ObjectCreated:Put", "uploads/x"));
    assert!(!notification.takes("ObjectCreated:Put", "rejects/x"));
    assert!(!notification.takes("ObjectRemoved:Delete", "uploads/x"));
    assert_eq!(bucket.cors.len(), 1);
    let expire = |prefix: &str, days| LifecycleRule::Expire {
        prefix: prefix.to_owned(),
        days,
    };
    let rules = [
        expire("uploads/", batch::UPLOAD_DAYS),
        expire("rejects/", batch::REPORT_DAYS),
        expire("changes/", batch::REPORT_DAYS),
        expire("exports/", export::KEPT_DAYS),
        LifecycleRule::AbortUploads { days: 1 },
    ];
    assert_eq!(bucket.lifecycle, rules, "the days that the API states");
    let ingest = template
        .functions
        .iter()
        .find(|one| one.binary == "ingest")
        .unwrap();
    assert_eq!(ingest.queues[0].batch_size, 1);
    assert_eq!(ingest.queues[0].maximum_concurrency, Some(10));
    assert!(ingest.environment.contains_key("MEMBERS_TABLE"));
}
