//! User events: how they travel, whom they concern, and the last ones.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use convoke_api::agent_view::{EVENTS, LocalService, UserEvent};
use convoke_catalog::Table;
use convoke_catalog::model::Str;
use convoke_catalog::regexp;
use serde::{Deserialize, Serialize};

/// Version of the payload.
const VERSION: u8 = 1;

/// What travels as the payload of a gossiped event, whose name is that of the user's.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    version: u8,
    id: u128,
    payload: Vec<u8>,
    node_filter: String,
    service_filter: String,
    tag_filter: String,
}

/// The payload of an event that was fired here.
///
/// # Errors
///
/// When it is longer than `limit` allows, name included.
pub(super) fn encode(event: &UserEvent, limit: usize) -> Result<Vec<u8>, String> {
    let digits: String = event.id.chars().filter(|c| *c != '-').collect();
    let envelope = Envelope {
        version: VERSION,
        id: u128::from_str_radix(&digits, 16).map_err(|_| format!("{:?} is no UUID", event.id))?,
        payload: event.payload.clone(),
        node_filter: event.node_filter.clone(),
        service_filter: event.service_filter.clone(),
        tag_filter: event.tag_filter.clone(),
    };
    let bytes = postcard::to_allocvec(&envelope).map_err(|why| why.to_string())?;
    if event.name.len() + bytes.len() > limit {
        return Err(format!(
            "user event exceeds configured limit of {limit} bytes before encoding: name, payload and filters take {}",
            event.name.len() + bytes.len()
        ));
    }
    Ok(bytes)
}

/// An event that came from the pool; or why it cannot be read.
pub(super) fn decode(name: String, time: u64, payload: &[u8]) -> Result<UserEvent, String> {
    let envelope: Envelope = postcard::from_bytes(payload).map_err(|why| why.to_string())?;
    if envelope.version != VERSION {
        return Err(format!("its version is {}, this agent reads {VERSION}", envelope.version));
    }
    Ok(UserEvent {
        id: uuid(envelope.id),
        name,
        payload: envelope.payload,
        node_filter: envelope.node_filter,
        service_filter: envelope.service_filter,
        tag_filter: envelope.tag_filter,
        time,
    })
}

fn uuid(id: u128) -> String {
    let hex = format!("{id:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Whether an event concerns this agent: its name, and one of its services with its tags.
///
/// # Errors
///
/// When a filter is no regular expression.
pub(super) fn concerns(
    event: &UserEvent,
    node: &str,
    services: &Table<Str, Arc<LocalService>>,
) -> Result<bool, String> {
    if !event.node_filter.is_empty() && !regexp::compile(&event.node_filter)?.is_match(node) {
        return Ok(false);
    }
    if event.service_filter.is_empty() {
        return Ok(true);
    }
    let service = regexp::compile(&event.service_filter)?;
    let tag = if event.tag_filter.is_empty() { None } else { Some(regexp::compile(&event.tag_filter)?) };
    Ok(services.values().any(|local| {
        service.is_match(&local.row.name)
            && tag.as_ref().is_none_or(|tag| local.row.tags.iter().any(|text| tag.is_match(text)))
    }))
}

/// Adds an event behind the others; the oldest ones go.
pub(super) fn remember(ring: &mut Arc<Vec<Arc<UserEvent>>>, event: UserEvent) {
    let ring = Arc::make_mut(ring);
    if ring.len() >= EVENTS {
        ring.drain(..=ring.len() - EVENTS);
    }
    ring.push(Arc::new(event));
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_catalog::model::Service;
    use convoke_config::definition::ServiceDefinition;

    fn event() -> UserEvent {
        UserEvent {
            id: "0a1b2c3d-0000-1111-2222-333344445555".to_string(),
            name: "deploy".to_string(),
            payload: b"v2".to_vec(),
            node_filter: "^n".to_string(),
            service_filter: "web".to_string(),
            tag_filter: "blue".to_string(),
            time: 0,
        }
    }

    #[test]
    fn it_comes_as_it_was_sent() {
        let bytes = encode(&event(), 512).unwrap();
        assert_eq!(decode("deploy".to_string(), 7, &bytes).unwrap(), UserEvent { time: 7, ..event() });
        assert!(bytes.len() < 48, "{} bytes", bytes.len());
        let long = UserEvent { payload: alloc::vec![0; 500], ..event() };
        assert!(encode(&long, 512).unwrap_err().starts_with("user event exceeds configured limit of 512 bytes"));
        for cut in 0..bytes.len() {
            assert!(decode(String::new(), 1, &bytes[..cut]).is_err());
        }
        let mut newer = bytes;
        newer[0] = 2;
        assert!(decode(String::new(), 1, &newer).unwrap_err().contains("version is 2"));
    }

    #[test]
    fn filters_choose_nodes_services_and_tags() {
        let mut services: Table<Str, Arc<LocalService>> = Table::default();
        let row = Service { name: "web".into(), tags: alloc::vec!["blue".into()], ..Service::default() };
        let definition = Arc::new(ServiceDefinition::default());
        services.insert("web".into(), Arc::new(LocalService { row: Arc::new(row), definition, from_file: false }));
        let with = |node: &str, service: &str, tag: &str| UserEvent {
            node_filter: node.to_string(),
            service_filter: service.to_string(),
            tag_filter: tag.to_string(),
            ..event()
        };
        for (node, service, tag, expected) in [
            ("", "", "", true),
            ("^n1$", "", "", true),
            ("^n2$", "", "", false),
            ("n", "w.b", "", true),
            ("", "api", "", false),
            ("", "web", "bl.e", true),
            ("", "web", "green", false),
        ] {
            assert_eq!(concerns(&with(node, service, tag), "n1", &services), Ok(expected), "{node} {service} {tag}");
        }
        assert!(concerns(&with("((", "", ""), "n1", &services).is_err());
        assert!(concerns(&with("", r"\w{500}{500}", ""), "n1", &services).is_err(), "too large to be compiled");
    }

    #[test]
    fn the_last_ones_are_remembered() {
        let mut ring = Arc::default();
        for time in 0..EVENTS as u64 + 5 {
            remember(&mut ring, UserEvent { time, ..event() });
        }
        assert_eq!((ring.len(), ring[0].time, ring[EVENTS - 1].time), (EVENTS, 5, EVENTS as u64 + 4));
    }
}
