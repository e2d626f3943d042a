//! One line for each event: what the peers of this server chose stands in it escaped, and not at any length.

use std::{borrow::Cow, fmt};

/// The most characters of a name or another text of a client that a line holds.
const SHOWN: usize = 100;

/// A text that a client chose, as a field of an event: its beginning.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{}…", self.0.get(..end).unwrap_or_default()),
            None => f.write_str(self.0),
        }
    }
}

/// The line of an event with everything escaped that a terminal or a reader of lines could take for something else than text: control
/// characters, line separators, and those that change the direction of writing. `coloured`: escape sequences are the formatter's own,
/// which has escaped those of others.
pub(crate) fn escape(line: &[u8], coloured: bool) -> Cow<'_, [u8]> {
    let end = line.strip_suffix(b"\n").unwrap_or(line);
    // What needs a look: controls, DEL, and the first bytes of U+0080 to U+00BF and U+2000 to U+2FFF.
    let is_plain = |byte: u8| byte >= b' ' && !matches!(byte, 0x7f | 0xc2 | 0xe2);
    if end.iter().all(|byte| is_plain(*byte)) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for c in String::from_utf8_lossy(end).chars() {
        let misleads = c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if misleads && !(coloured && c == '\u{1b}') {
            // The same in text and in JSON, whose strings are the only place where such a character can be.
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    Cow::Owned(escaped.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line_and_changes_no_terminal() {
        let escaped = |line: &str, coloured| String::from_utf8(escape(line.as_bytes(), coloured).into_owned()).unwrap();
        for (line, expected) in [
            ("plain text, and ünïcode\n", "plain text, and ünïcode\n"),
            ("one\nERROR two\r\n", "one\\u000aERROR two\\u000d\n"),
            ("\u{1b}[2J\u{9b}31m\u{7f}\n", "\\u001b[2J\\u009b31m\\u007f\n"),
            ("user=\u{202e}ecila\u{2028}\n", "user=\\u202eecila\\u2028\n"),
            ("a “quoted” word\n", "a “quoted” word\n"),
        ] {
            assert_eq!(escaped(line, false), expected);
        }
        assert_eq!(escaped("\u{1b}[32m INFO\u{7}\n", true), "\u{1b}[32m INFO\\u0007\n");
        let json = escaped("{\"user\":\"\u{202e}a\"}\n", false);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["user"], "\u{202e}a");
    }

    #[test]
    fn a_long_text_is_shown_in_part() {
        assert_eq!(Shown("alice").to_string(), "alice");
        let long = Shown(&"ü".repeat(5000)).to_string();
        assert_eq!((long.chars().count(), long.ends_with("ü…")), (SHOWN + 1, true));
    }
}
