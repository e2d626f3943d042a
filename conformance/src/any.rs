//! [`Any`]: an argument of any type, with binary data anywhere in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use socketio::Binary;

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Any {
    /// Before `Object`: on the wire it is an object, too.
    Binary(Binary),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
    Scalar(serde_json::Value),
}
