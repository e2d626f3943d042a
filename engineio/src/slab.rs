//! A slab with generational keys: dense indices, all operations O(1), and a stale key finds nothing.

/// The key of a value in a [`Slab`]. The generation tells the slot's current value from earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The slot, dense from 0, so layers above may use it as an index into their own tables.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A slab. See the module.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// The key that the next [`Slab::insert`] will use. `None` when 2^32 values are stored.
    #[must_use]
    pub fn vacant_key(&self) -> Option<Key> {
        match self.free.last() {
            Some(&index) => self.slots.get(index as usize).map(|slot| Key { index, generation: slot.generation }),
            None => u32::try_from(self.slots.len()).ok().map(|index| Key { index, generation: 0 }),
        }
    }

    /// Stores `value`.
    ///
    /// # Panics
    /// When 2^32 values are stored.
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.vacant_key();
        #[expect(clippy::expect_used, reason = "no machine holds 2^32 connections")]
        let key = key.expect("a slab holds at most 2^32 values");
        self.free.pop();
        match self.slots.get_mut(key.index as usize) {
            Some(slot) => slot.value = Some(value),
            None => self.slots.push(Slot { generation: key.generation, value: Some(value) }),
        }
        key
    }

    fn slot(&self, key: Key) -> Option<&Slot<T>> {
        self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)
    }

    /// The value under `key`, unless it was removed.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slot(key)?.value.as_ref()
    }

    /// The value under `key`, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// The key of the value that occupies slot `index` now.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref().map(|_| Key { index, generation: slot.generation })
    }

    /// Removes the value and returns it. From now on its key finds nothing.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// All values have indices below this. It never falls.
    #[must_use]
    pub fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// How many values are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether no value is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All stored values, with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((Key { index, generation: slot.generation }, value))
        })
    }

    /// The keys of all stored values.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.iter().map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_never_reaches_the_next_holder() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(first.index(), second.index());
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn indices_are_dense_and_the_vacant_key_is_the_next_one() {
        let mut slab = Slab::default();
        let keys: Vec<_> = ('a'..='d').map(|value| slab.insert(value)).collect();
        slab.remove(keys[1]);
        assert_eq!(slab.keys().map(Key::index).collect::<Vec<_>>(), [0, 2, 3]);
        let vacant = slab.vacant_key().unwrap();
        assert_eq!(slab.insert('e'), vacant);
        assert_eq!((vacant.index(), slab.len(), slab.key_at(1)), (1, 4, Some(vacant)));
        assert_eq!(slab.key_at(9), None);
    }
}
