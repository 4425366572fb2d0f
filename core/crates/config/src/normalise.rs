//! One source's tree to its normal form: keys known and at their place, blocks as single objects, values of the right kind.
//!
//! In the normal form services and checks stand under `services` and `checks`, single values for lists are lists, and old names have become
//! new ones; so sources can be merged by shape alone, and every message still knows its file and line.

use crate::definition::{self, Origin};
use crate::schema::{Key, Kind, ROOT, State, nearest};
use crate::source::Diagnostic;
use crate::value::{Data, Member, Object, Position, Value, merge};
use crate::weak;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// After so many errors no further names are suggested.
const MAX_HINTS: usize = 50;

/// What is said about the sources while they are read.
#[derive(Default)]
pub(crate) struct Report {
    /// Names of the sources, by index.
    pub(crate) files: Vec<String>,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Keys without effect.
    pub(crate) idle: BTreeSet<String>,
    /// What is being read are flags.
    from_flags: bool,
    /// What no agent starts with, although Consul calls such files valid.
    pub(crate) refusals: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn diagnostic(&self, at: Position, message: String) -> Diagnostic {
        // What stands nowhere came from a flag, or is a default.
        let index = usize::try_from(at.file).ok().filter(|_| at.line > 0);
        let file = index.and_then(|i| self.files.get(i)).cloned().unwrap_or_default();
        Diagnostic { file, line: at.line, message }
    }

    pub(crate) fn error(&mut self, at: Position, message: String) {
        let diagnostic = self.diagnostic(at, message);
        self.errors.push(diagnostic);
    }

    pub(crate) fn refuse(&mut self, at: Position, message: String) {
        let diagnostic = self.diagnostic(at, message);
        self.refusals.push(diagnostic);
    }

    pub(crate) fn warn(&mut self, at: Position, message: String) {
        let diagnostic = self.diagnostic(at, message);
        self.warnings.push(diagnostic);
    }
}

/// Brings a source's root object into normal form.
pub(crate) fn normalise(root: &Object, from_flags: bool, report: &mut Report) -> Object {
    let mut out = Object::new();
    report.from_flags = from_flags;
    block(root, ROOT, "", &mut out, report);
    out
}

/// Reads `object` by `keys`. Members go into the tree `root` at their full path, since moved keys may belong elsewhere.
fn block(object: &Object, keys: &'static [Key], path: &str, root: &mut Object, report: &mut Report) {
    // Keys are compared without regard to case; if several spellings stand side by side the last one counts. Old names come first, so that the
    // new one wins where both are given.
    let is_old =
        |name: &str| keys.iter().any(|key| matches!(key.state, State::Moved(_)) && key.name.eq_ignore_ascii_case(name));
    let (old, new): (Vec<_>, Vec<_>) = object.iter().partition(|(name, _)| is_old(name));
    for (name, member) in old.into_iter().chain(new) {
        let full = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let folded = name.to_ascii_lowercase();
        let from_flags = report.from_flags;
        let known = || keys.iter().filter(move |key| from_flags || !matches!(key.state, State::FlagOnly));
        let Some(key) = known().find(|key| key.name == folded) else {
            // Looking for the near ones costs much more than reading; a file with many such keys is not full of slips.
            let hint = (report.errors.len() < MAX_HINTS).then(|| nearest(name, known().map(|key| key.name))).flatten();
            let hint = hint.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            report.error(member.at, format!("invalid config key {full}{hint}"));
            continue;
        };
        // `null` says nothing.
        if matches!(member.value.data, Data::Null) {
            continue;
        }
        let place = if path.is_empty() { key.name.to_string() } else { format!("{path}.{}", key.name) };
        match key.state {
            State::Works | State::FlagOnly => {}
            State::Idle => {
                // Of a block its members are named.
                if !matches!(key.kind, Kind::Block(_)) && report.idle.insert(place.clone()) {
                    report.warn(member.at, format!("{place} has no effect in this version"));
                }
            }
            State::Moved(new) => {
                report.warn(member.at, format!("the {place} field is deprecated; use {new} instead"));
            }
            State::Gone => {
                report.warn(member.at, format!("the {place} field is obsolete and does nothing"));
                continue;
            }
        }
        let target = match key.state {
            State::Moved(new) => new.to_string(),
            _ => place,
        };
        if let Kind::Block(inner) = key.kind {
            match member.value.as_object() {
                // Even an empty block shows that it was there.
                Some(object) => block(&object, inner, &target, root, report),
                None => {
                    let got = member.value.kind();
                    report.error(member.at, format!("{full}: expected a block, got {got}"));
                }
            }
            continue;
        }
        let target = match key.kind {
            Kind::Services => "services".to_string(),
            Kind::Checks => "checks".to_string(),
            _ => target,
        };
        let one = matches!(key.name, "service" | "check");
        match leaf(key.kind, one, &member.value) {
            Ok(value) => put(root, &target, Member { at: member.at, value }),
            Err((at, message)) => report.error(at.unwrap_or(member.at), format!("{full}: {message}")),
        }
    }
}

