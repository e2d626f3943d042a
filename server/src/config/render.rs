//! The effective configuration as TOML, and the default configuration file. What is printed can be fed back with `--config`; a
//! secret is not in it, so a configuration fed back needs its secrets from elsewhere.

use std::fmt::Write as _;

use super::descriptions::{self, Description};
use super::keys::KEYS;
use super::settings::Config;
use super::value::Shown;

impl Config {
    /// The effective configuration as TOML that can be fed back; a secret that is set appears as a comment, and so
    /// does a URL that holds one.
    pub(crate) fn to_toml(&self) -> String {
        let mut config = self.clone();
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (its_section, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if its_section != section {
                section = its_section;
                let _ = write!(text, "\n[{section}]\n");
            }
            // A secret as a comment: fed back, a placeholder would become the secret. Writing to a String cannot fail.
            let _ = match (key.slot)(&mut config).shown() {
                Shown::Value(value) => writeln!(text, "{name} = {value}"),
                shown @ Shown::Partly(_) => writeln!(text, "# {name} = {shown}"),
                Shown::Hidden => writeln!(text, "# {name} = \"(set, hidden)\""),
                Shown::Unset => writeln!(text, "# {name} is not set"),
            };
        }
        text
    }
}

const HEAD: &str = "\
# chat-server's configuration: every key, as a comment with its default. To change one, remove the `#` in front of it. A line that
# says `Example` shows a key that is not set by default.
#
# Read with `chat-server --config FILE`, or from the file that the variable CHAT_CONFIG names. Each key has a variable of its own too:
# CHAT_ and the key in capitals, with __ for the dot (CHAT_LIMITS__MESSAGE_RATE), and --set KEY=VALUE. Flags and --set beat variables,
# and variables beat this file. `chat-server config --config FILE` checks the file and prints what holds.
";

/// The default configuration file: every key with what it does, the form of its value, and its default.
pub(crate) fn default_file() -> String {
    let mut config = Config::default();
    let mut text = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        let (its_section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if its_section != section {
            section = its_section;
            let _ = write!(text, "\n\n[{section}]\n");
            if let Some(about) = descriptions::section(section) {
                let _ = writeln!(text, "# {about}");
            }
        }
        text.push('\n');
        let description = descriptions::find(key.name);
        for line in description.map_or(&[][..], |description| description.lines) {
            let _ = writeln!(text, "# {line}");
        }
        let form = description.map_or("a value", |Description { form, .. }| form);
        // Writing to a String cannot fail.
        let _ = match ((key.slot)(&mut config).shown(), description.and_then(|description| description.example)) {
            (Shown::Value(value), _) => writeln!(text, "# Value: {form}. Default:\n#{name} = {value}"),
            (Shown::Hidden | Shown::Partly(_) | Shown::Unset, None | Some("")) => {
                writeln!(text, "# Value: {form}. Not set by default.\n#{name} = \"...\"")
            }
            (Shown::Hidden | Shown::Partly(_) | Shown::Unset, Some(example)) => {
                writeln!(text, "# Value: {form}. Not set by default. Example:\n#{name} = {example:?}")
            }
        };
    }
    text
}
