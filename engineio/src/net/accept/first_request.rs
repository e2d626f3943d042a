//! A connection whose first request is a WebSocket handshake is answered here, without hyper, because most connections
//! are that and nothing else.
//!
//! Only a complete and correct handshake is answered here; only the application and the session can still refuse it.
//! Everything else is passed to hyper from the first byte on, so that an unusual head gets the same answer however it
//! is cut into segments. The checks are those of [`crate::http`], in the order of `http/service.rs`.

use std::{mem::MaybeUninit, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use httparse::{Request, Status};

use super::super::{
    peer::wire_format::WireFormat,
    shard::application::{Admitting, Shard},
    shards::{peer::Peer, session_request::SessionQuery},
    transport::switching::SwitchProtocol,
};
use crate::{
    Handler, Handshake, OpenPacket,
    http::{
        Action, Query, Route, answer,
        encode::encode,
        head::{MAX_HEAD, MAX_HEADERS, check_head},
        matches_path,
        plain::all_headers,
        route::{check_websocket, route_query},
    },
    session::Transport,
};

/// What the first bytes of a connection are.
#[derive(Debug)]
pub(super) enum First {
    /// A request for a session of another shard.
    Elsewhere(u16, Bytes),
    /// Anything else, for hyper.
    Http(Bytes),
    /// A handshake, which is answered.
    Answered(Answer),
}

/// The answer to a handshake, and what the connection becomes; without a [`SwitchProtocol`] it is closed.
#[derive(Debug)]
pub(super) struct Answer {
    /// Empty if the [`SwitchProtocol`] holds it.
    pub(super) response: Vec<u8>,
    pub(super) switch: Option<SwitchProtocol>,
    /// The bytes that were read after the handshake.
    pub(super) early: Vec<u8>,
}

/// Looks at a connection's first bytes.
pub(super) fn look<H: Handler>(shard: &mut Shard<H>, bytes: &[u8], peer: &Peer) -> First {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut head = Request::new(&mut []);
    let Ok(Status::Complete(len @ ..=MAX_HEAD)) = head.parse_with_uninit_headers(&bytes, &mut fields) else {
        return First::Http(bytes);
    };
    // Only a target that begins with its path is handled here (RFC 9112, 3.2.1).
    let target = head.path.filter(|target| target.starts_with('/'));
    let Some(uri) = target.and_then(|target| Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).ok()) else {
        return First::Http(bytes);
    };
    if !matches_path(&shard.io.config, uri.path()) {
        return First::Http(bytes);
    }
    let query = Query::parse(&uri);
    let owner = query.named_sid().map(|sid| sid.shard()).filter(|owner| *owner != shard.io.id);
    // A shard that has ended has no sessions; hyper answers such a request.
    if let Some(owner) = owner.filter(|owner| shard.io.registry.connections.serves(*owner)) {
        return First::Elsewhere(owner, bytes);
    }
    // The application's hooks may take time.
    if shard.hooks.is_some() {
        return First::Http(bytes);
    }
    let early = bytes.get(len..).unwrap_or_default();
    match headers(&head, &bytes).and_then(|headers| answer(shard, &uri, &query, headers, early, peer)) {
        Some(answer) => First::Answered(answer),
        None => First::Http(bytes),
    }
}

/// The header fields of a request that may be a handshake, as hyper would return them.
fn headers(head: &Request<'_, '_>, bytes: &Bytes) -> Option<HeaderMap> {
    if head.method != Some("GET") || head.version != Some(1) {
        return None;
    }
    let headers = all_headers(head, bytes)?;
    // These fields are about framing, which hyper checks.
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT];
    let plain = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"upgrade") || value.eq_ignore_ascii_case(b"keep-alive, upgrade")
    };
    let mut connection = headers.get_all(header::CONNECTION).iter();
    let plain = connection.next().is_some_and(plain) && connection.next().is_none();
    let certain = plain && !framing.iter().any(|name| headers.contains_key(name));
    certain.then_some(headers)
}

/// Answers a correct handshake; `None` for anything else, if the application was not called.
fn answer<H: Handler>(
    shard: &mut Shard<H>,
    uri: &Uri,
    query: &Query<'_>,
    headers: HeaderMap,
    early: &[u8],
    peer: &Peer,
) -> Option<Answer> {
    let config = Rc::clone(&shard.io.config);
    check_head(uri, &headers, Version::HTTP_11).ok()?;
    let judged = config.judged_headers(peer.remote.ip(), &headers);
    let route = route_query(query, &Method::GET, &judged, &config).ok()?;
    let accept = check_websocket(&Method::GET, &headers, Version::HTTP_11, false).ok()?;
    let (mut response, switch) = match route {
        Route::Open(Transport::WebSocket) => {
            let client = config.trusted_proxies.client(peer.remote.ip(), &headers);
            let (transport, remote) = (Transport::WebSocket, peer.remote);
            let protocol = query.protocol();
            let handshake = Handshake { transport, protocol, sid: None, uri, headers: &headers, remote, client };
            let mut admitting = Admitting::default();
            // Without hooks nothing is awaited: one call answers all questions.
            let admitted =
                shard.admit(&mut admitting, &handshake, query).and_then(|()| admitting.finish(Ok(None), client));
            match admitted {
                Ok(admitted) => {
                    let (wire, extensions) = WireFormat::negotiate(&config, query, admitted.terms.protocol, &headers);
                    (answer::switching_protocols(&accept, extensions, &headers), Ok((admitted, wire)))
                }
                Err(refused) => {
                    shard.io.watching.stats.count_refused(refused.reason());
                    (refused.answer(&headers), Err(None))
                }
            }
        }
        Route::Session(sid, action @ Action::Upgrade) => {
            let protocol = query.protocol();
            let reserved = shard.io.begin_probe(SessionQuery { sid, action, protocol }, true).ok()?;
            let (wire, extensions) = WireFormat::negotiate(&config, query, protocol, &headers);
            let here = shard.io.id;
            let switch =
                reserved.map_or(SwitchProtocol::Refuse, |probe| SwitchProtocol::Probe { shard: here, probe, wire });
            (answer::switching_protocols(&accept, extensions, &headers), Err(Some(switch)))
        }
        _ => return None,
    };
    answer::finish(&mut response, &judged, &config);
    drop(judged);
    let mut response = encode(&response, shard.io.date.now());
    let switch = match switch {
        Ok((mut admitted, wire)) => {
            // A plain WebSocket has no OPEN packet.
            if config.open_packet == OpenPacket::WithAnswer && !config.plain_websockets {
                admitted.answer = Some(std::mem::take(&mut response));
            }
            Some(SwitchProtocol::Open { admitted, wire, opening: Box::new((uri.clone(), headers)) })
        }
        Err(switch) => switch,
    };
    Some(Answer { response, switch, early: early.to_vec() })
}
