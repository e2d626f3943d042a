//! gzip and deflate for the bodies that answer polls (RFC 9110, 8.4.1 and 12.5.3).
//!
//! A body is compressed in the turn that sends it, so all connections of the shard wait for it. Hence [`Budget`]: what is
//! beyond it is sent as it is.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use flate2::{Compress, Compression, FlushCompress, Status};
use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

/// The option `http_compression` of Node's server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpCompression {
    /// Bodies with fewer bytes are not compressed. Default 1024.
    pub threshold: usize,
    /// Bodies with more bytes are not compressed. A shard compresses at most so many bytes in a row, and 4 MiB a second.
    /// Default 32 KiB.
    pub max_body: usize,
    /// The compression level, from 0 (none) to 9 (best). Default 2: JSON becomes a third with it. Level 6 needs three times
    /// as long, and saves 5 % more.
    pub level: u8,
}

impl Default for HttpCompression {
    fn default() -> Self {
        Self { threshold: 1024, max_body: 32 * 1024, level: 2 }
    }
}

/// How long a compressed byte counts against the [`Budget`]: 4 MiB in a second.
const TIME_OF_A_BYTE: Duration = Duration::from_nanos(238);

/// How much a shard may compress: a token bucket of `max_body` bytes.
#[derive(Debug, Default)]
pub struct Budget {
    /// When the bucket is full again.
    full: Option<Instant>,
}

impl Budget {
    /// Whether a body of `len` bytes may be compressed now. If so, it is counted.
    pub fn take(&mut self, config: &HttpCompression, len: usize, now: Instant) -> bool {
        let time = |bytes: usize| TIME_OF_A_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
        let full = self.full.map_or(now, |full| full.max(now)).checked_add(time(len));
        let fits = full.is_some_and(|full| full.duration_since(now) <= time(config.max_body));
        if fits {
            self.full = full;
        }
        fits
    }
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `gzip` (RFC 1952).
    Gzip,
    /// `deflate`, which is the zlib format (RFC 1950).
    Deflate,
}

impl Encoding {
    /// The name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// The coding that the client prefers: first by weight, then one that it names before one that `*` includes, then in
/// the order in which it names them; gzip before deflate if one `*` includes both. `None`: neither is acceptable.
#[must_use]
pub fn negotiate(headers: &HeaderMap) -> Option<Encoding> {
    let ranges: Vec<Range<'_>> = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(Range::parse)
        .collect();
    let rank = |encoding: Encoding| {
        let ranges = ranges.iter().enumerate();
        let fitting = ranges.filter_map(|(at, range)| range.names(encoding).map(|exact| (exact, range.weight, at)));
        fitting.max().filter(|(_, weight, _)| *weight > 0).map(|(exact, weight, at)| (weight, exact, usize::MAX - at))
    };
    let (gzip, deflate) = (rank(Encoding::Gzip), rank(Encoding::Deflate));
    if gzip.is_some() && gzip >= deflate { Some(Encoding::Gzip) } else { deflate.map(|_| Encoding::Deflate) }
}

/// One item of `Accept-Encoding`.
struct Range<'a> {
    coding: &'a [u8],
    /// The weight in thousandths.
    weight: u16,
}

impl<'a> Range<'a> {
    fn parse(item: &'a [u8]) -> Option<Self> {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().filter(|coding| !coding.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        Some(Self { coding, weight: weight.map_or(1000, thousandths) })
    }

    /// Whether it includes `encoding`, and if so, whether by name.
    fn names(&self, encoding: Encoding) -> Option<bool> {
        if self.coding == b"*" {
            return Some(false);
        }
        self.coding.eq_ignore_ascii_case(encoding.as_str().as_bytes()).then_some(true)
    }
}

