//! Asking upstream servers on a client's behalf.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_catalog::View;
use convoke_dns::{Builder, Class, Flags, Message, Name, Rcode, RecordType, truncate};
use convoke_kit::Rng;

use super::host::Hosts;
use super::query::Query;
use super::respond::{self, Routed};
use super::{DnsSettings, Transport};

/// Octets enough for a question: header, name, type and class.
const QUESTION: usize = 12 + 255 + 4;

/// One client's question on its way to the upstream servers: pure, so whoever drives it only moves bytes.
///
/// 1. [`step`](Self::step) says whom to send what, and how long to wait. Each question goes out from a fresh
///    UDP socket (its random port is half of the protection against forged replies) or over a new TCP connection.
/// 2. What comes back goes to [`reply`](Self::reply); nothing in time, or an error, is [`no_reply`](Self::no_reply).
/// 3. Again from 1, until `step` says [`Step::Finish`]; then [`finish`](Self::finish) writes the client's reply.
///
/// It ends: every step moves on to the next server, from UDP to TCP, or to the next of at most 8 names.
#[derive(Debug)]
pub struct Recursion {
    packet: Vec<u8>,
    transport: Transport,
    seed: u64,
    rng: Rng,
    upstreams: Vec<SocketAddr>,
    timeout: Duration,
    /// The upstream that is asked; beyond the last if all failed.
    at: usize,
    asked: Asked,
    job: Job,
}

/// What was sent.
#[derive(Debug)]
struct Asked {
    packet: Vec<u8>,
    transport: Transport,
}

#[derive(Debug)]
enum Job {
    /// The client's own question; the reply goes back as it is.
    Forward { query: Box<Query>, reply: Option<Vec<u8>> },
    /// Host names that our answer depends on; the last of `wanted` is being asked about.
    Chase { rtype: RecordType, hosts: Hosts },
}

/// What to do next.
#[derive(Debug)]
pub enum Step<'r> {
    /// Ask this server.
    Ask(Ask<'r>),
    /// Nothing more to ask.
    Finish,
}

/// A packet to send.
#[derive(Debug)]
pub struct Ask<'r> {
    /// To whom.
    pub upstream: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The packet, without TCP's length prefix.
    pub packet: &'r [u8],
    /// How long to wait for its reply, from sending (or connecting) on.
    pub timeout: Duration,
}

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was the reply, good or bad: take the next [`Recursion::step`].
    Taken,
    /// It does not answer what was asked; keep waiting for the rest of the timeout.
    Ignored,
}

impl Recursion {
    pub(super) fn forward(
        settings: &DnsSettings,
        packet: &[u8],
        transport: Transport,
        seed: u64,
        query: Box<Query>,
    ) -> Self {
        let mut recursion = Self::new(settings, packet, transport, seed, Job::Forward { query, reply: None });
        recursion.ask();
        recursion
    }

    pub(super) fn chase(settings: &DnsSettings, packet: &[u8], transport: Transport, seed: u64, hosts: Hosts) -> Self {
        let question = Message::parse(packet).ok().and_then(|message| message.questions().next());
        let rtype = match question.map(|question| question.rtype) {
            Some(RecordType::AAAA) => RecordType::AAAA,
            _ => RecordType::A,
        };
        let mut recursion = Self::new(settings, packet, transport, seed, Job::Chase { rtype, hosts });
        recursion.ask();
        recursion
    }

    fn new(settings: &DnsSettings, packet: &[u8], transport: Transport, seed: u64, job: Job) -> Self {
        // Not the numbers that shuffle the instances, which clients see.
        let mut rng = Rng::new(seed).fork();
        let mut upstreams = settings.recursors.to_vec();
        if settings.recursors_shuffled {
            rng.shuffle(&mut upstreams);
        }
        // What follows the message is nobody's business upstream.
        let end = Message::parse(packet).map_or(packet.len(), |message| message.end());
        Self {
            packet: packet.get(..end).unwrap_or_default().to_vec(),
            transport,
            seed,
            rng,
            upstreams,
            timeout: settings.recursor_timeout,
            at: 0,
            asked: Asked { packet: Vec::new(), transport },
            job,
        }
    }

