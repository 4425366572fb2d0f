//! `?filter=`: boolean expressions over rows, as Consul's `go-bexpr` reads them.
//!
//! * [`parse`]: text to expression. * [`schema`]: which selectors there are. * [`records`]: what they yield.
//!
//! A filter is checked against the schema of its list once, before any row is looked at; after that nothing can fail.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use regex::{Regex, RegexBuilder};

pub(crate) mod parse;
pub(crate) mod records;
pub(crate) mod schema;

use crate::call::refused;
use crate::query::{ReadOptions, boolean};
use crate::response::Response;
use parse::{Expr, Op, parse};
use records::{Record, Value};
use schema::{Kind, Schema};

/// A compiled pattern takes at most so many bytes.
const REGEX_SIZE: usize = 1 << 20;

/// Why a filter cannot be used, as users see it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to create boolean expression evaluator: {0}")]
pub(crate) enum Unusable {
    /// It is no expression.
    Unreadable(String),
    /// It names or asks what the list does not have.
    Senseless(String),
}

/// A filter, ready to use. The default keeps everything.
#[derive(Debug, Default)]
pub(crate) struct Filter(Option<Checked>);

#[derive(Debug)]
enum Checked {
    Or(Vec<Checked>),
    And(Vec<Checked>),
    Not(Box<Checked>),
    Test { path: Vec<String>, op: Op, operand: Operand },
}

#[derive(Debug)]
enum Operand {
    None,
    Text(String),
    Number(i64),
    Bool(bool),
    Pattern(Regex),
}

impl Filter {
    /// The filter of a read of the tables.
    pub(crate) fn of(read: &ReadOptions<'_>, schema: Schema) -> Result<Self, Response> {
        Self::compile(&read.filter, schema).map_err(|why| refused(why.to_string()))
    }

    /// The filter of this text.
    pub(crate) fn compile(text: &str, schema: Schema) -> Result<Self, Unusable> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let expr = parse(text).map_err(Unusable::Unreadable)?;
        check(expr, schema).map(|checked| Self(Some(checked))).map_err(Unusable::Senseless)
    }

    /// It keeps everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a row passes.
    pub(crate) fn keeps(&self, row: &dyn Record) -> bool {
        self.0.as_ref().is_none_or(|checked| checked.holds(row))
    }
}

impl Checked {
    fn holds(&self, row: &dyn Record) -> bool {
        match self {
            Self::Or(all) => all.iter().any(|c| c.holds(row)),
            Self::And(all) => all.iter().all(|c| c.holds(row)),
            Self::Not(inner) => !inner.holds(row),
            Self::Test { path, op, operand } => row.any(path, &|value| test(*op, operand, value)),
        }
    }
}

/// Whether a condition holds for a value. What is absent equals nothing and is in nothing; everything else is true of
/// it, even `matches`, as in Consul.
fn test(op: Op, operand: &Operand, value: Value<'_>) -> bool {
    let absent = matches!(value, Value::Absent);
    match op {
        Op::Equal => equal(operand, value),
        Op::NotEqual => !equal(operand, value),
        Op::In => contains(operand, value),
        Op::NotIn => !contains(operand, value),
        Op::IsEmpty => empty(value),
        Op::IsNotEmpty => !empty(value),
        Op::Matches => absent || matches(operand, value),
        Op::NotMatches => absent || !matches(operand, value),
    }
}

fn equal(operand: &Operand, value: Value<'_>) -> bool {
    match (operand, value) {
        (Operand::Text(a), Value::Text(b)) => a == b,
        (Operand::Number(a), Value::Number(b)) => *a == b,
        (Operand::Bool(a), Value::Bool(b)) => *a == b,
        _ => false,
    }
}

fn contains(operand: &Operand, value: Value<'_>) -> bool {
    let Operand::Text(wanted) = operand else { return false };
    match value {
        Value::Text(text) => text.contains(wanted.as_str()),
        Value::Texts(texts) => texts.iter().any(|text| **text == **wanted),
        Value::Pairs(pairs) => pairs.is_some_and(|pairs| pairs.contains_key(wanted.as_str())),
        Value::Addresses(addresses) => addresses.contains_key(wanted.as_str()),
        _ => false,
    }
}

