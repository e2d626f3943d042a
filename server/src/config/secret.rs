//! [`Secret`]: bytes that are never printed, and the file that one is read from.

use std::{
    borrow::Cow,
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Bytes of the longest file that is read as a secret: more would be some other file, or one without end.
const MAX_FILE: u64 = 64 * 1024;

/// The warning about a line break that ends a file.
pub(super) const LINE_BREAK: &str = "the line break at the end of the file is not taken for a part of the secret";

/// Bytes, mostly text, that are never printed: not by `Debug`, not by `chat-server config`, not in an error.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes as they are.
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into())
    }

    /// The bytes, for cryptography only.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of a secret that signs webhooks: as those who use Standard Webhooks write it, `whsec_` and base64, or as it is.
    /// `None`: there is no base64 after `whsec_`.
    pub(crate) fn of_webhooks(&self) -> Option<Cow<'_, [u8]>> {
        match self.0.strip_prefix(b"whsec_") {
            Some(text) => STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty()).map(Cow::Owned),
            None => Some(Cow::Borrowed(&self.0)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// `text` without the line break at its end, if there is one. Of several, one goes: the others may be meant.
pub(super) fn without_line_break(text: &str) -> Option<&str> {
    let text = text.strip_suffix('\n')?;
    Some(text.strip_suffix('\r').unwrap_or(text))
}

/// The secret that a file holds, and what deserves a warning, in words that follow on the key. The file may be a link, as those
/// that a container is given often are.
///
/// # Errors
/// Why there is no secret in it, or none that can be read.
pub(super) fn read_file(path: &Path) -> Result<(Secret, Vec<&'static str>), String> {
    let fail = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(fail)?;
    let mut warnings = Vec::new();
    if file.metadata().map_err(fail)?.permissions().mode() & 0o004 != 0 {
        warnings.push("the file can be read by every user of this machine");
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} holds more than {MAX_FILE} bytes", path.display()));
    }
    // Random bytes may end in what would be a line break in a text.
    if let Some(text) = std::str::from_utf8(&bytes).ok().and_then(without_line_break) {
        warnings.push(LINE_BREAK);
        bytes.truncate(text.len());
    }
    if bytes.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok((Secret::new(bytes), warnings))
}
