//! Addresses that are names: the CNAME, and what stands behind it.

use alloc::vec;
use alloc::vec::Vec;

use convoke_dns::{Full, Message, Name, RecordType, Section};

use super::query::{Context, Query, Reply};
use super::respond;

/// Names that one answer may ask upstream servers about. Further ones stay bare CNAMEs.
const MAX_HOSTS: usize = 8;
/// Octets for the answer about a name of our own.
const SCRATCH: usize = 4096;

/// What is known about host names while an answer is made.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Names with the message that tells about them; `None` if nobody could.
    pub(super) known: Vec<(Name, Option<Vec<u8>>)>,
    /// Names to ask about before the answer is complete.
    pub(super) wanted: Vec<Name>,
    /// Whether there is anybody to ask.
    pub(super) can_ask: bool,
}

impl Hosts {
    /// What an upstream server said about the name, if one has; otherwise the name is noted for asking.
    fn upstream(&mut self, name: &Name) -> Option<&[u8]> {
        let known = self.known.iter().position(|(host, _)| host == name);
        if known.is_none() && self.can_ask && self.wanted.len() < MAX_HOSTS && !self.wanted.contains(name) {
            self.wanted.push(name.clone());
        }
        known.and_then(|at| self.known.get(at)?.1.as_deref())
    }
}

/// Adds the addresses behind a host name, with the CNAMEs on the way: found in the view if it is a name of ours,
/// else from what upstream servers said. Gives how many there are. `ttl`: instead of the records' own.
///
/// # Errors
/// [`Full`] at the first record that does not fit; those before it stay.
pub(super) fn add_addresses(
    context: &mut Context<'_>,
    reply: &mut Reply<'_>,
    section: Section,
    host: &Name,
    ttl: Option<u32>,
) -> Result<(), Full> {
    visit(context, host, |record| reply.b.copy(section, record, ttl.unwrap_or(record.ttl)))
}

/// Octets that [`add_addresses`] takes at most.
pub(super) fn addresses_len(context: &mut Context<'_>, host: &Name) -> usize {
    let mut len = 0;
    let counted: Result<(), Full> = visit(context, host, |record| {
        let name = record.name.wire_len() + 10;
        len += name
            + match record.data {
                convoke_dns::RData::A(_) => 4,
                convoke_dns::RData::Aaaa(_) => 16,
                convoke_dns::RData::Cname(target) => target.wire_len(),
                convoke_dns::RData::Txt(txt) => txt.strings().map(|s| 1 + s.len()).sum(),
                _ => 0,
            };
        Ok(())
    });
    debug_assert!(counted.is_ok(), "counting needs no room");
    len
}

fn visit(
    context: &mut Context<'_>,
    host: &Name,
    mut each: impl FnMut(&convoke_dns::Record<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    let settings = context.settings;
    let ours = host.is_within(&settings.domain) || settings.alt_domain.as_ref().is_some_and(|alt| host.is_within(alt));
    let mut scratch;
    let packet = if ours {
        let Some(level) = context.level.checked_sub(1) else { return Ok(()) };
        scratch = vec![0; SCRATCH];
        let mut inner = Context {
            view: context.view,
            settings,
            now_unix: context.now_unix,
            rng: context.rng.fork(),
            hosts: context.hosts,
            level,
        };
        let query = Query::internal(host.clone());
        let len = respond::in_domain(&mut inner, &query, &mut scratch).unwrap_or(0);
        scratch.get(..len)
    } else {
        context.hosts.upstream(host)
    };
    let Some(Ok(message)) = packet.map(Message::parse) else { return Ok(()) };
    let kinds = [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::TXT];
    message.records(Section::Answer).filter(|record| kinds.contains(&record.rtype)).try_for_each(|record| each(&record))
}
