//! What clients did and saw, as plain data: one operation a line, in JSON, so that a test with real processes can write it
//! and have it judged by the same checker.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a client wants of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// What does it hold?
    Read,
    /// Let it hold this; `None`: nothing.
    Write {
        /// The new value.
        value: Option<String>,
    },
    /// If it holds `from`, let it hold `to`.
    Cas {
        /// What it must hold; `None`: nothing.
        from: Option<String>,
        /// The new value.
        to: Option<String>,
    },
    /// Lock it, unless somebody else has: who has it may take it again.
    Acquire {
        /// Who.
        owner: String,
        /// What it holds from then on; `None`: as before.
        value: Option<String>,
    },
    /// Unlock it, if this one has it.
    Release {
        /// Who.
        owner: String,
        /// What it holds from then on; `None`: as before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
}

/// What a key holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Who has it locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When it was told.
    pub at: u64,
    /// It was done. A `Cas`, `Acquire` or `Release` may be refused by the state; everything else is always done.
    pub ok: bool,
    /// What the key held when it was done, before the change; a `Read` must say so, others may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// One operation. Those that are known never to have been done are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who; it has one under way at a time.
    pub client: u64,
    /// Of what.
    pub key: String,
    /// When it began, by a clock that all clients share. Any unit.
    pub call: u64,
    /// What was wanted.
    pub wish: Wish,
    /// What was told; `None`: nothing. It may have been done at any time since, or may be done later, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// A line that is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the history is no operation: {why}")]
pub struct BadLine {
    /// The first has 1.
    pub line: usize,
    /// For people.
    pub why: String,
}

/// As text, one a line.
#[must_use]
pub fn to_lines(history: &[Record]) -> String {
    let mut text = String::new();
    for record in history {
        // Strings and numbers only: nothing here can fail to encode.
        let _ = writeln!(text, "{}", serde_json::to_string(record).unwrap_or_default());
    }
    text
}

/// From text; empty lines do not count.
///
/// # Errors
///
/// The first line that is no operation.
pub fn from_lines(text: &str) -> Result<Vec<Record>, BadLine> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| serde_json::from_str(line).map_err(|error| BadLine { line: at + 1, why: error.to_string() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        let history = vec![
            Record { client: 1, key: "a".into(), call: 3, wish: Wish::Write { value: Some("x".into()) }, answer: None },
            Record {
                client: 2,
                key: "a/b".into(),
                call: 4,
                wish: Wish::Cas { from: None, to: Some("\"\n".into()) },
                answer: Some(Answer { at: 9, ok: false, seen: Some(Seen { value: Some("x".into()), owner: None }) }),
            },
        ];
        let text = to_lines(&history);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(from_lines(&text).as_ref(), Ok(&history));
        assert_eq!(from_lines(&format!("\n{text}\n")).as_ref(), Ok(&history));
        let broken = format!("{text}{{\"client\":1}}\n");
        assert_eq!(from_lines(&broken).unwrap_err().line, 3);
    }
}
