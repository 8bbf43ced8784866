//! template.yaml as a plain model of what it declares: tables, buckets, queues, functions and
//! routes, with every reference resolved.
//!
//! The template is the only description of the system: this crate repeats nothing of it. Names,
//! defaults and pseudo parameters follow the documentation of CloudFormation and SAM. A property
//! that the local stack does not support, and that changes what the system does, is an error that
//! names the property. Policies, alarms, outputs and settings of cost or capacity are ignored on
//! purpose.
//!

mod functions;
mod intrinsics;
mod model;
mod names;
mod properties;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use intrinsics::Resolver;

pub use model::*;

/// The content of the template, resolved.
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

impl Template {
    /// Parses a template. `parameters` replace the defaults of its parameters.
    ///
    /// # Errors
    /// Returns [`TemplateError`] with the resource and property.
    pub fn parse(text: &str, parameters: &HashMap<String, String>) -> Result<Self, TemplateError> {
        Self::of_stack(&Stack::default(), text, parameters)
    }

    /// Parses the template of a stack: its names are those of that stack's resources.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn of_stack(
        stack: &Stack,
        text: &str,
        parameters: &HashMap<String, String>,
    ) -> Result<Self, TemplateError> {
        let tree = intrinsics::tree(text)?;
        let resolver = Resolver::new(&tree, parameters, stack)?;
        let template = Self {
            tables: resources::tables(&tree, &resolver)?,
            buckets: resources::buckets(&tree, &resolver)?,
            queues: resources::queues(&tree, &resolver)?,
            functions: functions::functions(&tree, &resolver)?,
        };
        template.check()?;
        Ok(template)
    }

    /// Returns the queue with this ARN.
    #[must_use]
    pub fn queue(&self, arn: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.arn == arn)
    }

    /// Checks what CloudFormation or Lambda would reject, and that every event has a
    /// receiver.
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
                            "{} s is less than the Timeout of {} ({} s), which Lambda rejects",
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
