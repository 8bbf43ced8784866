//! The fields of a request that creates a key, validated.

use std::collections::BTreeSet;

use mpulse_shared::http::form::{INVALID_TYPE, scalar};
use mpulse_shared::key::{InvalidKeyId, InvalidRole, KeyId, Role};
use mpulse_shared::member::{AccountId, FieldError};
use mpulse_shared::scope::{MAX_ACCOUNTS, Scope};
use serde_json::{Map, Value};

/// A key to be created.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub key_id: KeyId,
    /// Its role.
    pub role: Role,
    /// The accounts that it is bound to.
    pub accounts: Scope,
}

/// Reads the request.
///
/// # Errors
/// Returns every error found.
pub fn parse(object: &Map<String, Value>) -> Result<Asked, Vec<FieldError>> {
    let mut errors = Vec::new();
    for name in object.keys() {
        if !["key_id", "role", "accounts"].contains(&name.as_str()) {
            errors.push(FieldError::new(
                name,
                "unknown_field",
                "must be one of key_id, role, accounts",
            ));
        }
    }
    let mut keep = |error: FieldError| errors.push(error);
    let key_id = text(object, "key_id")
        .and_then(|text| {
            text.parse().map_err(|e: InvalidKeyId| {
                FieldError::new("key_id", "invalid_key_id", e.to_string())
            })
        })
        .map_err(&mut keep);
    let role = text(object, "role")
        .and_then(|text| {
            text.parse()
                .map_err(|e: InvalidRole| FieldError::new("role", "invalid_role", e.to_string()))
        })
        .map_err(&mut keep);
    let accounts = accounts(object.get("accounts")).map_err(&mut keep);
    match (key_id, role, accounts) {
        (Ok(key_id), Ok(role), Ok(accounts)) if errors.is_empty() => Ok(Asked {
            key_id,
            role,
            accounts,
        }),
        _ => Err(errors),
    }
}

fn text(object: &Map<String, Value>, name: &str) -> Result<String, FieldError> {
    match object.get(name) {
        None | Some(Value::Null) => Err(FieldError::new(name, "required", "is required")),
        Some(value) => {
            scalar(value).ok_or_else(|| FieldError::new(name, "invalid_type", INVALID_TYPE))
        }
    }
}

fn accounts(value: Option<&Value>) -> Result<Scope, FieldError> {
    let fault = || {
        FieldError::new(
            "accounts",
            "invalid_accounts",
            format!("must be null (all accounts) or a list of 1 to {MAX_ACCOUNTS} account ids"),
        )
    };
    let list = match value {
        None | Some(Value::Null) => return Ok(Scope::ALL),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(fault()),
    };
    let accounts: Option<BTreeSet<AccountId>> = list
        .iter()
        .map(|value| AccountId::parse(&scalar(value)?).ok())
        .collect();
    accounts
        .filter(|_| (1..=MAX_ACCOUNTS).contains(&list.len()))
        .map(Scope::only)
        .ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Asked, Vec<(String, &'static str)>> {
        parse(value.as_object().unwrap())
            .map_err(|errors| errors.into_iter().map(|e| (e.field, e.code)).collect())
    }

    #[test]
    fn a_key_is_bound_only_if_accounts_are_named() {
        let free = read(&json!({"key_id": "ops", "role": "admin", "accounts": null})).unwrap();
        assert_eq!(free.accounts, Scope::ALL);
        let bound = read(&json!({"key_id": "x", "role": "reader", "accounts": ["5", 4]})).unwrap();
        let ids: Vec<&str> = bound
            .accounts
            .accounts()
            .unwrap()
            .iter()
            .map(AccountId::as_str)
            .collect();
        assert_eq!(ids, ["4", "5"]);
    }

    #[test]
    fn every_fault_is_told() {
        let faults = read(&json!({"key_id": "a:b", "role": "owner", "accounts": [], "name": "x"}));
        let faults = faults.unwrap_err();
        let codes: Vec<&str> = faults.iter().map(|(_, code)| *code).collect();
        assert_eq!(
            codes,
            [
                "unknown_field",
                "invalid_key_id",
                "invalid_role",
                "invalid_accounts"
            ]
        );
        let many: Vec<usize> = (0..=MAX_ACCOUNTS).collect();
        for accounts in [json!("4"), json!(["4 5"]), json!([["4"]]), json!(many)] {
            let asked = json!({"key_id": "x", "role": "reader", "accounts": accounts});
            assert_eq!(
                read(&asked).unwrap_err()[0].1,
                "invalid_accounts",
                "{asked}"
            );
        }
        assert_eq!(read(&json!({})).unwrap_err().len(), 2);
    }
}
