//! JSON (RFC 8259) to [`Value`], with the positions that messages need.
//!
//! Bounded by [`MAX_DEPTH`]; of equal keys the last one wins, as in Go.

use crate::value::{Data, Fault, Lines, MAX_DEPTH, Member, Object, SyntaxError, Value};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use winnow::Parser;
use winnow::ascii::{digit0, digit1};
use winnow::combinator::opt;
use winnow::error::ParserError;
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, literal, one_of, take_while};

type Input<'i> = LocatingSlice<&'i str>;

/// Reads one value; nothing but white space may follow it.
pub fn parse(text: &str, file: u32) -> Result<Value, SyntaxError> {
    let lines = Lines::new(file, text);
    let mut input = LocatingSlice::new(text);
    let value = document(&mut input, &lines).map_err(|fault| fault.locate(&lines))?;
    white(&mut input).map_err(|fault| fault.locate(&lines))?;
    match input.peek_token() {
        None => Ok(value),
        Some(c) => {
            Err(Fault::new(here(&input), format!("invalid character {c:?} after top-level value")).locate(&lines))
        }
    }
}

/// Reads one value and ignores what follows it, as Consul's HTTP API does with request bodies.
pub fn parse_first(text: &str) -> Result<Value, SyntaxError> {
    let lines = Lines::new(0, text);
    document(&mut LocatingSlice::new(text), &lines).map_err(|fault| fault.locate(&lines))
}

fn document(input: &mut Input<'_>, lines: &Lines) -> Result<Value, Fault> {
    white(input)?;
    if input.peek_token().is_none() {
        return Err(Fault::new(here(input), "EOF"));
    }
    value(input, lines, 0)
}

fn here(input: &Input<'_>) -> usize {
    input.current_token_start()
}

fn white<'i>(input: &mut Input<'i>) -> Result<&'i str, Fault> {
    take_while(0.., [' ', '\t', '\r', '\n']).parse_next(input)
}

/// What stands here instead of what was expected.
fn unexpected(input: &Input<'_>, context: &str) -> Fault {
    match input.peek_token() {
        None => Fault::new(here(input), "unexpected end of JSON input"),
        Some(c) => Fault::new(here(input), format!("invalid character {c:?} {context}")),
    }
}

fn value(input: &mut Input<'_>, lines: &Lines, depth: u32) -> Result<Value, Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::new(here(input), format!("nested deeper than {MAX_DEPTH} levels")));
    }
    let at = lines.position(here(input));
    let data = match input.peek_token() {
        Some('{') => object(input, lines, depth)?,
        Some('[') => list(input, lines, depth)?,
        Some('"') => Data::String(string(input)?),
        Some('-' | '0'..='9') => number(input)?,
        Some('t') => word(input, "true", Data::Bool(true))?,
        Some('f') => word(input, "false", Data::Bool(false))?,
        Some('n') => word(input, "null", Data::Null)?,
        _ => return Err(unexpected(input, "looking for beginning of value")),
    };
    Ok(Value { data, at })
}

fn word(input: &mut Input<'_>, word: &'static str, data: Data) -> Result<Data, Fault> {
    let start = here(input);
    let outcome: Result<&str, Fault> = literal(word).parse_next(input);
    outcome.map_err(|_| Fault::new(start, format!("invalid literal, expected {word}")))?;
    Ok(data)
}

fn object(input: &mut Input<'_>, lines: &Lines, depth: u32) -> Result<Data, Fault> {
    skip(input)?;
    let mut members = Object::new();
    white(input)?;
    if input.peek_token() == Some('}') {
        skip(input)?;
        return Ok(Data::Object(members));
    }
    loop {
        white(input)?;
        let at = lines.position(here(input));
        if input.peek_token() != Some('"') {
            return Err(unexpected(input, "looking for beginning of object key string"));
        }
        let key = string(input)?;
        white(input)?;
        if input.peek_token() != Some(':') {
            return Err(unexpected(input, "after object key"));
        }
        skip(input)?;
        white(input)?;
        let value = value(input, lines, depth + 1)?;
        members.insert(key, Member { at, value });
        white(input)?;
        match input.peek_token() {
            Some(',') => skip(input)?,
            Some('}') => {
                skip(input)?;
                return Ok(Data::Object(members));
            }
            _ => return Err(unexpected(input, "after object key:value pair")),
        }
    }
}

fn list(input: &mut Input<'_>, lines: &Lines, depth: u32) -> Result<Data, Fault> {
    skip(input)?;
    let mut items = Vec::new();
    white(input)?;
    if input.peek_token() == Some(']') {
        skip(input)?;
        return Ok(Data::List(items));
    }
    loop {
        white(input)?;
        items.push(value(input, lines, depth + 1)?);
        white(input)?;
        match input.peek_token() {
            Some(',') => skip(input)?,
            Some(']') => {
                skip(input)?;
                return Ok(Data::List(items));
            }
            _ => return Err(unexpected(input, "after array element")),
        }
    }
}

/// One character that was looked at before.
fn skip(input: &mut Input<'_>) -> Result<(), Fault> {
    any.void().parse_next(input)
}

fn number(input: &mut Input<'_>) -> Result<Data, Fault> {
    let start = here(input);
    let whole = (opt('-'), one_of('0'..='9'), digit0).take();
    let fraction = opt(('.', digit1));
    let exponent = opt((one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1));
    let mut all = (whole, fraction, exponent).with_taken();
    let outcome: Result<((&str, Option<_>, Option<_>), &str), Fault> = all.parse_next(input);
    let ((whole, fraction, exponent), text) =
        outcome.map_err(|fault| Fault::new(fault.offset, "invalid character in numeric literal"))?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(Fault::new(start, "invalid number: leading zero"));
    }
    if fraction.is_none()
        && exponent.is_none()
        && let Ok(n) = whole.parse()
    {
        return Ok(Data::Int(n));
    }
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(Data::Float(x)),
        _ => Err(Fault::new(start, format!("number {text} is out of range"))),
    }
}

