//! The filter language: conditions on selectors, joined by `and`, `or`, `not` and parentheses.
//!
//! ```text
//! or      = and (ws "or" ws and)*
//! and     = not (ws "and" ws not)*
//! not     = "not" ws not | "(" or ")" | match
//! match   = selector ("==" | "!=" | "contains" | "not contains" | "matches" | "not matches") value
//!         | selector ("is empty" | "is not empty")
//!         | value ("in" | "not in") selector
//! value   = selector | number | "double quoted" | `raw`
//! ```
//!
//! Total: any text gives an expression or an error with a position; nesting is bounded by [`MAX_DEPTH`].

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Parentheses and `not` nest at most so deep.
pub(crate) const MAX_DEPTH: usize = 64;

/// A condition as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Match { selector: Vec<String>, op: Op, value: String },
}

/// What a condition asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    NotEqual,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

impl Op {
    /// As error texts name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "Not Equal",
            Self::In => "In",
            Self::NotIn => "Not In",
            Self::IsEmpty => "Is Empty",
            Self::IsNotEmpty => "Is Not Empty",
            Self::Matches => "Matches",
            Self::NotMatches => "Not Matches",
        }
    }
}

/// Reads an expression, or says where it stops making sense.
pub(crate) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { text, at: 0, furthest: 0, why: "expected a condition" };
    parser.white();
    let parsed = parser.or(0);
    if let Some(expr) = parsed {
        parser.white();
        if parser.rest().is_empty() {
            return Ok(expr);
        }
        parser.fail::<()>("expected \"and\", \"or\" or the end");
    }
    Err(parser.error())
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The farthest point where something else was expected, and what.
    furthest: usize,
    why: &'static str,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&mut self, why: &'static str) -> Option<T> {
        if self.at >= self.furthest {
            self.furthest = self.at;
            self.why = why;
        }
        None
    }

    fn error(&self) -> String {
        let before = self.text.get(..self.furthest).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{line}:{column} ({}): {}", self.furthest, self.why)
    }

    /// Runs `part`; if it fails, nothing was read.
    fn attempt<T>(&mut self, part: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let start = self.at;
        let result = part(self);
        if result.is_none() {
            self.at = start;
        }
        result
    }

    fn white(&mut self) -> bool {
        let rest = self.rest();
        let used = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.at += used;
        used > 0
    }

    fn exactly(&mut self, token: &str) -> Option<()> {
        if self.rest().starts_with(token) {
            self.at += token.len();
            Some(())
        } else {
            self.fail("unexpected character")
        }
    }

    /// White space, then each of the words with white space behind all but the last.
    fn words(&mut self, words: &[&str]) -> Option<()> {
        for word in words {
            if !self.white() {
                return self.fail("expected white space");
            }
            self.exactly(word)?;
        }
        Some(())
    }

    /// The same with white space at the end, too.
    fn operator(&mut self, words: &[&str]) -> Option<()> {
        self.attempt(|p| {
            p.words(words)?;
            if p.white() { Some(()) } else { p.fail("expected white space") }
        })
    }

    fn or(&mut self, depth: usize) -> Option<Expr> {
        let first = self.and(depth)?;
        let mut all = Vec::from([first]);
        while self.operator(&["or"]).is_some() {
            all.push(self.and(depth)?);
        }
        if all.len() == 1 { all.pop() } else { Some(Expr::Or(all)) }
    }

    fn and(&mut self, depth: usize) -> Option<Expr> {
        let first = self.not(depth)?;
        let mut all = Vec::from([first]);
        while self.operator(&["and"]).is_some() {
            all.push(self.not(depth)?);
        }
        if all.len() == 1 { all.pop() } else { Some(Expr::And(all)) }
    }

    fn not(&mut self, depth: usize) -> Option<Expr> {
        if depth >= MAX_DEPTH {
            return self.fail("nested too deep");
        }
        let negated = self.attempt(|p| {
            p.exactly("not")?;
            if !p.white() {
                return p.fail("expected white space");
            }
            p.not(depth + 1)
        });
        if let Some(expr) = negated {
            return Some(Expr::Not(Box::new(expr)));
        }
        if !self.rest().starts_with('(') {
            return self.condition();
        }
        self.at += 1;
        self.white();
        let expr = self.or(depth + 1)?;
        self.white();
        if self.exactly(")").is_none() { self.fail("Unmatched parentheses") } else { Some(expr) }
    }

    fn condition(&mut self) -> Option<Expr> {
        self.attempt(Self::selector_first).or_else(|| {
            self.attempt(|p| {
                let value = p.value()?;
                let op =
                    p.operator(&["in"]).map(|()| Op::In).or_else(|| p.operator(&["not", "in"]).map(|()| Op::NotIn))?;
                let Some(selector) = p.selector() else { return p.fail("Invalid selector") };
                Some(Expr::Match { selector, op, value })
            })
        })
    }

    fn selector_first(&mut self) -> Option<Expr> {
        let selector = self.selector()?;
        let with_value = self.attempt(|p| {
            let op = p.comparison()?;
            Some((op, p.value()?))
        });
        let (op, value) = with_value.or_else(|| {
            let empty = self.attempt(|p| p.words(&["is", "empty"]).map(|()| Op::IsEmpty));
            let op = empty.or_else(|| self.attempt(|p| p.words(&["is", "not", "empty"]).map(|()| Op::IsNotEmpty)))?;
            Some((op, String::new()))
        })?;
        Some(Expr::Match { selector, op, value })
    }

    fn comparison(&mut self) -> Option<Op> {
        for (token, op) in [("==", Op::Equal), ("!=", Op::NotEqual)] {
            let found = self.attempt(|p| {
                p.white();
                p.exactly(token)?;
                p.white();
                Some(())
            });
            if found.is_some() {
                return Some(op);
            }
        }
        let words: [(&[&str], Op); 4] = [
            (&["contains"], Op::In),
            (&["not", "contains"], Op::NotIn),
            (&["matches"], Op::Matches),
            (&["not", "matches"], Op::NotMatches),
        ];
        words.into_iter().find_map(|(words, op)| self.operator(words).map(|()| op))
    }

    fn identifier(&mut self) -> Option<String> {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.fail("expected a name");
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).map(ToString::to_string)
    }

    fn selector(&mut self) -> Option<Vec<String>> {
        let mut parts = Vec::from([self.identifier()?]);
        loop {
            let next = self.attempt(|p| {
                if p.exactly(".").is_some() {
                    return p.identifier();
                }
                p.exactly("[")?;
                p.white();
                let part = p.string()?;
                p.white();
                p.exactly("]")?;
                Some(part)
            });
            match next {
                Some(part) => parts.push(part),
                None => return Some(parts),
            }
        }
    }

    fn value(&mut self) -> Option<String> {
        let rest = self.rest();
        match rest.as_bytes().first() {
            Some(b'"' | b'`') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.attempt(Self::selector).map(|parts| parts.join(".")),
        }
    }

    fn number(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find([' ', '\t', '\r', '\n', ')']).unwrap_or(rest.len());
        let number = rest.get(..end)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        let whole = whole.strip_prefix('-').unwrap_or(whole);
        let plain = digits(whole) && (whole == "0" || !whole.starts_with('0'));
        if !plain || !fraction.is_none_or(digits) {
            return self.fail("Invalid number literal");
        }
        self.at += end;
        Some(number.to_string())
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '`'));
        let Some(quote) = quote else { return self.fail("expected a quoted text") };
        let inside = rest.get(1..)?;
        let Some(end) = inside.find(quote) else { return self.fail("Unterminated string literal") };
        let inside = inside.get(..end)?;
        let text = if quote == '`' { Some(inside.replace('\r', "")) } else { unquote(inside) };
        match text {
            Some(text) => {
                self.at += end + 2;
                Some(text)
            }
            None => self.fail("invalid syntax"),
        }
    }
}

/// The inside of a double-quoted text, by Go's rules. Escapes that would not give UTF-8 are refused.
fn unquote(inside: &str) -> Option<String> {
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c == '\n' {
            return None;
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = chars.next()?;
        let mut number = |digits: usize, radix: u32, first: u32| {
            let mut value = first;
            for _ in 0..digits {
                value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
            }
            Some(value)
        };
        out.push(match escape {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' => '\\',
            'x' => char::from_u32(number(2, 16, 0)?).filter(char::is_ascii)?,
            '0'..='7' => char::from_u32(number(2, 8, escape.to_digit(8)?)?).filter(char::is_ascii)?,
            'u' => char::from_u32(number(4, 16, 0)?)?,
            'U' => char::from_u32(number(8, 16, 0)?)?,
            _ => return None,
        });
    }
    Some(out)
}
