//! Clients that do not behave, against the real binary.

mod support;

use support::{Server, run};

#[test]
fn a_member_that_stops_reading_is_closed_and_the_room_goes_on() {
    run(async {
        let server = Server::start(&["limits.message_rate=0"]);
        let [mut alice, mut bob, mut asleep] =
            [server.connect("alice").await, server.connect("bob").await, server.connect("asleep").await];
        let pad = "x".repeat(4000);
        // More than the kernel's buffers and `limits.outbound_hard` hold together.
        for n in 0..4000 {
            alice.send(&format!(r#"42{n}["message",{{"message":"{n}","context":{{"pad":"{pad}"}}}}]"#)).await;
            alice.until(&format!("43{n}[")).await;
            let message = bob.until(r#"42["message","#).await;
            assert!(message.contains(&format!(r#""message":"{n}""#)), "{n}: lost, twice or out of order");
        }
        asleep.until_closed().await;
    });
}
