//! [`Signer`]: signs requests as [Standard Webhooks](https://www.standardwebhooks.com) does, so that receivers find a library that
//! checks them: HMAC-SHA256 over id, time and body, in base64.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::config::{Secret, Webhooks};

/// See the module. Clones share the secrets.
#[derive(Clone)]
pub(super) struct Signer(Arc<ArcSwap<Vec<hmac::Key>>>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(hidden)")
    }
}

impl Signer {
    /// With the secrets of the configuration.
    pub(super) fn new(config: &Webhooks) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keys(config))))
    }

    /// These secrets sign from now on.
    pub(super) fn renew(&self, config: &Webhooks) {
        self.0.store(Arc::new(keys(config)));
    }

    /// The value of `webhook-signature`: a signature by each secret, since the receiver may know only one of them. `seconds` is the time
    /// since the Unix epoch.
    pub(super) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.load().iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

fn keys(config: &Webhooks) -> Vec<hmac::Key> {
    let secrets = [&config.secret, &config.previous_secret].into_iter().flatten();
    // The configuration was refused if there were none.
    let bytes = secrets.filter_map(Secret::of_webhooks);
    bytes.map(|bytes| hmac::Key::new(hmac::HMAC_SHA256, &bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secrets: [Option<&str>; 2]) -> Signer {
        let [secret, previous_secret] = secrets.map(|secret| secret.map(Secret::new));
        Signer::new(&Webhooks { secret, previous_secret, ..Webhooks::default() })
    }

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of its libraries.
        let example = signer([Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), None]);
        let signature = example.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let (plain, coded) = (signer([Some("abc"), None]), signer([Some("whsec_YWJj"), None]));
        assert_eq!(plain.sign("a", 1, b"b"), coded.sign("a", 1, b"b"));
        let both = signer([Some("def"), Some("abc")]);
        let other = signer([Some("def"), None]).sign("a", 1, b"b");
        assert_eq!(both.sign("a", 1, b"b"), format!("{other} {}", plain.sign("a", 1, b"b")));
    }
}
