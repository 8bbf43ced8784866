//! template.yaml as a plain model of what it declares: tables, buckets, queues,
//! functions and routes, with every reference resolved.
//!
//! Promises: nothing that the template says is said again in this crate; names,
//! defaults and pseudo parameters are as CloudFormation and SAM document them; and a
//! property that one machine can't honour, and that changes what the system does, is
//! an error that names it rather than something silently left out. Policies, alarms,
//! outputs and settings of cost or capacity are left out on purpose.

mod functions;
mod intrinsics;
mod properties;
mod resources;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use thiserror::Error;

use intrinsics::Resolver;

/// The account that every machine of one's own lives in.
pub const ACCOUNT_ID: &str = "000000000000";
/// The region that every machine of one's own lives in.
pub const REGION: &str = "us-east-1";
/// The partition, the first part of every ARN.
pub const PARTITION: &str = "aws";
/// The name of the stack; a resource without a name of its own is named after it.
pub const STACK_NAME: &str = "mpulse";

/// The template can't be read, or asks for something one machine can't do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It isn't YAML, or not one document.
    #[error("the template is not readable as YAML: {0}")]
    Yaml(String),
    /// A part of it is missing, has the wrong shape, or can't be honoured.
    #[error("template, {place}: {reason}")]
    Unsupported {
        /// The resource (and the property, where one is at fault).
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A reference leads nowhere.
    #[error("template, {place}: {reference} refers to nothing this machine knows")]
    Reference {
        /// The resource that refers.
        place: String,
        /// What it refers to.
        reference: String,
    },
    /// A parameter is unknown, has no value, or has one that isn't allowed.
    #[error("template parameter {name}: {reason}")]
    Parameter {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl TemplateError {
    fn unsupported(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            place: place.into(),
            reason: reason.into(),
        }
    }
}

/// What the template declares, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The tables, by logical id.
    pub tables: Vec<Table>,
    /// The buckets, by logical id.
    pub buckets: Vec<Bucket>,
    /// The queues, by logical id.
    pub queues: Vec<Queue>,
    /// The functions, by logical id.
    pub functions: Vec<Function>,
}

/// A DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name in the template.
    pub logical_id: String,
    /// Its name in DynamoDB.
    pub name: String,
    /// The attributes that keys are made of, with their types (`S`, `N` or `B`).
    pub attributes: BTreeMap<String, String>,
    /// The primary key.
    pub key: Key,
    /// The global secondary indexes, by name.
    pub indexes: Vec<Index>,
    /// The attribute that holds an item's time of expiry, in epoch seconds.
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
    /// What of an item it holds.
    pub projection: Projection,
}

/// What an index holds of an item, besides the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projection {
    /// Everything.
    All,
    /// Nothing.
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
    /// Which events of it go to which queue.
    pub notifications: Vec<Notification>,
    /// Which pages of other origins may call it.
    pub cors: Vec<CorsRule>,
}

/// Events of a bucket that a queue is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The kind of event, without `s3:`; it may end in `*`.
    pub event: String,
    /// What the object's key begins with.
    pub prefix: String,
    /// What the object's key ends with.
    pub suffix: String,
    /// The ARN of the queue.
    pub queue_arn: String,
}

impl Notification {
    /// Whether it tells of `event` (for instance `ObjectCreated:Put`) on `key`.
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
    /// The methods it lets through.
    pub methods: Vec<String>,
    /// The origins it lets through; each may hold one `*`.
    pub origins: Vec<String>,
    /// The request headers it lets through; each may hold one `*`.
    pub headers: Vec<String>,
    /// The answer's headers that a page may read.
    pub exposed: Vec<String>,
    /// For how many seconds a browser may remember the answer.
    pub max_age: Option<u64>,
}

/// An SQS queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name in the template.
    pub logical_id: String,
    /// Its name in SQS.
    pub name: String,
    /// Its ARN, by which others refer to it.
    pub arn: String,
    /// For how long a message that was handed out isn't handed out again.
    pub visibility_timeout: Duration,
    /// For how long a message is kept.
    pub retention: Duration,
    /// Where messages go that nobody could process.
    pub redrive: Option<Redrive>,
}

/// When and where a queue gives up on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// The ARN of the dead-letter queue.
    pub target_arn: String,
    /// How many times a message is handed out before it goes there.
    pub max_receive_count: u32,
}

/// A Lambda function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name in the template.
    pub logical_id: String,
    /// Its name in Lambda.
    pub name: String,
    /// The binary that is built for it, and the name of its crate.
    pub binary: String,
    /// For how long it may run.
    pub timeout: Duration,
    /// How much memory it has, in MB.
    pub memory: u32,
    /// Its own environment variables.
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
    /// How many messages the function gets at most in one event.
    pub batch_size: usize,
    /// Whether the function says which messages of a batch failed.
    pub report_batch_item_failures: bool,
    /// How many events are processed at a time, if the template says so.
    pub maximum_concurrency: Option<usize>,
}

impl Template {
    /// Reads a template. `parameters` replace the defaults of its parameters.
    ///
    /// # Errors
    /// [`TemplateError`], naming the resource and property at fault.
    pub fn parse(text: &str, parameters: &HashMap<String, String>) -> Result<Self, TemplateError> {
        let tree = intrinsics::tree(text)?;
        let resolver = Resolver::new(&tree, parameters)?;
        let template = Self {
            tables: resources::tables(&tree, &resolver)?,
            buckets: resources::buckets(&tree, &resolver)?,
            queues: resources::queues(&tree, &resolver)?,
            functions: functions::functions(&tree, &resolver)?,
        };
        template.check()?;
        Ok(template)
    }

    /// The queue with this ARN.
    #[must_use]
    pub fn queue(&self, arn: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.arn == arn)
    }

    /// What CloudFormation or Lambda would refuse, and what would leave an event
    /// without a receiver.
    fn check(&self) -> Result<(), TemplateError> {
        for bucket in &self.buckets {
            for notification in &bucket.notifications {
                self.known_queue(&bucket.logical_id, &notification.queue_arn)?;
            }
        }
        for queue in &self.queues {
            if let Some(redrive) = &queue.redrive {
                self.known_queue(&queue.logical_id, &redrive.target_arn)?;
            }
        }
        for function in &self.functions {
            for source in &function.queues {
                let queue = self.known_queue(&function.logical_id, &source.queue_arn)?;
                if queue.visibility_timeout < function.timeout {
                    return Err(TemplateError::unsupported(
                        format!("{}.VisibilityTimeout", queue.logical_id),
                        format!(
                            "{} s is less than the Timeout of {} ({} s), which Lambda refuses",
                            queue.visibility_timeout.as_secs(),
                            function.logical_id,
                            function.timeout.as_secs()
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn known_queue(&self, place: &str, arn: &str) -> Result<&Queue, TemplateError> {
        self.queue(arn).ok_or_else(|| TemplateError::Reference {
            place: place.to_owned(),
            reference: arn.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
