//! Why a container cannot be unpacked: a failed request, or the file itself.

use mpulse_shared::run::RunError;
use std::io;

use zip::result::ZipError;

use super::object_reader::Failure;
use super::problem;

/// Returns why a file could not be unpacked: the failed request, if there was one.
pub fn cause(failure: &Failure, otherwise: impl FnOnce() -> RunError) -> RunError {
    failure.take().unwrap_or_else(otherwise)
}

/// Returns the problem of a container that ends early or is damaged.
pub fn broken(container: &str, error: &io::Error) -> RunError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return problem(
            "truncated_file",
            format!(
                "The {container} file ends early: it was cut when it was made or sent. Send it again, whole, in a new batch."
            ),
        );
    }
    damaged(container)
}

/// Returns the problem of a damaged container.
pub fn damaged(container: &str) -> RunError {
    problem(
        "corrupt_file",
        format!("The {container} file is damaged. Make it again and send it in a new batch."),
    )
}

/// Returns the problem of a zip archive.
pub fn zip_problem(error: &ZipError) -> RunError {
    match error {
        ZipError::Io(error) => broken("zip", error),
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => {
            problem(
                "encrypted_file",
                "The zip archive is protected by a password. Send it without a password.",
            )
        }
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => problem(
            "unsupported_compression",
            "The zip archive uses a compression that is not supported. Make it with the usual one (deflate), or send CSV or gzip.",
        ),
        // An archive whose end is missing has no list of its files.
        _ => problem(
            "truncated_file",
            "The zip file is damaged or ends early. Make it again and send it in a new batch.",
        ),
    }
}
