//! Where values come from: the file, `CHAT_` variables, `--set` and flags; which one wins, and what is a conflict.
//! What a value means is left to `value` and `check`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Source};
use super::keys::{self, KEYS, Key};
use super::value::Raw;

/// Names the file; the only `CHAT_` variable that is no key.
const FILE_VARIABLE: &str = "CHAT_CONFIG";

/// One value of the command line.
#[derive(Clone)]
pub(crate) struct Assignment {
    /// The key as written; it may be unknown.
    pub(crate) key: String,
    /// The value as written.
    pub(crate) text: String,
    /// `--set` or the flag.
    pub(crate) source: Source,
}

impl fmt::Debug for Assignment {
    /// Without the text, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.source)
    }
}

/// The variables of the process; an argument, so that a test needs no process.
#[derive(Clone, Default)]
pub(crate) struct Environment(pub(crate) Vec<(OsString, OsString)>);

impl Environment {
    /// The variables this process was started with.
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }
}

/// One value and where it came from.
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) source: Source,
}

/// The winning value of every key that was given.
pub(super) struct Gathered {
    pub(super) values: Vec<(&'static Key, Given)>,
    pub(super) warnings: Vec<String>,
}

impl Gathered {
    /// Where the value of `key` came from, if it is no default.
    pub(super) fn source_of(&self, key: &str) -> Option<&Source> {
        self.values.iter().find(|(given, _)| given.name == key).map(|(_, given)| &given.source)
    }
}

/// Reads every source. The command line beats variables, variables the file.
pub(super) fn gather(
    file: Option<&Path>,
    arguments: Vec<Assignment>,
    environment: Environment,
) -> Result<Gathered, ConfigError> {
    let variables = read_variables(environment)?;
    let mut values = BTreeMap::new();
    let from_variable = variables.file.as_ref().map(|path| (path.as_path(), FILE_VARIABLE));
    if let Some((path, named_by)) = file.map(|path| (path, "--config")).or(from_variable) {
        read_file(path, named_by, &mut values)?;
    }
    values.extend(variables.values);
    values.extend(read_arguments(arguments)?);
    // In the table's order, so that of two faults always the same one is reported.
    let values = KEYS.iter().filter_map(|key| values.remove(key.name).map(|given| (key, given))).collect();
    Ok(Gathered { values, warnings: variables.warnings })
}

fn read_arguments(arguments: Vec<Assignment>) -> Result<BTreeMap<&'static str, Given>, ConfigError> {
    let mut values: BTreeMap<&'static str, Given> = BTreeMap::new();
    for Assignment { key, text, source } in arguments {
        let known = keys::find(&key).ok_or_else(|| ConfigError::at(&key, &source, keys::unknown(&key)))?;
        if let Some(first) = values.get(known.name) {
            let reason = if first.source == source {
                format!("given twice by {source}")
            } else {
                format!("given both by {} and by {source}", first.source)
            };
            return Err(ConfigError::new(known.name, reason));
        }
        values.insert(known.name, Given { raw: Raw::from_text(&text), source });
    }
    Ok(values)
}

struct Variables {
    file: Option<PathBuf>,
    values: BTreeMap<&'static str, Given>,
    warnings: Vec<String>,
}

fn read_variables(environment: Environment) -> Result<Variables, ConfigError> {
    let mut variables = Variables { file: None, values: BTreeMap::new(), warnings: Vec::new() };
    let mut given: Vec<(String, OsString)> = environment
        .0
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with("CHAT_"))
        .collect();
    given.sort_unstable();
    for (name, value) in given {
        if name == FILE_VARIABLE {
            variables.file = Some(PathBuf::from(value));
        } else if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
            let source = Source::Variable(name);
            let text =
                value.to_str().ok_or_else(|| ConfigError::at(key.name, &source, "the value is not valid UTF-8"))?;
            variables.values.insert(key.name, Given { raw: Raw::from_text(text), source });
        } else if name.contains("__") {
            let meant = name.trim_start_matches("CHAT_").to_ascii_lowercase().replace("__", ".");
            return Err(ConfigError::at(&meant, &Source::Variable(name), keys::unknown(&meant)));
        } else {
            variables.warnings.push(format!("variable {name} sets no key and is ignored"));
        }
    }
    Ok(variables)
}

fn read_file(path: &Path, named_by: &str, values: &mut BTreeMap<&'static str, Given>) -> Result<(), ConfigError> {
    let subject = || format!("{path:?} (named by {named_by})");
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::new(subject(), error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error| ConfigError::new(subject(), syntax(&text, &error)))?;
    flatten(path, "", table, values)
}

/// The parser's message and the line; not the line's content, which may be a secret.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    format!("not valid TOML, line {line}: {}", error.message())
}

fn flatten(
    path: &Path,
    section: &str,
    table: toml::Table,
    values: &mut BTreeMap<&'static str, Given>,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let name = if section.is_empty() { name } else { format!("{section}.{name}") };
        let source = Source::File(path.to_path_buf());
        match (keys::find(&name), value) {
            (Some(key), value) => {
                values.insert(key.name, Given { raw: Raw::from_file(value), source });
            }
            (None, toml::Value::Table(inner)) if is_section(&name) => flatten(path, &name, inner, values)?,
            (None, _) => return Err(ConfigError::at(&name, &source, keys::unknown(&name))),
        }
    }
    Ok(())
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}
