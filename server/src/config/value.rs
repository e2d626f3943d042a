//! One value: from TOML or plain text to a type, and back for printing. Knows no key.

use std::any::Any;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::api_key::ApiKey;
use super::proxies::Proxy;
use super::secret::{Secret, without_line_break};
use super::settings::{Durability, LogFormat, LogLevel, RoomAccess, SocketsPolicy, StoreKind, WebhookEvent};
use super::url::Url;

/// Longer durations are refused: a deadline that far away may overflow a clock.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A value before its type is known.
#[derive(Clone)]
pub(crate) struct Raw {
    value: toml::Value,
    /// The text itself, unless the value stood in a file. A key that holds text takes it when the value is no TOML
    /// string, so that a secret such as `12345` needs no quotes.
    text: Option<String>,
}

impl Raw {
    /// A value from a TOML file.
    pub(super) fn from_file(value: toml::Value) -> Self {
        Self { value, text: None }
    }

    /// A value from a variable, `--set` or a flag: TOML if it reads as TOML, otherwise a plain string.
    pub(super) fn from_text(text: &str) -> Self {
        let value = toml::de::ValueDeserializer::parse(text)
            .and_then(toml::Value::deserialize)
            .unwrap_or_else(|_| toml::Value::String(text.to_owned()));
        Self { value, text: Some(text.to_owned()) }
    }

    /// The value as a string, if it is one or came as plain text.
    pub(super) fn as_str(&self) -> Option<&str> {
        self.value.as_str().or(self.text.as_deref())
    }

    /// The value as a list of strings: an array, or `a,b`.
    pub(super) fn as_list(&self) -> Option<Vec<&str>> {
        if let Some(array) = self.value.as_array() {
            return array.iter().map(toml::Value::as_str).collect();
        }
        let text = self.as_str()?;
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Some(parts.collect())
    }

    /// Takes a line break from the end of a text; whether there was one.
    pub(super) fn cut_line_break(&mut self) -> bool {
        if let Some(text) = self.text.as_deref().and_then(without_line_break) {
            *self = Self::from_text(text);
        } else if let Some(text) = self.value.as_str().and_then(without_line_break) {
            self.value = toml::Value::String(text.to_owned());
        } else {
            return false;
        }
        true
    }

    /// A string that is a secret, or may hold one. No error repeats it.
    fn as_secret(&self) -> Result<&str, String> {
        match self.as_str() {
            Some("") => Err("must not be empty".to_owned()),
            Some(text) => Ok(text),
            None => Err(format!("expected a string, got {}", self.value.type_str())),
        }
    }

    /// "expected WHAT, got VALUE", the value cut to a sensible length.
    fn expected(&self, what: &str) -> String {
        let got: String = self.value.to_string().chars().take(60).collect();
        format!("expected {what}, got {got}")
    }
}

impl fmt::Debug for Raw {
    /// The key may be a secret one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw(hidden)")
    }
}

/// How a value is printed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    /// As TOML.
    Value(toml::Value),
    /// It is set, and secret.
    Hidden,
    /// It is set, and parts of it are secret, in whose place something else stands.
    Partly(String),
    /// It is not set.
    Unset,
}

impl fmt::Display for Shown {
    /// As TOML; a secret only as one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Hidden => f.write_str("(hidden)"),
            Self::Partly(text) => write!(f, "{}", toml::Value::String(text.clone())),
            Self::Unset => f.write_str("(not set)"),
        }
    }
}

/// A type that a key can have.
pub(super) trait Value: Sized {
    /// Reads it, or says why not.
    fn read(raw: &Raw) -> Result<Self, String>;
    /// The inverse of `read`.
    fn show(&self) -> Shown;
}

/// A slot of the configuration, whatever its type.
pub(super) trait Setting {
    /// Reads `raw` into the slot, or says why not.
    fn set(&mut self, raw: &Raw) -> Result<(), String>;
    /// What stands there now.
    fn shown(&self) -> Shown;
    /// Whether the same stands in the other slot, a secret included.
    fn is_equal(&self, other: &dyn Setting) -> bool;
    /// Takes over what stands in the other slot, which is of the same key.
    fn take_from(&mut self, other: &dyn Setting);
    /// For the two above.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Value + Clone + PartialEq + 'static> Setting for T {
    fn set(&mut self, raw: &Raw) -> Result<(), String> {
        *self = T::read(raw)?;
        Ok(())
    }

    fn shown(&self) -> Shown {
        self.show()
    }

