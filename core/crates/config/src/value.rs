//! The tree that HCL and JSON are read into: plain values that remember where they stood.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Nesting beyond this is refused, so that reading a tree never exhausts the stack.
pub const MAX_DEPTH: u32 = 64;

/// Where something stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which source, by index; the reader passes through what it was given.
    pub file: u32,
    /// From 1; 0: nowhere.
    pub line: u32,
    /// From 1, in bytes; 0: nowhere.
    pub column: u32,
}

/// Where the lines of a text begin, so that a byte offset becomes a position in logarithmic time.
pub(crate) struct Lines {
    file: u32,
    starts: Vec<usize>,
}

impl Lines {
    pub(crate) fn new(file: u32, text: &str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { file, starts: core::iter::once(0).chain(after_newlines).collect() }
    }

    pub(crate) fn position(&self, offset: usize) -> Position {
        // The first start is 0, so at least one is not beyond any offset.
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        Position {
            file: self.file,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(offset - start.min(offset) + 1).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it began. Equality is of the data alone.
#[derive(Clone, Debug)]
pub struct Value {
    /// The data.
    pub data: Data,
    /// Where it began.
    pub at: Position,
}

/// Names to values. A member's own position is that of its value's key.
pub type Object = BTreeMap<String, Member>;

/// A member of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where the key stood.
    pub at: Position,
    /// The value.
    pub value: Value,
}

/// What a value can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// JSON only.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number; always finite.
    Float(f64),
    /// Text.
    String(String),
    /// In order.
    List(Vec<Value>),
    /// By key. In HCL an object stands in a list of objects, since it may be written several times.
    Object(Object),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Value {
    /// Reads HCL 1 (or, as HashiCorp's parser does, JSON where the first character is a brace).
    pub fn from_hcl(text: &str) -> Result<Self, SyntaxError> {
        crate::hcl::parse(text, 0)
    }

    /// Reads JSON.
    pub fn from_json(text: &str) -> Result<Self, SyntaxError> {
        crate::json::parse(text, 0)
    }

    /// What the value is, in Go's words, as Consul's messages use them.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "null",
            Data::Bool(_) => "bool",
            Data::Int(_) | Data::Float(_) => "number",
            Data::String(_) => "string",
            Data::List(_) => "array",
            Data::Object(_) => "object",
        }
    }

    /// The object that this value is: itself, or the only item of a list, since an HCL block is a list of one. A block that stands twice
    /// where one is meant is refused, as Consul refuses it.
    #[must_use]
    pub fn as_object(&self) -> Option<Object> {
        match &self.data {
            Data::Object(object) => Some(object.clone()),
            Data::List(items) => match items.as_slice() {
                [] => Some(Object::new()),
                [Self { data: Data::Object(object), .. }] => Some(object.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The objects of a list. HCL makes lists of all blocks; in JSON the list must be written.
    #[must_use]
    pub fn as_objects(&self) -> Option<Vec<&Value>> {
        match &self.data {
            Data::List(items) => {
                items.iter().map(|item| matches!(item.data, Data::Object(_)).then_some(item)).collect()
            }
            _ => None,
        }
    }

    /// Compact JSON, exactly as the tree stands.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match &self.data {
            Data::Null => out.push_str("null"),
            Data::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Data::Int(n) => out.push_str(&n.to_string()),
            // Very large and very small numbers come out in full digits: long, but valid.
            Data::Float(x) => out.push_str(&format!("{x}")),
            Data::String(s) => quote_into(out, s),
            Data::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Data::Object(object) => {
                out.push('{');
                for (i, (key, member)) in object.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    quote_into(out, key);
                    out.push(':');
                    member.value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// Puts `from` over `into`: objects are merged, lists appended, anything else replaced.
pub fn merge(into: &mut Object, from: Object) {
    for (key, member) in from {
        match into.get_mut(&key) {
            None => {
                into.insert(key, member);
            }
            Some(old) => merge_member(old, member),
        }
    }
}

fn merge_member(old: &mut Member, new: Member) {
    old.at = new.at;
    match (&mut old.value.data, new.value.data) {
        (Data::Object(into), Data::Object(from)) => merge(into, from),
        (Data::List(into), Data::List(mut from)) => into.append(&mut from),
        (into, from) => {
            *into = from;
            old.value.at = new.value.at;
        }
    }
}

/// A JSON string, RFC 8259 section 7.
pub(crate) fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Why a text is neither HCL nor JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where.
    pub at: Position,
    /// What was met, and what was expected.
    pub message: String,
}

/// The error of both readers while they run: a byte offset, made a position at the end.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    pub(crate) fn locate(self, lines: &Lines) -> SyntaxError {
        SyntaxError { at: lines.position(self.offset), message: self.message }
    }
}

impl<I: winnow::stream::Stream + winnow::stream::Location> winnow::error::ParserError<I> for Fault {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        Self { offset: input.current_token_start(), message: "unexpected input".to_owned() }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}
