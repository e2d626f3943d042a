//! [`Handle`]: how any other thread reaches the sockets of a running server.

mod dispatch;
mod emitter;
mod types;
mod waiting;

pub use self::{
    emitter::Emitter,
    types::{EmitterError, Handle},
};
