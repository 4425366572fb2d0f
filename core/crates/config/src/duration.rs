//! Durations as Go reads and prints them, which is how every user of Consul writes them: `1.5h`, `1h2m3.5s`, `300ms`.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use thiserror::Error;

/// Why a text is no duration. The texts are those that users of Go programs know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not a number with a unit, or beyond 292 years.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A bare number.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A number with something else after it: text and unit.
    #[error("time: unknown unit {} in duration {}", quote(.1), quote(.0))]
    UnknownUnit(String, String),
}

/// Go's quoting, as far as it matters in a message.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// Reads a duration into nanoseconds: an optional sign, then one or more decimal numbers, each with a unit of `ns`, `us`, `µs`,
/// `ms`, `s`, `m`, `h`; or a plain `0`.
pub fn parse_nanos(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_string());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let scale = match unit {
            "" => return Err(DurationError::MissingUnit(text.to_string())),
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000_u64,
            _ => return Err(DurationError::UnknownUnit(text.to_string(), unit.to_string())),
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = whole.checked_mul(scale).ok_or_else(invalid)?;
        total = total
            .checked_add(part)
            .and_then(|sum| sum.checked_add(fraction_of(fraction, scale)))
            .ok_or_else(invalid)?;
        // 2^63 itself is kept for the most negative value.
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = next;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(nanos)) => Ok(nanos),
        (true, Ok(nanos)) => Ok(-nanos),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Err(_)) => Err(invalid()),
    }
}

/// Reads a duration; a negative one is zero, since nothing that the agent waits for is negative.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    Ok(from_nanos(parse_nanos(text)?))
}

/// Nanoseconds as JSON carries them; negative is zero.
#[must_use]
pub fn from_nanos(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// Nanoseconds as JSON carries them; more than 292 years is that.
#[must_use]
pub fn to_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Prints as Go does: `0s`, `150ms`, `1.5s`, `1m30s`, `24h0m0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    format_nanos(to_nanos(duration))
}

/// As [`format()`], for a signed number of nanoseconds.
#[must_use]
pub fn format_nanos(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    match n {
        0 => "0s".to_string(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => format!("{sign}{}\u{b5}s", decimal(n, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(n, 1_000_000)),
        _ => {
            let (minutes, below) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = decimal(below, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, m) => format!("{sign}{m}m{seconds}s"),
                (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
            }
        }
    }
}

/// `n / scale` in decimal, without trailing zeros.
fn decimal(n: u64, scale: u64) -> String {
    let (whole, mut part, mut width) = (n / scale, n % scale, scale.ilog10() as usize);
    if part == 0 {
        return whole.to_string();
    }
    while part % 10 == 0 {
        part /= 10;
        width -= 1;
    }
    format!("{whole}.{part:0width$}")
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.<digits> * scale`, cut to whole nanoseconds. Digits beyond what a nanosecond can show are ignored.
fn fraction_of(digits: &str, scale: u64) -> u64 {
    let (mut numerator, mut denominator) = (0_u128, 1_u128);
    for digit in digits.bytes().take(18) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    u64::try_from(numerator * u128::from(scale) / denominator).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        const S: i64 = 1_000_000_000;
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("1.5h", 5_400 * S),
            ("15.0s", 15 * S),
            ("9.998374s", 9_998_374_000),
            ("0.001s", 1_000_000),
            ("1h2m3.5s", 3_723 * S + S / 2),
            ("-1s", -S),
            ("+5s", 5 * S),
            ("300ms", 300_000_000),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("7ns", 7),
            (".5s", S / 2),
            ("1.s", S),
            ("1m1m", 120 * S),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_nanos(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn says_what_go_says() {
        for (text, message) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("abc", "time: invalid duration \"abc\""),
            (".s", "time: invalid duration \".s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1h5", "time: missing unit in duration \"1h5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("5 s", "time: unknown unit \" s\" in duration \"5 s\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("99999999999999999999h", "time: invalid duration \"99999999999999999999h\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
        ] {
            assert_eq!(parse_nanos(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn prints_what_go_prints() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (150_000_000, "150ms"),
            (3_300_000_000, "3.3s"),
            (90_000_000_000, "1m30s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (86_400_000_000_000, "24h0m0s"),
            (-1_000_000_000, "-1s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_nanos(nanos), text);
        }
    }

    #[test]
    fn negative_is_zero() {
        assert_eq!(parse("-1s"), Ok(Duration::ZERO));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos: i64) {
            prop_assert_eq!(parse_nanos(&format_nanos(nanos)), Ok(nanos));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.nuµmsh x]{0,24}|.{0,24}") {
            if let Ok(nanos) = parse_nanos(&text) {
                prop_assert_eq!(parse_nanos(&format_nanos(nanos)), Ok(nanos));
            }
        }
    }
}
