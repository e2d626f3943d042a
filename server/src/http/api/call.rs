//! [`Call`]: what a request asks for, by its method, path and query. Knows nothing of keys and bodies.

use std::borrow::Cow;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::answer::ApiError;
use crate::{
    chat::{ChatError, HISTORY_PAGE, PageRequest, check_user, room},
    room::Room,
};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    Describe,
    Publish,
    DeleteMessage { id: Uuid, room: Option<Room> },
    DeleteMessagesOf { user: String },
    Rooms { after: Option<Room>, limit: usize },
    Messages { room: Room, page: PageRequest },
    Presence { room: Room },
    Disconnect { user: String },
    Ban { user: String },
    LiftBan { user: String },
    Bans { after: Option<String>, limit: usize },
}

/// Whether a call has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakesBody {
    No,
    Optional,
    Required,
}

/// What a path names.
enum Resource<'p> {
    Description,
    Messages,
    Message(&'p str),
    UserMessages(&'p str),
    UserConnection(&'p str),
    UserBan(&'p str),
    Bans,
    Rooms,
    RoomMessages(&'p str),
    RoomPresence(&'p str),
}

impl<'p> Resource<'p> {
    /// Of a path below `/api/`, still encoded: a slash in an id is `%2F`.
    fn find(path: &'p str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').collect();
        Some(match *segments.as_slice() {
            ["openapi.json"] => Self::Description,
            ["messages"] => Self::Messages,
            ["messages", id] => Self::Message(id),
            ["users", id, "messages"] => Self::UserMessages(id),
            ["users", id, "disconnect"] => Self::UserConnection(id),
            ["users", id, "ban"] => Self::UserBan(id),
            ["bans"] => Self::Bans,
            ["rooms"] => Self::Rooms,
            ["rooms", id, "messages"] => Self::RoomMessages(id),
            ["rooms", id, "presence"] => Self::RoomPresence(id),
            _ => return None,
        })
    }

    const fn methods(&self) -> &'static str {
        match self {
            Self::Messages | Self::UserConnection(_) => "POST",
            Self::Message(_) | Self::UserMessages(_) => "DELETE",
            Self::UserBan(_) => "PUT, DELETE",
            _ => "GET, HEAD",
        }
    }
}

impl Call {
    /// Reads a request for `path`, below `/api/`.
    pub(super) fn read(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let resource = Resource::find(path).ok_or_else(|| {
            let message = "there is nothing at this path; GET /api/openapi.json describes what there is";
            ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
        })?;
        let allowed = resource.methods();
        if !allowed.split(", ").any(|allowed| method.as_str() == allowed) {
            let message = format!("this path takes {allowed}");
            let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            return Err(ApiError { allow: Some(allowed), ..error });
        }
        let query = Query::read(query.unwrap_or_default())?;
        Ok(match resource {
            Resource::Description => Self::Describe,
            Resource::Messages => Self::Publish,
            Resource::Message(id) => {
                Self::DeleteMessage { id: message_id("the id", &decoded(id)?)?, room: query.room("roomId")? }
            }
            Resource::UserMessages(id) => Self::DeleteMessagesOf { user: user(id)? },
            Resource::UserConnection(id) => Self::Disconnect { user: user(id)? },
            Resource::UserBan(id) if *method == Method::PUT => Self::Ban { user: user(id)? },
            Resource::UserBan(id) => Self::LiftBan { user: user(id)? },
            Resource::Bans => {
                let after = query.get("after").map(str::to_owned);
                after.as_deref().map(|user| check_user(user).map_err(|error| named("after", error))).transpose()?;
                Self::Bans { after, limit: query.limit()? }
            }
            Resource::Rooms => Self::Rooms { after: query.room("after")?, limit: query.limit()? },
            Resource::RoomMessages(id) => {
                let id_of = |name| query.get(name).map(|id| message_id(name, id)).transpose();
                let page = PageRequest { before: id_of("before")?, after: id_of("after")?, limit: query.limit()? };
                Self::Messages { room: room(&decoded(id)?)?, page }
            }
            Resource::RoomPresence(id) => Self::Presence { room: room(&decoded(id)?)? },
        })
    }

    /// Whether it has a body.
    pub(super) const fn takes_body(&self) -> TakesBody {
        match self {
            Self::Publish => TakesBody::Required,
            Self::Ban { .. } => TakesBody::Optional,
            _ => TakesBody::No,
        }
    }

    /// Whether it does something, and what the log calls that.
    pub(super) const fn action(&self) -> Option<&'static str> {
        Some(match self {
            Self::Publish => "message",
            Self::DeleteMessage { .. } => "delete message",
            Self::DeleteMessagesOf { .. } => "delete messages of user",
            Self::Disconnect { .. } => "disconnect",
            Self::Ban { .. } => "ban",
            Self::LiftBan { .. } => "lift ban",
            _ => return None,
        })
    }

    /// The user that it is about.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::DeleteMessagesOf { user }
            | Self::Disconnect { user }
            | Self::Ban { user }
            | Self::LiftBan { user } => Some(user),
            _ => None,
        }
    }
}

/// A segment of a path, decoded.
fn decoded(segment: &str) -> Result<Cow<'_, str>, ApiError> {
    let text = percent_decode_str(segment).decode_utf8();
    text.map_err(|_| ApiError::invalid("the path is no UTF-8; percent-encode the bytes of its UTF-8 text"))
}