fn empty(value: Value<'_>) -> bool {
    match value {
        Value::Texts(texts) => texts.is_empty(),
        Value::Pairs(pairs) => pairs.is_none_or(alloc::collections::BTreeMap::is_empty),
        Value::Addresses(addresses) => addresses.is_empty(),
        Value::Count(n) => n == 0,
        _ => false,
    }
}

fn matches(operand: &Operand, value: Value<'_>) -> bool {
    matches!((operand, value), (Operand::Pattern(pattern), Value::Text(text)) if pattern.is_match(text))
}

/// Resolves selectors and reads operands.
fn check(expr: Expr, schema: Schema) -> Result<Checked, String> {
    let each = |all: Vec<Expr>| all.into_iter().map(|expr| check(expr, schema)).collect::<Result<Vec<_>, _>>();
    Ok(match expr {
        Expr::Or(all) => Checked::Or(each(all)?),
        Expr::And(all) => Checked::And(each(all)?),
        Expr::Not(inner) => Checked::Not(Box::new(check(*inner, schema)?)),
        Expr::Match { selector, op, value } => {
            let shown = || selector.join(".");
            let Some(kind) = resolve(&selector, schema) else {
                // As far as the first part that leads nowhere.
                let known = (1..selector.len())
                    .take_while(|n| resolve(selector.get(..*n).unwrap_or_default(), schema).is_some());
                let wrong = selector.get(..=known.count()).unwrap_or(&selector);
                return Err(format!("Selector {:?} is not valid", wrong.join(".")));
            };
            if !allowed(op, kind) {
                return Err(format!("Invalid match operator {:?} for selector {:?}", op.name(), shown()));
            }
            let operand = operand(op, kind, value, &shown)?;
            Checked::Test { path: selector, op, operand }
        }
    })
}

/// What a selector yields; `None` if there is no such thing.
fn resolve(selector: &[String], schema: Schema) -> Option<Kind> {
    let [name, rest @ ..] = selector else { return None };
    let (_, kind) = schema.iter().find(|(known, _)| known == name)?;
    match (kind, rest) {
        (_, []) => Some(*kind),
        (Kind::Map, [_]) => Some(Kind::Text),
        (Kind::Record(inner) | Kind::Records(inner), _) => resolve(rest, inner),
        (Kind::RecordMap(inner), [_]) => Some(Kind::Record(inner)),
        (Kind::RecordMap(inner), [_, member @ ..]) => resolve(member, inner),
        _ => None,
    }
}

fn allowed(op: Op, kind: Kind) -> bool {
    match op {
        Op::Equal | Op::NotEqual => matches!(kind, Kind::Text | Kind::Number | Kind::Bool),
        Op::In | Op::NotIn => matches!(kind, Kind::Text | Kind::Texts | Kind::Map | Kind::RecordMap(_)),
        Op::IsEmpty | Op::IsNotEmpty => {
            matches!(kind, Kind::Texts | Kind::Map | Kind::Records(_) | Kind::RecordMap(_))
        }
        Op::Matches | Op::NotMatches => matches!(kind, Kind::Text),
    }
}

fn operand(op: Op, kind: Kind, value: String, selector: &dyn Fn() -> String) -> Result<Operand, String> {
    let coerce = |parser: &str| {
        format!(
            "Failed to coerce value {value:?} for selector {:?}: strconv.{parser}: parsing {value:?}: invalid syntax",
            selector()
        )
    };
    Ok(match (op, kind) {
        (Op::IsEmpty | Op::IsNotEmpty, _) => Operand::None,
        (Op::Matches | Op::NotMatches, _) => match RegexBuilder::new(&value).size_limit(REGEX_SIZE).build() {
            Ok(pattern) => Operand::Pattern(pattern),
            Err(why) => return Err(format!("Failed to compile regular expression {value:?}: {why}")),
        },
        (_, Kind::Number) => Operand::Number(integer(&value).ok_or_else(|| coerce("ParseInt"))?),
        (_, Kind::Bool) => Operand::Bool(boolean(&value).ok_or_else(|| coerce("ParseBool"))?),
        _ => Operand::Text(value),
    })
}

/// A number as Go's `strconv.ParseInt` takes it with base 0.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)?),
        Some("0b") => (2, lower.get(2..)?),
        Some("0o") => (8, lower.get(2..)?),
        Some(two) if two.starts_with('0') => (8, lower.get(1..)?),
        _ => (10, &*lower),
    };
    i64::try_from(i128::from_str_radix(digits, radix).ok()? * sign).ok()
}

#[cfg(test)]
mod tests;
