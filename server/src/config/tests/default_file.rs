//! The default configuration file.

use super::*;
use crate::config::{
    descriptions::{self, DESCRIPTIONS, Description},
    value::{Raw, Shown},
};

/// The lines `#key = value`, without the `#`, and the sections' heads.
fn uncommented(wanted: impl Fn(&str) -> bool) -> String {
    let mut section = String::new();
    let mut text = String::new();
    for line in default_file().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
            text.push_str(line);
        } else if let Some(setting) =
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        {
            let (name, _) = setting.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
            if wanted(&format!("{section}{name}")) {
                text.push_str(setting);
            }
        }
        text.push('\n');
    }
    text
}

fn has_default(name: &str) -> bool {
    let key = KEYS.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{name}"));
    matches!((key.slot)(&mut Config::default()).shown(), Shown::Value(_))
}

#[test]
fn every_key_is_described_once_and_nothing_else() {
    let described: Vec<&str> = DESCRIPTIONS.iter().map(|description| description.name).collect();
    let keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(described, keys);
    for description in DESCRIPTIONS {
        let lines = description.lines;
        assert!(
            lines.iter().all(|line| line.len() < 130) && lines.last().is_some_and(|line| line.ends_with(['.', ':']))
        );
        assert_eq!(
            description.example.is_none(),
            has_default(description.name),
            "{}: an example or a default",
            description.name
        );
    }
    for section in KEYS.iter().filter_map(|key| key.name.split_once('.')) {
        assert!(descriptions::section(section.0).is_some(), "{}", section.0);
    }
}

#[test]
fn as_it_is_it_changes_nothing() {
    assert_eq!(load_file(&default_file()).unwrap().to_toml(), Config::default().to_toml());
}

#[test]
fn without_its_comment_signs_it_is_the_default() {
    let every_default = uncommented(has_default);
    let count = every_default.lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(count, KEYS.iter().filter(|key| has_default(key.name)).count());
    assert_eq!(load_file(&every_default).unwrap().to_toml(), Config::default().to_toml());
}

#[test]
fn its_examples_are_values_of_their_keys() {
    for Description { name, example, .. } in DESCRIPTIONS {
        let Some(example) = example else { continue };
        let key = KEYS.iter().find(|key| key.name == *name).unwrap();
        let raw = Raw::from_file(toml::Value::String((*example).to_owned()));
        let read = (key.slot)(&mut Config::default()).set(&raw);
        assert!(key.is_secret() || read.is_ok(), "{name}: {read:?}");
    }
    let examples: toml::Table = uncommented(|name| !has_default(name)).parse().unwrap();
    assert!(examples.contains_key("tls") && examples.contains_key("auth"));
}

#[test]
fn words_that_a_form_names_are_accepted() {
    for Description { name, form, .. } in DESCRIPTIONS {
        // Not of durations and the like, where the quoted ones are instances.
        for word in form.split('"').skip(1).step_by(2) {
            let key = KEYS.iter().find(|key| key.name == *name).unwrap();
            let raw = Raw::from_file(toml::Value::String(word.to_owned()));
            assert_eq!((key.slot)(&mut Config::default()).set(&raw), Ok(()), "{name} = {word}");
        }
    }
}
