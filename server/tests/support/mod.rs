#![expect(dead_code, reason = "no test program uses everything")]
//! The real binary on a free port, and clients of it that speak the wire protocol themselves.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The secret of all servers but those in development mode.
pub(crate) const SECRET: &str = "a secret of thirty-two bytes, at least";

/// Instead of a key: no secret is set.
pub(crate) const DEVELOPMENT: &str = "development mode";

/// Instead of a key: the configuration file has the level of the log.
const LEVEL_OF_FILE: &str = "log.level of the file";

/// The longest that anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test's clients on this thread.
pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// A server that is killed whatever becomes of the test.
pub(crate) struct Server {
    pub(crate) process: Child,
    /// Its data directory, unless the test named one.
    pub(crate) data: Option<TempDir>,
    /// The address and port that it listens on.
    pub(crate) address: String,
    /// Those of `http.admin_listen`, if that is set.
    pub(crate) admin: Option<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary, without any variable of the machine.
pub(crate) fn binary() -> Command {
    // The tests may run under `nohup`, which a process would inherit.
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_chat-server")]);
    command.current_dir(std::env::temp_dir()).env_clear().stdin(Stdio::null());
    command
}

/// A library that is made of a source in this directory, to be loaded in front of the C library.
pub(crate) struct Preloaded {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Preloaded {
    pub(crate) fn build(source: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("preloaded.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&path).arg(source).status().unwrap();
        assert!(built.success());
        Self { _directory: directory, path }
    }
}

/// Runs the binary to its end. A server that should not have started is ended after a while.
pub(crate) fn chat_server(arguments: &[&str], data_dir: &Path) -> Output {
    let mut command = Command::new("timeout");
    command.args([&PATIENCE.as_secs().to_string(), env!("CARGO_BIN_EXE_chat-server")]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(arguments).arg("--data-dir").arg(data_dir).stdin(Stdio::null()).output().unwrap()
}

/// A token of this user.
pub(crate) fn token(sub: &str) -> String {
    token_by(SECRET, sub)
}

/// A token of this user that is signed with this secret.
pub(crate) fn token_by(secret: &str, sub: &str) -> String {
    let output = binary().args(["token", "--sub", sub]).env("CHAT_AUTH__JWT_SECRET", secret).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

impl Server {
    /// Starts a server with these keys on a free port.
    pub(crate) fn start(keys: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", keys)
    }

    /// Starts a server with these keys on an address.
    pub(crate) fn start_at(address: &str, keys: &[&str]) -> Self {
        Self::spawn(binary(), address, keys)
    }

    /// Starts a server that may have this many descriptors.
    pub(crate) fn start_with_descriptors(count: u32, keys: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &count.to_string(), env!("CARGO_BIN_EXE_chat-server")]);
        command.current_dir(std::env::temp_dir()).env_clear().stdin(Stdio::null());
        Self::spawn(command, "127.0.0.1:0", keys)
    }

    /// Starts a server whose standard error is read by the test.
    pub(crate) fn start_logging(keys: &[&str]) -> Self {
        let mut command = binary();
        command.stderr(Stdio::piped());
        Self::spawn(command, "127.0.0.1:0", keys)
    }

    /// Starts a server with this configuration file and nothing else. Its standard error is read by the test.
    pub(crate) fn start_with_file(file: &Path) -> Self {
        Self::start_with_file_at("127.0.0.1:0", file)
    }

    /// Likewise, on an address; on that of the file, if this is empty.
    pub(crate) fn start_with_file_at(address: &str, file: &Path) -> Self {
        let mut command = binary();
        command.arg("--config").arg(file).stderr(Stdio::piped());
        Self::spawn(command, address, &[DEVELOPMENT, LEVEL_OF_FILE])
    }

    /// Starts a server as `nohup` does, whose standard error is read by the test.
    pub(crate) fn start_ignoring_hangup() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_chat-server")]);
        command.current_dir(std::env::temp_dir()).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
        Self::spawn(command, "127.0.0.1:0", &["log.level=info"])
    }

    /// Starts a server with a library in front of the C library, which finds a file by this variable. Its standard error is read by the
    /// test.
    pub(crate) fn start_preloaded(library: &Path, (variable, file): (&str, &Path), keys: &[&str]) -> Self {
        let mut command = binary();
        command.env("LD_PRELOAD", library).env(variable, file).stderr(Stdio::piped());
        let keys: Vec<&str> = keys.iter().copied().chain(["log.level=info"]).collect();
        Self::spawn(command, "127.0.0.1:0", &keys)
    }

