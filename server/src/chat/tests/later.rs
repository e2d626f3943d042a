//! The chat with a store that answers later: nothing is delivered before it is stored, and answers keep their order.

use super::bench::{Bench, Conn, with_later};

fn messages(sent: &[String]) -> Vec<&String> {
    sent.iter().filter(|sent| sent.starts_with(r#"42["message""#)).collect()
}

/// What one socket was sent since the last question, without what it is told of others.
fn answers(bench: &mut Bench, conn: Conn) -> Vec<String> {
    bench.sent(conn).into_iter().filter(|sent| sent.starts_with("43") || sent.contains(r#"["error""#)).collect()
}

/// Delivers everything between shards, while the store does nothing.
fn carry_without_store(bench: &mut Bench) {
    let store = bench.store.take();
    bench.carry();
    bench.store = store;
}

#[test]
fn nothing_is_delivered_or_acknowledged_before_it_is_stored() {
    with_later(&[], |mut bench| {
        let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
        bench.sent(alice);
        bench.say(alice, r#"20["message",{"message":"hi"}]"#);
        carry_without_store(&mut bench);
        assert!(messages(&bench.sent(bob)).is_empty() && answers(&mut bench, alice).is_empty());
        // The chat goes on meanwhile.
        bench.say(alice, r#"2["typing",true]"#);
        carry_without_store(&mut bench);
        assert!(bench.sent(bob).iter().any(|sent| sent.contains("userTyping")));
        bench.carry();
        assert_eq!(messages(&bench.sent(bob)).len(), 1);
        assert!(answers(&mut bench, alice)[0].starts_with(r#"430[{"ok":true,"id":""#));
    });
}

#[test]
fn a_message_that_could_not_be_stored_is_delivered_to_nobody_and_its_sender_is_told() {
    with_later(&[], |mut bench| {
        let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
        bench.store.as_ref().unwrap().set_failing(true);
        bench.text(alice, r#"20["message",{"message":"lost"}]"#);
        bench.text(alice, r#"2["message",{"message":"lost too"}]"#);
        assert!(messages(&bench.sent(bob)).is_empty());
        let told = answers(&mut bench, alice);
        let error = r#""message":"the store does not work at present; try again later","code":"store_unavailable""#;
        assert_eq!(
            told,
            [
                format!(r#"430[{{"ok":false,"error":{{{error},"retryAfter":1000}}}}]"#),
                format!(r#"42["error",{{{error},"event":"message","retryAfter":1000}}]"#)
            ]
        );
        bench.store.as_ref().unwrap().set_failing(false);
        bench.text(alice, r#"20["message",{"message":"kept"}]"#);
        bench.text(bob, r#"21["history"]"#);
        let page = answers(&mut bench, bob);
        assert!(page[0].contains("kept") && !page[0].contains("lost"), "{page:?}");
    });
}

#[test]
fn a_socket_is_answered_in_the_order_in_which_it_asked() {
    with_later(&[("rooms.lobby", "false")], |mut bench| {
        let alice = bench.join("alice");
        bench.text(alice, r#"2["join",{"roomId":"r"}]"#);
        for n in 0..40 {
            let (message, history) = (3 * n, 3 * n + 1);
            bench.say(alice, &format!(r#"2{message}["message",{{"message":"m{n}","context":{{"roomId":"r"}}}}]"#));
            bench.say(alice, &format!(r#"2{history}["history",{{"roomId":"r","limit":100}}]"#));
            bench.say(alice, &format!(r#"2{}["presence",{{"roomId":"r"}}]"#, history + 1));
            for _ in 0..bench.roll(6) {
                bench.carry_one();
            }
        }
        bench.carry();
        let answers = answers(&mut bench, alice);
        let ids: Vec<usize> =
            answers.iter().map(|answer| answer[2..].split('[').next().unwrap().parse().unwrap()).collect();
        assert_eq!(ids.len(), 120);
        // Questions may wait until the client has taken earlier answers, and messages do not wait for them.
        let (sent, asked): (Vec<usize>, Vec<usize>) = ids.iter().partition(|id| *id % 3 == 0);
        assert!(sent.is_sorted() && asked.is_sorted(), "{ids:?}");
        for (id, page) in ids.iter().zip(&answers).filter(|(id, _)| *id % 3 == 1) {
            // Its own messages are in it, up to those that it sent before it asked.
            assert!(page.contains(&format!(r#""message":"m{}""#, id / 3)), "{id}: {page}");
        }
    });
}

#[test]
fn the_page_that_comes_with_join_and_what_follows_have_no_gap_and_no_overlap() {
    for seed in 0..40 {
        with_later(&[("rooms.lobby", "false")], |mut bench| {
            bench.dice = seed;
            let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
            bench.text(alice, r#"2["join",{"roomId":"r"}]"#);
            for n in 0..12 {
                bench.say(alice, &format!(r#"2["message",{{"message":"<{n}>","context":{{"roomId":"r"}}}}]"#));
                if n == 6 {
                    bench.say(bob, r#"20["join",{"roomId":"r","history":100}]"#);
                }
                for _ in 0..bench.roll(4) {
                    bench.carry_one();
                }
            }
            bench.carry();
            let sent = bench.sent(bob);
            let page = sent.iter().find(|sent| sent.starts_with("430")).unwrap();
            let of_page = (0..12).filter(|n| page.contains(&format!("<{n}>")));
            let live = messages(&sent);
            let of_room = (0..12).filter(|n| live.iter().any(|sent| sent.contains(&format!("<{n}>"))));
            let together: Vec<i32> = of_page.chain(of_room).collect();
            assert_eq!(together, (0..12).collect::<Vec<_>>(), "{sent:?}");
            assert_eq!(live.len(), together.len() - (0..12).filter(|n| page.contains(&format!("<{n}>"))).count());
        });
    }
}

#[test]
fn two_equal_messages_are_one_wherever_the_commit_falls() {
    for seed in 0..10 {
        with_later(&[], |mut bench| {
            bench.dice = seed;
            let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
            bench.sent(bob);
            for ack in 0..4 {
                bench.say(alice, &format!(r#"2{ack}["message",{{"message":"x","context":{{"clientId":"c"}}}}]"#));
                for _ in 0..bench.roll(4) {
                    bench.carry_one();
                }
            }
            bench.carry();
            let answers = answers(&mut bench, alice);
            let first = answers[0].split_once('[').unwrap().1.to_owned();
            assert!(answers.len() == 4 && answers.iter().all(|answer| answer.ends_with(&first)), "{answers:?}");
            assert_eq!(messages(&bench.sent(bob)).len(), 1);
        });
    }
}

#[test]
fn more_messages_than_may_wait_for_the_store_are_refused_at_once() {
    with_later(&[("rooms.lobby", "false")], |mut bench| {
        let alice = bench.join("alice");
        bench.text(alice, r#"2["join",{"roomId":"r"}]"#);
        let store = bench.store.take();
        for ack in 0..8200 {
            bench.say(alice, &format!(r#"2{ack}["message",{{"message":"x","context":{{"roomId":"r"}}}}]"#));
            bench.carry();
        }
        let refused = answers(&mut bench, alice);
        assert_eq!(refused.len(), 8);
        let busy = r#""code":"server_busy","retryAfter":1000"#;
        assert!(refused[0].starts_with("438192[") && refused.iter().all(|told| told.contains(busy)), "{refused:?}");
        bench.store = store;
        bench.carry();
        assert_eq!(answers(&mut bench, alice).len(), 8192);
    });
}

#[test]
fn a_herd_that_joins_with_history_is_answered_though_few_pages_are_read_at_a_time() {
    with_later(&[("limits.sockets_per_user", "0")], |mut bench| {
        let conns: Vec<Conn> = (0..100).map(|n| bench.join(&n.to_string())).collect();
        bench.text(conns[0], r#"2["message",{"message":"hello","context":{"roomId":"r"}}]"#);
        for conn in &conns {
            bench.say(*conn, r#"20["history",{"roomId":"r"}]"#);
        }
        bench.carry();
        for conn in conns {
            assert!(bench.sent(conn).iter().any(|sent| sent.starts_with("430") && sent.contains("hello")));
        }
    });
}