    fn is_equal(&self, other: &dyn Setting) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn take_from(&mut self, other: &dyn Setting) {
        if let Some(other) = other.as_any().downcast_ref() {
            Self::clone_from(self, other);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<T: Value> Value for Option<T> {
    fn read(raw: &Raw) -> Result<Self, String> {
        T::read(raw).map(Some)
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Unset, T::show)
    }
}

impl Value for usize {
    fn read(raw: &Raw) -> Result<Self, String> {
        let number = raw.value.as_integer().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| raw.expected("a whole number, 0 or more"))
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX)))
    }
}

impl Value for u32 {
    fn read(raw: &Raw) -> Result<Self, String> {
        let number = raw.value.as_integer().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| raw.expected("a whole number from 0 to 4294967295"))
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::Integer(i64::from(*self)))
    }
}

impl Value for f64 {
    fn read(raw: &Raw) -> Result<Self, String> {
        /// Faster is as good as switched off, and the time between two events must not round to nothing.
        const MAX_RATE: f64 = 1e9;
        let number = match raw.value {
            // An integer beyond 2^53 loses digits here, but it is beyond MAX_RATE too.
            toml::Value::Integer(number) => Some(number as Self),
            toml::Value::Float(number) => Some(number),
            _ => None,
        };
        let number = number.filter(|number| (0.0..=MAX_RATE).contains(number));
        // A rate so small that it allows one event in 32 years is a mistake, and its inverse must stay finite.
        let number = number.filter(|number| *number == 0.0 || *number >= 1e-9);
        number.ok_or_else(|| raw.expected("a number of events per second, 0 or more"))
    }

    fn show(&self) -> Shown {
        let whole = self.fract() == 0.0;
        Shown::Value(if whole { toml::Value::Integer(*self as i64) } else { toml::Value::Float(*self) })
    }
}

impl Value for bool {
    fn read(raw: &Raw) -> Result<Self, String> {
        raw.value.as_bool().ok_or_else(|| raw.expected("true or false"))
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::Boolean(*self))
    }
}

impl Value for Duration {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted = "a duration such as \"5s\", \"250ms\" or \"30m\"";
        let duration = match &raw.value {
            toml::Value::Integer(0) => Self::ZERO,
            toml::Value::String(text) => humantime::parse_duration(text).map_err(|_| raw.expected(wanted))?,
            _ => return Err(raw.expected(wanted)),
        };
        if duration > MAX_DURATION { Err(raw.expected("a duration of at most 100 years")) } else { Ok(duration) }
    }

    fn show(&self) -> Shown {
        // As in the documentation, `30d` and not `30days`, where one unit will do.
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        let whole = |length: u128| self.as_nanos().is_multiple_of(length * 1_000_000);
        let text = match units.into_iter().find(|(_, length)| whole(*length)) {
            _ if self.is_zero() => "0s".to_owned(),
            Some((unit, length)) => format!("{}{unit}", self.as_millis() / length),
            None => humantime::format_duration(*self).to_string(),
        };
        Shown::Value(toml::Value::String(text))
    }
}

impl Value for SocketAddr {
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.as_str().unwrap_or_default();
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
            return Ok(Self::from((Ipv4Addr::LOCALHOST, port)));
        }
        text.parse().map_err(|_| raw.expected("an address and port such as \"127.0.0.1:3000\" or \"[::1]:3000\""))
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::String(self.to_string()))
    }
}

impl Value for String {
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.as_str().ok_or_else(|| raw.expected("a string"))?;
        if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::String(self.clone()))
    }
}

impl Value for PathBuf {
    fn read(raw: &Raw) -> Result<Self, String> {
        String::read(raw).map(Self::from)
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::String(self.display().to_string()))
    }
}

impl Value for Secret {
    fn read(raw: &Raw) -> Result<Self, String> {
        raw.as_secret().map(Self::new)
    }

    fn show(&self) -> Shown {
        Shown::Hidden
    }
}

impl Value for Url {
    fn read(raw: &Raw) -> Result<Self, String> {
        raw.as_secret().map(Self::new)
    }

    fn show(&self) -> Shown {
        let shown = self.shown().into_owned();
        if self.hides() { Shown::Partly(shown) } else { Shown::Value(toml::Value::String(shown)) }
    }
}

