//! A room has one order: whatever sockets on whatever shards do, and however shard messages are delayed, what a
//! member gets of a room is a part of its history without a gap, from where it came in.

use std::collections::HashMap;

use super::*;

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// What one session was sent of each room.
#[derive(Default)]
struct Seen {
    /// The messages of the page that came with its `join`, and those that came after.
    rooms: HashMap<&'static str, Vec<String>>,
    acks: usize,
}

impl Seen {
    fn take(&mut self, sent: Vec<String>) {
        for packet in sent {
            let room = || ROOMS.into_iter().find(|room| packet.contains(&format!(r#""roomId":"{room}""#))).unwrap();
            if packet.starts_with(r#"42["message""#) {
                self.rooms.entry(room()).or_default().extend(ids(&packet));
            } else if packet.starts_with("43") {
                assert!(packet.contains(r#""ok":true"#), "{packet}");
                self.acks += 1;
                if packet.contains(r#""messages":["#) {
                    let before = self.rooms.insert(room(), ids(&packet));
                    assert_eq!(before, None, "something of the room came before its page");
                }
            }
        }
    }
}

/// The ids of messages in a packet, in order.
fn ids(packet: &str) -> Vec<String> {
    packet.split(r#"{"id":""#).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

fn run(seed: u64) {
    let mut bench = Bench::with(3, &[("rooms.lobby", "false"), ("limits.sockets_per_user", "0")]);
    bench.dice = seed;
    let users: Vec<Conn> = (0..6).map(|n| bench.join(&format!("user {}", n / 2))).collect();
    let mut seen: Vec<Seen> = users.iter().map(|_| Seen::default()).collect();
    let (mut asked, mut messages) = (vec![0; users.len()], 0);
    for _ in 0..120 {
        let user = bench.roll(users.len());
        let room = ROOMS[bench.roll(ROOMS.len())];
        let ack = asked[user];
        let joined = seen[user].rooms.contains_key(room);
        match bench.roll(4) {
            // A page with all of the room, and then what is new.
            0 if !joined => {
                bench.say(users[user], &format!(r#"2{ack}["join",{{"roomId":"{room}","history":200}}]"#));
                bench.say(
                    users[user],
                    &format!(r#"2{ack}["message",{{"message":"x","context":{{"roomId":"{room}"}}}}]"#),
                );
                asked[user] += 2;
                messages += 1;
                // The answer must be seen before the room can be joined again.
                bench.carry();
            }
            1 if joined => {
                bench.say(
                    users[user],
                    &format!(r#"2{ack}["message",{{"message":"x","context":{{"roomId":"{room}"}}}}]"#),
                );
                asked[user] += 1;
                messages += 1;
            }
            2 if joined => {
                let text = format!(r#"2["message",{{"message":"x","context":{{"roomId":"{room}"}}}}]"#);
                (0..3).for_each(|_| bench.say(users[user], &text));
                messages += 3;
            }
            _ => (0..bench.roll(8)).for_each(|_| {
                bench.carry_one();
            }),
        }
        for (conn, seen) in users.iter().zip(&mut seen) {
            seen.take(bench.sent(*conn));
        }
    }
    bench.carry();
    let mut total = 0;
    let histories: HashMap<&str, Vec<String>> = ROOMS
        .into_iter()
        .map(|room| {
            let reader = bench.join("reader");
            bench.text(reader, &format!(r#"21["join",{{"roomId":"{room}","history":200}}]"#));
            let history = bench.sent(reader).iter().flat_map(|packet| ids(packet)).collect::<Vec<_>>();
            total += history.len();
            (room, history)
        })
        .collect();
    assert_eq!(total, messages, "each message is in the history once");
    for ((conn, seen), asked) in users.iter().zip(&mut seen).zip(asked) {
        seen.take(bench.sent(*conn));
        assert_eq!(seen.acks, asked);
        for (room, got) in &seen.rooms {
            assert_eq!(got, &histories[room], "seed {seed}, room {room}");
        }
    }
}

#[test]
fn members_on_all_shards_see_the_order_of_the_history() {
    (1..60).for_each(run);
}

/// Alice types in a room on one of her two sockets, and stops in one of the possible ways, while shard messages are delayed:
/// whoever heard that she types hears last that she does not.
fn type_and_stop(seed: u64) {
    let mut bench = Bench::with(3, &[("rooms.lobby", "false")]);
    bench.dice = seed;
    let [alice, tab, bob, carol] = ["alice", "alice", "bob", "carol"].map(|sub| bench.join(sub));
    let join = r#"2["join",{"roomId":"a"}]"#;
    let message = r#"2["message",{"message":"x","context":{"roomId":"a"}}]"#;
    [alice, tab, bob, carol].into_iter().for_each(|conn| bench.text(conn, join));
    let mut told = 0;
    for stop in [0, 1, 2, 3, bench.roll(4), 4] {
        bench.say(alice, r#"2["typing",true,{"roomId":"a"}]"#);
        (0..bench.roll(5)).for_each(|_| {
            bench.carry_one();
        });
        match stop {
            0 => bench.say(alice, r#"2["typing",false,{"roomId":"a"}]"#),
            1 => bench.say(alice, message),
            2 => bench.say(tab, message),
            3 => bench.say(alice, r#"2["leave",{"roomId":"a"}]"#),
            _ => bench.close(alice),
        }
        bench.carry();
        for conn in [bob, carol] {
            let sent = bench.sent(conn);
            let typing = sent.iter().filter(|packet| packet.contains("userTyping")).collect::<Vec<_>>();
            told += typing.len();
            let last = typing.last().is_none_or(|packet| packet.contains(r#""isTyping":false"#));
            assert!(last, "seed {seed}, stop {stop}: {sent:?}");
        }
        for conn in [alice, tab] {
            assert!(!bench.sent(conn).iter().any(|packet| packet.contains("userTyping")), "of her own");
        }
        if stop == 3 {
            bench.text(alice, join);
        }
    }
    assert_eq!(told, 6 * 2 * 2, "seed {seed}: each time both, that she does and that she does not");
}

#[test]
fn typing_in_a_room_ends_for_everyone_who_was_told_of_it() {
    (1..100).for_each(type_and_stop);
}

#[test]
fn whoever_is_connected_before_typing_begins_hears_of_it() {
    // Homes are drawn anew by each bench.
    for _ in 0..20 {
        for typing in [r#"2["typing",true]"#, r#"2["typing",true,{"roomId":"lobby"}]"#] {
            let mut bench = Bench::with(3, &[]);
            let alice = bench.join("alice");
            let bob = bench.open();
            let token = bench.token("bob", 1_000_000);
            bench.say(bob, &format!(r#"0{{"token":"{token}"}}"#));
            assert!(bench.sent(bob).iter().any(|sent| sent.starts_with("40")));
            bench.say(alice, typing);
            bench.carry_in_order();
            let sent = bench.sent(bob);
            assert!(sent.iter().any(|packet| packet.contains("userTyping")), "{sent:?}");
        }
    }
}