    /// What to do next. Stays the same until a reply, or its absence, is reported.
    #[must_use]
    pub fn step(&self) -> Step<'_> {
        let open = match &self.job {
            Job::Forward { reply, .. } => reply.is_none(),
            Job::Chase { hosts, .. } => !hosts.wanted.is_empty(),
        };
        match self.upstreams.get(self.at).filter(|_| open) {
            None => Step::Finish,
            Some(upstream) => Step::Ask(Ask {
                upstream: *upstream,
                transport: self.asked.transport,
                packet: &self.asked.packet,
                timeout: self.timeout,
            }),
        }
    }

    /// Takes what came back. Total: any bytes may come.
    pub fn reply(&mut self, packet: &[u8]) -> Verdict {
        let asked = Message::parse(&self.asked.packet);
        let (Ok(asked), Some(header)) = (asked, convoke_dns::Header::read(packet)) else { return Verdict::Ignored };
        if header.id != asked.header().id || !header.flags.has(Flags::QR) {
            return Verdict::Ignored;
        }
        let good = match Message::parse(packet) {
            Ok(message) if message.header().counts[0] > 0 => {
                if !message.questions().eq(asked.questions()) {
                    return Verdict::Ignored;
                }
                matches!(header.flags.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN).then(|| message.end())
            }
            // Some refuse without repeating the question.
            _ => None,
        };
        match (good.and_then(|end| packet.get(..end)), &mut self.job) {
            (None, _) => self.next_upstream(),
            (Some(packet), Job::Forward { reply, .. }) => *reply = Some(packet.to_vec()),
            (Some(packet), Job::Chase { hosts, .. }) => {
                if header.flags.has(Flags::TC) && self.asked.transport == Transport::Udp {
                    self.asked.transport = Transport::Tcp;
                    return Verdict::Taken;
                }
                if let Some(host) = hosts.wanted.pop() {
                    hosts.known.push((host, Some(packet.to_vec())));
                }
                self.at = 0;
                self.ask();
            }
        }
        Verdict::Taken
    }

    /// The upstream did not answer in time, or could not be reached.
    pub fn no_reply(&mut self) {
        self.next_upstream();
    }

    fn next_upstream(&mut self) {
        self.at = self.at.saturating_add(1);
        self.ask();
    }

    /// Makes the packet for the upstream that is next, under a new id.
    fn ask(&mut self) {
        let id = self.rng.next_u64() as u16;
        let (packet, transport) = match &self.job {
            Job::Forward { query, .. } => {
                let mut packet = self.packet.clone();
                for (to, from) in packet.iter_mut().zip(id.to_be_bytes()) {
                    *to = from;
                }
                (packet, query.transport)
            }
            Job::Chase { rtype, hosts } => {
                let question = hosts.wanted.last().map_or_else(Vec::new, |host| question(id, host, *rtype));
                (question, Transport::Udp)
            }
        };
        self.asked = Asked { packet, transport };
    }

    /// Writes the client's reply; `None` if it does not even fit the buffer. Hosts that nobody knew stay bare CNAMEs;
    /// a question of the client's own that nobody answered is SERVFAIL.
    #[must_use]
    pub fn finish(self, view: &View, settings: &DnsSettings, now_unix: u64, out: &mut [u8]) -> Option<usize> {
        match self.job {
            Job::Forward { query, reply: Some(mut reply) } => {
                for (to, from) in reply.iter_mut().zip(query.id.to_be_bytes()) {
                    *to = from;
                }
                let len = truncate(&mut reply, query.limit().min(out.len()))?;
                out.get_mut(..len)?.copy_from_slice(reply.get(..len)?);
                Some(len)
            }
            Job::Forward { query, reply: None } => respond::failed(&query, settings, out),
            Job::Chase { mut hosts, .. } => {
                hosts.can_ask = false;
                let (packet, transport, seed) = (&self.packet, self.transport, self.seed);
                match respond::dispatch(view, settings, packet, transport, seed, now_unix, &mut hosts, out) {
                    Routed::Reply(len) => Some(len),
                    // The settings changed meanwhile, and the name is no longer ours.
                    Routed::Forward(query) => respond::failed(&query, settings, out),
                    Routed::Drop | Routed::Elsewhere => None,
                }
            }
        }
    }
}

/// A question of our own.
fn question(id: u16, host: &Name, rtype: RecordType) -> Vec<u8> {
    let mut packet = vec![0; QUESTION];
    let built = Builder::new(&mut packet, QUESTION, id, Flags(Flags::RD)).and_then(|mut b| {
        b.question(host, rtype, Class::IN)?;
        Ok(b.finish())
    });
    // It always fits; an empty packet would be a question nobody answers.
    packet.truncate(built.unwrap_or(0));
    packet
}
