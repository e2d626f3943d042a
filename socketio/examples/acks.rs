//! Acknowledgements: a client asks the server, the server asks one client, and the server asks all of them.
//!
//! `cargo run --release -p socketio --example acks`, then with `socket.io-client`:
//!
//! ```js
//! socket.emit('add', 1, 2, (sum) => console.log(sum));
//! socket.on('name', (_, answer) => answer('ada'));
//! socket.emit('greet', (greeting) => console.log(greeting));
//! socket.on('poll', (question, answer) => answer(true));
//! socket.emit('ask everyone', 'tea?', (yes) => console.log(yes));
//! ```

use std::{error::Error, time::Duration};

use socketio::router::{Ack, BoxError, Data, Payload, Router, Socket};

fn app() -> Router {
    let mut app = Router::new();
    let nsp = app.of("/");

    nsp.on("add", |Payload((a, b)): Payload<(f64, f64)>, ack: Ack| ack.send(&(a + b)));

    // Handlers that wait are async. The shard serves other sockets meanwhile.
    nsp.on("greet", async |socket: Socket, ack: Ack| -> Result<(), BoxError> {
        let name: String = socket.emit_with_ack("name", &()).await?;
        ack.send(&format!("hello, {name}"))?;
        Ok(())
    });

    nsp.on("ask everyone", async |socket: Socket, Data(question): Data<String>, ack: Ack| -> Result<(), BoxError> {
        let everyone = socket.io().of("/");
        let answers = everyone.emit_with_ack::<bool>("poll", &question, Duration::from_secs(10)).await?;
        let yes = answers.answers.iter().filter(|(_, yes)| *yes).count();
        ack.send(&yes)?;
        Ok(())
    });
    app
}

fn main() -> Result<(), Box<dyn Error>> {
    app().serve("127.0.0.1:3000")?.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use socketio::engineio::{ConnKey, testing::Shard};

    /// The next event that a client was sent, and the id of the acknowledgement that it asks for.
    fn question(sent: &str) -> (&str, String) {
        let packet = sent.strip_prefix("42").unwrap();
        let id: String = packet.chars().take_while(char::is_ascii_digit).collect();
        (&packet[id.len()..], id)
    }

    #[test]
    fn both_sides_are_answered() {
        let (server, _) = super::app().test().unwrap();
        let mut shard = Shard::new(server);
        let [ada, ben]: [ConnKey; 2] = [shard.open(), shard.open()];
        for client in [ada, ben] {
            shard.text(client, "0");
            shard.sent(client);
        }
        shard.text(ada, r#"21["add",1,2]"#);
        assert_eq!(shard.sent(ada), ["431[3.0]"]);

        shard.text(ada, r#"22["greet"]"#);
        let sent = shard.sent(ada);
        let (event, id) = question(&sent[0]);
        assert_eq!(event, r#"["name",null]"#);
        shard.text(ada, &format!(r#"3{id}["ada"]"#));
        // A handler that waits is a job of its shard, which the test runs.
        shard.run_jobs();
        assert_eq!(shard.sent(ada), [r#"432["hello, ada"]"#]);

        shard.text(ada, r#"23["ask everyone","tea?"]"#);
        for (client, answer) in [(ada, true), (ben, false)] {
            let sent = shard.sent(client);
            let (event, id) = question(&sent[0]);
            assert_eq!(event, r#"["poll","tea?"]"#);
            shard.text(client, &format!("3{id}[{answer}]"));
        }
        shard.run_jobs();
        assert_eq!(shard.sent(ada), ["433[1]"]);
    }
}
