//! `engineio::http::{plain, encode}`: reads and answers requests without an HTTP library, compared with hyper on the
//! same bytes.
//!
//! The first byte chooses the configuration and the answer, the second how the rest is cut. The rest is what a client
//! sends on one connection. As long as its requests are plain, both must find the same requests, and write the same
//! bytes for the same answers.

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use engineio::{
    Config, Protocol,
    http::{
        Cors, CorsOrigins, HttpCompression, Origins, Query, answer,
        encode::{Template, encode, fits_template},
        head::{MAX_HEAD, MAX_HEADERS},
        host,
        plain::{self, Head, Plain},
        post_body,
        route::route_query,
    },
    ws::handshake::is_upgrade,
};
use http::{HeaderMap, Method, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};

use crate::input::Input;

/// The fixed text for the date.
const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

/// The parts of one request that matter here.
#[derive(Debug, PartialEq)]
struct Seen {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
}

/// Runs the target. See the module.
pub fn polling(data: &[u8]) {
    let mut input = Input::new(data);
    let (choice, cut) = (input.byte(), input.byte());
    let config = config(choice);
    let bytes = input.rest();
    let (seen, mut answers) = without_library(bytes, cut, &config, choice);
    let (also_seen, also_answered) = with_hyper(bytes, cut, &config, choice);
    assert!(also_seen.len() >= seen.len(), "a request that hyper does not take: {:?}", seen.get(also_seen.len()));
    for (plain, by_hyper) in seen.iter().zip(&also_seen) {
        assert_eq!(plain, by_hyper);
    }
    let also_answered = without_dates(&also_answered);
    answers = without_dates(&answers);
    assert!(also_answered.starts_with(&answers), "{} {}", also_answered.escape_ascii(), answers.escape_ascii());
}

fn config(choice: u8) -> Config {
    let mut config = Config::default();
    config.cors = match choice & 3 {
        0 => None,
        1 => Some(Cors::default()),
        2 => Some(Cors::with_origins(CorsOrigins::Reflect)),
        _ => Some(Cors::with_origins(CorsOrigins::Listed(vec![http::HeaderValue::from_static("https://a.b")]))),
    };
    if choice & 4 != 0 {
        config.origins = Origins::Listed { origins: vec!["https://a.b".into()], own: true, loopback: true };
    }
    config.http_compression = (choice & 8 != 0).then(|| {
        let mut options = HttpCompression::default();
        options.threshold = 40;
        options
    });
    config
}

/// The payload of the answer to a poll.
fn payload(choice: u8) -> answer::Poll<'static> {
    let body = vec![b'4'; if choice & 16 != 0 { 50 } else { 5 }];
    answer::Poll { body, binary: choice & 32 != 0, compress: choice & 64 != 0, jsonp: None }
}

fn answer_to(method: &Method, headers: &HeaderMap, config: &Config, choice: u8) -> Response<Bytes> {
    let mut answer =
        if method == Method::POST { answer::posted(headers) } else { payload(choice).answer(headers, config) };
    answer::finish(&mut answer, headers, config);
    answer
}

/// Cuts `bytes` into pieces.
fn pieces(bytes: &[u8], cut: u8) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut state) = (bytes, u32::from(cut));
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = if cut == 0 { rest.len() } else { 1 + (state >> 16) as usize % (usize::from(cut) * 4) };
        let (piece, tail) = rest.split_at(len.min(rest.len()));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Reads requests as long as they are plain and complete. Returns them, and the answers to them.
fn without_library(bytes: &[u8], cut: u8, config: &Config, choice: u8) -> (Vec<Seen>, Vec<u8>) {
    let (mut seen, mut answers) = (Vec::new(), Vec::new());
    let (mut unread, mut partial) = (Vec::new(), 0);
    for piece in pieces(bytes, cut) {
        unread.extend_from_slice(piece);
        let may_be_whole = plain::may_be_whole(&unread, partial);
        if partial > 0 && !may_be_whole {
            assert!(!matches!(plain::read(&unread, config), Head::Plain(_)), "a complete head was not noticed");
        }
        loop {
            let request = match plain::read(&unread, config) {
                Head::Plain(request) => request,
                Head::Partial => {
                    partial = unread.len();
                    break;
                }
                Head::Unusual => return (seen, answers),
            };
            let end = request.head.len() + request.body_len;
            let Some(body) = unread.get(request.head.len()..end) else { break };
            let parts = request.parts().expect("a plain head is valid");
            consistent(&request, &parts.headers, config, choice);
            answers.extend(answer_plain(&request, config, choice));
            let http::request::Parts { method, uri, version, headers, .. } = parts;
            seen.push(Seen { method, uri, version, headers, body: Bytes::copy_from_slice(body) });
            if request.closes {
                // RFC 9112, 9.6: nothing behind it is a request.
                return (seen, answers);
            }
            unread.drain(..end);
            partial = 0;
        }
    }
    (seen, answers)
}

