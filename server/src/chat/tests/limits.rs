//! What one user, or one connection, may cost the others: each test shows a bound, in counts or bytes.

use super::bench::{Bench, Conn, with};
use crate::rate::Rate;
use std::time::Duration;

/// The answers and errors among what was sent that have this code.
pub(super) fn with_code(sent: &[String], code: &str) -> usize {
    sent.iter().filter(|sent| sent.contains(&format!(r#""code":"{code}""#))).count()
}

pub(super) fn is_disconnected(sent: &[String]) -> bool {
    sent.iter().any(|sent| sent == "41")
}

#[test]
fn six_dead_sockets_of_a_network_change_do_not_lock_out_the_new_tabs() {
    with(&[], |mut bench| {
        let dead: Vec<Conn> = (0..6).map(|_| bench.join("alice")).collect();
        let other = bench.join("bob");
        bench.advance(60_000);
        // A tab elsewhere came first of all and says nothing, but it answers pings.
        dead.iter().take(1).for_each(|conn| bench.beat(*conn));
        let new: Vec<Conn> = (0..6).map(|_| bench.join("alice")).collect();
        assert!(new.iter().chain([&dead[0], &other]).all(|conn| bench.is_open(*conn)));
        let gone: Vec<bool> = dead.iter().map(|conn| !bench.is_open(*conn)).collect();
        assert_eq!(
            gone,
            [false, true, true, false, false, false],
            "those heard of longest ago, and no more than needed"
        );
        for conn in &dead[1..3] {
            let sent = bench.sent(*conn);
            assert!(with_code(&sent, "replaced") == 1 && is_disconnected(&sent), "{sent:?}");
        }
        // It goes on so, however many come.
        for _ in 0..30 {
            bench.join("alice");
        }
        let open = dead.iter().chain(&new).filter(|conn| bench.is_open(**conn)).count();
        assert_eq!(open, 0);
    });
}

#[test]
fn an_event_keeps_a_socket_from_making_room() {
    with(&[("limits.sockets_per_user", "2")], |mut bench| {
        let [first, second] = [(); 2].map(|()| bench.join("alice"));
        bench.advance(1000);
        bench.text(first, r#"2["typing",false]"#);
        let third = bench.join("alice");
        assert_eq!([first, second, third].map(|conn| bench.is_open(conn)), [true, false, true]);
    });
}

#[test]
fn connects_of_a_user_are_refused_at_the_transport_and_taken_again_later() {
    with(&[("limits.connect_user_rate", "1")], |mut bench| {
        let token = bench.token("alice", 1_000_000);
        let (mut connects, mut conn) = (0, bench.open());
        for _ in 0..100 {
            if !bench.is_open(conn) {
                conn = bench.open();
            }
            bench.text(conn, &format!(r#"0{{"token":"{token}"}}"#));
            bench.text(conn, "1");
            let sent = bench.sent(conn);
            assert!(!sent.iter().any(|sent| sent.starts_with("44")), "clients do not come back after a CONNECT_ERROR");
            connects += sent.iter().filter(|sent| sent.starts_with("40")).count();
        }
        assert_eq!(connects, 20, "twice as many as one user may have sockets");
        let other = bench.join("bob");
        assert!(bench.is_open(other));
        bench.advance(1000);
        bench.join("alice");
    });
}

#[test]
fn connects_within_one_connection_have_a_rate_of_their_own() {
    with(&[("limits.connect_user_rate", "1")], |mut bench| {
        let conn = bench.open();
        let mut connects = 0;
        for n in 0..30 {
            let token = bench.token(&format!("user {n}"), 1_000_000);
            bench.text(conn, &format!(r#"0{{"token":"{token}"}}"#));
            bench.text(conn, "1");
            connects += bench.sent(conn).iter().filter(|sent| sent.starts_with("40")).count();
        }
        assert_eq!((connects, bench.is_open(conn)), (10, false));
    });
}

#[test]
fn ten_wrong_tokens_end_a_connection() {
    with(&[], |mut bench| {
        let conn = bench.open();
        let mut tries = 0;
        while bench.is_open(conn) && tries < 100 {
            bench.text(conn, r#"0{"token":"a.b.c"}"#);
            tries += 1;
        }
        assert_eq!((tries, with_code(&bench.sent(conn), "token_invalid")), (10, 9));
    });
}

#[test]
fn strikes_are_the_users_and_outlive_its_sockets() {
    with(&[("limits.strikes", "3")], |mut bench| {
        let [one, two] = [(); 2].map(|()| bench.join("alice"));
        for conn in [one, two, one] {
            bench.text(conn, r#"2["nonsense"]"#);
        }
        assert!(bench.is_open(one) && bench.is_open(two));
        bench.close(one);
        bench.close(two);
        bench.advance(10_000);
        let back = bench.join("alice");
        bench.text(back, r#"2["nonsense"]"#);
        assert!(!bench.is_open(back), "a fourth within a minute");
        bench.advance(61_000);
        let later = bench.join("alice");
        bench.text(later, r#"2["nonsense"]"#);
        assert!(bench.is_open(later));
    });
}

#[test]
fn a_rate_is_not_evaded_by_reconnecting_and_is_forgotten_when_it_is_full_again() {
    with(&[("limits.message_rate", "0.1"), ("limits.message_burst", "5")], |mut bench| {
        let accepted = |bench: &mut Bench| {
            let conn = bench.join("alice");
            (0..20).for_each(|_| bench.text(conn, r#"27["message",{"message":"x"}]"#));
            let accepted = bench.sent(conn).iter().filter(|sent| sent.contains(r#""ok":true"#)).count();
            bench.close(conn);
            accepted
        };
        assert_eq!(accepted(&mut bench), 5);
        bench.advance(10_000);
        assert_eq!(accepted(&mut bench), 1, "as much as ten seconds give");
        bench.advance(60_000);
        let kept = bench.into_kept();
        assert_eq!((kept["accounts"], kept["resting"]), (0, 0), "nothing is known of a user whose rates are full");
    });
}

#[test]
fn without_a_burst_there_is_no_rate_of_messages() {
    with(&[("limits.message_rate", "0.1"), ("limits.message_burst", "0")], |mut bench| {
        let alice = bench.join("alice");
        (0..100).for_each(|_| bench.text(alice, r#"27["message",{"message":"x"}]"#));
        assert_eq!(bench.sent(alice).iter().filter(|sent| sent.contains(r#""ok":true"#)).count(), 100);
    });
}

#[test]
fn each_kind_of_question_has_a_rate() {
    with(&[("limits.question_rate", "10")], |mut bench| {
        let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
        for question in
            [r#"["history",{}]"#, r#"["presence",{}]"#, r#"["join",{"roomId":"r"}]"#, r#"["leave",{"roomId":"r"}]"#]
        {
            for _ in 0..250 {
                bench.text(alice, &format!("27{question}"));
            }
            let sent = bench.sent(alice);
            assert_eq!(with_code(&sent, "rate_limited"), 50, "{question}");
            assert!(sent.iter().filter(|sent| sent.contains("rate_limited")).all(|sent| sent.contains("retryAfter")));
            bench.text(bob, &format!("27{question}"));
            assert_eq!(with_code(&bench.sent(bob), "rate_limited"), 0, "{question}");
        }
    });
}

/// A room whose history is several pages of 256 KiB.
fn fill(bench: &mut Bench, user: Conn) {
    let text = "x".repeat(4000);
    for _ in 0..500 {
        bench.text(user, &format!(r#"2["message",{{"message":"{text}"}}]"#));
    }
    bench.sent(user);
}

#[test]
fn pages_that_a_client_does_not_read_are_not_built() {
    with(&[], |mut bench| {
        let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
        fill(&mut bench, bob);
        bench.sent(alice);
        bench.set_reading(alice, false);
        for n in 0..100 {
            bench.text(alice, &format!(r#"2{n}["history",{{}}]"#));
        }
        bench.advance(60_000);
        let sent = bench.sent(alice);
        let bytes: usize = sent.iter().map(String::len).sum();
        assert!(bench.is_open(alice) && bytes < 1 << 20 && bytes > 1 << 18, "{bytes} bytes of answers");
        // As it reads, it gets all the others.
        let mut answers = sent.len();
        for _ in 0..100 {
            bench.set_reading(alice, true);
            bench.set_reading(alice, false);
            bench.advance(20);
            let bytes: usize = bench
                .sent(alice)
                .iter()
                .map(|sent| {
                    answers += 1;
                    sent.len()
                })
                .sum();
            assert!(bytes < 1 << 20, "{bytes} bytes of answers at once");
        }
        assert_eq!((answers, bench.is_open(alice)), (100, true));
    });
}

#[test]
fn questions_beyond_those_that_may_wait_are_rate_limited() {
    with(&[], |mut bench| {
        let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
        fill(&mut bench, bob);
        bench.sent(alice);
        bench.set_reading(alice, false);
        for _ in 0..200 {
            bench.text(alice, r#"27["history",{}]"#);
        }
        let sent = bench.sent(alice);
        let answers = sent.iter().filter(|sent| sent.contains(r#""ok":true"#)).count();
        assert_eq!(with_code(&sent, "rate_limited"), 200 - 128 - answers);
    });
}

#[test]
fn joins_that_bring_history_at_once_get_shorter_pages_and_nobody_is_cut() {
    with(&[("rooms.lobby", "false")], |mut bench| {
        let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
        let text = "x".repeat(4000);
        for room in 0..20 {
            for _ in 0..50 {
                bench.text(bob, &format!(r#"2["message",{{"message":"{text}","context":{{"roomId":"{room}"}}}}]"#));
            }
        }
        bench.set_reading(alice, false);
        for room in 0..20 {
            // All before any is answered.
            bench.say(alice, &format!(r#"2{room}["join",{{"roomId":"{room}","history":50}}]"#));
        }
        bench.carry();
        let sent = bench.sent(alice);
        let answers: Vec<_> = sent.iter().filter(|sent| sent.contains(r#""ok":true"#)).collect();
        let bytes: usize = sent.iter().map(String::len).sum();
        assert!(
            bench.is_open(alice) && answers.len() == 20 && bytes < 1 << 20,
            "{} answers, {bytes} bytes",
            answers.len()
        );
        assert!(answers[0].contains(r#""messages":[{"#) && answers[19].contains(r#""more":true"#));
    });
}

#[test]
fn what_a_home_is_asked_for_weighs_what_its_answer_may_weigh() {
    let mut bench = Bench::with(3, &[]);
    let alice = bench.join("alice");
    bench.say(alice, r#"27["history",{"limit":200}]"#);
    bench.say(alice, r#"27["presence",{}]"#);
    assert_eq!(bench.take_weights(), [256 * 1024; 2]);
}

#[test]
fn presence_of_many_users_with_long_names_is_one_bounded_answer() {
    with(&[], |mut bench| {
        for n in 0..400 {
            let sub = format!("{n}{}", "\\".repeat(120));
            bench.join(&sub);
        }
        let alice = bench.join("alice");
        bench.text(alice, r#"27["presence",{}]"#);
        let sent = bench.sent(alice);
        let [answer] = &*sent else { panic!("{} packets", sent.len()) };
        assert!(answer.len() <= 256 * 1024 + 100 && answer.len() > 128 * 1024, "{} bytes", answer.len());
        assert!(answer.contains(r#""total":401"#));
    });
}

#[test]
fn a_users_messages_have_a_rate_in_bytes() {
    with(
        &[
            ("limits.message_rate", "1000"),
            ("limits.message_bytes_rate", "20000"),
            ("limits.attachment_bytes", "1"),
            ("limits.message_length", "4096"),
        ],
        |mut bench| {
            let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
            bench.sent(bob);
            let message = format!(r#"27["message",{{"message":"{}"}}]"#, "x".repeat(4000));
            for _ in 0..100 {
                bench.text(alice, &message);
            }
            bench.advance(1000);
            for _ in 0..100 {
                bench.text(alice, &message);
            }
            let bytes: usize = bench.sent(bob).iter().map(String::len).sum();
            // One message of the largest kind at once (4,096 characters, each escaped, and 4 KiB of context), and then the rate.
            let burst = 12 * 4096 + 4096;
            assert!(bytes < (burst + 20_000) * 11 / 10 && bytes > burst, "{bytes} bytes");
            let sent = bench.sent(alice);
            assert!(with_code(&sent, "rate_limited") > 150 && sent.iter().any(|sent| sent.contains("retryAfter")));
        },
    );
}

#[test]
fn a_message_of_the_largest_kind_goes_at_once() {
    let rates = crate::chat::users::Account::new("alice");
    let config = super::bench::config(&[("limits.message_rate", "20"), ("limits.message_bytes_rate", "1000")]);
    let accounts = crate::chat::Accounts::new(&config);
    let largest = 262_144 + 4096 + 4096;
    assert!(rates.take_message(&accounts.rates(), std::time::Instant::now(), largest).is_ok());
    assert!(Rate::new(1000.0, largest as f64).fill_time() > Duration::from_secs(200));
}

#[test]
fn a_newcomer_is_told_of_each_user_once_however_many_rooms_they_share() {
    with(&[("rooms.lobby", "false")], |mut bench| {
        let names: Vec<String> = (0..100).map(|room| room.to_string()).collect();
        let rooms: Vec<&str> = names.iter().map(String::as_str).collect();
        for n in 0..30 {
            let token = bench.token_for(&format!("user {n}"), Some(&rooms), 1000, 0);
            bench.join_with(&token);
        }
        let token = bench.token_for("alice", Some(&rooms), 1000, 0);
        let (alice, sent) = bench.join_with(&token);
        assert_eq!(sent.iter().filter(|sent| sent.contains("userStatus")).count(), 30);
        let chat = bench.chats[usize::from(alice.0)].0.borrow();
        assert_eq!(chat.sockets.snapshots(), 0, "nothing is kept when it is in all rooms");
    });
}

#[test]
fn that_a_user_is_offline_is_told_once_however_many_rooms_are_shared() {
    with(&[("rooms.lobby", "false")], |mut bench| {
        let names: Vec<String> = (0..100).map(|room| room.to_string()).collect();
        let rooms: Vec<&str> = names.iter().map(String::as_str).collect();
        let [(alice, _), (bob, _)] = ["alice", "bob"].map(|user| {
            let token = bench.token_for(user, Some(&rooms), 1000, 0);
            bench.join_with(&token)
        });
        bench.sent(alice);
        bench.close(bob);
        bench.advance(10_000);
        let sent = bench.sent(alice);
        assert!(matches!(&*sent, [offline] if offline.contains(r#""isOnline":false"#)), "{sent:?}");
    });
}

#[test]
fn what_a_newcomer_is_told_at_connect_is_bounded_in_bytes() {
    with(&[("presence.snapshot", "1000")], |mut bench| {
        for n in 0..400 {
            let sub = format!("{n}{}", "\\".repeat(120));
            bench.join(&sub);
        }
        let token = bench.token("alice", 1000);
        let (_, sent) = bench.join_with(&token);
        let told: Vec<usize> = sent.iter().filter(|sent| sent.contains("userStatus")).map(String::len).collect();
        let bytes: usize = told.iter().sum();
        assert!(bytes <= 64 * 1024 && bytes > 32 * 1024, "{bytes} bytes");
    });
}

#[test]
fn whoever_joins_many_rooms_at_once_is_not_cut_for_what_it_is_told_of_users() {
    with(&[("rooms.lobby", "false")], |mut bench| {
        let names: Vec<String> = (0..100).map(|room| room.to_string()).collect();
        let rooms: Vec<&str> = names.iter().map(String::as_str).collect();
        for n in 0..50 {
            let sub = format!("{n}{}", "\\".repeat(120));
            let token = bench.token_for(&sub, Some(&rooms), 1000, 0);
            bench.join_with(&token);
        }
        let alice = bench.join("alice");
        bench.set_reading(alice, false);
        for room in rooms {
            bench.text(alice, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
        }
        let bytes: usize = bench.sent(alice).iter().map(String::len).sum();
        assert!(bench.is_open(alice) && bytes <= 1 << 19, "{bytes} bytes");
    });
}
