//! The operations of the protocol, by name.

mod batch_get;
mod batch_write;
mod create_table;
mod description;
mod item;
mod page;
mod parameters;
mod query;
mod statement;
mod table;
mod time_to_live;
mod transaction;
mod update_item;
mod update_table;

use serde::Serialize;

use crate::error::{ApiError, Kind, Result};
use crate::shared::Shared;

pub(crate) use update_table::fill_unfinished_indexes;

/// Executes an operation, and returns the JSON body of its response.
pub(crate) fn call(shared: &Shared, operation: &str, body: &[u8]) -> Result<Vec<u8>> {
    match operation {
        "BatchExecuteStatement" => answer(statement::batch_execute(shared, body)),
        "BatchGetItem" => answer(batch_get::batch_get(shared, body)),
        "BatchWriteItem" => answer(batch_write::batch_write(shared, body)),
        "CreateTable" => answer(create_table::create_table(shared, body)),
        "DeleteItem" => answer(item::delete_item(shared, body)),
        "DeleteTable" => answer(table::delete_table(shared, body)),
        "DescribeTable" => answer(table::describe_table(shared, body)),
        "DescribeTimeToLive" => answer(time_to_live::describe(shared, body)),
        "ExecuteStatement" => answer(statement::execute(shared, body)),
        "GetItem" => answer(item::get_item(shared, body)),
        "ListTables" => answer(table::list_tables(shared, body)),
        "PutItem" => answer(item::put_item(shared, body)),
        "Query" => answer(query::query(shared, body)),
        "Scan" => answer(query::scan(shared, body)),
        "TransactGetItems" => answer(transaction::get_items(shared, body)),
        "TransactWriteItems" => answer(transaction::write_items(shared, body)),
        "UpdateItem" => answer(update_item::update_item(shared, body)),
        "UpdateTable" => answer(update_table::update_table(shared, body)),
        "UpdateTimeToLive" => answer(time_to_live::update(shared, body)),
        _ => Err(ApiError::new(Kind::UnknownOperation, "")),
    }
}

/// Returns whether an operation changes a table itself, not only its items.
pub(crate) fn changes_tables(operation: &str) -> bool {
    matches!(operation, "CreateTable" | "DeleteTable" | "UpdateTable")
}

fn answer(result: Result<impl Serialize>) -> Result<Vec<u8>> {
    let answer = result?;
    serde_json::to_vec(&answer).map_err(|error| ApiError::new(Kind::Internal, error.to_string()))
}
