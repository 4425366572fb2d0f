//! Randomness from the system, for seeds and ids. The core never sees where it comes from.

use std::fs::File;
use std::io::Read as _;

/// Fills from the system's generator.
///
/// # Panics
///
/// When the system has none: an agent with guessable ids would be worse than none.
fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut out)).expect("the system's random generator");
    out
}

/// A seed.
#[must_use]
pub fn u64() -> u64 {
    u64::from_le_bytes(bytes())
}

/// A random UUID (RFC 9562 section 5.4) as text.
#[must_use]
pub fn uuid() -> String {
    uuid::Builder::from_random_bytes(bytes()).into_uuid().hyphenated().to_string()
}
