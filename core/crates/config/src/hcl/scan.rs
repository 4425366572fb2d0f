//! The tokens of HCL 1.

use crate::value::Fault;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use winnow::Parser;
use winnow::combinator::opt;
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, take_till, take_until, take_while};

#[derive(Debug, PartialEq)]
pub(super) enum Token {
    End,
    Ident(String),
    String(String),
    Heredoc(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    Assign,
    Comma,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
}

impl Token {
    /// As HCL 1's own messages call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::End => "EOF",
            Self::Ident(_) => "IDENT",
            Self::String(_) => "STRING",
            Self::Heredoc(_) => "HEREDOC",
            Self::Bool(_) => "BOOL",
            Self::Int(_) => "NUMBER",
            Self::Float(_) => "FLOAT",
            Self::Assign => "ASSIGN",
            Self::Comma => "COMMA",
            Self::OpenBrace => "LBRACE",
            Self::CloseBrace => "RBRACE",
            Self::OpenBracket => "LBRACK",
            Self::CloseBracket => "RBRACK",
        }
    }
}

type Input<'i> = LocatingSlice<&'i str>;

/// Reads token after token; after an error it must not be asked again.
pub(super) struct Scanner<'i> {
    input: Input<'i>,
}

impl<'i> Scanner<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        let mut input = LocatingSlice::new(text);
        // A byte order mark is allowed at the very beginning.
        if text.starts_with('\u{feff}') {
            let _ = input.next_token();
        }
        Self { input }
    }

    /// The next token and the byte where it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token), Fault> {
        let input = &mut self.input;
        white_and_comments(input)?;
        let start = input.current_token_start();
        let Some(first) = input.peek_token() else { return Ok((start, Token::End)) };
        let token = match first {
            c if is_letter(c) => word(input)?,
            '0'..='9' | '.' => number(input, false)?,
            '-' => {
                skip(input)?;
                number(input, true)?
            }
            '"' => Token::String(string(input)?),
            '<' => Token::Heredoc(heredoc(input)?),
            _ => {
                let token = match first {
                    '=' => Token::Assign,
                    ',' => Token::Comma,
                    '{' => Token::OpenBrace,
                    '}' => Token::CloseBrace,
                    '[' => Token::OpenBracket,
                    ']' => Token::CloseBracket,
                    _ => return Err(Fault::new(start, format!("illegal character {first:?}"))),
                };
                skip(input)?;
                token
            }
        };
        Ok((start, token))
    }
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn skip(input: &mut Input<'_>) -> Result<(), Fault> {
    any.void().parse_next(input)
}

fn taken<'i>(input: &mut Input<'i>, set: impl Fn(char) -> bool) -> Result<&'i str, Fault> {
    take_while(0.., set).parse_next(input)
}

fn white_and_comments(input: &mut Input<'_>) -> Result<(), Fault> {
    loop {
        taken(input, |c| matches!(c, ' ' | '\t' | '\r' | '\n'))?;
        let start = input.current_token_start();
        match input.peek_token() {
            Some('#') => {
                taken(input, |c| c != '\n')?;
            }
            Some('/') => {
                skip(input)?;
                match input.peek_token() {
                    Some('/') => {
                        taken(input, |c| c != '\n')?;
                    }
                    Some('*') => {
                        skip(input)?;
                        let body: Result<(&str, &str), Fault> = (take_until(0.., "*/"), "*/").parse_next(input);
                        body.map_err(|_| Fault::new(start, "comment not terminated"))?;
                    }
                    _ => return Err(Fault::new(start, "expected '/' or '*' for a comment")),
                }
            }
            _ => return Ok(()),
        }
    }
}

fn word(input: &mut Input<'_>) -> Result<Token, Fault> {
    let text = taken(input, |c| is_letter(c) || c.is_numeric() || c == '-' || c == '.')?;
    Ok(match text {
        "true" => Token::Bool(true),
        "false" => Token::Bool(false),
        _ => Token::Ident(text.to_string()),
    })
}

/// Decimal, octal with a leading zero, hexadecimal, or with a fraction or an exponent. The sign has been read.
fn number(input: &mut Input<'_>, negative: bool) -> Result<Token, Fault> {
    let start = input.current_token_start();
    let bad = |message: &str| Err(Fault::new(start, message));
    if opt::<_, _, Fault, _>(("0", winnow::token::one_of(['x', 'X']))).parse_next(input)?.is_some() {
        let digits = taken(input, |c| c.is_ascii_hexdigit())?;
        if digits.is_empty() {
            return bad("illegal hexadecimal number");
        }
        return integer(start, negative, digits, 16);
    }
    let whole = taken(input, |c| c.is_ascii_digit())?;
    let mut text = String::from(whole);
    let mut float = false;
    if input.peek_token() == Some('.') {
        skip(input)?;
        let fraction = taken(input, |c| c.is_ascii_digit())?;
        if fraction.is_empty() {
            return bad("illegal number: digits expected after the point");
        }
        text = format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole });
        float = true;
    } else if whole.is_empty() {
        return bad("illegal character '-': a number is expected after it");
    }
    if let Some('e' | 'E') = input.peek_token() {
        skip(input)?;
        let sign: Option<char> = opt::<_, _, Fault, _>(winnow::token::one_of(['+', '-'])).parse_next(input)?;
        let exponent = taken(input, |c| c.is_ascii_digit())?;
        if exponent.is_empty() {
            return bad("illegal number: digits expected in the exponent");
        }
        text = format!("{text}e{}{exponent}", sign.unwrap_or('+'));
        float = true;
    }
    if float {
        return match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Token::Float(if negative { -x } else { x })),
            _ => bad("number out of range"),
        };
    }
    if whole.len() > 1 && whole.starts_with('0') {
        if whole.contains(['8', '9']) {
            return bad("illegal octal number");
        }
        return integer(start, negative, whole, 8);
    }
    integer(start, negative, whole, 10)
}

