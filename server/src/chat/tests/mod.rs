//! The chat without sockets, with one shard and with three ([`bench`]).

mod bench;
mod home;
mod later;
mod later_store;
mod limits;
mod order;
mod part;
mod recovery;
mod recovery_client;
mod sockets;
mod tokens;
mod typing;

use bench::{Bench, Conn, with};

#[test]
fn connecting_and_disconnecting_in_a_row_piles_nothing_up() {
    with(&[], |mut bench| {
        let conn = bench.open();
        for n in 0..1000 {
            bench.connect(conn, "alice");
            bench.text(conn, r#"2["typing",true]"#);
            bench.text(conn, &format!(r#"2["join",{{"roomId":"{n}"}}]"#));
            bench.text(conn, r#"2["typing",true,{"roomId":"lobby"}]"#);
            bench.text(conn, "1");
        }
        bench.connect(conn, "alice");
        let token = bench.token("alice", 500_000);
        for _ in 0..1000 {
            bench.text(conn, &format!(r#"2["refresh",{{"token":"{token}"}}]"#));
        }
        let kept = bench.into_kept();
        assert!(kept.values().all(|kept| *kept <= 2), "{kept:?}");
    });
}

#[test]
fn nothing_is_kept_of_clients_that_are_gone() {
    with(&[("limits.sockets_per_user", "0")], |mut bench| {
        for round in 0..5 {
            let conns: Vec<Conn> = (0..100).map(|n| bench.join(&format!("user {}", n % 40 + round))).collect();
            for (n, conn) in (0..).zip(&conns) {
                for event in [
                    r#"["typing",true]"#,
                    r#"["nonsense"]"#,
                    r#"["message",{"message":"x","context":{"clientId":"a"}}]"#,
                ] {
                    bench.text(*conn, &format!("2{event}"));
                }
                for room in 0..5 {
                    bench.text(*conn, &format!(r#"2["join",{{"roomId":"{}"}}]"#, n + room));
                    bench.text(*conn, &format!(r#"2["typing",true,{{"roomId":"{}"}}]"#, n + room));
                }
                bench.text(*conn, &format!(r#"2["leave",{{"roomId":"{n}"}}]"#));
            }
            bench.advance(500);
            conns.into_iter().for_each(|conn| bench.close(conn));
            bench.advance(500);
        }
        bench.advance(24 * 3600 * 1000);
        let kept = bench.into_kept();
        assert!(kept.values().all(|kept| *kept == 0), "{kept:?}");
    });
}

#[test]
fn idleness_ends_a_socket_at_its_own_time_whenever_others_came() {
    with(&[("limits.idle_timeout", "10s")], |mut bench| {
        let alice = bench.join("alice");
        bench.advance(1000);
        bench.text(alice, r#"2["typing",false]"#);
        bench.advance(8000);
        let bob = bench.join("bob");
        bench.advance(1999);
        assert!(bench.is_open(alice));
        bench.advance(1);
        assert!(!bench.is_open(alice));
        bench.advance(7999);
        assert!(bench.is_open(bob));
        bench.advance(1);
        assert!(!bench.is_open(bob));
    });
}

#[test]
fn typing_everywhere_ends_in_a_room_that_is_left() {
    with(&[("rooms.lobby", "false")], |mut bench| {
        let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
        for conn in [alice, bob] {
            bench.text(conn, r#"2["join",{"roomId":"r"}]"#);
        }
        bench.text(alice, r#"2["typing",true]"#);
        bench.text(alice, r#"2["leave",{"roomId":"r"}]"#);
        bench.advance(20_000);
        let told = bench.sent(bob).into_iter().filter(|sent| sent.contains("userTyping")).collect::<Vec<_>>();
        let typing = |is| format!(r#"42["userTyping",{{"userId":"alice","username":"alice","isTyping":{is}}}]"#);
        assert_eq!(told, [typing(true), typing(false)]);
    });
}

#[test]
fn typing_in_a_room_disturbs_its_home_and_the_shards_with_members_only() {
    let mut bench = Bench::with(3, &[("rooms.lobby", "false")]);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|sub| bench.join(sub));
    let room = (0..).map(|n| format!("r{n}")).find(|room| bench.home(room) != carol.0).unwrap();
    for conn in [alice, bob] {
        bench.text(conn, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
    }
    bench.sent(bob);
    bench.say(alice, &format!(r#"2["typing",true,{{"roomId":"{room}"}}]"#));
    assert!(bench.awaits_message(bench.home(&room)) && !bench.awaits_message(carol.0));
    while bench.carry_one() {
        assert!(!bench.awaits_message(carol.0), "nobody there is in the room");
    }
    let told = format!(r#"42["userTyping",{{"userId":"alice","username":"alice","isTyping":true,"roomId":"{room}"}}]"#);
    assert_eq!(bench.sent(bob), [told]);
}

#[test]
fn typing_everywhere_disturbs_no_shard_where_all_rooms_are_too_large() {
    let mut bench = Bench::with(3, &[("presence.max_room", "1")]);
    let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
    bench.say(alice, r#"2["typing",true]"#);
    assert!((0..3).all(|shard| !bench.awaits_message(shard)));
    bench.text(alice, r#"2["typing",true,{"roomId":"lobby"}]"#);
    assert!(bench.sent(bob).iter().any(|sent| sent.contains("userTyping")), "a room that is named is told");
}

#[test]
fn whoever_left_the_lobby_hears_the_message_sent_to_it() {
    with(&[], |mut bench| {
        let alice = bench.join("alice");
        bench.text(alice, r#"2["leave",{"roomId":"lobby"}]"#);
        bench.text(alice, r#"2["message",{"message":"back"}]"#);
        let sent = bench.sent(alice);
        assert!(matches!(&*sent, [message] if message.starts_with(r#"42["message","#)), "{sent:?}");
    });
}

#[test]
fn history_ends_at_max_age_without_a_new_message() {
    with(&[("store.max_age", "5s")], |mut bench| {
        let alice = bench.join("alice");
        bench.text(alice, r#"2["message",{"message":"old"}]"#);
        bench.sent(alice);
        bench.advance(6000);
        bench.text(alice, r#"27["history",{}]"#);
        assert_eq!(bench.sent(alice), [r#"437[{"ok":true,"messages":[],"more":false}]"#]);
        bench.text(alice, r#"28["join",{"roomId":"lobby","history":5}]"#);
        assert_eq!(bench.sent(alice), [r#"438[{"ok":true,"roomId":"lobby","members":1,"messages":[],"more":false}]"#]);
    });
}

#[test]
fn whoever_comes_while_a_user_reloads_is_told_of_that_user() {
    with(&[], |mut bench| {
        let alice = bench.join("alice");
        bench.close(alice);
        bench.advance(500);
        let bob = bench.open();
        bench.connect(bob, "bob");
        bench.join("alice");
        bench.advance(10_000);
        let online = r#"42["userStatus",{"userId":"alice","username":"alice","isOnline":true}]"#;
        let sent = bench.sent(bob);
        assert_eq!(sent.iter().filter(|sent| *sent == online).count(), 1, "{sent:?}");
        // And of the end, when there is no coming back.
        let carol = bench.join("carol");
        bench.close(carol);
        let dave = bench.open();
        bench.connect(dave, "dave");
        bench.advance(10_000);
        let sent = bench.sent(dave).join("\n");
        assert!(sent.contains(r#"{"userId":"carol","username":"carol","isOnline":true}"#), "{sent}");
        assert!(sent.contains(r#"{"userId":"carol","username":"carol","isOnline":false"#), "{sent}");
    });
}

#[test]
fn the_lobby_is_none_of_the_rooms_a_socket_may_have() {
    with(&[("limits.rooms_per_socket", "2")], |mut bench| {
        let alice = bench.join("alice");
        for room in ["a", "b", "c"] {
            bench.text(alice, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
        }
        let sent = bench.sent(alice);
        assert!(matches!(&*sent, [error] if error.contains("too_many_rooms")), "{sent:?}");
        bench.text(alice, r#"2["leave",{"roomId":"lobby"}]"#);
        bench.text(alice, r#"2["message",{"message":"back"}]"#);
        assert!(bench.sent(alice).join("").contains(r#""message":"back""#));
    });
}

#[test]
fn rooms_that_were_left_do_not_displace_one_that_awaits_the_end() {
    with(&[], |mut bench| {
        let bob = bench.join("bob");
        bench.text(bob, r#"2["join",{"roomId":"shared"}]"#);
        let [tab, other] = ["alice", "alice"].map(|sub| bench.join(sub));
        bench.text(tab, r#"2["join",{"roomId":"shared"}]"#);
        bench.text(bob, r#"2["leave",{"roomId":"lobby"}]"#);
        bench.close(tab);
        for room in 0..1500 {
            bench.text(other, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
            bench.text(other, &format!(r#"2["leave",{{"roomId":"{room}"}}]"#));
            bench.advance(10);
        }
        bench.sent(bob);
        bench.close(other);
        bench.advance(10_000);
        let sent = bench.sent(bob);
        assert!(matches!(&*sent, [offline] if offline.contains(r#""isOnline":false"#)), "{sent:?}");
    });
}

#[test]
fn whoever_comes_while_another_tab_was_closed_is_told_of_its_user() {
    with(&[], |mut bench| {
        let [tab, _other] = ["alice", "alice"].map(|sub| bench.join(sub));
        bench.text(tab, r#"2["join",{"roomId":"r"}]"#);
        bench.close(tab);
        let bob = bench.join("bob");
        bench.text(bob, r#"2["join",{"roomId":"r"}]"#);
        let tab = bench.join("alice");
        bench.text(tab, r#"2["join",{"roomId":"r"}]"#);
        let online = r#"42["userStatus",{"userId":"alice","username":"alice","isOnline":true}]"#;
        assert_eq!(bench.sent(bob), [online]);
    });
}

#[test]
fn past_rooms_of_a_user_who_stays_are_bounded_and_leave_nothing() {
    with(&[], |mut bench| {
        let stays = bench.join("alice");
        for n in 0..15 {
            let tab = bench.join("alice");
            for room in 0..100 {
                bench.text(tab, &format!(r#"2["join",{{"roomId":"{n} {room}"}}]"#));
            }
            bench.close(tab);
            bench.advance(3000);
        }
        assert!(bench.homes() <= 1001);
        bench.close(stays);
        bench.advance(24 * 3600 * 1000);
        let kept = bench.into_kept();
        assert!(kept.values().all(|kept| *kept == 0), "{kept:?}");
    });
}

#[test]
fn a_fraction_of_a_second_of_leeway_counts_on_a_living_socket_too() {
    with(&[("auth.leeway", "1500ms")], |mut bench| {
        bench.join("alice");
        let chat = bench.chats[0].0.borrow();
        let expires = chat.sockets.expirations().next().flatten().unwrap();
        assert_eq!(expires.subsec_millis(), 500);
    });
}

#[test]
fn presence_and_typing_cross_shards() {
    with(&[("presence.max_room", "3")], |mut bench| {
        let [alice, bob, other] = ["alice", "bob", "alice"].map(|sub| bench.join(sub));
        let typing = |is| format!(r#"42["userTyping",{{"userId":"alice","username":"alice","isTyping":{is}}}]"#);
        bench.text(alice, r#"2["typing",true]"#);
        // The other socket's message ends it, wherever that is.
        bench.text(other, r#"2["message",{"message":"x"}]"#);
        let sent = bench.sent(bob);
        // Which comes first depends on whose shard is faster.
        assert_eq!((sent.len(), &*sent[0]), (3, &*typing(true)), "{sent:?}");
        assert!(sent.contains(&typing(false)), "{sent:?}");
        assert!(bench.sent(alice).iter().chain(&bench.sent(other)).all(|sent| !sent.contains("userTyping")));
        bench.text(bob, r#"20["presence",{}]"#);
        let users = [r#"{"userId":"alice","username":"alice","isOnline":true}"#, r#"{"userId":"bob","#].join(",");
        assert!(bench.sent(bob)[0].contains(&users));
        // A fourth socket makes the room too large for presence, on every shard.
        let carol = bench.join("carol");
        bench.text(alice, r#"2["typing",true]"#);
        assert_eq!((bench.sent(bob), bench.sent(carol)), (vec![], vec![]));
        bench.close(carol);
        bench.text(alice, r#"2["typing",false]"#);
        assert_eq!(bench.sent(bob), [typing(false)]);
    });
}

#[test]
fn a_user_has_one_rate_and_one_limit_on_all_shards() {
    with(
        &[
            ("limits.sockets_per_user", "3"),
            ("limits.sockets_per_user_policy", "refuse"),
            ("limits.message_rate", "1"),
            ("limits.message_burst", "3"),
        ],
        |mut bench| {
            let conns = [(); 3].map(|()| bench.join("alice"));
            let fourth = bench.open();
            bench.connect(fourth, "alice");
            assert!(bench.sent(fourth).iter().any(|sent| sent.contains("too_many_connections")));
            for conn in conns.into_iter().chain([conns[0]]) {
                bench.text(conn, r#"27["message",{"message":"x"}]"#);
            }
            let answers = conns
                .map(|conn| bench.sent(conn).into_iter().filter(|sent| sent.starts_with("437")).collect::<Vec<_>>());
            let answers = answers.concat();
            assert_eq!(answers.iter().filter(|answer| answer.contains(r#""ok":true"#)).count(), 3, "{answers:?}");
            assert_eq!(answers.iter().filter(|answer| answer.contains("rate_limited")).count(), 1, "{answers:?}");
        },
    );
}

#[test]
fn what_is_sent_or_asked_after_a_connect_was_answered_finds_the_newcomer_wherever_the_home_is() {
    for shards in [2, 3] {
        let mut bench = Bench::with(shards, &[]);
        let alices: Vec<Conn> = (0..shards).map(|n| bench.join(&format!("alice {n}"))).collect();
        // Each time on the next shard.
        bench.opened += 1;
        for alice in alices {
            let bob = bench.open();
            assert_ne!(alice.0, bob.0);
            let token = bench.token("bob", 1000);
            // Connected, as the client knows; its way into the lobby is still a shard message.
            bench.say(bob, &format!(r#"0{{"token":"{token}"}}"#));
            assert!(bench.sent(bob).iter().any(|sent| sent.starts_with("40")));
            bench.say(alice, r#"2["message",{"message":"x"}]"#);
            bench.say(alice, r#"27["presence",{}]"#);
            // Messages to one shard are read in the order in which they were sent.
            bench.carry_in_order();
            assert_eq!(bench.sent(bob).iter().filter(|sent| sent.starts_with(r#"42["message""#)).count(), 1);
            let answers = bench.sent(alice);
            assert!(answers.iter().any(|sent| sent.starts_with("437") && sent.contains(r#""bob""#)), "{answers:?}");
            bench.close(bob);
        }
    }
}

#[test]
fn an_answer_that_comes_after_leave_does_not_let_the_socket_in() {
    let mut bench = Bench::with(3, &[("rooms.lobby", "false")]);
    let [alice, bob, _, _, carol] = ["alice", "bob", "x", "y", "carol"].map(|sub| bench.join(sub));
    let ((alices, _), (bobs, _)) = (alice, bob);
    assert_eq!(bobs, carol.0, "carol's membership brings the room's messages to bob's shard");
    // A room whose home is neither's shard, so that the messages in each direction can be delivered separately.
    let room = (0..).map(|n: u32| n.to_string()).find(|room| ![alices, bobs].contains(&bench.home(room))).unwrap();
    let home = bench.home(&room);
    for conn in [alice, carol] {
        bench.text(conn, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
    }
    bench.say(bob, &format!(r#"21["join",{{"roomId":"{room}"}}]"#));
    bench.say(bob, &format!(r#"22["leave",{{"roomId":"{room}"}}]"#));
    bench.carry_between(bobs, home);
    // The answer to the first `join` is under way while the second is asked for, and a message comes in between.
    bench.say(bob, &format!(r#"23["join",{{"roomId":"{room}","history":9}}]"#));
    bench.say(alice, &format!(r#"2["message",{{"message":"x","context":{{"roomId":"{room}"}}}}]"#));
    bench.carry_between(alices, home);
    bench.carry();
    let sent = bench.sent(bob);
    assert_eq!(sent.iter().filter(|sent| sent.contains(r#""message":"x""#)).count(), 1, "{sent:?}");
}
