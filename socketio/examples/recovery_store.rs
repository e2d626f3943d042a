//! Connection state recovery out of a store of the application's own: a client gets its socket and what it missed also after a
//! restart of the server. The store is a file to which lines are appended. A database would answer later: see `Io::admit_as`.
//!
//! `cargo run --release -p socketio --example recovery_store -- log.jsonl`, then with `socket.io-client`:
//! `socket.on('said', console.log); socket.emit('join', 'tea'); socket.emit('say', 'tea', 'hello')`.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketId, SocketKey,
    adapter::EventData,
    engineio::{self, net},
    recovery::{Admission, Recovered, Recovery},
};

/// A line of the file.
#[derive(Serialize, Deserialize)]
enum Line {
    /// A client has a socket of this id, from the message with number `since` on.
    Connected {
        pid: String,
        id: String,
        since: usize,
    },
    Joined {
        pid: String,
        room: String,
    },
    /// The client left for good, or its socket was claimed.
    Gone {
        pid: String,
    },
    Said {
        room: String,
        text: String,
    },
}

struct Session {
    id: String,
    rooms: Vec<String>,
    since: usize,
}

struct Store {
    file: File,
    sessions: HashMap<String, Session>,
    /// The position is the offset.
    messages: Vec<(String, String)>,
}

impl Store {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let lines = BufReader::new(file.try_clone()?).lines();
        let mut store = Self { file, sessions: HashMap::new(), messages: Vec::new() };
        for line in lines {
            // The last line is cut off if the server was killed while it wrote.
            if let Ok(line) = serde_json::from_str(&line?) {
                store.apply(line);
            }
        }
        Ok(store)
    }

    fn append(&mut self, line: Line) -> io::Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(&line)?)?;
        self.apply(line);
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Connected { pid, id, since } => {
                self.sessions.insert(pid, Session { id, rooms: Vec::new(), since });
            }
            Line::Joined { pid, room } => {
                if let Some(session) = self.sessions.get_mut(&pid) {
                    session.rooms.push(room);
                }
            }
            Line::Gone { pid } => drop(self.sessions.remove(&pid)),
            Line::Said { room, text } => self.messages.push((room, text)),
        }
    }

    /// Takes a session: it can be used once. `None` when there is none, or the offset is none of ours.
    fn claim(&mut self, pid: &str, offset: Option<&str>) -> Option<Recovered> {
        let offset = offset.map(str::parse::<usize>).transpose().ok()?;
        let Session { id, rooms, since } = self.sessions.remove(pid)?;
        let id = SocketId::parse(&id)?;
        self.append(Line::Gone { pid: pid.to_owned() }).ok()?;
        let first = offset.map_or(since, |last| last + 1);
        let missed = self.messages.iter().enumerate().skip(first).filter(|(_, (room, _))| rooms.contains(room));
        let missed = missed.map(|(offset, (room, text))| said(room, text, offset)).collect();
        Some(Recovered { id, rooms, missed })
    }
}

/// The last argument is the offset.
fn said(room: &str, text: &str, offset: usize) -> EventData {
    EventData::new("said", &format!("{},{},{}", json!(room), json!(text), json!(offset.to_string())), &[])
}

/// One for each shard; they share the store.
struct App {
    store: Arc<Mutex<Store>>,
    /// The private ids of this shard's sockets.
    pids: HashMap<SocketKey, String>,
}

impl App {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, line: Line) {
        if let Err(error) = self.store().append(line) {
            eprintln!("the log cannot be written: {error}");
        }
    }
}

