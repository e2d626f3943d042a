//! The HTTP API, for an application's own servers: messages, rooms and users, with a key. `openapi.json` describes it, and is served.
//!
//! | file | what it does |
//! |---|---|
//! | `keys` | who may use it |
//! | `audit` | the audit trail: what was done, and with which key |
//! | `call` | what a request asks for |
//! | `answer` | answers and errors |
//! | `counts` | how many answers there were, by status |
//! | `openapi.json` | the description; the tests hold the server against it |

mod answer;
mod audit;
mod call;
mod counts;
mod keys;

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use engineio::{
    hooks::Outcome,
    http::TrustedProxies,
    net::{BodyError, Handle, OtherRequest},
};
use http::{HeaderMap, Response, StatusCode, header, request::Parts};
use serde::Serialize;
use serde_json::value::RawValue;
use socketio::json;

use crate::{
    chat::{ChatApi, MessagePage, RoomInfo},
    clock::Timestamps,
    config::Config,
    store::Ban,
};
use answer::{ApiError, json, raw_json};
use audit::Entry;
use call::{Call, TakesBody};
use counts::Counts;
use keys::Keys;

/// What all paths of the API begin with.
pub(super) const PREFIX: &str = "/api/";

/// The longest `reason` of a ban, in characters.
const REASON: usize = 500;

static DESCRIPTION: &str = include_str!("openapi.json");

/// The API of a chat. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    access: ArcSwap<Access>,
    chat: ChatApi,
    counts: Counts,
    /// The longest body.
    max_body: usize,
}

/// Who may use it, and who asks.
#[derive(Debug)]
struct Access {
    keys: Keys,
    proxies: TrustedProxies,
}

impl Access {
    fn new(config: &Config) -> Self {
        let proxies = config.http.trusted_proxies.iter().flat_map(|proxy| proxy.networks()).collect();
        Self { keys: Keys::new(&config.http.api_key), proxies }
    }
}

impl Api {
    /// The API of a chat, for whoever has one of these keys.
    pub(crate) fn new(config: &Config, chat: ChatApi) -> Self {
        let access = ArcSwap::from_pointee(Access::new(config));
        let max_body = config.engine.max_payload;
        Self(Arc::new(Shared { access, chat, counts: Counts::default(), max_body }))
    }

    /// Only the keys of this configuration are taken from now on.
    pub(crate) fn renew(&self, config: &Config) {
        self.0.access.store(Arc::new(Access::new(config)));
    }

    /// How many answers there were, by status.
    pub(super) fn counts(&self) -> Vec<(u16, u64)> {
        self.0.counts.all()
    }

    /// Answers a request for a path below [`PREFIX`].
    pub(super) fn answer(&self, request: &OtherRequest<'_>) -> Outcome<Response<Bytes>> {
        match self.begin(request).unwrap_or_else(|error| Outcome::Ready(error.answer())) {
            Outcome::Ready(response) => {
                self.0.counts.count(response.status());
                Outcome::Ready(response)
            }
            Outcome::Pending(response) => {
                let shared = Arc::clone(&self.0);
                Outcome::pending(async move {
                    let response = response.await;
                    shared.counts.count(response.status());
                    response
                })
            }
        }
    }

    fn begin(&self, request: &OtherRequest<'_>) -> Result<Outcome<Response<Bytes>>, ApiError> {
        let Parts { method, uri, headers, .. } = request.parts;
        let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let access = self.0.access.load();
        if access.keys.is_empty() {
            let message = "this server has no API; set http.api_key to have one";
            return Err(ApiError::new(StatusCode::NOT_FOUND, "api_off", message));
        }
        // Whoever writes a client may read it without a key.
        let call = if path == "openapi.json" { Some(Call::read(method, path, None)?) } else { None };
        if call == Some(Call::Describe) {
            return Ok(Outcome::Ready(raw_json(StatusCode::OK, DESCRIPTION)));
        }
        let key = access.keys.find(headers).ok_or_else(|| {
            let peer = request.remote.ip().to_canonical();
            // A proxy that names nobody may be the client itself.
            let client = access.proxies.client(peer, headers).unwrap_or(peer);
            tracing::warn!(%client, "API: a request without a valid key is refused");
            let message = "the API takes a key of http.api_key, as the header Authorization: Bearer SECRET";
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
        })?;
        let call = Call::read(method, path, uri.query())?;
        check_content_type(headers, call.takes_body())?;
        let body = request.body.read(self.0.max_body);
        let (key, shared, shards) = (key.to_owned(), Arc::clone(&self.0), request.handle.clone());
        Ok(Outcome::pending(async move {
            let answer = async move {
                let body = if call.takes_body() == TakesBody::No { Bytes::new() } else { read(body.await)? };
                // A task of its own: what was begun is done, although whoever asked for it may be gone.
                let done = tokio::spawn(async move { shared.perform(&key, &shards, call, &body).await });
                done.await.unwrap_or_else(|_| Err(internal()))
            };
            answer.await.unwrap_or_else(ApiError::answer)
        }))
    }
}

fn internal() -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a fault of this server; its log says more")
}

/// Refuses bodies that say that they are not JSON.
fn check_content_type(headers: &HeaderMap, takes_body: TakesBody) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE).filter(|_| takes_body != TakesBody::No) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "the body must be JSON, with Content-Type: application/json";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
}

/// The body, or why there is none.
fn read(body: Result<Bytes, BodyError>) -> Result<Bytes, ApiError> {
    body.map_err(|error| match error {
        BodyError::TooLarge => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body is longer than engine.max_payload allows; send less",
        ),
        BodyError::TimedOut => {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not come in time; send it again")
        }
        _ => ApiError::invalid("the body is incomplete; send it again"),
    })
}

