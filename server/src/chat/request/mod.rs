//! What clients ask for, checked: from an event's raw arguments to typed requests.
//!
//! Characters are Unicode scalar values, bytes are the raw JSON as sent (docs/chat-protocol.md, "Errors"). What is relayed
//! stays raw, so that it arrives exactly as it was sent.
//!
//! Many serialisers write what an object does not have: `null` (Jackson, System.Text.Json), an empty string (Go), an empty array
//! for an empty object (PHP), `50.0` for 50. Where a member is optional, these are no faults.

use std::borrow::Cow;

use bytes::Bytes;
use socketio::{
    Args, Excess,
    json::{self, Kind},
    parser::attachments::all_placed,
};
use uuid::Uuid;

use super::error::{ChatError, Code, Limit};
use crate::{config::Limits, invisible::is_invisible, number};

const INVALID: Code = Code::InvalidPayload;

/// The longest room id, in bytes.
const ROOM_ID: usize = 128;

/// The longest `clientId`, in bytes.
const CLIENT_ID: usize = 64;

const MESSAGE_LENGTH: Limit = Limit { subject: "message has", unit: "characters", key: "limits.message_length" };
const CONTEXT_BYTES: Limit = Limit { subject: "context has", unit: "bytes", key: "limits.context_bytes" };
const CONTEXT_DEPTH: Limit = Limit { subject: "context is nested", unit: "deep", key: "limits.context_depth" };
const ATTACHMENTS: Limit = Limit { subject: "context has", unit: "attachments", key: "limits.attachments" };
const ATTACHMENT_BYTES: Limit =
    Limit { subject: "the attachments of context have", unit: "bytes", key: "limits.attachment_bytes" };

/// The most messages one answer returns.
pub(crate) const HISTORY_PAGE: usize = 200;

/// A checked `message`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MessageRequest<'a> {
    /// The text, as the JSON string that was sent.
    pub(crate) message: &'a str,
    /// The JSON object that was sent.
    pub(crate) context: Option<&'a str>,
    pub(crate) room: Option<Cow<'a, str>>,
    pub(crate) client_id: Option<Cow<'a, str>>,
    pub(crate) attachments: &'a [Bytes],
}

/// A checked `message` on its way to another shard.
#[derive(Debug)]
pub(crate) struct OwnedMessage {
    message: Box<str>,
    context: Option<Box<str>>,
    client_id: Option<Box<str>>,
    attachments: Box<[Bytes]>,
}

impl OwnedMessage {
    /// A copy of a request.
    pub(crate) fn of(request: &MessageRequest<'_>) -> Self {
        Self {
            message: request.message.into(),
            context: request.context.map(Box::from),
            client_id: request.client_id.as_deref().map(Box::from),
            attachments: request.attachments.into(),
        }
    }

    /// The request again, without the room, which whoever sent it has named already.
    pub(crate) fn request(&self) -> MessageRequest<'_> {
        MessageRequest {
            message: &self.message,
            context: self.context.as_deref(),
            room: None,
            client_id: self.client_id.as_deref().map(Cow::Borrowed),
            attachments: &self.attachments,
        }
    }

    /// About how many bytes it keeps in memory.
    pub(crate) fn weight(&self) -> usize {
        let context = self.context.as_ref().map_or(0, |context| context.len());
        self.message.len() + context + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// A checked `typing`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TypingRequest<'a> {
    pub(crate) is_typing: bool,
    pub(crate) room: Option<Cow<'a, str>>,
}

/// A checked `join`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JoinRequest<'a> {
    pub(crate) room: Cow<'a, str>,
    /// How many messages of the history are asked for.
    pub(crate) history: Option<usize>,
}

/// Reads a `message`.
pub(crate) fn message<'a>(args: &Args<'a>, limits: &Limits) -> Result<MessageRequest<'a>, ChatError> {
    let payload = object(args.get(0), "message takes one object, { message, context? }")?;
    message_of(payload, args.attachments(), limits)
}

