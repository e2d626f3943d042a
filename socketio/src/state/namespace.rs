//! The namespaces of one shard, found by name.
//!
//! Those that the configuration lists exist from start to end. A dynamic one exists on a shard as long as a client is in
//! it there, or waits to be admitted: so names that clients make up leave nothing behind.

use std::{collections::HashMap, sync::Arc};

use engineio::slab::Slab;

use super::{ids::NspKey, room::RoomTable};
use crate::config::Config;

/// A namespace and its rooms.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Arc<str>,
    pub(crate) rooms: RoomTable,
    is_dynamic: bool,
    /// Sockets, and clients that wait to be admitted.
    clients: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Namespaces {
    names: HashMap<Arc<str>, NspKey>,
    list: Slab<Namespace>,
    /// The one that was listed first, which is the main one nearly always: it is found without hashing.
    first: Option<(Arc<str>, NspKey)>,
}

impl Namespaces {
    pub(crate) fn new(config: &Config) -> Self {
        let mut namespaces = Self { names: HashMap::new(), list: Slab::default(), first: None };
        for name in &config.namespaces {
            if namespaces.find(name).is_none() {
                let key = namespaces.add(name, false);
                namespaces.first.get_or_insert_with(|| (name.as_str().into(), key));
            }
        }
        namespaces
    }

    fn add(&mut self, name: &str, is_dynamic: bool) -> NspKey {
        let name: Arc<str> = name.into();
        let nsp = Namespace { name: Arc::clone(&name), rooms: RoomTable::default(), is_dynamic, clients: 0 };
        let key = NspKey(self.list.insert(nsp));
        self.names.insert(name, key);
        key
    }

    pub(crate) fn find(&self, name: &str) -> Option<NspKey> {
        match &self.first {
            Some((first, key)) if &**first == name => Some(*key),
            _ => self.names.get(name).copied(),
        }
    }

    /// Adds the namespace of a client that wants to join it, if the name may be that of a dynamic one. Call
    /// [`Namespaces::forget_client`] when the client does not join.
    pub(crate) fn add_dynamic(&mut self, name: &str, config: &Config) -> Option<NspKey> {
        config.is_dynamic_namespace(name).then(|| self.add(name, true))
    }

    pub(crate) fn get(&self, key: NspKey) -> Option<&Namespace> {
        self.list.get(key.0)
    }

    pub(crate) fn get_mut(&mut self, key: NspKey) -> Option<&mut Namespace> {
        self.list.get_mut(key.0)
    }

    /// A client joined, or waits to be admitted.
    pub(crate) fn count_client(&mut self, key: NspKey) {
        if let Some(nsp) = self.get_mut(key) {
            nsp.clients += 1;
        }
    }

    /// A client left, or waits no longer.
    pub(crate) fn forget_client(&mut self, key: NspKey) {
        if let Some(nsp) = self.get_mut(key) {
            nsp.clients = nsp.clients.saturating_sub(1);
        }
        self.remove_if_unused(key);
    }

    /// Removes a dynamic namespace that nobody is in.
    fn remove_if_unused(&mut self, key: NspKey) {
        if self.get(key).is_some_and(|nsp| nsp.is_dynamic && nsp.clients == 0)
            && let Some(nsp) = self.list.remove(key.0)
        {
            self.names.remove(&nsp.name);
        }
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.list.iter().map(|(_, nsp)| nsp)
    }
}
