//! Regular expressions of users: bounded, and refused in the words that Consul's users know.

use alloc::format;
use alloc::string::{String, ToString};
use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const SIZE: usize = 1 << 20;

/// Compiles an expression.
///
/// # Errors
/// `error parsing regexp: ...`
pub fn compile(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(SIZE).build();
    built.map_err(|why| format!("error parsing regexp: {}", in_go_words(text, &why)))
}

/// The commonest mistakes in Go's words, which clients know; anything else in those of the library.
fn in_go_words(text: &str, why: &regex::Error) -> String {
    let why = why.to_string();
    let known = [
        ("unclosed group", "missing closing )"),
        ("unopened group", "unexpected )"),
        ("unclosed character class", "missing closing ]"),
        ("repetition operator missing expression", "missing argument to repetition operator"),
    ];
    match known.iter().find(|(ours, _)| why.contains(ours)) {
        Some((_, go)) => format!("{go}: `{text}`"),
        None => why.lines().last().unwrap_or_default().trim().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_as_go_does() {
        for (text, why) in [
            ("((", "error parsing regexp: missing closing ): `((`"),
            ("a)", "error parsing regexp: unexpected ): `a)`"),
            ("[a", "error parsing regexp: missing closing ]: `[a`"),
            ("*", "error parsing regexp: missing argument to repetition operator: `*`"),
        ] {
            assert_eq!(compile(text).map(|_| ()).unwrap_err(), why);
        }
        assert!(compile("^web-[0-9]+$").unwrap().is_match("web-7"));
        let huge = compile("(a{1000}){1000}").map(|_| ()).unwrap_err();
        assert!(huge.starts_with("error parsing regexp: ") && huge.len() > 30, "{huge}");
    }
}
