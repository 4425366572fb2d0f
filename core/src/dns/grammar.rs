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

/// Labels joined by dots.
pub(super) type Joined = String<MAX_NAME>;

/// What a name below the domain asks for. Texts are in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookup {
    pub(super) kind: Kind,
    pub(super) name: Joined,
    /// Of services: only instances with this tag. Empty: all.
    pub(super) tag: Joined,
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
pub(super) struct Place {
    pub(super) datacenter: Option<Joined>,
    pub(super) namespace: Option<Joined>,
    pub(super) partition: Option<Joined>,
    /// Another cluster, or a sameness group.
    pub(super) elsewhere: bool,
}

/// Takes apart a name within `domain`. `None`: it asks for nothing there is.
pub(super) fn parse(name: &Name, domain: &Name, rtype: RecordType, prefer_namespace: bool) -> Option<(Lookup, Place)> {
    let mut labels: Vec<&str, 127> = Vec::new();
    for label in name.labels() {
        labels.push(core::str::from_utf8(label).ok()?).ok()?;
    }
    labels.truncate(labels.len().checked_sub(domain.labels().count())?);
    let is = |label: &&str, word: &str| label.eq_ignore_ascii_case(word);
    let kinds = ["service", "connect", "ingress", "node", "query", "addr"];
    let at = labels.iter().rposition(|label| {
        kinds.iter().any(|kind| is(label, kind)) || rtype == RecordType::SRV && label.starts_with('_')
    })?;
    let (left, right) = labels.split_at_checked(at)?;
    let (kind, place) = right.split_first()?;
    if kind.starts_with('_') {
        // The word `service` may be left out of SRV questions.
        return Some((service(labels.get(..=at)?)?, parse_place(place, prefer_namespace)?));
    }
    let place = parse_place(place, prefer_namespace)?;
    let (kind, name) = match () {
        () if left.is_empty() => return None,
        () if is(kind, "service") => return Some((service(left)?, place)),
        () if is(kind, "connect") => (Kind::Connect, left.get(left.len() - 1..)?),
        () if is(kind, "node") => (Kind::Node, left),
        () if is(kind, "query") => (Kind::Query, left),
        () if is(kind, "addr") && left.len() == 1 => (Kind::Address, left),
        // Ingress gateways are not kept; an address has one label.
        () => return None,
    };
    Some((Lookup { kind, name: join(name)?, tag: Joined::new() }, place))
}

fn service(labels: &[&str]) -> Option<Lookup> {
    if let [service, tag] = labels
        && let (Some(service), Some(tag)) = (service.strip_prefix('_'), tag.strip_prefix('_'))
    {
        // `_tcp` is the protocol of any service, not a tag.
        let tag = if tag.eq_ignore_ascii_case("tcp") { "" } else { tag };
        return Some(Lookup { kind: Kind::Service, name: join(&[service])?, tag: join(&[tag])? });
    }
    let (service, tag) = labels.split_last()?;
    Some(Lookup { kind: Kind::Service, name: join(&[service])?, tag: join(tag)? })
}

fn parse_place(labels: &[&str], prefer_namespace: bool) -> Option<Place> {
    let one = |label: &str| join(&[label]);
    let mut place = Place::default();
    match labels {
        [] => {}
        [only] if prefer_namespace => place.namespace = Some(one(only)?),
        [only] => place.datacenter = Some(one(only)?),
        [namespace, datacenter] if !is_keyword(datacenter) => {
            (place.namespace, place.datacenter) = (Some(one(namespace)?), Some(one(datacenter)?));
        }
        pairs => {
            for pair in pairs.chunks(2) {
                let [value, keyword] = pair else { return None };
                let slot = match () {
                    () if keyword.eq_ignore_ascii_case("dc") => &mut place.datacenter,
                    () if keyword.eq_ignore_ascii_case("ns") => &mut place.namespace,
                    () if keyword.eq_ignore_ascii_case("ap") => &mut place.partition,
                    () if is_keyword(keyword) => {
                        place.elsewhere = true;
                        continue;
                    }
                    () => return None,
                };
                if slot.replace(one(value)?).is_some() {
                    return None;
                }
            }
        }
    }
    Some(place)
}

fn is_keyword(label: &str) -> bool {
    ["dc", "ns", "ap", "peer", "sg"].iter().any(|keyword| label.eq_ignore_ascii_case(keyword))
}

fn join(labels: &[&str]) -> Option<Joined> {
    let mut joined = Joined::new();
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            joined.push('.').ok()?;
        }
        joined.push_str(label).ok()?;
    }
    joined.make_ascii_lowercase();
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    fn shown(name: &str, rtype: RecordType, prefer_namespace: bool) -> String {
        let (name, domain) = (name.parse().expect("a name"), "consul".parse().expect("a name"));
        let Some((lookup, place)) = parse(&name, &domain, rtype, prefer_namespace) else {
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
