//! A session driven by hand: no sockets, no clock, no runtime. Bytes and time are arguments.
//!
//! `cargo run -p engineio --no-default-features --example by_hand`

use std::time::Instant;

use engineio::{
    CloseReason, Config, Protocol, SharedFrame, Sid,
    http::{self, Query, Route, answer},
    packet::Outbound,
    payload::{Encoder, Form},
    session::{Session, SessionEvent, Transport},
};

/// One polling session that echoes, and the messages that wait for its next poll.
struct Echo {
    session: Session,
    queue: Vec<SharedFrame>,
}

impl Echo {
    /// The answer to the handshake, which is the session's first poll.
    fn open(now: Instant, config: &Config, request: &::http::Request<()>) -> Option<Self> {
        let query = Query::parse(request.uri());
        let route = http::route(request.method(), request.uri(), request.headers(), config).ok()?;
        let (Route::Open(transport @ Transport::Polling), Ok(Protocol::V4)) = (route, query.check_protocol(config))
        else {
            return None;
        };
        // Entropy is the caller's task too; these bytes are not random.
        let sid = Sid::new(0, 0, [7; 15]);
        let open = http::open_json(&sid, transport, config);
        let queue = vec![SharedFrame::packet(&Outbound::Open(&open))];
        Some(Self { session: Session::new(now, transport, config.intervals()), queue })
    }

    /// Handles the body of a POST.
    fn receive(&mut self, now: Instant, body: &[u8]) -> Result<(), CloseReason> {
        for packet in Form::V4.decode(body).map_err(|_| CloseReason::ParseError)? {
            let packet = packet.map_err(|_| CloseReason::ParseError)?;
            if let Some(SessionEvent::Message(message)) = self.session.handle_packet(now, packet)? {
                self.queue.push(SharedFrame::packet(&Outbound::Message(message)));
            }
        }
        Ok(())
    }

    /// Handles the deadline that the session asked for.
    fn tick(&mut self, now: Instant) -> Result<(), CloseReason> {
        while let Some(event) = self.session.handle_timeout(now)? {
            if event == SessionEvent::Ping {
                self.queue.push(SharedFrame::packet(&Outbound::Ping));
            }
        }
        Ok(())
    }

    /// The answer to a GET.
    fn poll(&mut self, config: &Config) -> ::http::Response<bytes::Bytes> {
        let mut body = Encoder::new(config.max_payload);
        let taken = self.queue.iter().take_while(|frame| body.push(frame.polling())).count();
        self.queue.drain(..taken);
        let poll = answer::Poll { body: body.finish(), binary: false, compress: true, jsonp: None };
        poll.answer(&::http::HeaderMap::new(), config)
    }
}

/// Runs a session. Returns the bodies of all polls, and why the session ended.
fn run() -> Option<(Vec<String>, CloseReason)> {
    let (config, mut now) = (Config::default(), Instant::now());
    let request = ::http::Request::get("/engine.io/?EIO=4&transport=polling").body(()).ok()?;
    let mut echo = Echo::open(now, &config, &request)?;
    let mut polls = Vec::new();
    let mut poll = |echo: &mut Echo| polls.push(String::from_utf8_lossy(echo.poll(&config).body()).into_owned());
    poll(&mut echo);
    echo.receive(now, "4hello\x1ebAQID".as_bytes()).ok()?;
    poll(&mut echo);
    let reason = loop {
        now = echo.session.poll_timeout();
        match echo.tick(now) {
            Ok(()) => poll(&mut echo),
            // The client never answered the ping.
            Err(reason) => break reason,
        }
    };
    Some((polls, reason))
}

fn main() {
    let Some((polls, reason)) = run() else { return eprintln!("refused") };
    polls.iter().for_each(|body| println!("{body}"));
    println!("over: {reason}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_session_opens_echoes_is_pinged_and_ends_in_no_time() {
        let (polls, reason) = super::run().unwrap();
        assert!(polls[0].starts_with(r#"0{"sid":"#), "{polls:?}");
        assert_eq!(polls[1..], ["4hello\x1ebAQID", "2"]);
        assert_eq!(reason, engineio::CloseReason::PingTimeout);
    }
}