impl Handler for App {
    /// The socket's private id.
    type Admission = String;

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<String> {
        let recovered = request.recovery.and_then(|asked| self.store().claim(asked.pid, asked.offset));
        let pid = match (&recovered, request.recovery) {
            // The client takes itself for recovered if the private id is the same.
            (Some(_), Some(asked)) => asked.pid.to_owned(),
            _ => {
                let mut random = [0; 16];
                io.fill_random(&mut random);
                format!("{:032x}", u128::from_ne_bytes(random))
            }
        };
        Decision::AdmitAs(pid.clone(), Box::new(Admission { pid: Some(pid), recovered }))
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, pid: String) {
        let Some(id) = io.id(socket).map(|id| id.to_string()) else { return };
        let since = self.store().messages.len();
        self.log(Line::Connected { pid: pid.clone(), id, since });
        for room in io.rooms(socket).map(str::to_owned).collect::<Vec<_>>() {
            self.log(Line::Joined { pid: pid.clone(), room });
        }
        self.pids.insert(socket, pid);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, _: Option<AckId>) {
        let args = format!("[{}]", event.args.raw());
        let args: Vec<String> = serde_json::from_str(&args).unwrap_or_default();
        match (&*event.name, args.as_slice()) {
            ("join", [room]) => {
                if io.join(socket, room)
                    && let Some(pid) = self.pids.get(&socket).cloned()
                {
                    self.log(Line::Joined { pid, room: room.clone() });
                }
            }
            ("say", [room, text]) => {
                let mut store = self.store();
                let offset = store.messages.len();
                if store.append(Line::Said { room: room.clone(), text: text.clone() }).is_ok() {
                    let event = said(room, text, offset);
                    // The name is not reserved, and the namespace exists.
                    let _ = io.of("/").to(room).emit(&event.name, &event.args, &event.attachments);
                }
            }
            _ => {}
        }
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason) {
        if let Some(pid) = self.pids.remove(&socket).filter(|_| !reason.is_recoverable()) {
            self.log(Line::Gone { pid });
        }
    }
}

fn serve(listener: TcpListener, log: &Path) -> io::Result<net::Running> {
    let store = Arc::new(Mutex::new(Store::open(log)?));
    let (mut engine, mut config) = (engineio::Config::default(), Config::default());
    engine.path = "/socket.io/".to_owned();
    config.recovery = Some(Recovery::by_application());
    let app = move || App { store: Arc::clone(&store), pids: HashMap::new() };
    net::Server::new(engine).serve(listener, move || Server::new(config.clone(), app()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let log = std::env::args_os().nth(1).ok_or("which file is the log?")?;
    serve(TcpListener::bind("127.0.0.1:3000")?, Path::new(&log))?.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpStream;
    use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

    use super::*;

    type Client = WebSocketStream<TcpStream>;

    async fn next(client: &mut Client) -> String {
        let message = tokio::time::timeout(Duration::from_secs(10), client.next()).await.unwrap();
        message.unwrap().unwrap().into_text().unwrap().to_string()
    }

    async fn send(client: &mut Client, text: &str) {
        client.send(Message::text(text)).await.unwrap();
    }

    async fn connect(server: SocketAddr, auth: &str) -> Client {
        let stream = TcpStream::connect(server).await.unwrap();
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        let mut client = client_async(url, stream).await.unwrap().0;
        assert!(next(&mut client).await.starts_with("0{"));
        send(&mut client, &format!("40{auth}")).await;
        client
    }

    fn start(log: &Path) -> net::Running {
        serve(TcpListener::bind("127.0.0.1:0").unwrap(), log).unwrap()
    }

    #[tokio::test]
    async fn a_client_gets_its_socket_and_what_it_missed_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log.jsonl");
        let running = start(&log);
        let mut ada = connect(running.local_addr(), "").await;
        let connected = next(&mut ada).await;
        let pid = connected.split('"').nth(7).unwrap().to_owned();
        send(&mut ada, r#"42["join","tea"]"#).await;
        send(&mut ada, r#"42["say","tea","one"]"#).await;
        assert_eq!(next(&mut ada).await, r#"42["said","tea","one","0"]"#);
        let mut bob = connect(running.local_addr(), "").await;
        next(&mut bob).await;
        drop(ada);
        send(&mut bob, r#"42["join","tea"]"#).await;
        send(&mut bob, r#"42["say","tea","two"]"#).await;
        assert_eq!(next(&mut bob).await, r#"42["said","tea","two","1"]"#);
        running.shutdown(Duration::ZERO);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();

        let running = start(&log);
        let claim = format!(r#"{{"pid":"{pid}","offset":"0"}}"#);
        let mut ada = connect(running.local_addr(), &claim).await;
        assert_eq!(next(&mut ada).await, connected);
        assert_eq!(next(&mut ada).await, r#"42["said","tea","two","1"]"#);
        send(&mut ada, r#"42["say","tea","three"]"#).await;
        assert_eq!(next(&mut ada).await, r#"42["said","tea","three","2"]"#);
    }
}