/// Reads what a `message` carries, out of an object that may have other members too.
pub(crate) fn message_of<'a>(
    payload: &'a str,
    attachments: &'a [Bytes],
    limits: &Limits,
) -> Result<MessageRequest<'a>, ChatError> {
    let [text, context] = fields(payload, ["message", "context"], "message and context may be given once")?;
    let text = text.ok_or(ChatError::new(INVALID, "message is missing"))?;
    check_text(text, limits)?;
    let mut request = MessageRequest { message: text, context, room: None, client_id: None, attachments };
    if let Some(context) = context {
        check_context(context, attachments, limits)?;
    }
    // One elsewhere would be sent to the others and stored, although nothing in the event refers to it.
    if !all_placed(context.unwrap_or_default(), attachments.len()) {
        return Err(ChatError::new(INVALID, "attachments belong into context"));
    }
    let Some(context) = context else { return Ok(request) };
    let names = ["roomId", "replyTo", "clientId"];
    let [room, reply_to, client_id] = fields(context, names, "roomId, replyTo and clientId may be given once")?;
    request.room = room.map(room_id).transpose()?;
    if let Some(reply_to) = reply_to {
        // Checked for form only: whether such a message exists is the clients' affair.
        text_of(reply_to).ok_or(ChatError::new(INVALID, "replyTo must be a string"))?;
    }
    request.client_id = client_id.map(self::client_id).transpose()?.flatten();
    Ok(request)
}

/// What is wrong with an event that exceeds a limit of the parser ([`socketio::parser::Limits`]).
pub(crate) fn oversize(name: &str, excess: Excess) -> ChatError {
    let too_large = if name == "message" { Code::ContextTooLarge } else { INVALID };
    match excess {
        Excess::Attachments => ChatError::new(too_large, "more than 10 attachments"),
        Excess::AttachmentBytes => {
            ChatError::new(too_large, "the attachments are larger than engine.max_payload allows")
        }
        Excess::NumberLength => ChatError::new(INVALID, "a number has more than 40 characters"),
        _ => ChatError::new(too_large, "nested deeper than 128"),
    }
}

/// Reads a `typing`.
pub(crate) fn typing<'a>(args: &Args<'a>) -> Result<TypingRequest<'a>, ChatError> {
    let Some(Kind::Bool(is_typing)) = args.get(0).map(json::kind) else {
        return Err(ChatError::new(INVALID, "typing takes true or false"));
    };
    let options = optional_object(args.get(1), "the second argument of typing is an object, { roomId }")?;
    let [room] = fields(options, ["roomId"], "roomId may be given once")?;
    Ok(TypingRequest { is_typing, room: room.map(room_id).transpose()? })
}

/// Reads a `join`.
pub(crate) fn join<'a>(args: &Args<'a>) -> Result<JoinRequest<'a>, ChatError> {
    let payload = object(args.get(0), "join takes one object, { roomId, history? }")?;
    let [room, history] = fields(payload, ["roomId", "history"], "roomId and history may be given once")?;
    let room = room_id(room.ok_or(ChatError::new(Code::RoomInvalid, "roomId is missing"))?)?;
    Ok(JoinRequest { room, history: history.map(count).transpose()? })
}

/// A checked `history`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HistoryRequest<'a> {
    /// The lobby without one.
    pub(crate) room: Option<Cow<'a, str>>,
    pub(crate) page: PageRequest,
}

/// Which messages of a room are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageRequest {
    pub(crate) before: Option<Uuid>,
    pub(crate) after: Option<Uuid>,
    /// How many messages at most.
    pub(crate) limit: usize,
}

/// Reads a `history`.
pub(crate) fn history<'a>(args: &Args<'a>) -> Result<HistoryRequest<'a>, ChatError> {
    let payload = optional_object(args.get(0), "history takes one object, { roomId?, before?, after?, limit? }")?;
    let names = ["roomId", "before", "after", "limit"];
    let [room, before, after, limit] = fields(payload, names, "a member of history may be given once")?;
    Ok(HistoryRequest {
        room: room.map(room_id).transpose()?,
        page: PageRequest {
            before: before.map(message_id).transpose()?.flatten(),
            after: after.map(message_id).transpose()?.flatten(),
            limit: limit.map(count).transpose()?.unwrap_or(HISTORY_PAGE),
        },
    })
}

