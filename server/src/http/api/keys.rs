//! [`Keys`]: who may use the API.

use std::fmt;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{Digest, SHA256, digest},
};
use http::{HeaderMap, header};

use crate::config::ApiKey;

/// The keys, by the hashes of their secrets: hashes have one length, and nothing of a secret shows in the time that a comparison takes.
pub(super) struct Keys(Vec<(Box<str>, Digest)>);

impl fmt::Debug for Keys {
    /// Without the hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Keys {
    /// The configured keys.
    pub(super) fn new(keys: &[ApiKey]) -> Self {
        Self(keys.iter().map(|key| (key.name.as_str().into(), digest(&SHA256, key.secret.expose()))).collect())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the key that a request shows. All keys are looked at, whichever it is.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<&str> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        // Of two, a proxy may have checked the other one.
        let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
        let (scheme, secret) = value.split_at_checked("Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let shown = digest(&SHA256, secret.trim_ascii());
        let mut found = None;
        for (name, hash) in &self.0 {
            if verify_slices_are_equal(hash.as_ref(), shown.as_ref()).is_ok() {
                found = Some(&**name);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_secret_and_nothing_else() {
        let keys = Keys::new(&["ops:first".parse().unwrap(), "app:second".parse().unwrap()]);
        let find = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            keys.find(&headers)
        };
        assert_eq!((find(&["Bearer first"]), find(&["bearer  second "])), (Some("ops"), Some("app")));
        for wrong in [&[][..], &["Bearer "], &["Bearer"], &["first"], &["Basic first"], &["Bearer ops:first"]] {
            assert_eq!(find(wrong), None, "{wrong:?}");
        }
        assert_eq!(find(&["Bearer first", "Bearer first"]), None);
        assert!(!format!("{keys:?}").contains("first"));
    }
}
