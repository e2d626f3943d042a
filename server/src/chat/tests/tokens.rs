//! What a token opens, and what `refresh` changes.

use super::{
    bench::{Bench, with},
    limits::{is_disconnected, with_code},
};
use crate::clock::tests::AHEAD;
use std::time::Duration;

#[test]
fn refresh_has_the_rate_of_connect() {
    with(&[("limits.connect_user_rate", "1")], |mut bench| {
        let [wide, narrow] = [&["a", "b", "c"][..], &[]].map(|rooms| bench.token_for("alice", Some(rooms), 1000, 0));
        let (alice, _) = bench.join_with(&wide);
        for _ in 0..50 {
            for token in [&narrow, &wide] {
                bench.text(alice, &format!(r#"27["refresh",{{"token":"{token}"}}]"#));
            }
        }
        assert_eq!(with_code(&bench.sent(alice), "rate_limited"), 100 - 19);
        bench.advance(1000);
        bench.text(alice, &format!(r#"27["refresh",{{"token":"{wide}"}}]"#));
        assert!(bench.sent(alice).join("").contains(r#""ok":true"#));
    });
}

#[test]
fn whoever_left_a_room_stays_out_of_it_after_a_refresh() {
    with(&[], |mut bench| {
        let (alice, _) = bench.join_with(&bench.token_for("alice", Some(&["a", "b"]), 1000, 10));
        let (bob, _) = bench.join_with(&bench.token_for("bob", Some(&["a", "b", "c"]), 1000, 10));
        bench.text(alice, r#"27["leave",{"roomId":"a"}]"#);
        let token = bench.token_for("alice", Some(&["a", "b", "c"]), 2000, 0);
        bench.text(alice, &format!(r#"28["refresh",{{"token":"{token}"}}]"#));
        bench.sent(alice);
        for room in ["a", "b", "c"] {
            bench.text(bob, &format!(r#"2["message",{{"message":"in {room}","context":{{"roomId":"{room}"}}}}]"#));
        }
        let sent = bench.sent(alice);
        let heard = ["a", "b", "c"].map(|room| sent.iter().any(|sent| sent.contains(&format!("in {room}"))));
        assert_eq!(heard, [false, true, true], "left; there before; new in the token");
    });
}

#[test]
fn a_token_that_names_more_rooms_than_a_socket_may_be_in_is_said_to() {
    with(&[("limits.rooms_per_socket", "3")], |mut bench| {
        let told =
            |sent: &[String]| sent.iter().filter(|sent| sent.contains("too_many_rooms")).cloned().collect::<Vec<_>>();
        let missed = |count| format!(r#""code":"too_many_rooms","missed":{count}}}]"#);
        let (alice, sent) = bench.join_with(&bench.token_for("alice", Some(&["a", "b", "c", "d", "e"]), 1000, 10));
        let told_at_connect = told(&sent);
        assert!(told_at_connect.len() == 1 && told_at_connect[0].ends_with(&missed(2)), "{sent:?}");
        let token = bench.token_for("alice", Some(&["a", "b", "x", "y"]), 1000, 0);
        bench.text(alice, &format!(r#"27["refresh",{{"token":"{token}"}}]"#));
        let sent = bench.sent(alice);
        assert!(told(&sent).len() == 1 && told(&sent)[0].ends_with(&missed(1)), "{sent:?}");
        let (_, sent) = bench.join_with(&bench.token_for("bob", Some(&["a", "b"]), 1000, 10));
        assert_eq!(told(&sent), Vec::<String>::new());
    });
}

#[test]
fn a_token_in_a_handshake_is_for_its_own_connection() {
    with(&[], |mut bench| {
        // The same shard's.
        let conns: Vec<_> = (0..6).map(|_| bench.open()).collect();
        let others = conns.iter().filter(|conn| conn.0 == conns[0].0).copied().collect::<Vec<_>>();
        let token = bench.token("alice", 1000);
        bench.leave_query_token(others[0], token);
        bench.text(others[1], "0");
        let sent = bench.sent(others[1]);
        assert_eq!(with_code(&sent, "token_missing"), 1, "{sent:?}");
    });
}

#[test]
fn refresh_takes_away_the_rooms_that_the_new_token_does_not_open() {
    with(&[], |mut bench| {
        let token = bench.token_for("alice", Some(&["a", "b", "c"]), 1000, 10);
        let (alice, _) = bench.join_with(&token);
        let bob = bench.join("bob");
        bench.text(bob, r#"2["join",{"roomId":"b"}]"#);
        let narrow = bench.token_for("alice", Some(&["a"]), 1000, 5);
        bench.sent(alice);
        bench.text(alice, &format!(r#"27["refresh",{{"token":"{narrow}"}}]"#));
        let sent = bench.sent(alice);
        assert!(matches!(&*sent, [answer] if answer.contains(r#""left":["b","c"]"#)), "{sent:?}");
        bench.text(bob, r#"2["message",{"message":"secret","context":{"roomId":"b"}}]"#);
        bench.text(alice, r#"27["history",{"roomId":"b"}]"#);
        let sent = bench.sent(alice);
        assert!(!sent.join("").contains("secret") && with_code(&sent, "room_forbidden") == 1, "{sent:?}");
        bench.sent(bob);
        bench.text(bob, r#"27["presence",{"roomId":"b"}]"#);
        assert!(!bench.sent(bob).join("").contains("alice"));
        // An older token does not bring them back; one of the same time or newer may.
        for (ago, expected) in [(10, false), (6, false), (5, true), (0, true)] {
            let wide = bench.token_for("alice", Some(&["a", "b"]), 1000, ago);
            bench.text(alice, &format!(r#"27["refresh",{{"token":"{wide}"}}]"#));
            let sent = bench.sent(alice);
            assert_eq!(sent.iter().any(|sent| sent.starts_with(r#"437[{"ok":true"#)), expected, "{ago}: {sent:?}");
        }
        bench.text(bob, r#"2["message",{"message":"open again","context":{"roomId":"b"}}]"#);
        assert!(bench.sent(alice).join("").contains("open again"));
        // Whoever waits for no acknowledgement is told by an error, which is no strike.
        let narrow = bench.token_for("alice", Some(&[]), 1000, 0);
        bench.text(alice, &format!(r#"2["refresh",{{"token":"{narrow}"}}]"#));
        let sent = bench.sent(alice);
        let told = |sent: &String| sent.contains(r#""code":"room_forbidden","event":"refresh","left":["a","b"]"#);
        assert!(matches!(&*sent, [error] if told(error)), "{sent:?}");
    });
}

#[test]
fn without_iat_a_token_that_ends_earlier_may_keep_rooms_and_open_no_more() {
    with(&[], |mut bench| {
        let token =
            |bench: &Bench, rooms: &str, end: u64| bench.token_of(&format!(r#"{{"sub":"alice",{rooms}"exp":{end}}}"#));
        let (first, shorter) = (r#""rooms":["a","b"],"#, r#""rooms":["a"],"#);
        let connect = token(&bench, first, 4_000_000_000);
        let (alice, _) = bench.join_with(&connect);
        for (rooms, end, accepted) in [
            (first, 3_900_000_000, true),
            (r#""rooms":["a","b","c"],"#, 3_900_000_000, false),
            (r#""rooms":["*"],"#, 3_999_999_999, false),
            ("", 3_999_999_999, false),
            (shorter, 3_800_000_000, true),
            // It ends later than the one in use, but earlier than the first one.
            (first, 3_900_000_000, false),
            (first, 4_000_000_000, true),
        ] {
            let token = token(&bench, rooms, end);
            bench.text(alice, &format!(r#"27["refresh",{{"token":"{token}"}}]"#));
            let sent = bench.sent(alice).join("");
            assert_eq!(sent.contains(r#"437[{"ok":true"#), accepted, "{rooms} {end}: {sent}");
            assert_eq!(sent.contains("without iat in both"), !accepted, "{rooms} {end}: {sent}");
        }
    });
}

#[test]
fn a_token_does_not_outlive_its_end_when_the_clock_is_set_forward() {
    with(&[], |mut bench| {
        let token = bench.token("alice", 3600);
        let (alice, _) = bench.join_with(&token);
        bench.advance(5000);
        AHEAD.set(Duration::from_secs(3606));
        bench.advance(1000);
        let sent = bench.sent(alice);
        AHEAD.set(Duration::ZERO);
        assert!(!bench.is_open(alice));
        assert!(with_code(&sent, "token_expired") == 1 && is_disconnected(&sent), "{sent:?}");
    });
}