/// Reads a `presence`: the room, or none for the lobby.
pub(crate) fn presence<'a>(args: &Args<'a>) -> Result<Option<Cow<'a, str>>, ChatError> {
    let payload = optional_object(args.get(0), "presence takes one object, { roomId? }")?;
    let [room] = fields(payload, ["roomId"], "roomId may be given once")?;
    room.map(room_id).transpose()
}

/// Reads a `refresh`: the token.
pub(crate) fn refresh<'a>(args: &Args<'a>) -> Result<Cow<'a, str>, ChatError> {
    let payload = object(args.get(0), "refresh takes one object, { token }")?;
    token(Some(payload)).ok_or(ChatError::new(INVALID, "token must be a string, given once"))
}

/// Reads a `leave`.
pub(crate) fn leave<'a>(args: &Args<'a>) -> Result<Cow<'a, str>, ChatError> {
    let payload = object(args.get(0), "leave takes one object, { roomId }")?;
    let [room] = fields(payload, ["roomId"], "roomId may be given once")?;
    room_id(room.ok_or(ChatError::new(Code::RoomInvalid, "roomId is missing"))?)
}

/// The `token` in the payload of a CONNECT packet: a string, not empty.
pub(crate) fn token(auth: Option<&str>) -> Option<Cow<'_, str>> {
    let [token] = fields(auth?, ["token"], "").ok()?;
    text_of(token?).filter(|token| !token.is_empty())
}

/// The `token` in the query of a handshake, where clients of version 2 have it: they send no CONNECT packet for `/`. Given twice it
/// counts for nothing.
pub(crate) fn query_token(query: &str) -> Option<String> {
    let mut tokens = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "token");
    let (_, token) = tokens.next()?;
    (tokens.next().is_none() && !token.is_empty()).then(|| token.into_owned())
}

fn object<'a>(arg: Option<&'a str>, message: &'static str) -> Result<&'a str, ChatError> {
    arg.filter(|arg| json::kind(arg) == Kind::Object).ok_or_else(|| ChatError::new(INVALID, message))
}

/// An argument that may be missing: then, and where something else stands for nothing, an object without members.
fn optional_object<'a>(arg: Option<&'a str>, message: &'static str) -> Result<&'a str, ChatError> {
    match arg {
        Some(arg) if json::kind(arg) != Kind::Null && !is_empty_array(arg) => object(Some(arg), message),
        _ => Ok("{}"),
    }
}

/// What PHP makes of an object without members.
fn is_empty_array(raw: &str) -> bool {
    let inner = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

/// The values of the named members, `None` for `null` too; a name given twice is refused, because readers disagree about which
/// one counts.
pub(super) fn fields<'a, const N: usize>(
    object: &'a str,
    names: [&str; N],
    twice: &'static str,
) -> Result<[Option<&'a str>; N], ChatError> {
    let mut found = [None; N];
    for (key, value) in json::members(object) {
        let Ok(key) = json::unquote(key) else { continue };
        for (name, slot) in names.iter().zip(&mut found) {
            if key == *name && slot.replace(value).is_some() {
                return Err(ChatError::new(INVALID, twice));
            }
        }
    }
    Ok(found.map(|value| value.filter(|value| json::kind(value) != Kind::Null)))
}

/// A JSON string's text; `None` for other values, and for a lone surrogate, which is no text.
pub(super) fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    if json::kind(raw) != Kind::String {
        return None;
    }
    json::unquote(raw).ok()
}

fn check_text(raw: &str, limits: &Limits) -> Result<(), ChatError> {
    // Most messages are plain: judged without a branch for each byte, which becomes vector instructions.
    let plain = raw.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (byte != b'\\'));
    let characters = raw.len().saturating_sub(2);
    if plain
        && json::kind(raw) == Kind::String
        && (limits.message_length == 0 || characters <= limits.message_length)
        && raw.bytes().any(|byte| byte != b' ' && byte != b'"')
    {
        return Ok(());
    }
    let text = text_of(raw).ok_or(ChatError::new(INVALID, "message must be a string of whole characters"))?;
    if has_control(&text) {
        return Err(ChatError::new(INVALID, "message must not hold control characters"));
    }
    if is_invisible(&text) {
        return Err(ChatError::new(
            Code::MessageEmpty,
            "message has nothing that can be seen; send at least one visible character",
        ));
    }
    // Bytes first: no text has more characters than bytes.
    if limits.message_length > 0 && text.len() > limits.message_length {
        return check(Code::MessageTooLong, &MESSAGE_LENGTH, limits.message_length, text.chars().count());
    }
    Ok(())
}

