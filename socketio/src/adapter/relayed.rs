//! [`RelayedBroadcast`]: a broadcast on its way to others. It has names where the broadcast has keys, which mean nothing
//! elsewhere.

use std::sync::Arc;

use engineio::SharedFrame;

/// The rooms and sockets that a broadcast was given, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct TargetNames {
    pub(crate) to: Vec<Arc<str>>,
    pub(crate) except: Vec<Arc<str>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RelayedBroadcast {
    pub(crate) nsp: Arc<str>,
    /// Whether targets were named; without this it is for everyone in the namespace.
    pub(crate) narrowed: bool,
    pub(crate) names: TargetNames,
    pub(crate) volatile: bool,
    pub(crate) frame: SharedFrame,
}