/// The body as a JSON object.
fn object(body: &[u8]) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid("the body is no UTF-8"))?;
    json::check(text, &json::Limits::default())
        .map_err(|error| ApiError::invalid(format!("the body is no JSON that can be read: {error}")))?;
    let text = text.trim_ascii();
    if json::kind(text) == json::Kind::Object {
        Ok(text)
    } else {
        Err(ApiError::invalid("the body must be a JSON object"))
    }
}

impl Shared {
    /// Does what a call asks for.
    async fn perform(&self, key: &str, shards: &Handle, call: Call, body: &[u8]) -> Result<Response<Bytes>, ApiError> {
        let mut entry = Entry::of(key, &call);
        let answer = self.call(shards, call, body, &mut entry).await;
        entry.log(answer.as_ref().err().map(|error| error.code));
        answer
    }

    async fn call(
        &self,
        shards: &Handle,
        call: Call,
        body: &[u8],
        entry: &mut Entry,
    ) -> Result<Response<Bytes>, ApiError> {
        let chat = &self.chat;
        let body = match call {
            Call::Describe => return Ok(raw_json(StatusCode::OK, DESCRIPTION)),
            Call::Publish => {
                let members = chat.publish(shards, object(body)?).await?;
                return Ok(raw_json(StatusCode::OK, format!(r#"{{"ok":true{members}}}"#)));
            }
            Call::DeleteMessage { id, room } => {
                let Some(room) = chat.delete_message(shards, id, room).await? else {
                    let message = "there is no such message; it may have been deleted or forgotten";
                    return Err(ApiError::new(StatusCode::NOT_FOUND, "message_not_found", message));
                };
                entry.room = Some(room);
                json(StatusCode::OK, &Done::default())
            }
            Call::DeleteMessagesOf { user } => {
                let deleted = Some(chat.delete_messages_of(shards, &user).await?);
                entry.count = deleted;
                json(StatusCode::OK, &Done { deleted, ..Done::default() })
            }
            Call::Rooms { after, limit } => {
                let page = chat.rooms(shards, after, limit).await?;
                let rooms = page.items.iter().map(RoomItem::of).collect();
                json(StatusCode::OK, &RoomList { rooms, more: page.more })
            }
            Call::Messages { room, page } => return messages(&chat.messages(shards, room, page).await?),
            Call::Presence { room } => {
                let members = chat.presence(shards, room).await?;
                let members = members.strip_prefix(',').unwrap_or(&members);
                return Ok(raw_json(StatusCode::OK, format!("{{{members}}}")));
            }
            Call::Disconnect { user } => {
                let disconnected = Some(chat.disconnect(shards, &user).await?);
                entry.count = disconnected;
                json(StatusCode::OK, &Done { disconnected, ..Done::default() })
            }
            Call::Ban { user } => {
                let reason = if body.is_empty() { None } else { reason(object(body)?)? };
                entry.reason.clone_from(&reason);
                let banned = chat.ban(shards, &user, reason.as_deref()).await?;
                entry.count = Some(banned.disconnected);
                let (ban, disconnected) = (Some(BanItem::of(&banned.ban)), Some(banned.disconnected));
                json(StatusCode::OK, &Done { ban, disconnected, ..Done::default() })
            }
            Call::LiftBan { user } => {
                let was_banned = Some(chat.lift_ban(&user).await?);
                entry.count = was_banned.map(usize::from);
                json(StatusCode::OK, &Done { was_banned, ..Done::default() })
            }
            Call::Bans { after, limit } => {
                let page = chat.bans(after.as_deref(), limit);
                json(StatusCode::OK, &BanList { bans: page.items.iter().map(BanItem::of).collect(), more: page.more })
            }
        };
        Ok(body)
    }
}

/// The `reason` in the body of a ban.
fn reason(body: &str) -> Result<Option<String>, ApiError> {
    #[derive(serde::Deserialize)]
    struct Body {
        reason: Option<String>,
    }
    let wrong = || ApiError::invalid(format!("reason must be a string of at most {REASON} characters"));
    let Body { reason } = serde_json::from_str(body).map_err(|_| wrong())?;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON) { Err(wrong()) } else { Ok(reason) }
}

/// That something was done, and to how many.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    ok: bool,
    #[serde(flatten)]
    ban: Option<BanItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnected: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_banned: Option<bool>,
}

impl Default for Done<'_> {
    fn default() -> Self {
        Self { ok: true, ban: None, deleted: None, disconnected: None, was_banned: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomItem<'a> {
    room_id: &'a str,
    users: usize,
    messages: u64,
}

impl<'a> RoomItem<'a> {
    fn of(info: &'a RoomInfo) -> Self {
        Self { room_id: info.room.id(), users: info.users, messages: info.messages }
    }
}

#[derive(Serialize)]
struct RoomList<'a> {
    rooms: Vec<RoomItem<'a>>,
    more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BanItem<'a> {
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    banned_at: String,
}

impl<'a> BanItem<'a> {
    fn of(ban: &'a Ban) -> Self {
        let banned_at = Timestamps::default().format(ban.millis).to_owned();
        Self { user_id: &ban.user, reason: ban.reason.as_deref(), banned_at }
    }
}

#[derive(Serialize)]
struct BanList<'a> {
    bans: Vec<BanItem<'a>>,
    more: bool,
}

/// A page of messages, as they were delivered.
fn messages(page: &MessagePage) -> Result<Response<Bytes>, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        messages: &'a RawValue,
        /// In base64.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<String>,
        more: bool,
    }
    let (messages, attachments, more) = page.parts();
    let messages = serde_json::from_str(messages).map_err(|_| internal())?;
    let attachments = attachments.iter().map(|bytes| STANDARD.encode(bytes)).collect();
    Ok(json(StatusCode::OK, &Body { messages, attachments, more }))
}
