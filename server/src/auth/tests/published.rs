//! Keys that an issuer publishes: what of a set is taken, and an issuer that rotates its keys, fails, is slow or sends too much.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{Mutex, mpsc},
};

use serde_json::{Value, json};

use super::{
    keys::{FIXTURES, FixtureToken},
    *,
};
use crate::{auth::jwk_set, config::Url};

/// The longest that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn jwk(name: &str, kid: &str) -> Value {
    let mut jwk = FIXTURES.keys[name].jwk.clone().unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// A token by this key that names it.
fn token(key: &str) -> &'static str {
    let named = |token: &&FixtureToken| token.key == key && token.kid.is_some();
    &FIXTURES.tokens.iter().find(named).unwrap().token
}

#[test]
fn what_cannot_check_a_token_is_left_out() {
    let with = |name: &str, member: &str, value: Value| {
        let mut jwk = jwk(name, "it");
        jwk[member] = value;
        jwk
    };
    for (key, reason) in [
        (jwk("rsa", "it"), None),
        (jwk("p256", "it"), None),
        (jwk("p384", "it"), None),
        (jwk("ed25519", "it"), None),
        (with("rsa", "use", json!("sig")), None),
        (with("rsa", "use", Value::Null), None),
        (with("rsa", "alg", json!("PS512")), None),
        (with("ed25519", "alg", json!("Ed25519")), None),
        (with("rsa", "x5c", json!(["MIIB"])), None),
        (with("rsa", "use", json!("enc")), Some("use")),
        (with("rsa", "key_ops", json!(["encrypt"])), Some("key_ops")),
        (with("rsa", "alg", json!("HS256")), Some("alg")),
        (with("rsa", "alg", json!("ES256")), Some("alg")),
        (with("rsa", "alg", json!("RSA-OAEP")), Some("alg")),
        (with("rsa", "n", json!("%")), Some("base64url")),
        (with("rsa", "n", Value::Null), Some("no n")),
        (with("rsa", "e", json!("")), Some("exponent")),
        (with("rsa", "n", json!(7)), Some("no JWK")),
        (with("p256", "crv", json!("P-521")), Some("kind")),
        (with("p256", "crv", json!("P-384")), Some("form")),
        (with("p256", "y", json!("AA")), Some("form")),
        (with("ed25519", "x", json!("AA")), Some("32")),
        (with("rsa", "kty", json!("AKP")), Some("kind")),
        (jwk("rsa-1024", "it"), Some("1024 bits")),
        (json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "it" }), Some("secret")),
        (json!(7), Some("no JWK")),
    ] {
        let read = jwk_set::read(set(&[key.clone(), jwk("p256", "other")]).as_bytes()).unwrap();
        assert_eq!((read.keys.len(), read.ignored.len()), if reason.is_none() { (2, 0) } else { (1, 1) }, "{key}");
        assert!(reason.is_none_or(|reason| read.ignored[0].contains(reason)), "{key}: {:?}", read.ignored);
    }
    let twice =
        jwk_set::read(set(&[jwk("rsa", "a"), jwk("rsa", "a"), jwk("rsa", "b"), jwk("p256", "a")]).as_bytes()).unwrap();
    assert_eq!((twice.keys.len(), twice.ignored), (3, vec![r#"key "a" is there twice"#.to_owned()]));
    let with_alg = |alg: &str| with("rsa", "alg", json!(alg));
    let listed = [with_alg("RS256"), with_alg("RS512"), with_alg("RS256"), jwk("p256", "it")];
    let read = jwk_set::read(set(&listed).as_bytes()).unwrap();
    assert_eq!((read.keys.len(), read.ignored), (2, vec![r#"key "it" is there twice"#.to_owned()]));
    assert_eq!(read.keys[0].algorithms(), [Algorithm::RS256, Algorithm::RS512], "those of both entries");
    for no_set in
        ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, "<html>"]
    {
        assert!(jwk_set::read(no_set.as_bytes()).is_err(), "{no_set}");
    }
    let many: Vec<Value> = (0..150).map(|n| jwk("p256", &n.to_string())).collect();
    let read = jwk_set::read(set(&many).as_bytes()).unwrap();
    assert_eq!((read.keys.len(), read.ignored.len()), (100, 50));
    let useless: Vec<Value> = (0..10_000).map(|n| json!({ "kty": n.to_string() })).collect();
    assert!(jwk_set::read(set(&useless).as_bytes()).is_err());
}

/// What an issuer answers to one request.
#[derive(Clone)]
enum Answer {
    Body(String),
    Raw(&'static str),
    /// Nothing, until the other end has had enough of it or this is dropped.
    Silence,
}

/// An issuer, which says when it was asked.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Answer>>,
    asked: mpsc::Receiver<()>,
}

impl Issuer {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let (answer, (ask, asked)) = (Arc::new(Mutex::new(answer)), mpsc::channel());
        let answers = Arc::clone(&answer);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let answer = answers.lock().unwrap().clone();
                let _ = match answer {
                    Answer::Body(body) => {
                        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    }
                    Answer::Raw(text) => stream.write_all(text.as_bytes()),
                    Answer::Silence => {
                        std::mem::forget(stream);
                        Ok(())
                    }
                };
                let _ = ask.send(());
            }
        });
        Self { url, answer, asked }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn auth(&self, refresh: Duration) -> Auth {
        Auth { jwks: Some(Url::new(self.url.clone())), jwks_refresh: refresh, ..Auth::default() }
    }

    fn verifier(&self, refresh: Duration) -> Verifier {
        let auth = self.auth(refresh);
        Verifier::load(&auth).unwrap().with_jwks(&auth, None).unwrap()
    }

    fn was_asked(&self) {
        self.asked.recv_timeout(PATIENCE).expect("the issuer was not asked");
    }
}

/// The answer to a token, once it is known: whoever is told to come back does.
fn settled(verifier: &Verifier, token: &str) -> Result<Claims, AuthError> {
    let start = Instant::now();
    loop {
        match verifier.verify(token, now()) {
            Err(AuthError::KeyPending) if start.elapsed() < PATIENCE => std::thread::yield_now(),
            answer => return answer,
        }
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_key_is_chosen_by_its_kid() {
    // Under foreign names: the token's `rsa` is the other key.
    let issuer =
        Issuer::start(Answer::Body(set(&[jwk("rsa-other", "rsa"), jwk("rsa", "rsa-other"), jwk("p256", "p256")])));
    let verifier = issuer.verifier(LONG);
    assert!(verifier.verify(token("p256"), now()).is_ok());
    assert_eq!(verifier.verify(token("rsa"), now()), Err(AuthError::Invalid("wrong signature")));
    // One that names none is tried with all of them.
    let nameless = FIXTURES.tokens.iter().find(|token| token.key == "rsa" && token.kid.is_none()).unwrap();
    assert!(verifier.verify(&nameless.token, now()).is_ok());
    for header in [r#"{"alg":"HS256","kid":"p256"}"#, r#"{"alg":"none","kid":"p256"}"#] {
        let forged = craft(header, &payload_with(r#""sub":"mallory","#), "", Algorithm::HS256);
        assert_eq!(verifier.verify(&forged, now()).unwrap_err().code(), "token_invalid");
    }
}

#[test]
fn a_new_kid_has_the_set_fetched_once_in_a_while() {
    let issuer = Issuer::start(Answer::Body(set(&[jwk("rsa", "rsa")])));
    let verifier = issuer.verifier(LONG);
    issuer.was_asked();
    assert!(verifier.verify(token("rsa"), now()).is_ok());
    // The issuer rotates its keys.
    issuer.answers(Answer::Body(set(&[jwk("p256", "p256"), jwk("p384", "p384")])));
    assert_eq!(verifier.verify(token("p256"), now()), Err(AuthError::KeyPending));
    assert!(settled(&verifier, token("p256")).is_ok());
    issuer.was_asked();
    assert_eq!(verifier.verify(token("rsa"), now()).unwrap_err().code(), "token_invalid", "it was withdrawn");
    // A key that is newer yet is not refused, whoever else has had the set fetched.
    assert_eq!(verifier.verify(token("ed25519"), now()), Err(AuthError::KeyPending));
    assert!(issuer.asked.try_recv().is_err(), "an unknown key has it asked again so soon");
    let long = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "x".repeat(257));
    let long = craft(&long, &payload_with(r#""sub":"mallory","#), "", Algorithm::HS256);
    assert_eq!(verifier.verify(&long, now()).unwrap_err().code(), "token_invalid", "no set has such a key");
}

#[test]
fn the_last_keys_stay_while_the_issuer_fails() {
    let huge = set(&[jwk("rsa", &"x".repeat(1024 * 1024))]);
    let issuer = Issuer::start(Answer::Body(set(&[jwk("rsa", "rsa")])));
    let verifier = issuer.verifier(Duration::from_millis(1));
    issuer.was_asked();
    for failure in [
        Answer::Raw("HTTP/1.1 500 Oh no\r\ncontent-length: 0\r\n\r\n"),
        Answer::Raw("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
        Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"),
        Answer::Raw(""),
        Answer::Body(r#"{"keys":[]}"#.to_owned()),
        Answer::Body(huge),
    ] {
        issuer.answers(failure);
        // What it was asked before.
        while issuer.asked.try_recv().is_ok() {}
        // What is on its way may still be the answer before. So the second one from now on has failed, before there is a third.
        (0..3).for_each(|_| issuer.was_asked());
        assert!(verifier.verify(token("rsa"), now()).is_ok());
        assert_eq!(verifier.verify(token("p256"), now()), Err(AuthError::KeyPending), "it cannot be told");
        issuer.answers(Answer::Body(set(&[jwk("rsa", "rsa")])));
        assert!(settled(&verifier, token("p256")).is_err_and(|error| error.code() == "token_invalid"));
    }
    issuer.answers(Answer::Body(set(&[jwk("p256", "p256")])));
    assert!(settled_ok(&verifier, token("p256")));
}

/// Whether a token is taken in the end, although its key may not be there yet.
fn settled_ok(verifier: &Verifier, token: &str) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if verifier.verify(token, now()).is_ok() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn an_issuer_that_is_silent_holds_nobody_up() {
    let issuer = Issuer::start(Answer::Silence);
    let auth = issuer.auth(LONG);
    let started = Instant::now();
    let verifier = Verifier::load(&auth).unwrap().with_jwks(&auth, None).unwrap();
    assert!(started.elapsed() < Duration::from_secs(8), "the start waits 2 s, not for the fetch's end");
    let asked = Instant::now();
    assert_eq!(verifier.verify(token("rsa"), now()), Err(AuthError::KeyPending));
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_keys_stay_over_a_reload_until_there_are_others() {
    let issuer = Issuer::start(Answer::Body(set(&[jwk("rsa", "rsa")])));
    let verifier = issuer.verifier(LONG);
    issuer.was_asked();
    issuer.answers(Answer::Silence);
    // Another interval is no other issuer.
    let auth = issuer.auth(2 * LONG);
    let again = Verifier::load(&auth).unwrap().with_jwks(&auth, Some(&verifier)).unwrap();
    assert!(again.verify(token("rsa"), now()).is_ok());
    issuer.was_asked();
    // Another issuer fails at first.
    let other = Issuer::start(Answer::Raw("HTTP/1.1 500 Oh no\r\ncontent-length: 0\r\n\r\n"));
    let auth = other.auth(Duration::from_millis(1));
    let later = Verifier::load(&auth).unwrap().with_jwks(&auth, Some(&verifier)).unwrap();
    assert!(later.verify(token("rsa"), now()).is_ok());
    assert_eq!(later.verify(token("p256"), now()), Err(AuthError::KeyPending));
    other.answers(Answer::Body(set(&[jwk("p256", "p256"), jwk("rsa-other", "rsa")])));
    assert!(settled_ok(&later, token("p256")));
    assert_eq!(later.verify(token("rsa"), now()), Err(AuthError::Invalid("wrong signature")));
    // Its keys may have the names of the first one's.
    let third = Issuer::start(Answer::Silence);
    let auth = third.auth(LONG);
    let third = Verifier::load(&auth).unwrap().with_jwks(&auth, Some(&later)).unwrap();
    assert_eq!(third.verify(token("rsa"), now()), Err(AuthError::KeyPending));
}

#[test]
fn a_set_comes_from_a_file_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    std::fs::write(&path, set(&[jwk("rsa", "rsa")])).unwrap();
    let auth = Auth { jwks: Some(Url::new(path.to_str().unwrap())), ..Auth::default() };
    let verifier = Verifier::load(&auth).unwrap().with_jwks(&auth, None).unwrap();
    assert!(verifier.verify(token("rsa"), now()).is_ok());
    std::fs::write(&path, set(&[jwk("p256", "p256")])).unwrap();
    assert!(settled(&verifier, token("p256")).is_ok());
}
