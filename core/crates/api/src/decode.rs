//! Request bodies: one JSON value, decoded by Go's rules. Names of members match in any case, `null` leaves a member
//! as it is, unknown members are refused, and what follows the value is ignored.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use convoke_catalog::model::Str;
use convoke_config::duration;
use serde_json::{Map, Value};

use crate::response::Response;

/// Why a body cannot be decoded; shown after `Request decode failed: `.
pub(crate) type Decoded<T> = Result<T, String>;

/// The first JSON value of a body.
pub(crate) fn first(body: &[u8]) -> Decoded<Value> {
    match serde_json::Deserializer::from_slice(body).into_iter().next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(why)) => Err(why.to_string()),
        None => Err("EOF".to_string()),
    }
}

/// 400 in Consul's words.
pub(crate) fn failed(why: impl core::fmt::Display) -> Response {
    Response::text(400, format!("Request decode failed: {why}"))
}

/// The members of a value that should be an object; `null` has none.
pub(crate) fn members<'v>(value: &'v Value, what: &str) -> Decoded<Members<'v>> {
    match value {
        Value::Object(map) => Ok(Members(Some(map))),
        Value::Null => Ok(Members(None)),
        other => Err(format!("json: cannot unmarshal {} into Go value of type {what}", kind(other))),
    }
}

/// Members of an object.
pub(crate) struct Members<'v>(Option<&'v Map<String, Value>>);

impl<'v> Members<'v> {
    /// Calls `take` with each member's name in lower case and its value; it says whether it knows the name. Values
    /// that are `null` are passed over, unknown names refused.
    pub(crate) fn each(&self, mut take: impl FnMut(&str, &'v Value) -> Decoded<bool>) -> Decoded<()> {
        for (name, value) in self.0.into_iter().flatten() {
            if !take(&name.to_lowercase(), value)? {
                return Err(format!("json: unknown field {name:?}"));
            }
        }
        Ok(())
    }
}

/// What JSON calls a value.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn mismatch<T>(value: &Value, field: &str, wanted: &str) -> Decoded<T> {
    Err(format!("json: cannot unmarshal {} into Go struct field {field} of type {wanted}", kind(value)))
}

/// A text.
pub(crate) fn text(value: &Value, field: &str, into: &mut Str) -> Decoded<bool> {
    match value {
        Value::String(text) => *into = text.as_str().into(),
        Value::Null => {}
        other => return mismatch(other, field, "string"),
    }
    Ok(true)
}

/// A truth value.
pub(crate) fn flag(value: &Value, field: &str, into: &mut bool) -> Decoded<bool> {
    match value {
        Value::Bool(flag) => *into = *flag,
        Value::Null => {}
        other => return mismatch(other, field, "bool"),
    }
    Ok(true)
}

/// A whole number.
pub(crate) fn int(value: &Value, field: &str, into: &mut i64) -> Decoded<bool> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(number) => *into = number,
            None => {
                return Err(format!("json: cannot unmarshal number {number} into Go struct field {field} of type int"));
            }
        },
        Value::Null => {}
        other => return mismatch(other, field, "int"),
    }
    Ok(true)
}

/// A list of texts.
pub(crate) fn texts(value: &Value, field: &str, into: &mut Vec<Str>) -> Decoded<bool> {
    match value {
        Value::Array(items) => {
            into.clear();
            for item in items {
                let mut one = Str::default();
                text(item, field, &mut one)?;
                into.push(one);
            }
        }
        Value::Null => {}
        other => return mismatch(other, field, "[]string"),
    }
    Ok(true)
}

/// An object of texts.
pub(crate) fn pairs(value: &Value, field: &str, into: &mut Option<BTreeMap<Str, Str>>) -> Decoded<bool> {
    match value {
        Value::Object(map) => {
            let all = into.get_or_insert_with(BTreeMap::new);
            for (name, value) in map {
                let mut one = Str::default();
                text(value, field, &mut one)?;
                all.insert(name.as_str().into(), one);
            }
        }
        Value::Null => {}
        other => return mismatch(other, field, "map[string]string"),
    }
    Ok(true)
}

/// A duration: text as Go writes it, or a number of nanoseconds.
pub(crate) fn time(value: &Value, field: &str, into: &mut Duration) -> Decoded<bool> {
    match value {
        Value::String(text) if text.is_empty() => *into = Duration::ZERO,
        Value::String(text) => *into = duration::parse(text).map_err(|why| why.to_string())?,
        Value::Number(number) => *into = duration::from_nanos(number.as_f64().unwrap_or(0.0) as i64),
        Value::Null => {}
        other => return mismatch(other, field, "time.Duration"),
    }
    Ok(true)
}

/// Free-form JSON, kept as text.
pub(crate) fn free(value: &Value, into: &mut Str) -> Decoded<bool> {
    if !value.is_null() {
        *into = value.to_string().into();
    }
    Ok(true)
}
