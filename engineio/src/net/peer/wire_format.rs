//! [`WireFormat`]: the form in which the peer of a WebSocket wants its frames, in as few bytes as possible.

use http::{HeaderMap, HeaderValue};

use crate::{
    Config, Protocol, Wire,
    http::Query,
    ws::{
        Decoder,
        deflate::Deflate,
        extensions::{self, Agreed},
    },
};

/// The same as [`Wire`], without what all connections of a server have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct WireFormat {
    protocol: Protocol,
    base64: bool,
    /// The window size of the compression, as a power of two; 0: messages are not compressed.
    window_bits: u8,
}

impl WireFormat {
    /// What a handshake agrees on for its WebSocket, and the extensions that its answer names. `protocol` is the
    /// session's.
    pub(in crate::net) fn negotiate(
        config: &Config,
        query: &Query<'_>,
        protocol: Protocol,
        headers: &HeaderMap,
    ) -> (Self, Option<HeaderValue>) {
        let plain = Self { protocol, base64: query.base64, window_bits: 0 };
        let offered = config.per_message_deflate.as_ref().and_then(|own| extensions::negotiate(headers, own));
        match offered {
            Some(Agreed { deflate, header }) => (Self { window_bits: deflate.window_bits, ..plain }, Some(header)),
            None => (plain, None),
        }
    }

    /// Whether frames need no conversion ([`Wire::is_plain`]).
    pub(in crate::net) const fn is_plain(self) -> bool {
        matches!(self, Self { protocol: Protocol::V4, base64: false, window_bits: 0 })
    }

    pub(in crate::net) const fn protocol(self) -> Protocol {
        self.protocol
    }

    pub(in crate::net) fn wire(self, config: &Config) -> Wire {
        let Self { protocol, base64, window_bits } = self;
        let own = config.per_message_deflate.as_ref().filter(|_| window_bits > 0);
        let deflate = own.map(|own| Deflate { window_bits, threshold: own.threshold, level: own.level });
        Wire { protocol, base64, deflate }
    }

    pub(in crate::net) fn decoder(self, config: &Config) -> Decoder {
        let max = config.max_message(false);
        if self.window_bits > 0 { Decoder::with_deflate(max) } else { Decoder::new(max) }
    }
}
