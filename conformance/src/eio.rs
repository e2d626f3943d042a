//! Engine.IO: every message of a session goes back to it, text as text, binary as binary.

use std::{net::TcpListener, time::Duration};

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, OpenPacket, Outbox, SharedFrame, net::Server,
    packet::Outbound,
};

struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        // An error means that the session is closed; `on_close` reports that.
        let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
    }

    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// Serves until the process is ended.
pub(crate) fn serve(listener: TcpListener, mut config: Config, shards: u16) -> anyhow::Result<()> {
    // One test of the v3 suite begins to listen only after its `open` event.
    config.open_packet = OpenPacket::Delayed(Duration::from_millis(5));
    Server::new(config).shards(shards).serve(listener, || Echo)?.join()?;
    Ok(())
}
