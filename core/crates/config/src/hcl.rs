//! HCL 1 to [`Value`], as HashiCorp's own HCL 1.0 reads it (not HCL 2).
//!
//! A text is a list of items: one or more keys, then `= value` or a block. Every object stands in a list of objects, except directly inside a
//! list, because a block may be written several times; keys after the first nest (`service "web" {}` is `service { "web" {} }`). Of a key
//! written again, lists are appended and plain values replaced.
//!
//! Linear in the input and bounded by [`MAX_DEPTH`]; total on any text.

mod scan;

use crate::value::{Data, Fault, Lines, MAX_DEPTH, Member, Object, Position, SyntaxError, Value};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use scan::{Scanner, Token};

/// Reads a text into an object. Where its first character is a brace it is JSON, and read so.
pub fn parse(text: &str, file: u32) -> Result<Value, SyntaxError> {
    if text.trim_start().starts_with('{') {
        let mut value = crate::json::parse(text, file)?;
        wrap_members(&mut value);
        return Ok(value);
    }
    let lines = Lines::new(file, text);
    let mut parser = Parser { scanner: Scanner::new(text), lines: &lines, ahead: None };
    let at = lines.position(0);
    let object = parser.items(0).map_err(|fault| fault.locate(&lines))?;
    Ok(Value { data: Data::Object(object), at })
}