/// RFC 9110, 12.4.2: 0 to 1 with up to three digits after the point. An invalid weight counts as 0.
fn thousandths(weight: &[u8]) -> u16 {
    let (whole, fraction) = match weight {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return 0,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    match whole {
        b'1' if fraction.iter().all(|digit| *digit == b'0') => 1000,
        b'0' => fraction.iter().zip([100, 10, 1]).map(|(digit, unit)| u16::from(digit - b'0') * unit).sum(),
        _ => 0,
    }
}

/// The coding for a body of `len` bytes, if any.
#[must_use]
pub fn choose(config: Option<&HttpCompression>, headers: &HeaderMap, len: usize) -> Option<Encoding> {
    config.filter(|config| (config.threshold..=config.max_body).contains(&len)).and_then(|_| negotiate(headers))
}

/// A compressor and the level it was made for.
type Kept = Option<(u8, Compress)>;

thread_local! {
    /// 260 KB each: too large to make and drop one for every poll.
    static GZIP: RefCell<Kept> = const { RefCell::new(None) };
    static DEFLATE: RefCell<Kept> = const { RefCell::new(None) };
}

/// The body in this coding. `None` if the compressor fails, which is not expected; the body is then sent uncompressed.
#[must_use]
pub fn compress(encoding: Encoding, body: &[u8], level: u8) -> Option<HeaderAndBody> {
    let level = level.min(9);
    let compression = Compression::new(level.into());
    let kept = match encoding {
        Encoding::Gzip => &GZIP,
        Encoding::Deflate => &DEFLATE,
    };
    let bytes = kept.with_borrow_mut(|kept| {
        let (_, compressor) = match kept {
            Some(kept) if kept.0 == level => kept,
            other => other.insert((
                level,
                match encoding {
                    Encoding::Gzip => Compress::new_gzip(compression, 15),
                    Encoding::Deflate => Compress::new(compression, true),
                },
            )),
        };
        compressor.reset();
        let (mut out, mut rest) = (Vec::with_capacity(body.len() / 4 + 64), body);
        loop {
            let before = compressor.total_in();
            let status = compressor.compress_vec(rest, &mut out, FlushCompress::Finish).ok()?;
            let taken = usize::try_from(compressor.total_in() - before).ok()?;
            rest = rest.get(taken..)?;
            if status == Status::StreamEnd {
                return Some(out);
            }
            out.reserve(out.len().max(64));
        }
    })?;
    Some(HeaderAndBody { content_encoding: HeaderValue::from_static(encoding.as_str()), bytes })
}

/// A compressed body, and the header that names its coding.
#[derive(Debug)]
pub struct HeaderAndBody {
    /// The value of `Content-Encoding`.
    pub content_encoding: HeaderValue,
    /// The bytes.
    pub bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn asked(values: &[&str]) -> Option<&'static str> {
        let headers =
            values.iter().map(|value| (ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())).collect::<HeaderMap>();
        negotiate(&headers).map(Encoding::as_str)
    }

    #[test]
    fn the_client_s_weights_decide_then_its_order() {
        for (values, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some("gzip")),
            (&["deflate"], Some("deflate")),
            (&["gzip, deflate, br"], Some("gzip")),
            (&["deflate, gzip"], Some("deflate")),
            (&["deflate", "gzip"], Some("deflate")),
            (&["gzip;q=0.5, deflate"], Some("deflate")),
            (&["gzip;q=0.5, deflate;q=0.25"], Some("gzip")),
            (&["deflate;q=0.501, gzip;q=0.5"], Some("deflate")),
            (&["GZIP"], Some("gzip")),
            (&["*"], Some("gzip")),
            (&["*;q=0.1, deflate;q=0.1"], Some("deflate")),
            (&["*, gzip;q=0"], Some("deflate")),
            (&["gzip;q=0"], None),
            (&["gzip;q=0, *"], Some("deflate")),
            (&["gzip;q=0.000"], None),
            (&["gzip; q=1.000"], Some("gzip")),
            (&["gzip;q=1.001"], None),
            (&["gzip;q=2"], None),
            (&["gzip;q=x, deflate;q=0.001"], Some("deflate")),
            (&["gzip;q=0.1234"], None),
            (&["br, identity"], None),
            (&["gzip;level=3;q=0.2, deflate;q=0.1"], Some("gzip")),
            (&[",,;,gzip"], Some("gzip")),
        ] {
            assert_eq!(asked(values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_body_below_the_threshold_is_not_compressed() {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        let config = HttpCompression::default();
        assert_eq!(choose(Some(&config), &headers, 1023), None);
        assert_eq!(choose(Some(&config), &headers, 1024), Some(Encoding::Gzip));
        assert_eq!(choose(None, &headers, 5000), None);
        assert_eq!(choose(Some(&config), &HeaderMap::new(), 5000), None);
    }

    #[test]
    fn a_long_body_is_not_compressed() {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        let config = HttpCompression::default();
        assert_eq!(choose(Some(&config), &headers, 32 * 1024), Some(Encoding::Gzip));
        assert_eq!(choose(Some(&config), &headers, 32 * 1024 + 1), None);
    }

    #[test]
    fn the_budget_is_one_long_body_and_comes_back_with_time() {
        let (config, start) = (HttpCompression::default(), Instant::now());
        let mut budget = Budget::default();
        assert!(budget.take(&config, 20_000, start));
        assert!(!budget.take(&config, 20_000, start), "two of them are too many at once");
        assert!(budget.take(&config, 12_000, start), "what was refused does not count");
        assert!(!budget.take(&config, 1024, start));
        let bytes_later = |bytes: u32| start + TIME_OF_A_BYTE * bytes;
        assert!(budget.take(&config, 1024, bytes_later(1024)));
        assert!(!budget.take(&config, 32 * 1024, bytes_later(32_000)));
        assert!(budget.take(&config, 32 * 1024, bytes_later(40_000)), "never more than the bucket holds");
        assert!(!budget.take(&config, 1024, bytes_later(40_000)));
    }

    #[test]
    fn other_libraries_read_the_compressed_bodies() {
        let bodies = [b"a".repeat(5000), (0..40_000_u32).flat_map(u32::to_be_bytes).collect(), vec![]];
        for body in bodies {
            // Twice and at several levels, because a compressor is reused.
            for level in [6, 6, 0, 9, 200] {
                let gzip = compress(Encoding::Gzip, &body, level).unwrap();
                assert_eq!(gzip.content_encoding, "gzip");
                let mut read = Vec::new();
                flate2::read::GzDecoder::new(&*gzip.bytes).read_to_end(&mut read).unwrap();
                assert!(read == body, "{level}");
                let deflate = compress(Encoding::Deflate, &body, level).unwrap();
                let mut read = Vec::new();
                flate2::read::ZlibDecoder::new(&*deflate.bytes).read_to_end(&mut read).unwrap();
                assert!(read == body, "{level}");
            }
        }
    }
}
