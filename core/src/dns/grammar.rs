//! Which name asks for what.
//!
//! ```text
//! [<tag>.]<service>.service            <where>
//! _<service>._<tag or tcp>[.service]   <where>      RFC 2782; without `service` only for SRV questions
//! <service>.connect                    <where>
//! <node>.node                          <where>      a node's name may have dots
//! <query>.query                        <where>      so may a query's
//! <8 or 32 hex digits>.addr            <where>
//!
//! <where>:  nothing | <datacenter> | <namespace>.<datacenter>
//!           | any of <namespace>.ns  <partition>.ap  <datacenter>.dc  <peer>.peer  <group>.sg
//! ```
//!
//! Labels are compared without case. The kind is the rightmost label that is one.

use convoke_dns::name::MAX_NAME;
use convoke_dns::{Name, RecordType};
use heapless::{String, Vec};

/// The labels below the domain in lower case, joined by dots: what a [`Lookup`] and a [`Place`] are parts of.
pub(super) type Text = String<MAX_NAME>;

/// What a name below the domain asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookup<'t> {
    pub(super) kind: Kind,
    pub(super) name: &'t str,
    /// Of services: only instances with this tag. Empty: all.
    pub(super) tag: &'t str,
}

/// Kinds of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Instances of a service.
    Service,
    /// Instances that speak the mesh protocol for a service.
    Connect,
    /// A node.
    Node,
    /// A prepared query, by name or id.
    Query,
    /// An address spelled as a name.
    Address,
}

/// Where to look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place<'t> {
    pub(super) datacenter: Option<&'t str>,
    pub(super) namespace: Option<&'t str>,
    pub(super) partition: Option<&'t str>,
    /// Another cluster, or a sameness group.
    pub(super) elsewhere: bool,
}

/// The labels of `name` above those of `domain`, within which it is. `None` if they are no text, or one has a dot.
pub(super) fn text(name: &Name, domain: &Name) -> Option<Text> {
    let mut text = Text::new();
    let count = name.labels().count().checked_sub(domain.labels().count())?;
    for label in name.labels().take(count) {
        if label.contains(&b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.').ok()?;
        }
        text.push_str(core::str::from_utf8(label).ok()?).ok()?;
    }
    text.make_ascii_lowercase();
    Some(text)
}

/// Takes such a text apart. `None`: it asks for nothing there is.
pub(super) fn parse(text: &str, rtype: RecordType, prefer_namespace: bool) -> Option<(Lookup<'_>, Place<'_>)> {
    let mut end = text.len();
    let (kind, left, place) = loop {
        let start = text.get(..end)?.rfind('.').map_or(0, |dot| dot + 1);
        let place = text.get(end..)?.trim_start_matches('.');
        // Without the dot.
        let left = text.get(..start.saturating_sub(1))?;
        match text.get(start..end)? {
            "service" => break (Kind::Service, left, place),
            "connect" => break (Kind::Connect, left, place),
            "node" => break (Kind::Node, left, place),
            "query" => break (Kind::Query, left, place),
            "addr" => break (Kind::Address, left, place),
            // Ingress gateways are not kept.
            "ingress" => return None,
            // The word `service` may be left out of SRV questions.
            label if rtype == RecordType::SRV && label.starts_with('_') => {
                break (Kind::Service, text.get(..end)?, place);
            }
            _ if start == 0 => return None,
            _ => end = start - 1,
        }
    };
    let place = parse_place(place, prefer_namespace)?;
    let (before, last) = left.rsplit_once('.').unwrap_or(("", left));
    let (name, tag) = match kind {
        _ if left.is_empty() => return None,
        Kind::Service => rfc_2782(before, last).unwrap_or((last, before)),
        Kind::Connect => (last, ""),
        Kind::Node | Kind::Query => (left, ""),
        // One label.
        Kind::Address if before.is_empty() => (left, ""),
        Kind::Address => return None,
    };
    Some((Lookup { kind, name, tag }, place))
}

/// `_<service>._<tag>`, where `_tcp` is the protocol of any service and not a tag (RFC 2782).
fn rfc_2782<'t>(service: &'t str, tag: &'t str) -> Option<(&'t str, &'t str)> {
    let (service, tag) = (service.strip_prefix('_')?, tag.strip_prefix('_')?);
    (!service.contains('.')).then_some((service, if tag == "tcp" { "" } else { tag }))
}

fn parse_place(text: &str, prefer_namespace: bool) -> Option<Place<'_>> {
    let mut place = Place::default();
    let mut labels: Vec<&str, 10> = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        labels.push(label).ok()?;
    }
    match labels.as_slice() {
        [only] if prefer_namespace => place.namespace = Some(*only),
        [only] => place.datacenter = Some(*only),
        [namespace, datacenter] if !is_keyword(datacenter) => {
            (place.namespace, place.datacenter) = (Some(*namespace), Some(*datacenter));
        }
        pairs => {
            for pair in pairs.chunks(2) {
                let [value, keyword] = pair else { return None };
                let slot = match *keyword {
                    "dc" => &mut place.datacenter,
                    "ns" => &mut place.namespace,
                    "ap" => &mut place.partition,
                    keyword if is_keyword(keyword) => {
                        place.elsewhere = true;
                        continue;
                    }
                    _ => return None,
                };
                if slot.replace(*value).is_some() {
                    return None;
                }
            }
        }
    }
    Some(place)
}

