//! The physical names of resources: the results of `Ref` and `Fn::GetAtt`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{ACCOUNT_ID, PARTITION, REGION, TemplateError};

pub(super) const TABLE: &str = "AWS::DynamoDB::Table";

pub(super) const BUCKET: &str = "AWS::S3::Bucket";

pub(super) const QUEUE: &str = "AWS::SQS::Queue";

pub(super) const FUNCTION: &str = "AWS::Serverless::Function";

pub(super) const API: &str = "AWS::Serverless::HttpApi";

/// The pseudo parameter with the name of the stack.
pub(super) const STACK_NAME: &str = "AWS::StackName";

/// The results of `Ref` and `Fn::GetAtt` for a resource.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The result of `Ref`.
    pub(super) reference: Option<String>,
    /// The results of `Fn::GetAtt`.
    pub(super) attributes: BTreeMap<&'static str, String>,
}

impl Names {
    /// Returns the names of every resource that the local stack has.
    pub(super) fn of_all(
        tree: &Value,
        resolve: &dyn Fn(&str, &Value) -> Result<Value, TemplateError>,
    ) -> Result<BTreeMap<String, Self>, TemplateError> {
        let mut all = BTreeMap::new();
        for (id, resource) in tree["Resources"].as_object().into_iter().flatten() {
            let kind = resource["Type"].as_str().unwrap_or_default();
            let own_name = |property| physical_name(resolve, id, resource, property);
            let names = match kind {
                TABLE => {
                    let name = own_name("TableName")?;
                    let arn = arn("dynamodb", &format!("table/{name}"));
                    Self::new(name, [("Arn", arn)])
                }
                BUCKET => {
                    let name = own_name("BucketName")?.to_ascii_lowercase();
                    let arn = format!("arn:{PARTITION}:s3:::{name}");
                    Self::new(name, [("Arn", arn)])
                }
                QUEUE => {
                    let name = own_name("QueueName")?;
                    let url = format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{name}");
                    let arn = arn("sqs", &name);
                    Self::new(url, [("Arn", arn), ("QueueName", name)])
                }
                FUNCTION => {
                    let name = own_name("FunctionName")?;
                    let arn = arn("lambda", &format!("function:{name}"));
                    Self::new(name, [("Arn", arn)])
                }
                API => Self::new(id.clone(), []),
                _ => Self::default(),
            };
            all.insert(id.clone(), names);
        }
        Ok(all)
    }

    pub(super) fn new<const N: usize>(
        reference: String,
        attributes: [(&'static str, String); N],
    ) -> Self {
        Self {
            reference: Some(reference),
            attributes: BTreeMap::from(attributes),
        }
    }
}

pub(super) fn arn(service: &str, resource: &str) -> String {
    format!("arn:{PARTITION}:{service}:{REGION}:{ACCOUNT_ID}:{resource}")
}

/// Returns the name of a resource in its service: its own, or one made from the stack's.
pub(super) fn physical_name(
    resolve: &dyn Fn(&str, &Value) -> Result<Value, TemplateError>,
    id: &str,
    resource: &Value,
    property: &str,
) -> Result<String, TemplateError> {
    let place = format!("{id}.{property}");
    let name = match resolve(&place, &resource["Properties"][property])? {
        Value::Null => {
            let from_stack = json!({"Fn::Sub": format!("${{{STACK_NAME}}}-{id}")});
            resolve(&place, &from_stack)?
        }
        name => name,
    };
    match name {
        Value::String(name) if is_name(&name) => Ok(name),
        _ => Err(TemplateError::unsupported(place, "it is not a name")),
    }
}

/// Names become names of files: DynamoDB, S3, SQS and Lambda allow no other characters than these.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
