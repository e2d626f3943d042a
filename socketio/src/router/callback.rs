//! Closures and functions as handlers: whatever takes extractors, and returns a result or a future of one.
//!
//! There are four kinds of handlers ([`Kind`]): they differ in what they can be given and in what they return.

use std::{fmt, marker::PhantomData, pin::Pin, sync::Arc};

use super::{
    app::App,
    context::{ConnectContext, DisconnectContext, EventContext},
    error::{BoxError, EventError},
    socket::Socket,
    type_map::Requirements,
};
use crate::error::ConnectError;

/// A kind of handlers.
pub trait Kind: Sized + 'static {
    /// What its handlers' arguments are taken from.
    type Context<'a>;
    /// What a handler brings.
    type Success: Send + 'static;
    /// Why it brings nothing.
    type Error: Send + 'static;

    #[doc(hidden)]
    fn app<'c>(context: &'c Self::Context<'_>) -> &'c App;
}

/// A kind of handlers that are called for a socket.
pub trait SocketKind: Kind<Error = EventError> {
    #[doc(hidden)]
    fn socket<'c>(context: &'c Self::Context<'_>) -> &'c Socket;
}

/// Handlers of CONNECT, which admit or refuse a client ([`Namespace::authorize`](super::Namespace::authorize)).
#[derive(Debug)]
pub enum OnAuthorize {}

/// Handlers of a socket that is connected ([`Namespace::on_connect`](super::Namespace::on_connect)).
#[derive(Debug)]
pub enum OnConnect {}

/// Handlers of events ([`Namespace::on`](super::Namespace::on)).
#[derive(Debug)]
pub enum OnEvent {}

/// Handlers of a socket that is gone ([`Namespace::on_disconnect`](super::Namespace::on_disconnect)).
#[derive(Debug)]
pub enum OnDisconnect {}

impl Kind for OnAuthorize {
    type Context<'a> = ConnectContext;
    type Success = Admitted;
    type Error = ConnectError;

    fn app(context: &ConnectContext) -> &App {
        &context.app
    }
}

impl Kind for OnConnect {
    type Context<'a> = Socket;
    type Success = ();
    type Error = EventError;

    fn app(context: &Socket) -> &App {
        context.app()
    }
}

impl Kind for OnEvent {
    type Context<'a> = EventContext<'a>;
    type Success = ();
    type Error = EventError;

    fn app<'c>(context: &'c EventContext<'_>) -> &'c App {
        context.socket.app()
    }
}

impl Kind for OnDisconnect {
    type Context<'a> = DisconnectContext<'a>;
    type Success = ();
    type Error = EventError;

    fn app<'c>(context: &'c DisconnectContext<'_>) -> &'c App {
        context.socket.app()
    }
}

impl SocketKind for OnConnect {
    fn socket(context: &Socket) -> &Socket {
        context
    }
}

impl SocketKind for OnEvent {
    fn socket<'c>(context: &'c EventContext<'_>) -> &'c Socket {
        context.socket
    }
}

impl SocketKind for OnDisconnect {
    fn socket<'c>(context: &'c DisconnectContext<'_>) -> &'c Socket {
        context.socket
    }
}

/// What an authorisation found out, for [`Extension`](super::Extension).
pub struct Admitted(pub(crate) Arc<dyn std::any::Any + Send + Sync>);

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").finish_non_exhaustive()
    }
}

/// A type that a handler of kind `K` may have as an argument.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be an argument of this kind of handler")]
pub trait Extract<K: Kind>: Sized {
    /// Takes the value out of the context of the call.
    ///
    /// # Errors
    /// When there is no such value: the handler is not called.
    fn extract(context: &K::Context<'_>) -> Result<Self, K::Error>;

    /// Says what the application must have given for this argument.
    fn requires(requirements: &mut Requirements) {
        let _ = requirements;
    }
}

/// A type that a handler of kind `K` may return, itself or by a future.
#[diagnostic::on_unimplemented(message = "this kind of handler cannot return `{Self}`")]
pub trait Output<K: Kind> {
    /// The result of the handler.
    ///
    /// # Errors
    /// When the handler failed.
    fn into_result(self) -> Result<K::Success, K::Error>;
}

impl<K: SocketKind<Success = ()>> Output<K> for () {
    fn into_result(self) -> Result<(), EventError> {
        Ok(())
    }
}

impl<K: SocketKind<Success = ()>, E: Into<BoxError>> Output<K> for Result<(), E> {
    fn into_result(self) -> Result<(), EventError> {
        self.map_err(|error| EventError::Handler(error.into()))
    }
}

impl<T: Send + Sync + 'static, E: Into<ConnectError>> Output<OnAuthorize> for Result<T, E> {
    fn into_result(self) -> Result<Admitted, ConnectError> {
        self.map(|value| Admitted(Arc::new(value))).map_err(Into::into)
    }
}

