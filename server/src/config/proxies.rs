//! [`Proxy`]: an element of `http.trusted_proxies`.

use std::{fmt, str::FromStr};

use engineio::http::Network;

/// The networks that `loopback` stands for.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

/// Addresses of proxies whose word about the client is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// Every loopback address.
    Loopback,
    /// An address, or all that begin with the same bits.
    Network(Network),
}

impl Proxy {
    /// The networks it stands for.
    pub(crate) fn networks(self) -> Vec<Network> {
        match self {
            Self::Loopback => LOOPBACK.iter().filter_map(|text| text.parse().ok()).collect(),
            Self::Network(network) => vec![network],
        }
    }
}

impl FromStr for Proxy {
    type Err = <Network as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "loopback" { Ok(Self::Loopback) } else { text.parse().map(Self::Network) }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_every_loopback_address() {
        let networks = Proxy::Loopback.networks();
        for (address, expected) in
            [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)]
        {
            let address = address.parse().unwrap();
            assert_eq!(networks.iter().any(|network| network.contains(address)), expected, "{address}");
        }
    }
}
