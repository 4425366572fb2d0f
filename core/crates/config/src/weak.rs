//! What may stand for what in a file: texts for numbers and switches, one value for a list of one, as Consul has always allowed.

use crate::value::{Data, Value};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// Go's spellings of a boolean.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's spellings of a whole number: decimal, or with `0x`, `0o`, `0b`, `0`.
fn parse_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // The sign stands before the prefix; another one after it is no number.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// What was expected and what stood there.
fn mismatch(expected: &str, value: &Value) -> String {
    match &value.data {
        Data::String(text) => format!("expected {expected}, got the text {text:?}"),
        Data::Int(_) | Data::Float(_) | Data::Bool(_) => format!("expected {expected}, got {}", value.to_json()),
        Data::Null | Data::List(_) | Data::Object(_) => format!("expected {expected}, got {}", article(value.kind())),
    }
}

fn article(kind: &str) -> String {
    match kind {
        "null" => kind.to_string(),
        "array" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
    let read = match &value.data {
        Data::Bool(b) => Some(*b),
        Data::Int(n) => Some(*n != 0),
        Data::String(text) if text.is_empty() => Some(false),
        Data::String(text) => parse_bool(text),
        _ => None,
    };
    read.ok_or_else(|| mismatch("true or false", value))
}

pub(crate) fn integer(value: &Value) -> Result<i64, String> {
    let read = match &value.data {
        Data::Bool(b) => Some(i64::from(*b)),
        Data::Int(n) => Some(*n),
        // Exact up to 2^53, which is far beyond any number that makes sense here.
        #[allow(clippy::cast_possible_truncation)]
        Data::Float(x) if x.abs() < 9_007_199_254_740_992.0 && *x as i64 as f64 == *x => Some(*x as i64),
        Data::String(text) => parse_int(text),
        _ => None,
    };
    read.ok_or_else(|| mismatch("a whole number", value))
}

pub(crate) fn float(value: &Value) -> Result<f64, String> {
    let read = match &value.data {
        Data::Int(n) => Some(*n as f64),
        Data::Float(x) => Some(*x),
        Data::String(text) => text.parse().ok().filter(|x: &f64| x.is_finite()),
        _ => None,
    };
    read.ok_or_else(|| mismatch("a number", value))
}

pub(crate) fn text(value: &Value) -> Result<String, String> {
    match &value.data {
        Data::String(text) => Ok(text.clone()),
        Data::Int(_) | Data::Float(_) => Ok(value.to_json()),
        Data::Bool(b) => Ok(if *b { "1" } else { "0" }.to_string()),
        _ => Err(mismatch("a text", value)),
    }
}

/// A list of texts; a single text is a list of one.
pub(crate) fn texts(value: &Value) -> Result<Vec<String>, String> {
    match &value.data {
        Data::Null => Ok(Vec::new()),
        Data::List(items) => items.iter().map(text).collect(),
        Data::Object(_) => Err(mismatch("a list of texts", value)),
        _ => Ok(vec![text(value)?]),
    }
}

/// A duration in nanoseconds; a bare number lacks its unit.
pub(crate) fn nanos(value: &Value) -> Result<i64, String> {
    crate::duration::parse_nanos(&text(value)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Position;

    fn value(data: Data) -> Value {
        Value { data, at: Position::default() }
    }

    fn string(text: &str) -> Value {
        value(Data::String(text.into()))
    }

    #[test]
    fn texts_stand_for_other_things() {
        for (text, expected) in [("true", Ok(true)), ("1", Ok(true)), ("", Ok(false)), ("F", Ok(false))] {
            assert_eq!(boolean(&string(text)), expected, "{text}");
        }
        assert_eq!(boolean(&string("maybe")).unwrap_err(), "expected true or false, got the text \"maybe\"");
        for (text, expected) in [
            ("80", Some(80)),
            ("-1", Some(-1)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("0b11", Some(3)),
            ("0o17", Some(15)),
            ("0", Some(0)),
            ("", None),
            ("-", None),
            ("0x-1", None),
            ("--1", None),
            ("eighty", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(integer(&string(text)).ok(), expected, "{text}");
        }
        assert_eq!(integer(&value(Data::Float(3.0))), Ok(3));
        assert_eq!(integer(&value(Data::Float(3.5))).unwrap_err(), "expected a whole number, got 3.5");
        assert_eq!(text(&value(Data::Int(5))), Ok("5".into()));
        assert_eq!(texts(&string("a")), Ok(vec!["a".into()]));
        assert_eq!(texts(&value(Data::Null)), Ok(vec![]));
        assert_eq!(nanos(&value(Data::Int(5))).unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(text(&value(Data::List(vec![]))).unwrap_err(), "expected a text, got an array");
    }
}
