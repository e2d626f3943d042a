//! [`DirectoryLock`]: one server uses a data directory.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::error::OpenError;

/// The file that is locked. It stays when it is not: removing it would let two processes lock two files of one name.
const FILE: &str = "chat.lock";

/// Held as long as the store is open. The operating system frees it with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Makes the directory if there is none, and locks it.
    ///
    /// # Errors
    /// It cannot be written to, or another process has locked it.
    pub(crate) fn take(directory: &Path) -> Result<Self, OpenError> {
        let fail = |error| OpenError::Directory { path: directory.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(directory.join(FILE)).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }
}
