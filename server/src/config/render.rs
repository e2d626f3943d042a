//! The effective configuration as TOML. What it prints can be fed back with `--config`; a secret is not in it, so a
//! configuration fed back needs its secrets from elsewhere.

use std::fmt::Write as _;

use super::keys::KEYS;
use super::settings::Config;
use super::value::Shown;

impl Config {
    /// The effective configuration as TOML that can be fed back; a secret that is set appears as a comment.
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
                Shown::Hidden => writeln!(text, "# {name} = \"(set, hidden)\""),
                Shown::Unset => writeln!(text, "# {name} is not set"),
            };
        }
        text
    }
}
