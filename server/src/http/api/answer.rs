//! Answers of the API: JSON, and errors as `{ "error": { "code", "message" } }`.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::super::response::with_type;
use crate::chat::{ChatError, Code};

const JSON: &str = "application/json";

/// Why a request is not done: whose fault it is, and what to do.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
    pub(super) retry_after: Option<Duration>,
    /// With 405, what is allowed.
    pub(super) allow: Option<&'static str>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, allow: None }
    }

    /// The request is not of the form that the description says.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_payload", message)
    }

    pub(super) fn answer(self) -> Response<Bytes> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            code: &'a str,
            message: &'a str,
            /// In milliseconds.
            #[serde(skip_serializing_if = "Option::is_none")]
            retry_after: Option<u64>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            error: Fields<'a>,
        }
        let Self { status, code, message, retry_after, allow } = self;
        let millis = retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        let mut response = json(status, &Body { error: Fields { code, message: &message, retry_after: millis } });
        let headers = response.headers_mut();
        if let Some(after) = retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            headers.extend(HeaderValue::from_str(&seconds.to_string()).ok().map(|value| (header::RETRY_AFTER, value)));
        }
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body is not read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> Self {
        let status = match error.code {
            Code::StoreUnavailable | Code::ServerBusy => StatusCode::SERVICE_UNAVAILABLE,
            Code::TooManyBans => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { retry_after: error.retry_after, ..Self::new(status, error.code.as_str(), error.message.to_string()) }
    }
}

/// An answer whose JSON is made here.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Nothing that is answered fails to be JSON: no map has keys that are no strings.
    raw_json(status, serde_json::to_vec(body).unwrap_or_default())
}

/// An answer whose JSON is there already.
pub(super) fn raw_json(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    with_type(status, JSON, body)
}
