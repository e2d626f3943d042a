//! [`Signer`]: signs requests as [Standard Webhooks](https://www.standardwebhooks.com) does, so that receivers find a library that
//! checks them: HMAC-SHA256 over id, time and body, in base64.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::config::Secret;

/// A secret that begins so is in base64.
const PREFIX: &[u8] = b"whsec_";

/// See the module.
pub(super) struct Signer(hmac::Key);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(hidden)")
    }
}

impl Signer {
    /// With the bytes of a secret, or with those that `whsec_` and base64 stand for.
    pub(super) fn new(secret: &Secret) -> Self {
        let decoded = secret.expose().strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        Self(hmac::Key::new(hmac::HMAC_SHA256, decoded.as_deref().unwrap_or_else(|| secret.expose())))
    }

    /// The value of `webhook-signature`. `seconds` is the time since the Unix epoch.
    pub(super) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of its libraries.
        let signer = Signer::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let (plain, coded) = (Signer::new(&Secret::new("abc")), Signer::new(&Secret::new("whsec_YWJj")));
        assert_eq!(plain.sign("a", 1, b"b"), coded.sign("a", 1, b"b"));
    }
}