impl Value for Vec<String> {
    fn read(raw: &Raw) -> Result<Self, String> {
        let list = raw.as_list().ok_or_else(|| raw.expected("a list of strings such as [\"a\", \"b\"]"))?;
        if list.iter().any(|item| item.is_empty()) {
            return Err("an element of the list is empty".to_owned());
        }
        Ok(list.into_iter().map(str::to_owned).collect())
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::Array(self.iter().cloned().map(toml::Value::String).collect()))
    }
}

impl Value for Vec<PathBuf> {
    fn read(raw: &Raw) -> Result<Self, String> {
        Ok(Vec::<String>::read(raw)?.into_iter().map(PathBuf::from).collect())
    }

    fn show(&self) -> Shown {
        let paths = self.iter().map(|path| toml::Value::String(path.display().to_string()));
        Shown::Value(toml::Value::Array(paths.collect()))
    }
}

impl Value for Vec<ApiKey> {
    fn read(raw: &Raw) -> Result<Self, String> {
        // Without "got ...": whatever stands there was meant to be secret.
        let list = raw.as_list().ok_or("expected a list such as [\"name:secret\"]")?;
        list.into_iter().map(str::parse).collect()
    }

    fn show(&self) -> Shown {
        if self.is_empty() { Shown::Unset } else { Shown::Hidden }
    }
}

impl Value for Vec<Proxy> {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted = "a list of addresses, networks such as \"10.0.0.0/8\", or \"loopback\"";
        let list = raw.as_list().ok_or_else(|| raw.expected(wanted))?;
        list.into_iter().map(|item| item.parse().map_err(|_| raw.expected(wanted))).collect()
    }

    fn show(&self) -> Shown {
        Shown::Value(toml::Value::Array(self.iter().map(|proxy| toml::Value::String(proxy.to_string())).collect()))
    }
}

impl Value for Vec<Algorithm> {
    fn read(raw: &Raw) -> Result<Self, String> {
        let wanted = "a list of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA";
        let list = raw.as_list().ok_or_else(|| raw.expected(wanted))?;
        let algorithms: Option<Self> = list.iter().map(|name| name.parse().ok()).collect();
        algorithms.ok_or_else(|| raw.expected(wanted))
    }

    fn show(&self) -> Shown {
        let names = self.iter().map(|algorithm| toml::Value::String(format!("{algorithm:?}")));
        Shown::Value(toml::Value::Array(names.collect()))
    }
}

/// A type that is one word of a few.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every word and what it stands for.
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Choice> Value for T {
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.as_str().unwrap_or_default();
        let found = T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        found.ok_or_else(|| {
            let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
            raw.expected(&words.join(", "))
        })
    }

    fn show(&self) -> Shown {
        let word = T::WORDS.iter().find(|(_, choice)| choice == self).map(|(word, _)| *word);
        word.map_or(Shown::Unset, |word| Shown::Value(toml::Value::String(word.to_owned())))
    }
}

impl Value for Vec<WebhookEvent> {
    fn read(raw: &Raw) -> Result<Self, String> {
        let words: Vec<&str> = WebhookEvent::WORDS.iter().map(|(word, _)| *word).collect();
        let wrong = || raw.expected(&format!("a list of {}, at least one", words.join(", ")));
        let list = raw.as_list().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
        let find = |item: &str| WebhookEvent::WORDS.iter().find(|(word, _)| *word == item).map(|(_, event)| *event);
        list.into_iter().map(find).collect::<Option<Self>>().ok_or_else(wrong)
    }

    fn show(&self) -> Shown {
        let word = |event: &WebhookEvent| WebhookEvent::WORDS.iter().find(|(_, of)| of == event).map(|(word, _)| *word);
        let words = self.iter().filter_map(word).map(|word| toml::Value::String(word.to_owned()));
        Shown::Value(toml::Value::Array(words.collect()))
    }
}

impl Choice for WebhookEvent {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("user.connected", Self::UserConnected),
        ("user.disconnected", Self::UserDisconnected),
        ("message.stored", Self::MessageStored),
    ];
}

impl Choice for RoomAccess {
    const WORDS: &'static [(&'static str, Self)] = &[("open", Self::Open), ("none", Self::None)];
}

impl Choice for SocketsPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[("replace", Self::Replace), ("refuse", Self::Refuse)];
}

impl Choice for StoreKind {
    const WORDS: &'static [(&'static str, Self)] = &[("sqlite", Self::Sqlite), ("memory", Self::Memory)];
}

impl Choice for Durability {
    const WORDS: &'static [(&'static str, Self)] = &[("commit", Self::Commit), ("os", Self::Os), ("none", Self::None)];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
        ("off", Self::Off),
    ];
}