/// Work of a handler, or of several, that may wait.
pub(crate) type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The result of a handler.
pub(crate) type ResultOf<K> = Result<<K as Kind>::Success, <K as Kind>::Error>;

/// The future of a handler.
pub(crate) type Running<K> = Task<ResultOf<K>>;

/// A handler, whatever its arguments are.
type DynCallback<K> = dyn Fn(&<K as Kind>::Context<'_>) -> Called<K> + Send + Sync;

/// What a call of a handler brings: a result, or a future of one.
pub enum Called<K: Kind> {
    #[doc(hidden)]
    Done(Result<K::Success, K::Error>),
    /// It has not been polled.
    #[doc(hidden)]
    Waits(Task<Result<K::Success, K::Error>>),
}

impl<K: Kind> fmt::Debug for Called<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done(_) => "Done",
            Self::Waits(_) => "Waits",
        })
    }
}

/// A handler, whatever its arguments are.
pub(crate) struct Callback<K: Kind> {
    call: Arc<DynCallback<K>>,
}

impl<K: Kind> Callback<K> {
    pub(crate) fn new<M: 'static>(handler: impl Handler<K, M>, requirements: &mut Requirements) -> Self {
        fn requires<K: Kind, M, H: Handler<K, M>>(_: &H, requirements: &mut Requirements) {
            H::requires(requirements);
        }
        requires(&handler, requirements);
        Self { call: Arc::new(move |context| handler.call(context)) }
    }

    pub(crate) fn call(&self, context: &K::Context<'_>) -> Called<K> {
        (self.call)(context)
    }
}

impl<K: Kind> Clone for Callback<K> {
    fn clone(&self) -> Self {
        Self { call: Arc::clone(&self.call) }
    }
}

impl<K: Kind> fmt::Debug for Callback<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").finish_non_exhaustive()
    }
}

/// A closure or function that handles calls of kind `K`: `Fn(A, B, ...) -> R` or `async Fn(A, B, ...) -> R` with up to eight
/// arguments, each an [`Extract`]`<K>`, and `R` an [`Output`]`<K>`.
///
/// `M` only tells the implementations apart.
#[diagnostic::on_unimplemented(
    message = "this is no handler of the kind that is needed here",
    note = "each argument must be one that this kind of handler may have, by value: see the table in `socketio::router`",
    note = "an authorisation returns `Result<T, E>` with `E: Into<ConnectError>`; the others return `()` or `Result<(), E>` with `E: Into<BoxError>`, which is `Send + Sync`; or a future of that",
    note = "an async closure cannot capture anything: take it as `State`, or clone it in a plain closure that returns an `async move` block"
)]
pub trait Handler<K: Kind, M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, context: &K::Context<'_>) -> Called<K>;

    #[doc(hidden)]
    fn requires(requirements: &mut Requirements);
}

/// Marks handlers that return their result.
#[derive(Debug)]
pub struct Direct<A>(PhantomData<A>);

/// Marks handlers that return a future.
#[derive(Debug)]
pub struct Async<A>(PhantomData<A>);

macro_rules! handlers {
    ($($arg:ident)*) => {
        impl<K, F, R, $($arg),*> Handler<K, Direct<($($arg,)*)>> for F
        where
            K: Kind,
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: Output<K>,
            $($arg: Extract<K>,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "made for each number of arguments, also none")]
            fn call(&self, context: &K::Context<'_>) -> Called<K> {
                $(
                    let $arg = match $arg::extract(context) {
                        Ok(value) => value,
                        Err(error) => return Called::Done(Err(error)),
                    };
                )*
                Called::Done(self($($arg),*).into_result())
            }

            #[allow(unused_variables, reason = "made for each number of arguments, also none")]
            fn requires(requirements: &mut Requirements) {
                $($arg::requires(requirements);)*
            }
        }

        impl<K, F, R, $($arg),*> Handler<K, Async<($($arg,)*)>> for F
        where
            K: Kind,
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: Future<Output: Output<K>> + Send + 'static,
            $($arg: Extract<K>,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "made for each number of arguments, also none")]
            fn call(&self, context: &K::Context<'_>) -> Called<K> {
                $(
                    let $arg = match $arg::extract(context) {
                        Ok(value) => value,
                        Err(error) => return Called::Done(Err(error)),
                    };
                )*
                let future = self($($arg),*);
                Called::Waits(Box::pin(async move { future.await.into_result() }))
            }

            #[allow(unused_variables, reason = "made for each number of arguments, also none")]
            fn requires(requirements: &mut Requirements) {
                $($arg::requires(requirements);)*
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A B);
handlers!(A B C);
handlers!(A B C D);
handlers!(A B C D E);
handlers!(A B C D E G);
handlers!(A B C D E G H);
handlers!(A B C D E G H I);
