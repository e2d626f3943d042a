//! The namespaces of a server, found by name.

use super::{ids::NspIndex, room::RoomTable};

/// A namespace and its rooms.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) rooms: RoomTable,
}

/// All namespaces. There are few, so a list is searched.
#[derive(Debug)]
pub(crate) struct Namespaces(Vec<Namespace>);

impl Namespaces {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| Namespace { name: name.clone(), rooms: RoomTable::default() }).collect())
    }

    pub(crate) fn find(&self, name: &str) -> Option<NspIndex> {
        let index = self.0.iter().position(|nsp| nsp.name == name)?;
        u16::try_from(index).ok().map(NspIndex)
    }

    pub(crate) fn get(&self, index: NspIndex) -> Option<&Namespace> {
        self.0.get(usize::from(index.0))
    }

    pub(crate) fn get_mut(&mut self, index: NspIndex) -> Option<&mut Namespace> {
        self.0.get_mut(usize::from(index.0))
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.0.iter()
    }
}
