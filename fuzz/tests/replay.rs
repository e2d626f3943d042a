//! Runs every target on stable Rust: over the committed corpus, over changed copies of it, and over random bytes.
//!
//! Every run is the same: the random numbers have a fixed seed, and the number of runs is fixed. A failure prints the
//! input as a byte string, which must be added to the corpus with the fix.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use fuzz::{TARGETS, Target};

/// The number of runs of each target with changed copies of the corpus, and with random bytes.
const ROUNDS: usize = 4_000;
const MAX_FILES: usize = 500;
const MAX_BYTES: usize = 1_000_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| self.byte()).collect()
    }

    /// Makes between one and eight small changes.
    fn changed(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            let until = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.byte(),
                2 => bytes.insert(at, self.byte()),
                3 if !bytes.is_empty() => drop(bytes.drain(at..until)),
                4 => bytes.extend_from_within(at.min(until)..until),
                5 => bytes.truncate(until),
                _ => {
                    let from = self.below(other.len());
                    let piece = other[from..].iter().take(1 + self.below(32)).copied();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// The seeds of one target by name, in a fixed order.
fn corpus(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder(target.name)).unwrap_or_else(|error| panic!("{}: {error}", target.name));
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        })
        .collect()
}

fn run(target: &Target, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if let Err(panic) = outcome {
        eprintln!("{} fails for b\"{}\"", target.name, input.escape_ascii());
        resume_unwind(panic);
    }
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

fn replay(name: &str) {
    let target = target(name);
    let seeds: Vec<Vec<u8>> = corpus(target).into_values().collect();
    assert!(!seeds.is_empty(), "{name} has no corpus");
    for seed in &seeds {
        run(target, seed);
    }
    let mut random = Random(name.len() as u64);
    for _ in 0..ROUNDS {
        let (seed, other) = (random.below(seeds.len()), random.below(seeds.len()));
        let input = random.changed(&seeds[seed], &seeds[other]);
        run(target, &input);
        let input = random.bytes(200);
        run(target, &input);
    }
}

#[test]
fn ws_frames() {
    replay("ws_frames");
}

#[test]
fn ws_deflate() {
    replay("ws_deflate");
}

#[test]
fn payload() {
    replay("payload");
}

#[test]
fn payload_v3() {
    replay("payload_v3");
}

#[test]
fn jsonp() {
    replay("jsonp");
}

#[test]
fn handshake() {
    replay("handshake");
}

#[test]
fn forwarded() {
    replay("forwarded");
}

#[test]
fn proxy_protocol() {
    replay("proxy_protocol");
}

#[test]
fn polling() {
    replay("polling");
}

#[test]
fn parser() {
    replay("parser");
}

#[test]
fn msgpack() {
    replay("msgpack");
}

#[test]
fn json() {
    replay("json");
}

#[test]
fn session() {
    replay("session");
}

#[test]
fn connection() {
    replay("connection");
}

#[test]
fn every_target_has_a_binary_and_the_corpus_stays_small() {
    let (mut files, mut bytes) = (0, 0);
    for target in &TARGETS {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{}.rs", target.name));
        let text = fs::read_to_string(&binary).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        assert!(text.contains(&format!("fuzz::{}(data)", target.name)), "{}", binary.display());
        let seeds = corpus(target);
        files += seeds.len();
        bytes += seeds.values().map(Vec::len).sum::<usize>();
    }
    assert!(files < MAX_FILES && bytes < MAX_BYTES, "{files} files, {bytes} bytes");
    assert_eq!(fs::read_dir(folder("")).unwrap().count(), TARGETS.len(), "a folder without a target");
}