/// Whether `text` holds a control character other than tab and the line breaks `\n` and `\r\n`. A lone `\r` would have what
/// follows it drawn over what stands before it on a terminal.
fn has_control(text: &str) -> bool {
    text.char_indices().any(|(at, c)| match c {
        '\n' | '\t' => false,
        '\r' => !text.get(at + 1..).is_some_and(|rest| rest.starts_with('\n')),
        c => c.is_control(),
    })
}

fn check_context(raw: &str, attachments: &[Bytes], limits: &Limits) -> Result<(), ChatError> {
    if json::kind(raw) != Kind::Object {
        let error = ChatError::new(INVALID, "context must be an object");
        return Err(if is_empty_array(raw) { error.without_strike() } else { error });
    }
    const TOO_LARGE: Code = Code::ContextTooLarge;
    check(TOO_LARGE, &CONTEXT_BYTES, limits.context_bytes, raw.len())?;
    // Brackets first, wherever they stand: no value is deeper than it has opening ones, and counting them is cheap.
    let brackets = raw.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if limits.context_depth > 0 && brackets > limits.context_depth {
        check(TOO_LARGE, &CONTEXT_DEPTH, limits.context_depth, json::depth(raw))?;
    }
    check(TOO_LARGE, &ATTACHMENTS, limits.attachments, attachments.len())?;
    check(TOO_LARGE, &ATTACHMENT_BYTES, limits.attachment_bytes, attachments.iter().map(Bytes::len).sum())
}

/// Refuses more than `most`; 0 is no limit.
fn check(code: Code, limit: &'static Limit, most: usize, count: usize) -> Result<(), ChatError> {
    if most > 0 && count > most { Err(ChatError::exceeds(code, limit, count, most)) } else { Ok(()) }
}

fn room_id(raw: &str) -> Result<Cow<'_, str>, ChatError> {
    let room = text_of(raw).ok_or(ChatError::new(Code::RoomInvalid, "roomId must be a string"))?;
    check_room_id(&room)?;
    Ok(room)
}

/// Refuses what no room can be called.
pub(super) fn check_room_id(room: &str) -> Result<(), ChatError> {
    if room.is_empty() || room.len() > ROOM_ID || room.chars().any(char::is_control) {
        return Err(ChatError::new(Code::RoomInvalid, "roomId must have 1 to 128 bytes, no control characters"));
    }
    Ok(())
}

/// The id of a message; an empty string is none.
fn message_id(raw: &str) -> Result<Option<Uuid>, ChatError> {
    let id = text_of(raw).and_then(|id| if id.is_empty() { Some(None) } else { Uuid::parse_str(&id).ok().map(Some) });
    id.ok_or(ChatError::new(INVALID, "before and after must be ids of messages"))
}

/// How many messages are asked for, [`HISTORY_PAGE`] at most.
fn count(raw: &str) -> Result<usize, ChatError> {
    let count = number::whole(raw).filter(|count| *count >= 0.0).map(|count| (count as usize).min(HISTORY_PAGE));
    count.ok_or(ChatError::new(INVALID, "how many messages must be a whole number, not negative"))
}

/// A `clientId`; an empty string is none, since all messages with it would be one.
fn client_id(raw: &str) -> Result<Option<Cow<'_, str>>, ChatError> {
    let id = text_of(raw).filter(|id| id.len() <= CLIENT_ID);
    id.map(|id| Some(id).filter(|id| !id.is_empty()))
        .ok_or(ChatError::new(INVALID, "clientId must be a string of at most 64 bytes"))
}

#[cfg(test)]
mod tests;