fn user(segment: &str) -> Result<String, ApiError> {
    let user = decoded(segment)?;
    check_user(&user)?;
    Ok(user.into_owned())
}

fn message_id(what: &str, text: &str) -> Result<Uuid, ApiError> {
    let wrong = || {
        ApiError::invalid(format!("{what} must be the id of a message, such as 0198c5c2-7d3e-7a41-9f4e-2f1b8f6f4c11"))
    };
    // In the one form that ids are given out in.
    Uuid::parse_str(text).ok().filter(|_| text.len() == 36).ok_or_else(wrong)
}

/// The refusal of the id of a room or a user that came as the parameter `name`.
fn named(name: &str, error: ChatError) -> ApiError {
    let message = format!("{name} must have 1 to 128 bytes, no control characters");
    ApiError { message: message.into(), ..error.into() }
}

/// The parameters of a query, each once.
struct Query<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Query<'q> {
    fn read(query: &'q str) -> Result<Self, ApiError> {
        let mut parameters: Vec<(Cow<'q, str>, Cow<'q, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !["after", "before", "limit", "roomId"].contains(&&*name) {
                continue;
            }
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(ApiError::invalid(format!("{name} is given twice")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn room(&self, name: &str) -> Result<Option<Room>, ApiError> {
        self.get(name).map(|id| room(id).map_err(|error| named(name, error))).transpose()
    }

    /// How many are wanted.
    fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit") else { return Ok(HISTORY_PAGE) };
        let limit = text.parse().ok().filter(|limit| (1..=HISTORY_PAGE).contains(limit) && !text.starts_with('+'));
        limit.ok_or_else(|| ApiError::invalid(format!("limit must be a whole number from 1 to {HISTORY_PAGE}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, target: &str) -> Result<Call, (u16, &'static str)> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Call::read(method, path, query).map_err(|error| (error.status.as_u16(), error.code))
    }

    #[test]
    fn paths_and_queries_are_read() {
        let id = "0198c5c2-7d3e-7a41-9f4e-2f1b8f6f4c11";
        let uuid = Uuid::parse_str(id).unwrap();
        let page = |after, before, limit| PageRequest { after, before, limit };
        for (method, target, call) in [
            (Method::POST, "messages".to_owned(), Call::Publish),
            (Method::DELETE, format!("messages/{id}"), Call::DeleteMessage { id: uuid, room: None }),
            (
                Method::DELETE,
                format!("messages/{id}?roomId=a%20b"),
                Call::DeleteMessage { id: uuid, room: Some(Room::new("a b")) },
            ),
            (Method::PUT, "users/a%2Fb/ban".to_owned(), Call::Ban { user: "a/b".to_owned() }),
            (Method::DELETE, "users/%C3%A9/ban".to_owned(), Call::LiftBan { user: "é".to_owned() }),
            (
                Method::GET,
                format!("rooms/a/messages?before={id}&limit=7&other=1&other=2"),
                Call::Messages { room: Room::new("a"), page: page(None, Some(uuid), 7) },
            ),
            (Method::HEAD, "rooms?after=b".to_owned(), Call::Rooms { after: Some(Room::new("b")), limit: 200 }),
            (Method::GET, "bans?after=b&limit=1".to_owned(), Call::Bans { after: Some("b".to_owned()), limit: 1 }),
        ] {
            assert_eq!(read(&method, &target), Ok(call), "{target}");
        }
    }

    #[test]
    fn an_error_names_the_parameter_that_is_wrong() {
        for (target, code, name) in [
            ("rooms?after=%00", "room_invalid", "after"),
            ("messages/0198c5c2-7d3e-7a41-9f4e-2f1b8f6f4c11?roomId=", "room_invalid", "roomId"),
            ("bans?after=%00", "user_invalid", "after"),
        ] {
            let method = if target.starts_with("messages") { Method::DELETE } else { Method::GET };
            let (path, query) = target.split_once('?').unwrap();
            let error = Call::read(&method, path, Some(query)).unwrap_err();
            let message = format!("{name} must have 1 to 128 bytes, no control characters");
            assert_eq!((error.code, &*error.message), (code, message.as_str()), "{target}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_by_its_name() {
        let invalid = (400, "invalid_payload");
        for (method, target, error) in [
            (Method::GET, "", (404, "not_found")),
            (Method::GET, "rooms/", (404, "not_found")),
            (Method::GET, "messages/1/2", (404, "not_found")),
            (Method::GET, "messages", (405, "method_not_allowed")),
            (Method::POST, "users/a/ban", (405, "method_not_allowed")),
            (Method::DELETE, "messages/1", invalid),
            (Method::DELETE, "messages/0198c5c27d3e7a419f4e2f1b8f6f4c11", invalid),
            (Method::PUT, "users//ban", (400, "user_invalid")),
            (Method::PUT, "users/%0A/ban", (400, "user_invalid")),
            (Method::PUT, "users/%FF/ban", invalid),
            (Method::GET, "rooms/%00/presence", (400, "room_invalid")),
            (Method::GET, "rooms?limit=0", invalid),
            (Method::GET, "rooms?limit=201", invalid),
            (Method::GET, "rooms?limit=+1", invalid),
            (Method::GET, "rooms?limit=1&limit=1", invalid),
            (Method::GET, "rooms/a/messages?after=x", invalid),
        ] {
            assert_eq!(read(&method, target), Err(error), "{method} {target}");
        }
    }
}
