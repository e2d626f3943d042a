//! [`Pid`]: the private id by which a client claims its session.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::digits;
use crate::store::{SessionId, SessionSecret};

/// `<session>.<secret>`. Whoever has it and a token of the same user gets the session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Pid {
    pub(in crate::chat) session: SessionId,
    pub(in crate::chat) secret: SessionSecret,
}

impl Pid {
    /// Reads what a client sent.
    pub(in crate::chat) fn parse(text: &str) -> Option<Self> {
        let (session, secret) = text.split_once('.')?;
        let session = SessionId::from_number(digits::read(session)?)?;
        let mut bytes = [0; 16];
        // Of another length it is an error, too.
        let len = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        (len == bytes.len()).then_some(Self { session, secret: SessionSecret(bytes) })
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        digits::write(self.session.get(), &mut text);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(self.secret.0, &mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for Pid {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pid").field(&self.session).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_read_as_it_was_written_and_nothing_else_is() {
        let pid = Pid { session: SessionId::new(3, 77), secret: SessionSecret([0xA5; 16]) };
        let text = pid.to_string();
        assert_eq!(Pid::parse(&text), Some(pid));
        for wrong in ["", ".", "a", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &text.replace('.', "")] {
            assert_ne!(Pid::parse(wrong), Some(pid), "{wrong}");
        }
        assert!(!format!("{pid:?}").contains("165"));
    }
}
