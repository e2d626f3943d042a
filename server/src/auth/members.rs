//! A JSON object as its members, each name once. RFC 7515 section 4 and RFC 7519 section 4 let a reader refuse a name
//! given twice; taking one of the two would let two readers of one token disagree on whose it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of the object in `json`; `None` if it is anything else, or names a member twice.
pub(super) fn unique(json: &[u8]) -> Option<BTreeMap<String, &RawValue>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let members = deserializer.deserialize_map(Members).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = BTreeMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name twice"));
            }
        }
        Ok(members)
    }
}
