//! The content of a template: tables, buckets, queues, functions and routes, with every reference resolved.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

/// The account of every local stack.
pub const ACCOUNT_ID: &str = "000000000000";

/// The region of every local stack.
pub const REGION: &str = "us-east-1";

/// The partition, the first part of every ARN.
pub const PARTITION: &str = "aws";

/// The name and id of a stack; resources without a name of their own are named after one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The name, `AWS::StackName`.
    pub name: String,
    /// The last part of `AWS::StackId`. On AWS it is a new UUID for each stack.
    pub id: String,
}

impl Default for Stack {
    /// The only stack of a data folder. Its id never changes, because the names made from it are names of folders. It is
    /// short, because the name of a bucket is a part of the names of S3's files, which a file system limits to 255 bytes.
    fn default() -> Self {
        Self {
            name: "mpulse".to_owned(),
            id: "local".to_owned(),
        }
    }
}

impl Stack {
    /// Returns the stack with this id, in lower case as the names of buckets are.
    #[must_use]
    pub fn with_id(id: &str) -> Self {
        let id = id.to_ascii_lowercase();
        Self {
            name: format!("mpulse-{id}"),
            id,
        }
    }

    pub(super) fn arn(&self) -> String {
        let Self { name, id } = self;
        format!("arn:{PARTITION}:cloudformation:{REGION}:{ACCOUNT_ID}:stack/{name}/{id}")
    }
}

/// The template cannot be read, or is not supported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is not a single YAML document.
    #[error("the template is not readable as YAML: {0}")]
    Yaml(String),
    /// A part of it is missing, has the wrong shape, or is not supported.
    #[error("template, {place}: {reason}")]
    Unsupported {
        /// The resource, and the property if one is the cause.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A reference has no target.
    #[error("template, {place}: {reference} does not exist in the local stack")]
    Reference {
        /// The resource with the reference.
        place: String,
        /// The reference.
        reference: String,
    },
    /// A parameter is unknown, has no value, or has one that is not allowed.
    #[error("template parameter {name}: {reason}")]
    Parameter {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl TemplateError {
    pub(in crate::template) fn unsupported(
        place: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            place: place.into(),
            reason: reason.into(),
        }
    }
}

/// A DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name in the template.
    pub logical_id: String,
    /// Its name in DynamoDB.
    pub name: String,
    /// The key attributes, with their types (`S`, `N` or `B`).
    pub attributes: BTreeMap<String, String>,
    /// The primary key.
    pub key: Key,
    /// The global secondary indexes, by name.
    pub indexes: Vec<Index>,
    /// The attribute with an item's time of expiry, in epoch seconds.
    pub ttl_attribute: Option<String>,
}

/// The key of a table or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The partition key.
    pub hash: String,
    /// The sort key.
    pub range: Option<String>,
}

/// A global secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: Key,
    /// The attributes that it contains.
    pub projection: Projection,
}

/// The attributes that an index contains besides the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projection {
    /// All attributes.
    All,
    /// None.
    KeysOnly,
    /// These attributes, sorted.
    Include(Vec<String>),
}

/// An S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name in the template.
    pub logical_id: String,
    /// Its name in S3.
    pub name: String,
    /// Its notifications.
    pub notifications: Vec<Notification>,
    /// Its CORS rules.
    pub cors: Vec<CorsRule>,
    /// Its lifecycle rules.
    pub lifecycle: Vec<LifecycleRule>,
}

/// A lifecycle rule of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleRule {
    /// Objects whose key has the prefix are deleted this many days after their creation.
    Expire {
        /// The prefix of keys.
        prefix: String,
        /// The number of days.
        days: i64,
    },
    /// Multipart uploads that are not complete are aborted this many days after their start.
    AbortUploads {
        /// The number of days.
        days: i64,
    },
}

/// A notification of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The kind of event, without `s3:`; it may end in `*`.
    pub event: String,
    /// The prefix of keys.
    pub prefix: String,
    /// The suffix of keys.
    pub suffix: String,
    /// The ARN of the queue.
    pub queue_arn: String,
}

impl Notification {
    /// Returns whether `event` (such as `ObjectCreated:Put`) on `key` matches.
    #[must_use]
    pub fn takes(&self, event: &str, key: &str) -> bool {
        let kind = match self.event.strip_suffix('*') {
            Some(start) => event.starts_with(start),
            None => event == self.event,
        };
        kind && key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }
}

/// One rule of a bucket's CORS configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRule {
    /// The allowed methods.
    pub methods: Vec<String>,
    /// The allowed origins; each may contain one `*`.
    pub origins: Vec<String>,
    /// The allowed request headers; each may contain one `*`.
    pub headers: Vec<String>,
    /// The response headers that a page may read.
    pub exposed: Vec<String>,
    /// How long a browser may cache the preflight, in seconds.
    pub max_age: Option<u64>,
}

/// An SQS queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name in the template.
    pub logical_id: String,
    /// Its name in SQS.
    pub name: String,
    /// Its ARN, by which other resources refer to it.
    pub arn: String,
    /// The visibility timeout.
    pub visibility_timeout: Duration,
    /// How long a message is kept.
    pub retention: Duration,
    /// The dead-letter queue.
    pub redrive: Option<Redrive>,
}

/// When a message moves to the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// The ARN of the dead-letter queue.
    pub target_arn: String,
    /// The number of deliveries before it moves.
    pub max_receive_count: u32,
}

/// A Lambda function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name in the template.
    pub logical_id: String,
    /// Its name in Lambda.
    pub name: String,
    /// Its binary, which is also the name of its crate.
    pub binary: String,
    /// Its timeout.
    pub timeout: Duration,
    /// Its memory in MB.
    pub memory: u32,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// The routes that lead to it.
    pub routes: Vec<Route>,
    /// The queues that feed it.
    pub queues: Vec<QueueSource>,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method, or `None` for any.
    pub method: Option<String>,
    /// The path, or `None` for `$default`.
    pub path: Option<String>,
    /// How long the gateway waits for the function.
    pub timeout: Duration,
}

/// A queue that feeds a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// The ARN of the queue.
    pub queue_arn: String,
    /// The maximum number of messages in one event.
    pub batch_size: usize,
    /// Whether the function reports which messages failed.
    pub report_batch_item_failures: bool,
    /// The number of concurrent invocations, if the template sets it.
    pub maximum_concurrency: Option<usize>,
}
