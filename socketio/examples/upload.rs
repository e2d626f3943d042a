//! Binary data: clients upload files, and download them again.
//!
//! `cargo run --release -p socketio --example upload`, then with `socket.io-client`:
//!
//! ```js
//! socket.emit('upload', { name: 'a.bin', content: new Uint8Array([1, 2, 3]) }, (size) => console.log(size));
//! socket.emit('download', 'a.bin', (file) => console.log(file.content));
//! ```

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use socketio::{
    Binary,
    router::{Ack, Data, Router, State},
};

/// A file. A [`Binary`] may stand anywhere in a value.
#[derive(Clone, Serialize, Deserialize)]
struct File {
    name: String,
    content: Binary,
}

type Files = Arc<Mutex<HashMap<String, File>>>;

fn app() -> Router {
    let mut app = Router::new();
    app.state(Files::default());
    // A packet of a client may have this many bytes, and a message may not be longer.
    app.engine().max_payload = 16 << 20;
    let nsp = app.of("/");

    nsp.on("upload", |Data(file): Data<File>, State(files): State<Files>, ack: Ack| {
        let size = file.content.len();
        files.lock().unwrap_or_else(PoisonError::into_inner).insert(file.name.clone(), file);
        ack.send(&size)
    });

    nsp.on("download", |Data(name): Data<String>, State(files): State<Files>, ack: Ack| {
        let file = files.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        // `null` when there is none.
        ack.send(&file)
    });
    app
}

fn main() -> Result<(), Box<dyn Error>> {
    app().serve("127.0.0.1:3000")?.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use socketio::engineio::testing::Shard;

    #[test]
    fn a_file_comes_back_as_it_was() {
        let (server, _) = super::app().test().unwrap();
        let mut shard = Shard::new(server);
        let client = shard.open();
        shard.text(client, "0");
        shard.sent(client);
        // The attachment follows the packet in a frame of its own.
        shard.text(client, r#"51-0["upload",{"name":"a.bin","content":{"_placeholder":true,"num":0}}]"#);
        shard.binary(client, &[1, 2, 3]);
        assert_eq!(shard.sent(client), ["430[3]"]);

        shard.text(client, r#"21["download","a.bin"]"#);
        // The kit shows an attachment as base64 behind the packet, as long-polling sends it.
        let file = r#"461-1[{"name":"a.bin","content":{"_placeholder":true,"num":0}}]"#;
        assert_eq!(shard.sent(client), [format!("{file}\x1ebAQID")]);
        shard.text(client, r#"22["download","b.bin"]"#);
        assert_eq!(shard.sent(client), ["432[null]"]);
    }
}