fn is_keyword(label: &str) -> bool {
    ["dc", "ns", "ap", "peer", "sg"].contains(&label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    fn shown(name: &str, rtype: RecordType, prefer_namespace: bool) -> String {
        let text = text(&name.parse().expect("a name"), &"consul".parse().expect("a name"));
        let Some((lookup, place)) = text.as_ref().and_then(|text| parse(text, rtype, prefer_namespace)) else {
            return "nothing".to_string();
        };
        let mut text = match lookup.kind {
            Kind::Service => format!("service {}", lookup.name),
            Kind::Connect => format!("connect {}", lookup.name),
            Kind::Node => format!("node {}", lookup.name),
            Kind::Query => format!("query {}", lookup.name),
            Kind::Address => format!("address {}", lookup.name),
        };
        if !lookup.tag.is_empty() {
            text += &format!(" tag {}", lookup.tag);
        }
        for (word, value) in [("dc", place.datacenter), ("ns", place.namespace), ("ap", place.partition)] {
            if let Some(value) = value {
                text += &format!(" {word} {value}");
            }
        }
        if place.elsewhere { text + " elsewhere" } else { text }
    }

    #[test]
    fn names() {
        let table = [
            ("db.service.consul", "service db"),
            ("DB.SERVICE.CONSUL", "service db"),
            ("master.db.service.consul", "service db tag master"),
            ("a.b.db.service.consul", "service db tag a.b"),
            ("db.service.dc1.consul", "service db dc dc1"),
            ("db.service.DC1.dc.consul", "service db dc dc1"),
            ("db.service.team.dc1.consul", "service db dc dc1 ns team"),
            ("db.service.team.ns.consul", "service db ns team"),
            ("db.service.team.ns.part.ap.dc1.dc.consul", "service db dc dc1 ns team ap part"),
            ("v1.db.service.part.ap.dc1.dc.consul", "service db tag v1 dc dc1 ap part"),
            ("db.service.other.peer.consul", "service db elsewhere"),
            ("db.service.group.sg.consul", "service db elsewhere"),
            ("db.service.dc1.dc.dc2.dc.consul", "nothing"),
            ("db.service.a.b.c.consul", "nothing"),
            ("db.service.a.ns.b.consul", "nothing"),
            ("service.consul", "nothing"),
            ("_db._tcp.service.consul", "service db"),
            ("_db._TCP.service.consul", "service db"),
            ("_db._master.service.consul", "service db tag master"),
            ("_db._master.service.dc1.consul", "service db tag master dc dc1"),
            ("x._db._tcp.service.consul", "service _tcp tag x._db"),
            ("_db._tcp.consul", "nothing"),
            ("web.connect.consul", "connect web"),
            ("x.web.connect.dc1.consul", "connect web dc dc1"),
            ("web.ingress.consul", "nothing"),
            ("foo.node.consul", "node foo"),
            ("with.dot.node.dc1.consul", "node with.dot dc dc1"),
            ("service.node.consul", "node service"),
            ("foo.node.service.consul", "service node tag foo"),
            ("foo.node.part.ap.consul", "node foo ap part"),
            ("my.dotted.query.query.consul", "query my.dotted.query"),
            ("query.consul", "nothing"),
            ("0A000001.addr.dc1.consul", "address 0a000001 dc dc1"),
            ("x.0a000001.addr.consul", "nothing"),
            ("addr.consul", "nothing"),
            ("foo.consul", "nothing"),
            ("consul", "nothing"),
            (r"x\.service.consul", "nothing"),
            (r"\255.service.consul", "nothing"),
        ];
        for (name, expected) in table {
            assert_eq!(shown(name, RecordType::A, false), expected, "{name}");
        }
    }

    #[test]
    fn service_may_be_left_out_of_srv_questions() {
        let table = [
            ("_db._tcp.consul", "service db"),
            ("_db._master.dc1.consul", "service db tag master dc dc1"),
            ("_db._tcp.service.consul", "service db"),
            ("_conn._tcp.query.consul", "query _conn._tcp"),
            ("_db.consul", "service _db"),
        ];
        for (name, expected) in table {
            assert_eq!(shown(name, RecordType::SRV, false), expected, "{name}");
        }
    }

    #[test]
    fn a_single_label_is_a_namespace_where_that_is_preferred() {
        assert_eq!(shown("db.service.team.consul", RecordType::A, true), "service db ns team");
        assert_eq!(shown("db.service.team.dc1.consul", RecordType::A, true), "service db dc dc1 ns team");
    }
}
