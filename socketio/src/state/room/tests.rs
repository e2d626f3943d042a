//! Random joins and leaves against a plain model.

use crate::config::Config;
use std::collections::{BTreeMap, BTreeSet};

use engineio::ConnKey;
use proptest::prelude::*;

use super::*;
use crate::state::{ids::SocketId, namespace::Namespaces};

fn sockets(count: u8) -> (Slab<Socket>, Vec<SocketKey>) {
    let nsp = Namespaces::new(&Config::default()).find("/").unwrap();
    let mut conns = Slab::default();
    let mut sockets = Slab::default();
    let keys = (0..count)
        .map(|index| {
            let conn = ConnKey::new(conns.insert(()));
            let id = SocketId::new(0, u32::from(index), [index; 15]);
            SocketKey(sockets.insert(Socket::new(id, nsp, conn)))
        })
        .collect();
    (sockets, keys)
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_map_of_sets(
        operations in prop::collection::vec((0..6usize, 0..4u8, 0..5u8), 0..200)
    ) {
        let (mut sockets, keys) = sockets(6);
        let mut table = RoomTable::default();
        let mut model: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (socket, room, operation) in operations {
            let name = format!("room {room}");
            match operation {
                0..=2 => {
                    let fresh = model.entry(name.clone()).or_default().insert(socket);
                    prop_assert_eq!(table.join(&mut sockets, keys[socket], &name), fresh);
                }
                3 => {
                    let there = model.entry(name.clone()).or_default().remove(&socket);
                    prop_assert_eq!(table.leave(&mut sockets, keys[socket], &name), there);
                }
                _ => {
                    table.leave_all(&mut sockets, keys[socket]);
                    model.values_mut().for_each(|members| { members.remove(&socket); });
                }
            }
            model.retain(|_, members| !members.is_empty());
            prop_assert_eq!(table.names.len(), model.len());
            prop_assert_eq!(table.rooms.len(), model.len());
            for (name, members) in &model {
                let room = table.find(name).unwrap();
                let found: BTreeSet<usize> = table.members(room).iter()
                    .map(|member| keys.iter().position(|key| *key == member.socket).unwrap()).collect();
                prop_assert_eq!(table.members(room).len(), members.len());
                prop_assert_eq!(&found, members);
            }
            for (index, key) in keys.iter().enumerate() {
                let names: BTreeSet<_> = sockets.get(key.0).unwrap().rooms.iter()
                    .map(|membership| table.name(membership).unwrap().to_owned()).collect();
                let expected: BTreeSet<_> = model.iter().filter(|(_, members)| members.contains(&index))
                    .map(|(name, _)| name.clone()).collect();
                prop_assert_eq!(names, expected);
            }
        }
    }
}
