//! What is wrong with a database, in an operator's words.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

/// Why a store does not open. Each is for the operator to repair.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot use the data directory {}: {error}", path.display())]
    Directory { path: PathBuf, error: io::Error },
    #[error("another chat-server uses the data directory {}; end it first, or give this one a data_dir of its own", .0.display())]
    InUse(PathBuf),
    #[error("there is no store in {}", .0.display())]
    Missing(PathBuf),
    #[error("{} was written by a newer chat-server: its schema is {found}, and this version knows up to {known}", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{} is the database of another program", .0.display())]
    Foreign(PathBuf),
    #[error("{}: {reason}", path.display())]
    Database { path: PathBuf, reason: String },
}

/// What an error of SQLite means. It never quotes what clients sent.
pub(crate) fn reason(error: &rusqlite::Error) -> String {
    let Some(code) = error.sqlite_error_code() else { return error.to_string() };
    let meaning = match code {
        ErrorCode::DiskFull => "the disk is full",
        ErrorCode::SystemIoFailure => "an I/O error of the disk",
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            "the file is damaged; see docs/store.md, \"When it breaks\""
        }
        ErrorCode::ReadOnly => "the file or its directory is read-only",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => "another process has locked the file",
        ErrorCode::CannotOpen => "the file cannot be opened",
        ErrorCode::PermissionDenied => "permission denied",
        ErrorCode::OutOfMemory => "out of memory",
        _ => return error.to_string(),
    };
    format!("{meaning} ({error})")
}
