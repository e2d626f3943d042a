//! [`Url`]: an address that may hold a secret, which is never printed.

use std::{borrow::Cow, fmt};

/// What stands for a part that is not printed.
const HIDDEN: &str = "(hidden)";

/// A URL, or a path where a key takes both. Its user and password and its query are never printed: not by `Debug` or `Display`, not by
/// `chat-server config`, not in an error.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url(Box<str>);

impl Url {
    /// Takes it as it is.
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// All of it, for whoever asks there.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What may be printed of it. A part that is hidden is in brackets, so nothing else can be meant by it.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        let Some((scheme, rest)) = self.0.split_once("://") else { return Cow::Borrowed(&self.0) };
        let (address, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        // A password may hold a `?` or a `#` too, and then nobody can tell where it ends.
        if query.contains('@') {
            return Cow::Owned(format!("{scheme}://{HIDDEN}"));
        }
        // The last one: a password may hold an `@` or a `/` that nobody has escaped.
        let user = address.rfind('@').unwrap_or(0);
        if user == 0 && query.len() <= 1 {
            return Cow::Borrowed(&self.0);
        }
        let hidden = |part: &str| if part.is_empty() { "" } else { HIDDEN };
        let (user, address) = address.split_at(user);
        let mark = query.get(..1).unwrap_or_default();
        Cow::Owned(format!("{scheme}://{}{address}{mark}{}", hidden(user), hidden(query.get(1..).unwrap_or_default())))
    }

    /// Whether something of it is not printed.
    pub(super) fn hides(&self) -> bool {
        matches!(self.shown(), Cow::Owned(_))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_query_are_hidden() {
        for (text, shown) in [
            ("https://a.example/jwks", "https://a.example/jwks"),
            ("https://a.example:8443/?", "https://a.example:8443/?"),
            ("https://@a.example/", "https://@a.example/"),
            ("http://127.0.0.1:8080/jwks?key=hunter2", "http://127.0.0.1:8080/jwks?(hidden)"),
            ("https://a.example?hunter2", "https://a.example?(hidden)"),
            ("https://a.example/x#hunter2?hunter2", "https://a.example/x#(hidden)"),
            ("https://user:hunter2@a.example/jwks?a#b", "https://(hidden)@a.example/jwks?(hidden)"),
            ("https://user:hunter2@hunter2@a.example", "https://(hidden)@a.example"),
            ("https://user:hunter2/hunter2@a.example/", "https://(hidden)@a.example/"),
            ("https://a.example?x=@hunter2", "https://(hidden)"),
            ("https://user:hunter2?hunter2@a.example/", "https://(hidden)"),
            ("https://user:hunter2#hunter2@a.example/", "https://(hidden)"),
            ("/etc/keys?.json", "/etc/keys?.json"),
        ] {
            let url = Url::new(text);
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("{shown:?}")));
            assert_eq!((url.hides(), url.expose()), (shown != text, text));
        }
    }
}
