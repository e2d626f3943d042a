//! [`ApiKey`]: an element of `http.api_key`.

use std::str::FromStr;

use super::secret::Secret;

/// Bytes of the longest name.
const NAME: usize = 64;

/// The name of a key that was given without one.
const DEFAULT_NAME: &str = "default";

/// A key of the HTTP API, as `name:secret`. The log says by its name who did what; without a name it is `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) name: String,
    pub(crate) secret: Secret,
}

impl FromStr for ApiKey {
    type Err = String;

    /// The reason of an error never quotes the text, which was meant to be secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, secret) = text.split_once(':').unwrap_or((DEFAULT_NAME, text));
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME || !name.chars().all(is_name) {
            return Err(format!(
                "a key is name:secret, where the name has 1 to {NAME} letters, digits, \"-\", \"_\" or \".\""
            ));
        }
        // What `Authorization: Bearer` can carry (RFC 6750, 2.1), and a little more.
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("the secret of {name:?} must be visible ASCII characters without spaces"));
        }
        Ok(Self { name: name.to_owned(), secret: Secret::new(secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_name_and_its_faults_do_not_tell_the_secret() {
        let key = |text: &str| text.parse::<ApiKey>().map(|key| (key.name, key.secret.expose().to_vec()));
        assert_eq!(key("ops:s3cret"), Ok(("ops".to_owned(), b"s3cret".to_vec())));
        assert_eq!(key("s3cret"), Ok(("default".to_owned(), b"s3cret".to_vec())));
        assert_eq!(key("ops:a:b"), Ok(("ops".to_owned(), b"a:b".to_vec())));
        for wrong in ["", ":hunter2", "a b:hunter2", "ops:", "ops:hunter2 hunter2", "ops:hunter2\u{e9}"] {
            let error = key(wrong).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
