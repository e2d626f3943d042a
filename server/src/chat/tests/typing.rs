//! `typing` as a held key, an impatient user and a hostile one send it.

use super::bench::{Bench, Conn, with};

/// A rate that gives one token and, for as long as a test takes, no other.
const ONE: (&str, &str) = ("limits.typing_rate", "0.001");

/// Two users who have heard of each other.
fn pair(bench: &mut Bench) -> [Conn; 2] {
    let pair = ["alice", "bob"].map(|sub| bench.join(sub));
    for conn in pair {
        bench.sent(conn);
    }
    pair
}

fn told(bench: &mut Bench, conn: Conn) -> Vec<bool> {
    let sent = bench.sent(conn).into_iter().filter(|sent| sent.contains("userTyping"));
    sent.map(|sent| sent.contains(r#""isTyping":true"#)).collect()
}

fn refusals(bench: &mut Bench, conn: Conn) -> usize {
    bench.sent(conn).iter().filter(|sent| sent.contains("rate_limited")).count()
}

#[test]
fn a_held_key_costs_nothing_and_tells_nothing_new_but_puts_the_end_off() {
    with(&[ONE], |mut bench| {
        let [alice, bob] = pair(&mut bench);
        bench.text(alice, r#"2["typing",true]"#);
        assert_eq!(told(&mut bench, bob), [true]);
        for _ in 0..30 {
            bench.text(alice, r#"2["typing",true]"#);
        }
        bench.advance(9000);
        bench.text(alice, r#"27["typing",true]"#);
        assert_eq!(bench.sent(alice), [r#"437[{"ok":true}]"#]);
        bench.advance(9999);
        assert_eq!(told(&mut bench, bob).len(), 0, "nothing new, and no end yet");
        bench.advance(1);
        assert_eq!(told(&mut bench, bob), [false], "ten seconds after the last one");
        assert_eq!(refusals(&mut bench, alice), 0);
        // It is over: now it would be a beginning again.
        bench.text(alice, r#"2["typing",true]"#);
        assert_eq!((refusals(&mut bench, alice), told(&mut bench, bob)), (1, vec![]));
    });
}

#[test]
fn a_room_that_is_named_is_another_place_to_type_in() {
    with(&[("limits.typing_rate", "2")], |mut bench| {
        let [alice, bob] = pair(&mut bench);
        for _ in 0..3 {
            bench.text(alice, r#"2["typing",true]"#);
            bench.text(alice, r#"2["typing",true,{"roomId":"lobby"}]"#);
        }
        assert_eq!((told(&mut bench, bob), refusals(&mut bench, alice)), (vec![true, true], 0));
        bench.text(alice, r#"2["typing",false,{"roomId":"lobby"}]"#);
        bench.text(alice, r#"2["typing",true]"#);
        assert_eq!(told(&mut bench, bob), [false]);
    });
}

#[test]
fn the_end_is_never_refused_and_always_told() {
    with(&[ONE], |mut bench| {
        let [alice, bob] = pair(&mut bench);
        bench.text(alice, r#"2["typing",true]"#);
        bench.text(alice, r#"27["typing",false]"#);
        assert_eq!(
            (bench.sent(alice), told(&mut bench, bob)),
            (vec![r#"437[{"ok":true}]"#.to_owned()], vec![true, false])
        );
        // A beginning that was refused was told to nobody, and neither is its end.
        bench.text(alice, r#"28["typing",true]"#);
        assert!(bench.sent(alice)[0].contains("rate_limited"));
        for _ in 0..50 {
            bench.text(alice, r#"29["typing",false]"#);
        }
        let sent = bench.sent(alice);
        assert!(sent.len() == 50 && sent.iter().all(|sent| sent == r#"439[{"ok":true}]"#), "{sent:?}");
        assert_eq!(told(&mut bench, bob).len(), 0, "an end that ends nothing is not free to send to everybody");
    });
}

#[test]
fn too_many_typing_is_told_once_a_second() {
    with(&[ONE], |mut bench| {
        let [alice, other] = ["alice", "alice"].map(|sub| bench.join(sub));
        bench.text(alice, r#"2["typing",true]"#);
        bench.text(alice, r#"2["typing",false]"#);
        for second in 0..3 {
            for _ in 0..20 {
                bench.text(alice, r#"2["typing",true]"#);
            }
            assert_eq!(refusals(&mut bench, alice), 1, "second {second}");
            bench.advance(1000);
        }
        bench.text(other, r#"2["typing",true]"#);
        assert_eq!(refusals(&mut bench, other), 1, "each socket hears of its own");
        // Who waits for an acknowledgement gets each.
        for _ in 0..20 {
            bench.text(alice, r#"27["typing",true]"#);
        }
        assert_eq!(refusals(&mut bench, alice), 20);
    });
    // Of messages each is told: each is lost.
    with(&[("limits.message_rate", "0.001"), ("limits.message_burst", "1")], |mut bench| {
        let alice = bench.join("alice");
        for _ in 0..20 {
            bench.text(alice, r#"2["message",{"message":"x"}]"#);
        }
        assert_eq!(refusals(&mut bench, alice), 19);
    });
}

#[test]
fn nobody_goes_on_typing_in_a_room_that_became_too_large_to_hear_of_it() {
    with(&[("presence.max_room", "2")], |mut bench| {
        let [alice, bob] = pair(&mut bench);
        bench.text(alice, r#"2["typing",true]"#);
        assert_eq!(told(&mut bench, bob), [true]);
        for _ in 0..3 {
            let carol = bench.join("carol");
            bench.text(carol, "1");
        }
        assert_eq!(told(&mut bench, bob), [false], "however often its size goes up and down");
        bench.text(alice, r#"2["typing",true]"#);
        assert_eq!(told(&mut bench, bob), [true], "it is small again, and she still types");
    });
}
