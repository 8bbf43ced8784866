//! The credentials of the local stack's engines.

/// The access key of every local stack. It protects nothing: only this computer can connect.
pub const ACCESS_KEY_ID: &str = "mpulse-local";

/// The secret of that access key, with which S3's signatures are checked.
pub const SECRET_ACCESS_KEY: &str = "mpulse-local-secret";
