//! Tokens and sets of keys with random faults: nothing panics, and what is accepted is what it looks like to another reader.
//!
//! The seed is fixed, so that a run can be repeated. The fuzz targets are in a crate of their own, which does not reach into a binary.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json, value::RawValue};

use super::{keys::FIXTURES, *};
use crate::auth::{jwk_set, key::Key};

/// What a fault puts in: what these formats are made of, and what readers disagree about.
const PARTS: [&str; 30] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    ".",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "1.5",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "é",
    "\0",
    " ",
    "\"alg\":\"none\",",
    "\"alg\":\"RS256\",",
    "\"crit\":[],",
    "\"kid\":\"a\",",
    "\"sub\":\"eve\",",
    "\"exp\":\"never\",",
    "\"kty\":\"oct\",",
    "\"rooms\":[\"*\"],",
    "=",
];

/// One change of a text.
#[derive(Debug, Clone)]
enum Fault {
    /// A byte becomes another one.
    Replace(Index, u8),
    /// These many bytes go.
    Remove(Index, u8),
    /// A part comes in.
    Insert(Index, &'static str),
    /// A stretch comes twice.
    Repeat(Index, u8),
}

impl Fault {
    fn apply(&self, text: &mut Vec<u8>) {
        match self {
            Self::Replace(at, byte) => {
                let at = at.index(text.len() + 1);
                text.get_mut(at).into_iter().for_each(|old| *old = *byte);
            }
            Self::Remove(at, count) => drop(text.drain(stretch(at, *count, text.len()))),
            Self::Insert(at, part) => {
                let at = at.index(text.len() + 1);
                drop(text.splice(at..at, part.bytes()));
            }
            Self::Repeat(at, count) => {
                let stretch = stretch(at, *count, text.len());
                let (end, again) = (stretch.end, text[stretch].to_vec());
                drop(text.splice(end..end, again));
            }
        }
    }
}

fn stretch(at: &Index, count: u8, length: usize) -> std::ops::Range<usize> {
    let start = at.index(length + 1);
    start..length.min(start + usize::from(count))
}

/// One of these texts, with a few faults.
fn faulty(texts: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let fault = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Fault::Replace(at, byte)),
        (any::<Index>(), 1..30_u8).prop_map(|(at, count)| Fault::Remove(at, count)),
        (any::<Index>(), select(&PARTS[..])).prop_map(|(at, part)| Fault::Insert(at, part)),
        (any::<Index>(), 1..30_u8).prop_map(|(at, count)| Fault::Repeat(at, count)),
    ];
    (select(texts), vec(fault, 0..4)).prop_map(|(text, faults)| {
        let mut text = text.into_bytes();
        faults.iter().for_each(|fault| fault.apply(&mut text));
        text
    })
}

/// Checks so many of them; returns how many of them were accepted.
fn check<T: Strategy>(cases: u32, strategy: &T, accepts: impl Fn(T::Value) -> bool) -> usize {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let accepted = std::cell::Cell::new(0);
    let outcome = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
        accepted.set(accepted.get() + usize::from(accepts(value)));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    accepted.get()
}

/// The members of an object, for a reader that looks at no more than it needs: what stands elsewhere may be any JSON.
fn members(json: &[u8]) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_slice(json).unwrap()
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn signed(header: &[u8], payload: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    format!("{message}.{}", crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap())
}

#[test]
fn a_header_with_faults_is_refused_or_says_what_it_was_taken_for() {
    let (verifier, payload) = (Verifier::new(&auth()), payload_with(r#""sub":"alice","#));
    let headers = [HS256, r#"{"alg":"HS256","kid":"k","x5t":"x","jku":null}"#].map(str::to_owned).to_vec();
    let accepted = check(4000, &faulty(headers), |header| {
        let is_accepted = verifier.verify(&signed(&header, payload.as_bytes()), now()).is_ok();
        if is_accepted {
            let header = members(&header);
            let names_key = |name: &&str| header.get(*name).is_some_and(|value| value.get() != "null");
            assert!(!["jwk", "jku", "x5u"].iter().any(names_key) && !header.contains_key("crit"), "{header:?}");
            assert_eq!(string(&header["alg"]).as_deref(), Some("HS256"));
        }
        is_accepted
    });
    assert!((100..3000).contains(&accepted), "{accepted} were accepted");
}

#[test]
fn claims_with_faults_are_refused_or_say_what_they_were_taken_for() {
    let verifier = Verifier::new(&auth());
    let claims = [
        payload_with(r#""sub":"alice","name":"Alice","rooms":["a","b"],"iat":1,"#),
        payload_with(r#""sub":7,"nbf":1,"rooms":"*","iss":"i","aud":["a"],"#),
        format!(r#"{{"sub":"a","exp":{NOW}.5,"nbf":null,"name":null}}"#),
    ];
    let accepted = check(8000, &faulty(claims.to_vec()), |payload| {
        let Ok(claims) = verifier.verify(&signed(HS256.as_bytes(), &payload), now()) else { return false };
        let read = members(&payload);
        let number = |name: &str| read[name].get().parse::<f64>().ok();
        match string(&read["sub"]) {
            Some(sub) => assert_eq!(claims.sub, sub),
            None => assert!(number("sub").is_some() && claims.sub.parse().ok() == number("sub"), "{read:?}"),
        }
        assert!(is_id(&claims.sub) && is_name(&claims.name), "{read:?}");
        // `exp` is required, and the wall clock may be off by the leeway.
        let leeway = auth().leeway;
        assert!(number("exp").is_some() && claims.exp.is_some_and(|exp| exp + leeway > now()), "{read:?}");
        true
    });
    assert!((100..6000).contains(&accepted), "{accepted} were accepted");
}

#[test]
fn no_other_text_is_the_same_token() {
    let (verifier, payload) = (Verifier::new(&auth()), payload_with(r#""sub":"alice","#));
    let token = signed(HS256.as_bytes(), payload.as_bytes());
    let accepted = check(4000, &faulty(vec![token.clone()]), |text| {
        let is_accepted = String::from_utf8(text.clone()).is_ok_and(|text| verifier.verify(&text, now()).is_ok());
        assert_eq!(is_accepted, text == token.as_bytes(), "{}", String::from_utf8_lossy(&text));
        is_accepted
    });
    assert!(accepted > 100, "{accepted} were left as they were");
}

#[test]
fn a_set_of_keys_with_faults_is_refused_or_holds_public_keys_that_it_names() {
    let keys: Vec<&Value> = FIXTURES.keys.values().filter_map(|key| key.jwk.as_ref()).collect();
    let sets = keys.iter().map(|key| json!({ "keys": [key] }).to_string());
    let sets: Vec<String> = sets.chain([json!({ "keys": keys }).to_string()]).collect();
    let accepted = check(3000, &faulty(sets), |set| {
        let Ok(read) = jwk_set::read(&set) else { return false };
        let document = members(&set);
        let keys: Vec<Box<RawValue>> = serde_json::from_str(document["keys"].get()).unwrap();
        assert!(!read.keys.is_empty() && read.keys.len() <= keys.len());
        assert!(!read.keys.iter().any(Key::is_secret));
        let kids: Vec<String> = keys
            .iter()
            .filter_map(|key| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(key.get()).ok())
            .filter_map(|key| string(key.get("kid")?))
            .collect();
        for kid in read.keys.iter().filter_map(Key::kid) {
            assert!(kids.iter().any(|named| named == kid), "{kid:?}");
        }
        true
    });
    assert!((100..2800).contains(&accepted), "{accepted} were accepted");
}
