//! A checked question, and the reply being built.

use convoke_catalog::View;
use convoke_dns::builder::{Mark, NameAt};
use convoke_dns::{
    Builder, Class, ClientSubnet, Flags, Full, MAX_MESSAGE, MIN_UDP_LIMIT, Message, Name, Opcode, OptHeader, Question,
    Rcode, RecordType, Section,
};
use convoke_kit::Rng;

use super::host::Hosts;
use super::{DnsSettings, Transport};

/// The largest payload of a UDP datagram over IPv4.
const MAX_UDP: usize = 65_507;
/// Most answers over UDP to clients that take only 512 octets, whatever the configuration says.
const MAX_SMALL_ANSWERS: usize = 8;
/// Octets that stay free in every UDP answer, as the recordings have it.
const UDP_SPARE: usize = 7;

/// What one answer is made from.
pub(super) struct Context<'a> {
    pub(super) view: &'a View,
    pub(super) settings: &'a DnsSettings,
    pub(super) now_unix: u64,
    pub(super) rng: Rng,
    pub(super) hosts: &'a mut Hosts,
    /// How many more CNAMEs into our own domain are followed.
    pub(super) level: u8,
}

/// One question and what the client can take.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) id: u16,
    pub(super) flags: Flags,
    /// As the client spelled it.
    pub(super) name: Name,
    pub(super) rtype: RecordType,
    class: Class,
    pub(super) opt: Option<OptHeader>,
    pub(super) subnet: Option<ClientSubnet>,
    pub(super) transport: Transport,
}

impl Query {
    pub(super) fn new(message: &Message<'_>, question: &Question<'_>, transport: Transport) -> Self {
        let header = message.header();
        let (opt, subnet) = match message.opt() {
            Some((opt, options)) => (Some(opt), options.client_subnet()),
            None => (None, None),
        };
        let (name, rtype, class) = (question.name.to_name(), question.rtype, question.class);
        Self { id: header.id, flags: header.flags, name, rtype, class, opt, subnet, transport }
    }

    /// A question of our own, about a name that a CNAME led to.
    pub(super) fn internal(name: Name) -> Self {
        Self {
            id: 0,
            flags: Flags::default(),
            name,
            rtype: RecordType::ANY,
            class: Class::IN,
            opt: None,
            subnet: None,
            transport: Transport::Tcp,
        }
    }

    /// The largest reply this client takes.
    pub(super) fn limit(&self) -> usize {
        match self.transport {
            Transport::Tcp => MAX_MESSAGE,
            Transport::Udp => self.opt.map_or(0, |opt| usize::from(opt.payload)).clamp(MIN_UDP_LIMIT, MAX_UDP),
        }
    }

    /// The most answers this client gets, if that is limited at all.
    pub(super) fn max_answers(&self, settings: &DnsSettings) -> Option<usize> {
        let small = self.transport == Transport::Udp && self.limit() == MIN_UDP_LIMIT;
        small.then(|| settings.udp_answer_limit.clamp(1, MAX_SMALL_ANSWERS))
    }
}

/// A reply: question first, OPT last, and between them what the handlers add.
pub(super) struct Reply<'b> {
    pub(super) b: Builder<'b>,
    /// The question's name, which most answers belong to.
    pub(super) at: NameAt,
    opt: Option<(OptHeader, Option<ClientSubnet>)>,
    opt_len: usize,
    rcode: Rcode,
    start: Mark,
}

impl<'b> Reply<'b> {
    /// Starts a reply with the flags that every one has: opcode, RD and CD as asked, RA if we recurse.
    ///
    /// # Errors
    /// [`Full`] if the buffer is too small for the question.
    pub(super) fn start(query: &Query, settings: &DnsSettings, out: &'b mut [u8]) -> Result<Self, Full> {
        const CD: u16 = 0x0010;
        let opcode = query.flags.opcode();
        let echoed = if opcode == Opcode::QUERY { query.flags.0 & (Flags::RD | CD) } else { 0 };
        let flags = Flags(Flags::QR | echoed).with_opcode(opcode).with(Flags::RA, settings.recurses());
        let mut b = Builder::new(out, query.limit(), query.id, flags)?;
        if !settings.compress {
            b.disable_compression();
        }
        let at = b.question(&query.name, query.rtype, query.class)?;
        let opt = query.opt.map(|asked| {
            // The client's own size comes back, as the recordings have it.
            let header = OptHeader { payload: asked.payload, rcode_high: 0, version: 0, dnssec_ok: false };
            (header, query.subnet.map(|subnet| ClientSubnet { scope_prefix: 0, ..subnet }))
        });
        let opt_len = opt.as_ref().map_or(0, |(_, subnet)| Builder::opt_len(subnet.as_ref()));
        b.reserve(opt_len)?;
        if query.transport == Transport::Udp {
            // A question alone leaves more than that free.
            b.reserve(UDP_SPARE.saturating_sub(opt_len))?;
        }
        let start = b.mark();
        Ok(Self { b, at, opt, opt_len, rcode: Rcode::NOERROR, start })
    }

    /// The answer is ours to give.
    pub(super) fn authoritative(&mut self) {
        self.b.set_flags(self.b.flags().with(Flags::AA, true));
    }

    /// Sets or clears TC.
    pub(super) fn truncated(&mut self, cut: bool) {
        self.b.set_flags(self.b.flags().with(Flags::TC, cut));
    }

    /// Back to the question alone, with this response code.
    pub(super) fn reset(&mut self, rcode: Rcode) {
        self.b.rewind(self.start);
        self.rcode = rcode;
    }

    /// The answer depends on the client's whole subnet (RFC 7871, 7.2.1).
    pub(super) fn scope_to_client(&mut self) {
        if let Some((_, Some(subnet))) = &mut self.opt {
            subnet.scope_prefix = subnet.source_prefix;
        }
    }

    /// Nothing but the SOA record (RFC 2308): the name does not exist, or has nothing of this type.
    pub(super) fn negative(&mut self, context: &Context<'_>, rcode: Rcode) {
        self.reset(rcode);
        let soa = context.settings.soa(context.now_unix);
        // Only a name near 255 octets leaves no room; the code says enough then.
        let _ = self.b.soa(Section::Authority, &context.settings.domain, soa.minimum, &soa);
    }

    /// Whether no answer was added.
    pub(super) fn has_no_answer(&self) -> bool {
        let [_, answers, ..] = self.b.counts();
        answers == 0
    }

    /// Adds OPT and fills in the header.
    pub(super) fn finish(mut self) -> usize {
        self.b.release(self.opt_len.max(UDP_SPARE));
        if let Some((header, subnet)) = &self.opt {
            let header = OptHeader { rcode_high: self.rcode.high(), ..*header };
            let fits = self.b.opt(header, subnet.as_ref());
            debug_assert!(fits.is_ok(), "its room was kept");
        }
        let flags = self.b.flags().with_rcode(self.rcode);
        self.b.set_flags(flags);
        self.b.finish()
    }
}
