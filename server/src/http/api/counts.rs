//! [`Counts`]: how many answers there were, by status.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use http::StatusCode;

/// Those that are counted from zero. A rate needs a value before the first one.
const KNOWN: [u16; 11] = [200, 400, 401, 404, 405, 408, 409, 413, 415, 500, 503];

/// See the module.
#[derive(Debug)]
pub(super) struct Counts(Mutex<BTreeMap<u16, u64>>);

impl Default for Counts {
    fn default() -> Self {
        Self(Mutex::new(KNOWN.map(|status| (status, 0)).into()))
    }
}

impl Counts {
    /// Counts an answer.
    pub(super) fn count(&self, status: StatusCode) {
        // Nothing is left half done by a panic.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(status.as_u16()).or_default() += 1;
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(u16, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(status, count)| (*status, *count)).collect()
    }
}
