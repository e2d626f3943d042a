//! [`TypeMap`]: one value of each type.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::Arc,
};

/// See the module. Values are shared, so a copy of the map is cheap.
#[derive(Clone, Default)]
pub(crate) struct TypeMap(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl TypeMap {
    /// Inserts a value, and returns the one that it replaces: dropping that runs code of the application, so no lock may be held then.
    #[must_use]
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<Arc<dyn Any + Send + Sync>> {
        self.insert_any(Arc::new(value))
    }

    /// Inserts a value under its own type.
    #[must_use]
    pub(crate) fn insert_any(&mut self, value: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.insert((*value).type_id(), value)
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>()).cloned()?.downcast().ok()
    }
}

impl fmt::Debug for TypeMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeMap").field("len", &self.0.len()).finish()
    }
}

/// The types of which handlers take values that the application must have given.
#[derive(Debug, Default)]
pub struct Requirements(Vec<(TypeId, &'static str)>);

impl Requirements {
    /// A handler takes the state of this type.
    pub fn state<T: 'static>(&mut self) {
        self.0.push((TypeId::of::<T>(), type_name::<T>()));
    }

    /// The name of a type that the map lacks.
    pub(crate) fn missing(&self, state: &TypeMap) -> Option<&'static str> {
        self.0.iter().find(|(id, _)| !state.0.contains_key(id)).map(|(_, name)| *name)
    }
}
