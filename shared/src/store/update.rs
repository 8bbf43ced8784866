//! The SET part of an update expression.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use serde::Serialize;
use serde_dynamo::to_attribute_value;

use super::StoreError;
use super::item::Item;

/// The SET part of an update, built one attribute at a time.
pub(super) struct Set {
    pub(super) operation: &'static str,
    clauses: Vec<String>,
    values: Item,
    names_status: bool,
}

impl Set {
    pub(super) fn new(operation: &'static str) -> Self {
        Self {
            operation,
            clauses: Vec::new(),
            values: Item::new(),
            names_status: false,
        }
    }

    /// Sets the attribute `path`; `name` is the placeholder of its value. `#status` refers to the
    /// attribute `status`, which is a reserved word in DynamoDB.
    pub(super) fn value(
        &mut self,
        path: &str,
        name: &str,
        value: &impl Serialize,
    ) -> Result<&mut Self, StoreError> {
        let value = to_attribute_value(value)
            .map_err(|error| StoreError::unreadable(self.operation, error))?;
        self.names_status |= path == "#status";
        self.clauses.push(format!("{path} = :{name}"));
        self.values.insert(format!(":{name}"), value);
        Ok(self)
    }

    pub(super) fn apply(self, update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        self.apply_with(update, "")
    }

    pub(super) fn apply_with(
        self,
        update: UpdateItemFluentBuilder,
        remove: &str,
    ) -> UpdateItemFluentBuilder {
        let mut update =
            update.update_expression(format!("SET {}{remove}", self.clauses.join(", ")));
        if self.names_status {
            update = update.expression_attribute_names("#status", "status");
        }
        for (name, value) in self.values {
            update = update.expression_attribute_values(name, value);
        }
        update
    }
}
