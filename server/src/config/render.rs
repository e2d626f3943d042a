//! The effective configuration as TOML. What it prints can be fed back with `--config`; a secret is not in it, so a
//! configuration fed back needs its secrets from elsewhere.

use std::fmt::Write as _;

use super::Config;
use super::keys::KEYS;
use super::value::Shown;

pub(super) fn to_toml(config: &Config) -> String {
    let mut config = config.clone();
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