fn string(input: &mut Input<'_>) -> Result<String, Fault> {
    skip(input)?;
    let mut out = String::new();
    loop {
        let plain: Result<&str, Fault> = take_while(0.., |c: char| c != '"' && c != '\\' && c >= ' ').parse_next(input);
        out.push_str(plain?);
        match input.peek_token() {
            Some('"') => {
                skip(input)?;
                return Ok(out);
            }
            Some('\\') => {
                skip(input)?;
                out.push(escape(input)?);
            }
            _ => return Err(unexpected(input, "in string literal")),
        }
    }
}

/// What follows a backslash. Half a surrogate pair becomes U+FFFD, as in Go.
fn escape(input: &mut Input<'_>) -> Result<char, Fault> {
    let Some(c) = input.peek_token() else { return Err(unexpected(input, "")) };
    let plain = match c {
        '"' | '\\' | '/' => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            skip(input)?;
            let first = hex4(input)?;
            if !(0xd800..0xdc00).contains(&first) {
                return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            let back = input.checkpoint();
            if let (Ok(_), Ok(second)) = ("\\u".parse_next(input) as Result<&str, Fault>, hex4(input))
                && (0xdc00..0xe000).contains(&second)
            {
                let joined = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            input.reset(&back);
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        _ => return Err(unexpected(input, "in string escape code")),
    };
    skip(input)?;
    Ok(plain)
}

fn hex4(input: &mut Input<'_>) -> Result<u32, Fault> {
    let outcome: Result<&str, Fault> = take_while(4..=4, |c: char| c.is_ascii_hexdigit()).parse_next(input);
    let digits = outcome.map_err(|_| unexpected(input, "in \\u hexadecimal character escape"))?;
    u32::from_str_radix(digits, 16).map_err(|_| Fault::from_input(input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn reads_json() {
        for (text, json) in [
            (" null ", "null"),
            ("[true, false,\n1, -2, 1.5, 1e3, \"x\"]", r#"[true,false,1,-2,1.5,1000,"x"]"#),
            (r#"{"b":{},"a":[]}"#, r#"{"a":[],"b":{}}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d\u0041""#, "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\té😀\u{fffd}A\""),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854776000"),
            ("0", "0"),
            ("-0", "0"),
        ] {
            assert_eq!(parse(text, 0).unwrap().to_json(), json, "{text}");
        }
    }

    #[test]
    fn refuses_with_position() {
        for (text, position, message) in [
            ("", "1:1", "EOF"),
            ("{ broken", "1:3", "invalid character 'b' looking for beginning of object key string"),
            ("{\n\"a\" 1}", "2:5", "invalid character '1' after object key"),
            ("{\"a\":\n 1 2}", "2:4", "invalid character '2' after object key:value pair"),
            ("[1,]", "1:4", "invalid character ']' looking for beginning of value"),
            ("[1", "1:3", "unexpected end of JSON input"),
            ("01", "1:1", "invalid number: leading zero"),
            ("1.", "1:2", "invalid character '.' after top-level value"),
            ("-", "1:2", "invalid character in numeric literal"),
            ("1e999", "1:1", "number 1e999 is out of range"),
            ("\"a\nb\"", "1:3", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "1:3", "invalid character 'x' in string escape code"),
            ("\"\\u12\"", "1:4", "invalid character '1' in \\u hexadecimal character escape"),
            ("tru", "1:1", "invalid literal, expected true"),
            ("{} x", "1:4", "invalid character 'x' after top-level value"),
        ] {
            let error = parse(text, 7).unwrap_err();
            assert_eq!((error.at.to_string().as_str(), error.message.as_str()), (position, message), "{text}");
            assert_eq!(error.at.file, 7);
        }
        assert_eq!(parse_first("{} x").unwrap().to_json(), "{}");
    }

    #[test]
    fn depth_is_bounded() {
        let nest = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&nest(MAX_DEPTH as usize), 0).is_ok());
        assert!(parse(&nest(100_000), 0).is_err());
    }

    fn tree() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            proptest::prelude::any::<bool>().prop_map(Into::into),
            proptest::prelude::any::<i64>().prop_map(Into::into),
            (-1e9..1e9).prop_map(|x: f64| x.into()),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..5)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}:,\"\\\\a0-9eE.+u -]{0,20}|\\PC{0,20}") {
            let ours = parse(&text, 0).ok().map(|v| serde_json::from_str::<serde_json::Value>(&v.to_json()).unwrap());
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            // Halves of surrogate pairs are an error there.
            if let Ok(theirs) = theirs {
                let read = ours.expect("refused what serde_json reads");
                prop_assert_eq!(read.is_object(), theirs.is_object());
                prop_assert_eq!(read.is_array(), theirs.is_array());
                prop_assert_eq!(read.as_str(), theirs.as_str());
            } else if !text.contains("\\u") {
                prop_assert!(ours.is_none(), "read what serde_json refuses: {}", text);
            }
        }

        #[test]
        fn round_trip(tree in tree()) {
            let ours = parse(&tree.to_string(), 0).unwrap();
            let again: serde_json::Value = serde_json::from_str(&ours.to_json()).unwrap();
            let third = parse(&ours.to_json(), 0).unwrap();
            prop_assert_eq!(&third, &ours);
            prop_assert_eq!(again.is_object(), tree.is_object());
        }
    }
}