/// Puts a member at its path; what is there already is merged with it.
fn put(root: &mut Object, path: &str, member: Member) {
    let mut parts = path.rsplit('.');
    let Some(last) = parts.next() else { return };
    let at = member.at;
    let mut object = Object::from([(last.to_string(), member)]);
    for part in parts {
        let value = Value { data: Data::Object(object), at };
        object = Object::from([(part.to_string(), Member { at, value })]);
    }
    merge(root, object);
}

type Fault = (Option<Position>, String);

/// The normal form of a value of this kind. `one`: of definitions, exactly one is meant.
fn leaf(kind: Kind, one: bool, value: &Value) -> Result<Value, Fault> {
    let at = value.at;
    let wrong = |message: String| (None, message);
    let data = match kind {
        Kind::Bool => Data::Bool(weak::boolean(value).map_err(wrong)?),
        Kind::Int => Data::Int(weak::integer(value).map_err(wrong)?),
        Kind::Float => Data::Float(weak::float(value).map_err(wrong)?),
        Kind::Text => Data::String(weak::text(value).map_err(wrong)?),
        Kind::Duration => {
            let text = weak::text(value).map_err(wrong)?;
            crate::duration::parse_nanos(&text).map_err(|error| wrong(error.to_string()))?;
            Data::String(text)
        }
        Kind::List => {
            let texts = weak::texts(value).map_err(wrong)?;
            Data::List(texts.into_iter().map(|text| Value { data: Data::String(text), at }).collect())
        }
        Kind::Pairs | Kind::Durations => {
            let object = value.as_object().ok_or_else(|| wrong(format!("expected a block, got {}", value.kind())))?;
            let mut out = Object::new();
            for (name, member) in object {
                let text = weak::text(&member.value).map_err(|m| (Some(member.at), format!("{name}: {m}")))?;
                if matches!(kind, Kind::Durations) {
                    crate::duration::parse_nanos(&text).map_err(|e| (Some(member.at), format!("{name}: {e}")))?;
                }
                out.insert(
                    name,
                    Member { at: member.at, value: Value { data: Data::String(text), at: member.value.at } },
                );
            }
            Data::Object(out)
        }
        Kind::Raw => value.data.clone(),
        Kind::RawList | Kind::Services | Kind::Checks => {
            let single = value.as_object().filter(|_| one).map(|object| Value { data: Data::Object(object), at });
            let items = if one { single.as_ref().map(|item| vec![item]) } else { value.as_objects() };
            let expected = if one { "one block" } else { "a list of blocks" };
            let items = items.ok_or_else(|| wrong(format!("expected {expected}, got {}", value.kind())))?;
            // Whatever is wrong in a definition is found here, so that every source is checked even if another one fails.
            for item in &items {
                match kind {
                    Kind::Services => {
                        definition::decode_service(item, Origin::File)
                            .map(drop)
                            .map_err(|e| (Some(e.at), e.message))?;
                    }
                    Kind::Checks => {
                        definition::decode_check(item, Origin::File).map(drop).map_err(|e| (Some(e.at), e.message))?;
                    }
                    _ => {}
                }
            }
            Data::List(items.into_iter().cloned().collect())
        }
        Kind::Block(_) => return Err(wrong("a block is no value".to_string())),
    };
    Ok(Value { data, at })
}
