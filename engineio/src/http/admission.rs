//! [`Admission`]: decides whether a handshake may become a session, with the same questions for every way of reading a
//! request.
//!
//! ```text
//!   Room ---> AllowRequest ---> Handler ---> (version) ---> SidPart ---> Admitted
//!     \            \               \             \             \
//!      +------------+---------------+-------------+-------------+------> Refused
//! ```
//!
//! The order is Node's: the application decides before the protocol version is checked. The check for room comes first,
//! so that a full server calls no application code. The caller of the admission answers each question in turn. Hooks
//! may take time for their answer; every other answer is there at once.

use std::time::Duration;

use super::{Query, Refused};
use crate::{
    Config, Protocol, Refusal,
    error::{ErrorContext, HandshakeError},
    hooks::{IdGenerationError, SidPart, Verdict},
};

/// When a client may come back that was refused for a reason on our side.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A refusal for a reason on our side: the client may come back.
pub const UNAVAILABLE: HandshakeError = HandshakeError::Unavailable { retry_after: RETRY_AFTER };

/// The next question that the caller must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Is there room for one more session? Reply: [`Admission::room`].
    Room,
    /// What does the hook `allow_request` decide? Reply: [`Admission::verdict`].
    AllowRequest,
    /// What does the handler decide? Reply: [`Admission::handler`].
    Handler,
    /// Which part of the sid does the hook `generate_id` choose? Reply: [`Admission::sid_part`].
    SidPart,
}

/// Application code panicked on a question, so there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// The result of an admission.
#[derive(Debug, PartialEq, Eq)]
pub struct Terms {
    /// The revision that the session speaks.
    pub protocol: Protocol,
    /// The part of the sid that the application chose; `None`: random bits.
    pub sid_part: Option<SidPart>,
}

/// The state of one admission: the open question, and the protocol revision once it is known.
#[derive(Debug)]
pub struct Admission {
    next: Question,
    protocol: Protocol,
}

impl Default for Admission {
    fn default() -> Self {
        Self { next: Question::Room, protocol: Protocol::V4 }
    }
}

impl Admission {
    /// The open question.
    #[must_use]
    pub const fn question(&self) -> Question {
        self.next
    }

    /// Answers whether there is room.
    ///
    /// # Errors
    /// The handshake is refused.
    pub fn room(&mut self, free: bool) -> Result<(), Refused> {
        if !free {
            return Err(UNAVAILABLE.into());
        }
        self.next = Question::AllowRequest;
        Ok(())
    }

    /// Answers with the hook's decision. After a panic the client may come back.
    ///
    /// # Errors
    /// The handshake is refused.
    pub fn verdict(&mut self, verdict: Result<&Verdict, Panicked>) -> Result<(), Refused> {
        let verdict = verdict.map_err(|Panicked| UNAVAILABLE)?;
        verdict.check().map_err(|(error, message)| Refused::Coded(error, message.map(str::to_owned)))?;
        self.next = Question::Handler;
        Ok(())
    }

    /// Answers with the handler's decision (after a panic the client may come back), then checks the request's protocol
    /// version.
    ///
    /// # Errors
    /// The handshake is refused.
    pub fn handler(
        &mut self,
        said: Result<Result<(), Refusal>, Panicked>,
        query: &Query<'_>,
        config: &Config,
    ) -> Result<(), Refused> {
        match said {
            Ok(Ok(())) => {}
            Ok(Err(Refusal::Forbidden)) => return Err(HandshakeError::Forbidden.into()),
            Ok(Err(Refusal::Unavailable { retry_after })) => {
                return Err(HandshakeError::Unavailable { retry_after }.into());
            }
            Err(Panicked) => return Err(UNAVAILABLE.into()),
        }
        self.protocol = query.check_protocol(config)?;
        self.next = Question::SidPart;
        Ok(())
    }

    /// Answers with the hook's part of the sid, and ends the admission. If the application could not make one, the
    /// client gets code 3, as from Node.
    ///
    /// # Errors
    /// The handshake is refused.
    pub fn sid_part(self, part: Result<Option<SidPart>, IdGenerationError>) -> Result<Terms, Refused> {
        let sid_part = part.map_err(|_| HandshakeError::BadRequest.within(ErrorContext::IdGenerationError))?;
        Ok(Terms { protocol: self.protocol, sid_part })
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    const V3: &str = "/engine.io/?EIO=3&transport=polling";
    const V4: &str = "/engine.io/?EIO=4&transport=polling";

    /// Runs an admission with these replies, and records the questions.
    fn run(
        uri: &str,
        free: bool,
        verdict: &Result<Verdict, Panicked>,
        handler: Result<Result<(), Refusal>, Panicked>,
        part: Result<Option<SidPart>, IdGenerationError>,
    ) -> (Vec<Question>, Result<Terms, Refused>) {
        let uri: Uri = uri.parse().unwrap();
        let (query, config) = (Query::parse(&uri), Config::default());
        let (mut admission, mut asked) = (Admission::default(), Vec::new());
        let mut part = Some(part);
        loop {
            asked.push(admission.question());
            let step = match admission.question() {
                Question::Room => admission.room(free),
                Question::AllowRequest => admission.verdict(verdict.as_ref().map_err(|error| *error)),
                Question::Handler => admission.handler(handler, &query, &config),
                Question::SidPart => return (asked, admission.sid_part(part.take().unwrap())),
            };
            if let Err(refused) = step {
                return (asked, Err(refused));
            }
        }
    }

    #[test]
    fn the_first_refusal_counts_and_no_question_follows_it() {
        use Question::{AllowRequest, Handler, Room, SidPart as Part};
        let own = Verdict::Refuse { message: Some("no".into()) };
        let later = Duration::from_secs(7);
        let all = [Room, AllowRequest, Handler, Part];
        let bad_id = HandshakeError::BadRequest.within(ErrorContext::IdGenerationError);
        let none = || Ok(None);
        let allow = &Ok(Verdict::Allow);
        for (name, result, asked, expected) in [
            ("full", run(V3, false, &Ok(own.clone()), Err(Panicked), none()), 1, UNAVAILABLE.into()),
            (
                "hook",
                run(V3, true, &Ok(own), Err(Panicked), none()),
                2,
                Refused::Coded(HandshakeError::Forbidden.into(), Some("no".into())),
            ),
            ("hook panics", run(V3, true, &Err(Panicked), Ok(Ok(())), none()), 2, UNAVAILABLE.into()),
            (
                "handler before version",
                run(V3, true, allow, Ok(Err(Refusal::Forbidden)), none()),
                3,
                HandshakeError::Forbidden.into(),
            ),
            (
                "later",
                run(V4, true, allow, Ok(Err(Refusal::Unavailable { retry_after: later })), none()),
                3,
                HandshakeError::Unavailable { retry_after: later }.into(),
            ),
            ("handler panics", run(V4, true, allow, Err(Panicked), none()), 3, UNAVAILABLE.into()),
            ("version", run(V3, true, allow, Ok(Ok(())), none()), 3, HandshakeError::UnsupportedProtocolVersion.into()),
            ("no id", run(V4, true, allow, Ok(Ok(())), Err(IdGenerationError(String::new()))), 4, bad_id.into()),
        ] {
            assert_eq!(result, (all[..asked].to_vec(), Err(expected)), "{name}");
        }
        let part = SidPart::new("abc").unwrap();
        let (asked, terms) = run(V4, true, allow, Ok(Ok(())), Ok(Some(part.clone())));
        assert_eq!((asked.as_slice(), terms), (&all[..], Ok(Terms { protocol: Protocol::V4, sid_part: Some(part) })));
    }
}
