//! [`Handle`]: how any other thread reaches the sockets of a running server.

mod answer_stream;
mod dispatch;
mod emitter;
mod types;
mod waiting;

pub use self::{
    answer_stream::{AnswerProgress, AnswerStream},
    emitter::Emitter,
    types::{EmitterError, Handle},
};
