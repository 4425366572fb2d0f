//! Typed looks into a tree in normal form, with complaints that know their place.

use crate::duration;
use crate::net::Cidr;
use crate::normalise::Report;
use crate::value::{Data, Member, Object, Position, Value};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

pub(super) struct Tree<'a> {
    root: &'a Object,
    pub(super) report: &'a mut Report,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: &'a Object, report: &'a mut Report) -> Self {
        Self { root, report }
    }

    pub(super) fn get(&self, path: &str) -> Option<&'a Member> {
        let mut parts = path.split('.');
        let mut member = self.root.get(parts.next()?)?;
        for part in parts {
            let Data::Object(object) = &member.value.data else { return None };
            member = object.get(part)?;
        }
        Some(member)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    fn at(&self, path: &str) -> Position {
        self.get(path).map(|member| member.at).unwrap_or_default()
    }

    /// Complains about a key.
    pub(super) fn error(&mut self, path: &str, message: &str) {
        let at = self.at(path);
        self.report.error(at, format!("{path}: {message}"));
    }

    /// Complains about a key that only an agent would stumble over.
    pub(super) fn refuse(&mut self, path: &str, message: &str) {
        let at = self.at(path);
        self.report.refuse(at, format!("{path}: {message}"));
    }

    /// Says something about a key that is not wrong.
    pub(super) fn warn(&mut self, path: &str, message: &str) {
        let at = self.at(path);
        self.report.warn(at, format!("{path}: {message}"));
    }

    /// Complains about the whole, where `path` was the last to be given.
    pub(super) fn conflict(&mut self, path: &str, message: &str) {
        let at = self.at(path);
        self.report.error(at, message.to_string());
    }

    pub(super) fn flag(&self, path: &str, default: bool) -> bool {
        match self.get(path).map(|member| &member.value.data) {
            Some(Data::Bool(b)) => *b,
            _ => default,
        }
    }

    pub(super) fn signed(&self, path: &str) -> Option<i64> {
        match self.get(path)?.value.data {
            Data::Int(n) => Some(n),
            _ => None,
        }
    }

    /// A number that fits its type; it cannot be negative.
    pub(super) fn number<N: TryFrom<i64>>(&mut self, path: &str, default: N) -> N {
        let Some(n) = self.signed(path) else { return default };
        N::try_from(n).unwrap_or_else(|_| {
            let reason = if n < 0 { "Must be greater than or equal to zero" } else { "It is too large" };
            self.error(path, &format!("cannot be {n}. {reason}"));
            default
        })
    }

    /// A number where less than zero is as good as zero.
    pub(super) fn number_or_none<N: TryFrom<i64> + Default>(&mut self, path: &str, default: N) -> N {
        if self.signed(path).is_some_and(|n| n < 0) { N::default() } else { self.number(path, default) }
    }

    /// Events a second; negative, or not given, is without limit.
    pub(super) fn rate(&self, path: &str) -> f64 {
        match self.get(path).map(|member| &member.value.data) {
            Some(Data::Float(rate)) if *rate >= 0.0 => *rate,
            Some(Data::Int(rate)) if *rate >= 0 => *rate as f64,
            _ => f64::INFINITY,
        }
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        match &self.get(path)?.value.data {
            Data::String(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn duration(&mut self, path: &str, default: Duration) -> Duration {
        let Some(text) = self.text(path) else { return default };
        match duration::parse_nanos(&text) {
            Ok(nanos) if nanos >= 0 => duration::from_nanos(nanos),
            Ok(_) => {
                self.warn(path, &format!("{text} is taken as 0s"));
                Duration::ZERO
            }
            // It was read once before, but an error must never vanish.
            Err(error) => {
                self.error(path, &error.to_string());
                default
            }
        }
    }

    pub(super) fn list(&self, path: &str) -> Vec<String> {
        self.items(path)
            .into_iter()
            .filter_map(|item| match &item.data {
                Data::String(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn items(&self, path: &str) -> Vec<&'a Value> {
        match self.get(path).map(|member| &member.value.data) {
            Some(Data::List(items)) => items.iter().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn pairs(&self, path: &str) -> BTreeMap<String, String> {
        let Some(Data::Object(object)) = self.get(path).map(|member| &member.value.data) else {
            return BTreeMap::new();
        };
        let texts = object.iter().filter_map(|(key, member)| match &member.value.data {
            Data::String(text) => Some((key.clone(), text.clone())),
            _ => None,
        });
        texts.collect()
    }

    pub(super) fn durations(&mut self, path: &str) -> BTreeMap<String, Duration> {
        let mut all = BTreeMap::new();
        for (key, text) in self.pairs(path) {
            match duration::parse(&text) {
                Ok(duration) => drop(all.insert(key, duration)),
                Err(error) => self.error(path, &format!("{key}: {error}")),
            }
        }
        all
    }

    pub(super) fn networks(&mut self, path: &str) -> Vec<Cidr> {
        let mut all = Vec::new();
        for text in self.list(path) {
            match Cidr::parse(&text) {
                Some(network) => all.push(network),
                None => self.error(path, &format!("{text:?} is no network in CIDR notation, such as 10.0.0.0/8")),
            }
        }
        all
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, path: &str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(path) else { return default };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return *choice;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let names = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ");
        self.refuse(path, &format!("{text:?} is none of {names}"));
        default
    }

    /// A part of the tree as it is.
    pub(super) fn json(&self, path: &str) -> Option<String> {
        self.get(path).map(|member| json_of(&member.value))
    }
}

/// A free-form part as JSON.
pub(super) fn json_of(value: &Value) -> String {
    crate::definition::flatten(value, true).to_json()
}
