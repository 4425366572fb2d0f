//! Watches, seen from who watches: what to ask again and again, and which answers are news.
//!
//! The same for `watch` on the command line, which asks over HTTP, and for the `watches` of an agent, which asks itself.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use convoke_config::watch::Watched;
use serde_json::{Value, json};

/// How long an answer may wait for a change.
const WAIT: &str = "60s";
/// Before another try after a first failure, multiplied with their number.
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait before another try.
const RETRY_MAX: Duration = Duration::from_secs(180);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Not yet percent-encoded.
    pub path: String,
    query: Vec<(&'static str, String)>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// One row, which may not be there.
    Key,
    /// Rows of keys.
    Keys,
    /// Events, of which only the new ones count.
    Events,
    /// Whatever the agent answers.
    Other,
}

impl Plan {
    /// How to watch this.
    #[must_use]
    pub fn new(watched: &Watched, filter: &str) -> Self {
        let mut query = Vec::new();
        let (path, what) = match watched {
            Watched::Key(key) => (format!("/v1/kv/{key}"), What::Key),
            Watched::KeyPrefix(prefix) => {
                query.push(("recurse", String::new()));
                (format!("/v1/kv/{prefix}"), What::Keys)
            }
            Watched::Services => ("/v1/catalog/services".into(), What::Other),
            Watched::Nodes => ("/v1/catalog/nodes".into(), What::Other),
            Watched::Service { name, tags, passing_only } => {
                query.extend(tags.iter().map(|tag| ("tag", tag.clone())));
                if *passing_only {
                    query.push(("passing", "1".into()));
                }
                (format!("/v1/health/service/{name}"), What::Other)
            }
            Watched::ChecksOf(service) => (format!("/v1/health/checks/{service}"), What::Other),
            Watched::ChecksIn(state) => (format!("/v1/health/state/{state}"), What::Other),
            Watched::Event(name) => {
                query.extend((!name.is_empty()).then(|| ("name", name.clone())));
                ("/v1/event/list".into(), What::Events)
            }
        };
        query.extend((!filter.is_empty()).then(|| ("filter", filter.into())));
        Self { path, query, what }
    }
}

/// What was seen of a plan.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    index: u64,
    state: Option<Value>,
    /// Id of the last event.
    event: Option<String>,
    failures: u32,
}

impl Seen {
    /// The index of the last answer.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The query to ask with: with what was seen it waits for a change. Not yet percent-encoded.
    #[must_use]
    pub fn query(&self, plan: &Plan) -> Vec<(&'static str, String)> {
        let mut query = plan.query.clone();
        if self.index > 0 {
            query.extend([("index", self.index.to_string()), ("wait", WAIT.into())]);
        }
        query
    }

    /// Takes an answer; the state if it is news.
    ///
    /// # Errors
    ///
    /// When it is no answer to the question.
    pub fn take(&mut self, plan: &Plan, status: u16, index: u64, body: &[u8]) -> Result<Option<Value>, String> {
        let missing = status == 404 && matches!(plan.what, What::Key | What::Keys);
        if status != 200 && !missing {
            return Err(format!("Unexpected response code: {status} ({})", String::from_utf8_lossy(body).trim_end()));
        }
        let state: Value = if missing {
            Value::Null
        } else {
            serde_json::from_slice(body).map_err(|why| format!("the answer is not JSON: {why}"))?
        };
        self.failures = 0;
        // An index that goes back comes from another life of the cluster; that of events says nothing but "others".
        self.index = if index < self.index && plan.what != What::Events { 0 } else { index };
        let state = match plan.what {
            What::Key => match state {
                Value::Array(rows) => rows.into_iter().next().map_or(Value::Null, row),
                other => other,
            },
            What::Keys => match state {
                Value::Array(rows) => rows.into_iter().map(row).collect(),
                other => other,
            },
            What::Events => new_events(state, &mut self.event),
            What::Other => state,
        };
        let new = match plan.what {
            // A key that is not there is told only to those who knew it.
            What::Key => self.state.as_ref() != Some(&state) && !(state.is_null() && self.state.is_none()),
            What::Events => state.as_array().is_some_and(|events| !events.is_empty()),
            What::Keys | What::Other => self.state.as_ref() != Some(&state),
        };
        if !new {
            return Ok(None);
        }
        self.state = Some(state.clone());
        Ok(Some(state))
    }