/// Checks that the relevant fields lead to the same result as all of them.
fn consistent(request: &Plain<'_>, all: &HeaderMap, config: &Config, choice: u8) {
    let (relevant, query) =
        (request.relevant_headers(config, std::net::Ipv4Addr::LOCALHOST.into()), Query::of(request.query));
    assert!(!is_upgrade(all));
    let hosts: Vec<_> = all.get_all(header::HOST).iter().collect();
    assert!(matches!(*hosts, [host] if host::is_valid(host.as_bytes())), "{hosts:?}");
    let lengths = all.get_all(header::CONTENT_LENGTH).iter().count();
    assert_eq!(lengths, usize::from(request.method == Method::POST));
    assert_eq!(
        route_query(&query, &request.method, &relevant, config),
        route_query(&query, &request.method, all, config)
    );
    for protocol in [Protocol::V3, Protocol::V4] {
        assert_eq!(post_body(&relevant, &query, protocol), post_body(all, &query, protocol));
    }
    let answers = [&relevant, all].map(|headers| encode(&answer_to(&request.method, headers, config, choice), DATE));
    assert_eq!(answers[0], answers[1]);
}

/// The answer without hyper, from a template if one fits.
fn answer_plain(request: &Plain<'_>, config: &Config, choice: u8) -> Vec<u8> {
    let relevant = request.relevant_headers(config, std::net::Ipv4Addr::LOCALHOST.into());
    let poll = payload(choice);
    let close = |answer: &mut Response<Bytes>| {
        if request.closes {
            answer.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
        }
    };
    if request.method != Method::GET || !fits_template(&poll, &relevant, config) {
        let mut answer = answer_to(&request.method, &relevant, config, choice);
        close(&mut answer);
        return encode(&answer, DATE);
    }
    let none = HeaderMap::new();
    let empty = answer::Poll { body: Vec::new(), binary: false, compress: false, jsonp: None };
    let mut model = empty.answer(&none, config);
    answer::finish(&mut model, &none, config);
    close(&mut model);
    let mut out = Vec::new();
    Template::of(&model).push(&mut out, &poll.body, DATE);
    out
}

/// A stream of pieces, which never ends, and what was written to it.
struct Pieces<'a> {
    pieces: RefCell<Vec<&'a [u8]>>,
    written: RefCell<Vec<u8>>,
}

struct Stream<'a>(Rc<Pieces<'a>>);

impl Read for Stream<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        let mut pieces = self.0.pieces.borrow_mut();
        let Some(piece) = pieces.pop() else { return Poll::Pending };
        let (taken, rest) = piece.split_at(piece.len().min(buf.remaining()));
        buf.put_slice(taken);
        if !rest.is_empty() {
            pieces.push(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.written.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The requests that hyper finds, and what it writes.
fn with_hyper(bytes: &[u8], cut: u8, config: &Config, choice: u8) -> (Vec<Seen>, Vec<u8>) {
    let mut all: Vec<&[u8]> = pieces(bytes, cut).collect();
    let rounds = 2 * all.len() + 64;
    all.reverse();
    let pieces = Rc::new(Pieces { pieces: RefCell::new(all), written: RefCell::default() });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = answer_to(&parts.method, &parts.headers, config, choice);
            let http::request::Parts { method, uri, version, headers, .. } = parts;
            seen.borrow_mut().push(Seen { method, uri, version, headers, body });
            Ok::<_, Infallible>(answer.map(Full::new))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(Stream(Rc::clone(&pieces)), service)
    );
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..rounds {
        if connection.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    let seen = std::mem::take(&mut *seen.borrow_mut());
    (seen, pieces.written.take())
}

/// The answers with equal dates.
fn without_dates(answers: &[u8]) -> Vec<u8> {
    const FIELD: &[u8] = b"\r\ndate: ";
    let (mut out, mut rest) = (Vec::new(), answers);
    while let Some(at) = rest.windows(FIELD.len()).position(|window| window == FIELD) {
        let (before, date) = rest.split_at(at + FIELD.len());
        out.extend_from_slice(before);
        rest = date.get(DATE.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}
