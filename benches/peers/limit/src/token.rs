//! JWT with HS256: signature, `exp` and `nbf`, without leeway. The algorithm is pinned, never taken from the token
//! (RFC 8725, section 3.1).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use ring::hmac;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Verifies tokens of one secret.
#[derive(Debug)]
pub(crate) struct Verifier {
    key: hmac::Key,
    /// Reused for the decoded parts of a token.
    decoded: Vec<u8>,
}

#[derive(Deserialize)]
struct Header<'a> {
    alg: &'a str,
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: &'a RawValue,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    username: Option<&'a RawValue>,
    exp: f64,
    nbf: Option<f64>,
}

impl Verifier {
    /// For tokens signed with `secret`.
    pub(crate) fn new(secret: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), decoded: Vec::new() }
    }

    /// The end of every `message` event of the token's user: `,"userId":"…","username":"…"}]`.
    ///
    /// # Errors
    /// The code of the refusal.
    pub(crate) fn verify(&mut self, token: &str) -> Result<Box<str>, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("token_invalid")?;
        let (head, body) = signed.split_once('.').ok_or("token_invalid")?;
        let mut given = [0; 32];
        match BASE64_URL_SAFE_NO_PAD.decode_slice(signature, &mut given) {
            Ok(32) => hmac::verify(&self.key, signed.as_bytes(), &given).map_err(|_| "token_invalid")?,
            _ => return Err("token_invalid"),
        }
        let header: Header<'_> = self.decode(head, "token_invalid")?;
        if header.alg != "HS256" {
            return Err("token_invalid");
        }
        let claims: Claims<'_> = self.decode(body, "claims_invalid")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if claims.exp <= now {
            return Err("token_expired");
        }
        if claims.nbf.is_some_and(|nbf| nbf > now) {
            return Err("token_not_yet_valid");
        }
        let string = |value: &&RawValue| value.get().starts_with('"');
        let sub = Some(claims.sub).filter(string).ok_or("claims_invalid")?;
        let name = claims.name.filter(string).or_else(|| claims.username.filter(string)).unwrap_or(sub);
        Ok(format!(",\"userId\":{},\"username\":{}}}]", sub.get(), name.get()).into())
    }

    fn decode<'a, T: Deserialize<'a>>(&'a mut self, part: &str, code: &'static str) -> Result<T, &'static str> {
        self.decoded.clear();
        BASE64_URL_SAFE_NO_PAD.decode_vec(part, &mut self.decoded).map_err(|_| "token_invalid")?;
        serde_json::from_slice(&self.decoded).map_err(|_| code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(secret: &str, head: &str, claims: &str) -> String {
        let parts = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(head), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        format!("{parts}.{}", BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, parts.as_bytes())))
    }

    #[test]
    fn takes_only_valid_tokens() {
        let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
        let good = r#"{"sub":"a","exp":99999999999}"#;
        let cases = [
            (signed("s", hs256, good), Ok(r#","userId":"a","username":"a"}]"#)),
            (
                signed("s", hs256, r#"{"sub":"a","name":"A\"","exp":99999999999}"#),
                Ok(r#","userId":"a","username":"A\""}]"#),
            ),
            (signed("other", hs256, good), Err("token_invalid")),
            (signed("s", r#"{"alg":"none"}"#, good), Err("token_invalid")),
            (signed("s", hs256, r#"{"sub":"a","exp":1}"#), Err("token_expired")),
            (signed("s", hs256, r#"{"sub":"a","exp":99999999999,"nbf":99999999998}"#), Err("token_not_yet_valid")),
            (signed("s", hs256, r#"{"sub":"a"}"#), Err("claims_invalid")),
            (signed("s", hs256, r#"{"sub":1,"exp":99999999999}"#), Err("claims_invalid")),
            (signed("s", hs256, good).replace('.', ""), Err("token_invalid")),
        ];
        for (token, expected) in cases {
            assert_eq!(Verifier::new("s").verify(&token).as_deref(), expected.as_deref(), "{token}");
        }
    }
}