fn integer(start: usize, negative: bool, digits: &str, radix: u32) -> Result<Token, Fault> {
    let signed = format!("{}{digits}", if negative { "-" } else { "" });
    i64::from_str_radix(&signed, radix).map(Token::Int).map_err(|_| Fault::new(start, "number out of range"))
}

/// A quoted text. Within `${...}` everything, quotes included, is taken as it stands; that is how templates of other programs
/// pass through unchanged.
fn string(input: &mut Input<'_>) -> Result<String, Fault> {
    let start = input.current_token_start();
    let unterminated = || Fault::new(start, "literal not terminated");
    skip(input)?;
    // Bytes, because `\xe9` is one byte and may be no character by itself.
    let mut out: Vec<u8> = Vec::new();
    loop {
        let plain: Result<&str, Fault> = take_till(0.., ['"', '\\', '$', '\n']).parse_next(input);
        out.extend_from_slice(plain?.as_bytes());
        match input.next_token() {
            Some('"') => return Ok(String::from_utf8_lossy(&out).into_owned()),
            Some('\\') => escape(input, &mut out)?,
            Some('$') => {
                out.push(b'$');
                if input.peek_token() == Some('{') {
                    interpolation(input, &mut out).ok_or_else(unterminated)?;
                }
            }
            _ => return Err(unterminated()),
        }
    }
}

/// From the opening brace to the one that closes it.
fn interpolation(input: &mut Input<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut depth = 0_usize;
    loop {
        let c = input.next_token()?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(()),
            '}' => depth -= 1,
            // What is escaped neither opens nor closes.
            '\\' => out.extend_from_slice(input.next_token()?.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => {}
        }
    }
}

/// What follows a backslash.
fn escape(input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = input.current_token_start();
    let illegal = || Fault::new(start, "illegal char escape");
    let kind = input.next_token().ok_or_else(illegal)?;
    let byte = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        '0'..='7' => {
            let rest = digits(input, 2, 8).ok_or_else(illegal)?;
            let first = kind.to_digit(8).ok_or_else(illegal)?;
            u8::try_from(first * 64 + rest).map_err(|_| illegal())?
        }
        'x' => digits(input, 2, 16).and_then(|n| u8::try_from(n).ok()).ok_or_else(illegal)?,
        'u' | 'U' => {
            let code = digits(input, if kind == 'u' { 4 } else { 8 }, 16).filter(|n| *n <= 0x10_ffff);
            let c = char::from_u32(code.ok_or_else(illegal)?).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        _ => return Err(illegal()),
    };
    out.push(byte);
    Ok(())
}

/// Exactly `count` digits.
fn digits(input: &mut Input<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut value = 0_u32;
    for _ in 0..count {
        value = value.checked_mul(radix)?.checked_add(input.next_token()?.to_digit(radix)?)?;
    }
    Some(value)
}

/// `<<NAME` and lines up to one that holds `NAME` alone. With `<<-NAME` the white space before that last line is taken off every line, if
/// every line has it.
fn heredoc(input: &mut Input<'_>) -> Result<String, Fault> {
    let start = input.current_token_start();
    let opening: Result<&str, Fault> = "<<".parse_next(input);
    opening.map_err(|_| Fault::new(start, "heredoc expected second '<', didn't see it"))?;
    let indented = opt::<_, _, Fault, _>('-').parse_next(input)?.is_some();
    let name = taken(input, |c| is_letter(c) || c.is_numeric())?;
    if name.is_empty() {
        return Err(Fault::new(start, "zero-length heredoc anchor"));
    }
    taken(input, |c| c == '\r')?;
    match input.next_token() {
        Some('\n') => {}
        Some(_) => return Err(Fault::new(start, "invalid characters in heredoc anchor")),
        None => return Err(Fault::new(start, "heredoc not terminated")),
    }
    let mut lines: Vec<&str> = Vec::new();
    let margin = loop {
        let line: Result<(&str, char), Fault> = (take_till(0.., '\n'), '\n').parse_next(input);
        let (line, _) = line.map_err(|_| Fault::new(start, "heredoc not terminated: its last line must end, too"))?;
        if line.trim_end_matches('\r').trim_start() == name {
            break line.strip_suffix('\r').unwrap_or(line).trim_end_matches('\r').strip_suffix(name).unwrap_or("");
        }
        lines.push(line);
    };
    let mut out = String::new();
    let cut = if indented && lines.iter().all(|line| line.starts_with(margin)) { margin.len() } else { 0 };
    for line in lines {
        out.push_str(line.get(cut..).unwrap_or(line));
        out.push('\n');
    }
    // HCL 1 leaves the space before an indented end in the text when it is not asked to take indentation off.
    if !indented {
        out.push_str(margin);
    }
    Ok(out)
}