    fn spawn(mut command: Command, address: &str, keys: &[&str]) -> Self {
        if !keys.iter().any(|key| key.starts_with("log.level")) {
            command.args(["--log-level", "off"]);
        }
        if !address.is_empty() {
            command.args(["--listen", address]);
        }
        let data = (!keys.iter().any(|key| key.starts_with("data_dir="))).then(|| tempfile::tempdir().unwrap());
        if let Some(data) = &data {
            command.arg("--data-dir").arg(data.path());
        }
        // Without a secret it is in development mode.
        if !keys.contains(&DEVELOPMENT) {
            command.env("CHAT_AUTH__JWT_SECRET", SECRET);
        }
        let said = |key: &&&str| ![DEVELOPMENT, LEVEL_OF_FILE].contains(*key);
        command.args(keys.iter().filter(said).flat_map(|key| ["--set", key]));
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let admin = keys.iter().any(|key| key.starts_with("http.admin_listen")).then(|| {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line.trim_end().strip_prefix("admin on http://").unwrap().to_owned()
        });
        let address = line.trim_end().strip_prefix("listening on http").unwrap();
        let address = address.trim_start_matches('s').strip_prefix("://").unwrap().to_owned();
        Self { process, data, address, admin }
    }

    /// A client that has not sent CONNECT.
    pub(crate) async fn open(&self) -> Client {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", self.address);
        let (socket, _) = tokio::time::timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap();
        Client(socket)
    }

    /// A user's connected socket.
    pub(crate) async fn connect(&self, sub: &str) -> Client {
        let token = token(sub);
        let mut client = self.open().await;
        client.send(&format!(r#"40{{"token":"{token}"}}"#)).await;
        client.until("40").await;
        client
    }
}

/// A client over WebSocket.
pub(crate) struct Client<S = MaybeTlsStream<TcpStream>>(pub(crate) WebSocketStream<S>);

impl Client {
    /// Sends bytes that need not be a whole frame.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        use tokio::io::AsyncWriteExt as _;
        let MaybeTlsStream::Plain(stream) = self.0.get_mut() else { panic!("TLS") };
        stream.write_all(bytes).await.unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// As [`Client::send`], but the server may have closed the connection.
    pub(crate) async fn try_send(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text)).await;
    }

    /// Likewise, a packet with an attachment.
    pub(crate) async fn try_send_binary(&mut self, text: &str, attachment: Vec<u8>) {
        self.try_send(text).await;
        let _ = self.0.send(Message::binary(attachment)).await;
    }

    /// The next packet that begins with `start`; pings are answered, others forgotten.
    pub(crate) async fn until(&mut self, start: &str) -> String {
        self.until_any(&[start]).await
    }

    /// The next text that begins with one of `starts`.
    pub(crate) async fn until_any(&mut self, starts: &[&str]) -> String {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let message = self.0.next().await.expect("the server closed").unwrap();
                // Attachments are forgotten too.
                let Message::Text(text) = message else { continue };
                let text = text.as_str();
                if text == "2" {
                    self.send("3").await;
                } else if starts.iter().any(|start| text.starts_with(start)) {
                    return text.to_owned();
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("no packet {starts:?}"))
    }

    /// The next packet, whatever it is; `None` when the connection has ended.
    pub(crate) async fn next_text(&mut self) -> Option<String> {
        let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing comes")?;
        message.ok()?.to_text().ok().map(str::to_owned)
    }

    /// The code of the close frame that comes; `None` when the connection ends without one.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        tokio::time::timeout(PATIENCE, async {
            while let Some(Ok(message)) = self.0.next().await {
                if let Message::Close(frame) = message {
                    // Answers it, so that the server need not wait.
                    let _ = self.0.next().await;
                    return frame.map(|frame| frame.code.into());
                }
            }
            None
        })
        .await
        .expect("the server did not close")
    }

    /// Reads whatever comes until the connection ends.
    pub(crate) async fn until_closed(&mut self) {
        let end = async { while self.0.next().await.is_some_and(|message| message.is_ok()) {} };
        tokio::time::timeout(PATIENCE, end).await.expect("the server did not close");
    }
}