/// Puts objects that are members into lists, as HCL has them.
fn wrap_members(value: &mut Value) {
    match &mut value.data {
        Data::Object(object) => {
            for member in object.values_mut() {
                wrap_members(&mut member.value);
                if matches!(member.value.data, Data::Object(_)) {
                    let at = member.value.at;
                    let inner = core::mem::replace(&mut member.value, Value { data: Data::Null, at });
                    member.value.data = Data::List(vec![inner]);
                }
            }
        }
        Data::List(items) => items.iter_mut().for_each(wrap_members),
        _ => {}
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    lines: &'a Lines,
    ahead: Option<(usize, Token)>,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<(usize, Token), Fault> {
        match self.ahead.take() {
            Some(token) => Ok(token),
            None => self.scanner.next(),
        }
    }

    fn unread(&mut self, offset: usize, token: Token) {
        self.ahead = Some((offset, token));
    }

    /// Items up to the end of the text (depth 0) or the closing brace, which is consumed.
    fn items(&mut self, depth: u32) -> Result<Object, Fault> {
        let mut object = Object::new();
        loop {
            let (offset, token) = self.next()?;
            match token {
                Token::End if depth == 0 => return Ok(object),
                Token::CloseBrace if depth > 0 => return Ok(object),
                Token::End => return Err(Fault::new(offset, "object expected closing RBRACE got: EOF")),
                token => {
                    self.unread(offset, token);
                    self.item(&mut object, depth)?;
                }
            }
            // One comma may stand between items.
            match self.next()? {
                (_, Token::Comma) => {}
                (offset, token) => self.unread(offset, token),
            }
        }
    }

    fn item(&mut self, into: &mut Object, depth: u32) -> Result<(), Fault> {
        let mut keys: Vec<(Position, String)> = Vec::new();
        let (start, value) = loop {
            let (offset, token) = self.next()?;
            match token {
                Token::Ident(key) | Token::String(key) => {
                    // Each further key is one more level.
                    self.check_depth(offset, depth + u32::try_from(keys.len()).unwrap_or(u32::MAX))?;
                    keys.push((self.lines.position(offset), key));
                }
                Token::Assign if keys.is_empty() => return Err(Fault::new(offset, "no object keys found!")),
                Token::Assign if keys.len() > 1 => {
                    return Err(Fault::new(offset, "nested object expected: LBRACE got: ASSIGN"));
                }
                Token::Assign => {
                    let (offset, token) = self.next()?;
                    break (offset, self.value(offset, token, depth)?);
                }
                Token::OpenBrace if !keys.is_empty() => {
                    let depth = depth.saturating_add(u32::try_from(keys.len()).unwrap_or(u32::MAX));
                    break (offset, self.block(offset, depth)?);
                }
                token if keys.is_empty() => {
                    return Err(Fault::new(offset, format!("expected: IDENT | STRING got: {}", token.name())));
                }
                token => {
                    let names: Vec<&str> = keys.iter().map(|(_, key)| key.as_str()).collect();
                    let names = names.join(" ");
                    return Err(Fault::new(
                        offset,
                        format!(
                            "key '{names}' expected start of object ('{{') or assignment ('='), got: {}",
                            token.name()
                        ),
                    ));
                }
            }
        };
        // An object as a member stands in a list; labels nest from the inside out.
        let mut value = listed(value);
        let mut keys = keys.into_iter();
        let first = keys.next();
        for (at, key) in keys.rev() {
            let inner = Object::from([(key, Member { at, value })]);
            value = listed(Value { data: Data::Object(inner), at });
        }
        match first {
            Some((at, key)) => add(into, at, key, value).map_err(|message| Fault::new(start, message)),
            None => Ok(()),
        }
    }

    fn value(&mut self, offset: usize, token: Token, depth: u32) -> Result<Value, Fault> {
        let data = match token {
            Token::Bool(b) => Data::Bool(b),
            Token::Int(n) => Data::Int(n),
            Token::Float(x) => Data::Float(x),
            Token::String(s) | Token::Heredoc(s) => Data::String(s),
            Token::OpenBrace => return self.block(offset, depth + 1),
            Token::OpenBracket => return self.list(offset, depth + 1),
            Token::Ident(word) => {
                return Err(Fault::new(offset, format!("Unknown token: IDENT {word}; texts must be quoted")));
            }
            token => return Err(Fault::new(offset, format!("Unknown token: {}", token.name()))),
        };
        Ok(Value { data, at: self.lines.position(offset) })
    }

    /// After the opening brace.
    fn block(&mut self, offset: usize, depth: u32) -> Result<Value, Fault> {
        self.check_depth(offset, depth)?;
        Ok(Value { data: Data::Object(self.items(depth)?), at: self.lines.position(offset) })
    }

    /// After the opening bracket. Commas stand between items; more of them than needed do no harm.
    fn list(&mut self, offset: usize, depth: u32) -> Result<Value, Fault> {
        self.check_depth(offset, depth)?;
        let mut items = Vec::new();
        let mut need_comma = false;
        loop {
            let (offset, token) = self.next()?;
            match token {
                Token::CloseBracket => break,
                Token::Comma => need_comma = false,
                token if need_comma => {
                    let name = token.name();
                    return Err(Fault::new(
                        offset,
                        format!("error parsing list, expected comma or list end, got: {name}"),
                    ));
                }
                token @ (Token::End | Token::CloseBrace | Token::Assign) => {
                    return Err(Fault::new(offset, format!("unexpected token while parsing list: {}", token.name())));
                }
                token => {
                    items.push(self.value(offset, token, depth)?);
                    need_comma = true;
                }
            }
        }
        Ok(Value { data: Data::List(items), at: self.lines.position(offset) })
    }

    fn check_depth(&self, offset: usize, depth: u32) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(offset, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }
}

fn listed(value: Value) -> Value {
    match value.data {
        Data::Object(_) => Value { at: value.at, data: Data::List(vec![value]) },
        _ => value,
    }
}

/// Adds a member, or adds to the one that is there.
fn add(into: &mut Object, at: Position, key: String, value: Value) -> Result<(), String> {
    let Some(old) = into.get_mut(&key) else {
        into.insert(key, Member { at, value });
        return Ok(());
    };
    match (&mut old.value.data, value.data) {
        (Data::List(items), Data::List(mut more)) => items.append(&mut more),
        (Data::List(_), _) => return Err(format!("'{key}' was a list or a block before and is a plain value here")),
        (_, Data::List(_)) => return Err(format!("'{key}' was a plain value before and is a list or a block here")),
        (data, new) => {
            *data = new;
            old.at = at;
            old.value.at = value.at;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
