//! Plain WebSocket: every message goes back unchanged. It uses the engine's handshake, decoder, read loop and queues,
//! without Engine.IO packets.

use std::net::TcpListener;

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, SharedFrame, net::Server, session::Transport,
    ws::deflate::PerMessageDeflate,
};

/// The suite's largest message.
const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        // An error means that the session is closed; `on_close` reports that.
        let _ = outbox.send(conn, &SharedFrame::websocket_message(&message));
    }

    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// Serves until the process is ended.
pub(crate) fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.plain_websockets = true;
    config.max_payload = MAX_PAYLOAD;
    config.transports = vec![Transport::WebSocket];
    // The suite checks that a message that came compressed goes back compressed, however short it is.
    let mut deflate = PerMessageDeflate::default();
    deflate.threshold = 0;
    config.per_message_deflate = Some(deflate);
    Server::new(config).serve(listener, || Echo)?.join()?;
    Ok(())
}
