//! Values of files, by the kind that is meant. Types are taken as they stand, as Consul takes them, except that a list of one may stand for
//! its item (that is how HCL writes blocks) and a fraction for the whole number in it.

use crate::value::{Data, Value};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Go's spellings of a boolean.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What a value stands for: a list of one is its item.
fn only(value: &Value) -> &Value {
    match &value.data {
        Data::List(items) => match items.as_slice() {
            [item] => item,
            _ => value,
        },
        _ => value,
    }
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
    match only(value).data {
        Data::Bool(b) => Ok(b),
        _ => Err(mismatch("true or false", value)),
    }
}

pub(crate) fn integer(value: &Value) -> Result<i64, String> {
    match only(value).data {
        Data::Int(n) => Ok(n),
        // Cut, not rounded; exact up to 2^53, which is far beyond any number that makes sense here.
        #[allow(clippy::cast_possible_truncation)]
        Data::Float(x) if x.abs() < 9_007_199_254_740_992.0 => Ok(x as i64),
        _ => Err(mismatch("a whole number", value)),
    }
}

pub(crate) fn float(value: &Value) -> Result<f64, String> {
    match only(value).data {
        Data::Int(n) => Ok(n as f64),
        Data::Float(x) => Ok(x),
        _ => Err(mismatch("a number", value)),
    }
}

pub(crate) fn text(value: &Value) -> Result<String, String> {
    match &only(value).data {
        Data::String(text) => Ok(text.clone()),
        _ => Err(mismatch("a text", value)),
    }
}

/// A list of texts.
pub(crate) fn texts(value: &Value) -> Result<Vec<String>, String> {
    match &value.data {
        Data::Null => Ok(Vec::new()),
        Data::List(items) => items.iter().map(text).collect(),
        _ => Err(mismatch("a list of texts", value)),
    }
}

/// A duration in nanoseconds.
pub(crate) fn nanos(value: &Value) -> Result<i64, String> {
    crate::duration::parse_nanos(&text(value)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Position;
    use alloc::vec;

    fn value(data: Data) -> Value {
        Value { data, at: Position::default() }
    }

    fn string(text: &str) -> Value {
        value(Data::String(text.into()))
    }

    #[test]
    fn types_are_taken_as_they_stand() {
        assert_eq!(boolean(&value(Data::Bool(true))), Ok(true));
        assert_eq!(boolean(&string("true")).unwrap_err(), "expected true or false, got the text \"true\"");
        assert_eq!(boolean(&value(Data::Int(1))).unwrap_err(), "expected true or false, got 1");
        assert_eq!(integer(&value(Data::Int(-1))), Ok(-1));
        assert_eq!(integer(&string("80")).unwrap_err(), "expected a whole number, got the text \"80\"");
        assert_eq!(float(&value(Data::Int(2))), Ok(2.0));
        assert_eq!(text(&value(Data::Int(5))).unwrap_err(), "expected a text, got 5");
        assert_eq!(texts(&string("a")).unwrap_err(), "expected a list of texts, got the text \"a\"");
        assert_eq!(texts(&value(Data::Null)), Ok(vec![]));
        assert_eq!(nanos(&string("5")).unwrap_err(), "time: missing unit in duration \"5\"");
    }

    #[test]
    fn a_list_of_one_is_its_item_and_a_fraction_is_cut() {
        let list = |items| value(Data::List(items));
        assert_eq!(text(&list(vec![string("a")])), Ok("a".into()));
        assert_eq!(texts(&list(vec![string("a"), string("b")])), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(text(&list(vec![])).unwrap_err(), "expected a text, got an array");
        assert_eq!(integer(&value(Data::Float(80.9))), Ok(80));
        assert!(integer(&value(Data::Float(1e300))).is_err());
    }
}
