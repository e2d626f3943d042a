//! What is wrong with a configuration: one line that names the key, the source and the reason.

use std::{fmt, path::PathBuf};

/// One fault of the configuration or of an argument; shown as one line, exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {reason}")]
pub(crate) struct ConfigError {
    subject: String,
    reason: String,
}

impl ConfigError {
    /// A fault of `subject`, a key or an argument that has no source of its own.
    pub(crate) fn new(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { subject: subject.into(), reason: reason.into() }
    }

    /// A fault of the value that `source` gave to `key`.
    pub(super) fn at(key: &str, source: &Source, reason: impl Into<String>) -> Self {
        Self::new(format!("{key} ({source})"), reason)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A TOML file.
    File(PathBuf),
    /// A variable.
    Variable(String),
    /// `--set`.
    Set,
    /// A flag of its own, such as `--listen`.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Set => f.write_str("--set"),
            Self::Flag(name) => write!(f, "{name}"),
        }
    }
}