    /// There was no answer, or a bad one: how long to wait before asking anew, from the beginning.
    pub fn failed(&mut self) -> Duration {
        self.index = 0;
        self.failures = self.failures.saturating_add(1);
        RETRY_MAX.min(RETRY.saturating_mul(self.failures))
    }
}

/// The events behind the last one that was seen.
fn new_events(state: Value, last: &mut Option<String>) -> Value {
    let Value::Array(mut events) = state else { return Value::Array(vec![]) };
    let id = |event: &Value| event.get("ID").and_then(Value::as_str).map(ToString::to_string);
    if let Some(known) = last.as_ref()
        && let Some(at) = events.iter().rposition(|event| id(event).as_ref() == Some(known))
    {
        events.drain(..=at);
    }
    if let Some(newest) = events.last().and_then(id) {
        *last = Some(newest);
    }
    Value::Array(events)
}

/// A key as Consul's watches show it: with a session, even if it is none.
fn row(mut row: Value) -> Value {
    if let Some(members) = row.as_object_mut() {
        members.entry("Session").or_insert_with(|| json!(""));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_news_once() {
        let plan = Plan::new(&Watched::Key("a".into()), "");
        let mut seen = Seen::default();
        assert_eq!(seen.take(&plan, 404, 5, b""), Ok(None), "not there, and never was");
        assert_eq!(seen.query(&plan), [("index", "5".to_string()), ("wait", "60s".to_string())]);
        let row = br#"[{"Key":"a","Value":"eA==","ModifyIndex":6}]"#;
        let state = seen.take(&plan, 200, 6, row).unwrap().unwrap();
        assert_eq!((&state["Key"], &state["Session"]), (&json!("a"), &json!("")));
        assert_eq!(seen.take(&plan, 200, 7, row), Ok(None), "as it was");
        assert_eq!(seen.take(&plan, 404, 8, b""), Ok(Some(Value::Null)), "gone");
        assert_eq!(seen.take(&plan, 404, 2, b""), Ok(None));
        assert_eq!(seen.index(), 0, "an index that goes back is forgotten");
    }

    #[test]
    fn only_new_events_count() {
        let plan = Plan::new(&Watched::Event("deploy".into()), "");
        assert_eq!(plan.query, [("name", "deploy".to_string())]);
        let mut seen = Seen::default();
        assert_eq!(seen.take(&plan, 200, 9, b"[]"), Ok(None));
        assert!(seen.take(&plan, 200, 9, br#"[{"ID":"1"},{"ID":"2"}]"#).unwrap().is_some());
        let news = seen.take(&plan, 200, 3, br#"[{"ID":"1"},{"ID":"2"},{"ID":"3"}]"#).unwrap().unwrap();
        assert_eq!(news, json!([{"ID": "3"}]));
        assert_eq!(seen.index(), 3, "that of events is no number that grows");
    }

    #[test]
    fn a_failure_is_waited_out_and_the_question_asked_anew() {
        let plan = Plan::new(&Watched::Services, "");
        let mut seen = Seen::default();
        assert!(seen.take(&plan, 200, 4, b"{}").unwrap().is_some());
        assert!(seen.take(&plan, 500, 0, b"No cluster leader\n").unwrap_err().contains("No cluster leader"));
        assert_eq!([seen.failed(), seen.failed()], [RETRY, RETRY * 2]);
        assert_eq!((0..50).map(|_| seen.failed()).max(), Some(RETRY_MAX));
        assert!(seen.query(&plan).is_empty());
        assert_eq!(seen.take(&plan, 200, 4, b"{}"), Ok(None), "what did not change is not told again");
        assert_eq!(seen.failed(), RETRY);
    }
}
