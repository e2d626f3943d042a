//! The check of a token at CONNECT.
//!
//! The server's own check is private to its binary. So this measures its two expensive parts as the server calls them:
//! the HS256 signature with `jsonwebtoken::crypto`, and, for comparison, that crate's full `decode` with the same rules
//! (algorithm pinned, `exp` required, a leeway).

use std::hint::black_box;
use std::time::Duration;

use benches::{handshake, subject::SECRET};
use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, crypto, decode};
use serde::Deserialize;

/// The claims that the server reads.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    name: Option<String>,
    exp: Option<u64>,
}

fn check(c: &mut Criterion) {
    let token = handshake::token(SECRET, 7).expect("it can be signed");
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let mut group = c.benchmark_group("token check, HS256");
    let (message, signature) = token.rsplit_once('.').expect("a token has three parts");
    group.bench_function("signature", |b| {
        b.iter(|| {
            let valid = crypto::verify(black_box(signature), black_box(message.as_bytes()), &key, Algorithm::HS256);
            assert!(valid.expect("the key is valid"));
        });
    });
    let mut rules = Validation::new(Algorithm::HS256);
    rules.validate_nbf = true;
    rules.leeway = 5;
    rules.validate_aud = false;
    group.bench_function("jsonwebtoken decode", |b| {
        b.iter(|| {
            let claims = decode::<Claims>(black_box(&token), &key, &rules).expect("the token is valid").claims;
            black_box((claims.sub, claims.name, claims.exp));
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = check
}
criterion_main!(benches);
