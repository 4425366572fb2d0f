//! The encoder: a message written front to back into the caller's buffer, never beyond its limit.

use core::net::IpAddr;

use crate::compress::{Compressor, MAX_POINTER};
use crate::edns::CLIENT_SUBNET;
use crate::{
    Class, ClientSubnet, Flags, HEADER_LEN, MAX_MESSAGE, Name, NameRef, OptHeader, RData, Record, RecordType, Section,
    Soa, Srv,
};

/// What does not fit is not there: the message is as it was before the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record does not fit the message's size limit")]
pub struct Full;

/// A name that stands in the message already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAt(u16);

/// Whom a record belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'n> {
    /// This name; written compressed.
    Name(&'n Name),
    /// The same name as at this place of the message.
    At(NameAt),
}

impl<'n> From<&'n Name> for Owner<'n> {
    fn from(name: &'n Name) -> Self {
        Self::Name(name)
    }
}

impl From<NameAt> for Owner<'_> {
    fn from(at: NameAt) -> Self {
        Self::At(at)
    }
}

/// A place to go back to, see [`Builder::mark`].
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    len: usize,
    reserved: usize,
    counts: [u16; 4],
    section: usize,
}

/// Writes one message: header and question, then answers, authority, additional records, in this order.
///
/// At every moment the buffer holds a message that is whole up to the last record; [`Builder::finish`] only
/// fills in the header. Nothing ever grows beyond `limit - reserved`: a record that does not fit is
/// rolled back and reported as [`Full`]. Room for what has to come last (OPT, the additional records that go with
/// an answer) is set aside with [`Builder::reserve`].
pub struct Builder<'b> {
    buf: &'b mut [u8],
    limit: usize,
    len: usize,
    reserved: usize,
    id: u16,
    flags: Flags,
    counts: [u16; 4],
    /// Index of the section being written, 0 for the question.
    section: usize,
    names: Option<Compressor>,
}

impl<'b> Builder<'b> {
    /// Starts a message of at most `limit` octets (and at most what the buffer and a message can hold).
    ///
    /// # Errors
    /// [`Full`] if not even a header fits.
    pub fn new(buf: &'b mut [u8], limit: usize, id: u16, flags: Flags) -> Result<Self, Full> {
        let limit = limit.min(buf.len()).min(MAX_MESSAGE);
        buf.get_mut(..limit).and_then(|b| b.get_mut(..HEADER_LEN)).ok_or(Full)?.fill(0);
        Ok(Self {
            buf,
            limit,
            len: HEADER_LEN,
            reserved: 0,
            id,
            flags,
            counts: [0; 4],
            section: 0,
            names: Some(Compressor::new()),
        })
    }

    /// Writes all names in full from here on.
    pub fn disable_compression(&mut self) {
        self.names = None;
    }

    /// Whether names may be compressed.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.names.is_some()
    }

    /// The header's flags as they stand.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Replaces the header's flags, response code and opcode included.
    pub fn set_flags(&mut self, flags: Flags) {
        self.flags = flags;
    }

    /// Octets written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing but the header was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len <= HEADER_LEN
    }

    /// Entries of question, answer, authority, additional so far.
    #[must_use]
    pub fn counts(&self) -> [u16; 4] {
        self.counts
    }

    /// Octets that can still be written, what is reserved not counted.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.len + self.reserved)
    }

    /// Lowers the limit, for instance to keep some distance from what the network carries. It never rises.
    ///
    /// # Errors
    /// [`Full`] if more than that is written or reserved already; the limit stays.
    pub fn lower_limit(&mut self, limit: usize) -> Result<(), Full> {
        if self.len + self.reserved > limit {
            return Err(Full);
        }
        self.limit = self.limit.min(limit);
        Ok(())
    }

    /// Sets octets aside: until they are released no record can take them.
    ///
    /// # Errors
    /// [`Full`] if there are not as many left.
    pub fn reserve(&mut self, octets: usize) -> Result<(), Full> {
        if octets > self.room() {
            return Err(Full);
        }
        self.reserved += octets;
        Ok(())
    }

    /// Gives back what was set aside.
    pub fn release(&mut self, octets: usize) {
        self.reserved = self.reserved.saturating_sub(octets);
    }

    /// Remembers where the message stands.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { len: self.len, reserved: self.reserved, counts: self.counts, section: self.section }
    }

    /// Takes back everything written and reserved since `mark`, which must come from this message.
    pub fn rewind(&mut self, mark: Mark) {
        // Also when nothing was written: names are learned before they are known to fit.
        if let Some(names) = &mut self.names {
            names.forget_from(mark.len);
        }
        self.len = mark.len;
        self.reserved = mark.reserved;
        self.counts = mark.counts;
        self.section = mark.section;
    }

    /// Adds a question; only before the first record. Gives the place of its name.
    ///
    /// # Errors
    /// [`Full`].
    pub fn question(&mut self, name: &Name, rtype: RecordType, class: Class) -> Result<NameAt, Full> {
        debug_assert!(self.section == 0, "questions come before records");
        let mark = self.mark();
        let at = NameAt(self.len as u16);
        let done = self.put_name(name)
            && self.put(&rtype.0.to_be_bytes())
            && self.put(&class.0.to_be_bytes())
            && self.count_one(0);
        if done {
            Ok(at)
        } else {
            self.rewind(mark);
            Err(Full)
        }
    }

    /// Starts a record. Write its data with the guard's `put` methods, then commit; a guard that is
    /// dropped takes the record back. Sections only move forward.
    ///
    /// # Errors
    /// [`Full`] if not even the record's fixed part fits.
    pub fn record<'n>(
        &mut self,
        section: Section,
        owner: impl Into<Owner<'n>>,
        rtype: RecordType,
        class: Class,
        ttl: u32,
    ) -> Result<RecordWriter<'_, 'b>, Full> {
        debug_assert!(section.index() >= self.section, "sections are written in order");
        let mark = self.mark();
        let [c0, c1] = class.0.to_be_bytes();
        let [t0, t1, t2, t3] = ttl.to_be_bytes();
        let [r0, r1] = rtype.0.to_be_bytes();
        let done = section.index() >= self.section
            && match owner.into() {
                Owner::Name(name) => self.put_name(name),
                Owner::At(at) => self.put_same(at),
            }
            && self.put(&[r0, r1, c0, c1, t0, t1, t2, t3, 0, 0]);
        if !done {
            self.rewind(mark);
            return Err(Full);
        }
        self.section = section.index();
        let data_at = self.len;
        Ok(RecordWriter { builder: self, mark, data_at, fits: true, kept: false })
    }

    /// Adds an A or AAAA record of class IN.
    ///
    /// # Errors
    /// [`Full`].
    pub fn address<'n>(
        &mut self,
        section: Section,
        owner: impl Into<Owner<'n>>,
        ttl: u32,
        address: IpAddr,
    ) -> Result<(), Full> {
        match address {
            IpAddr::V4(v4) => self.raw(section, owner, RecordType::A, Class::IN, ttl, &v4.octets()),
            IpAddr::V6(v6) => self.raw(section, owner, RecordType::AAAA, Class::IN, ttl, &v6.octets()),
        }
    }

    /// Adds a NS, CNAME or PTR record, or any other whose data is one name that may be compressed.
    ///
    /// # Errors
    /// [`Full`].
    pub fn name_record<'n>(
        &mut self,
        section: Section,
        owner: impl Into<Owner<'n>>,
        rtype: RecordType,
        ttl: u32,
        target: &Name,
    ) -> Result<(), Full> {
        let mut record = self.record(section, owner, rtype, Class::IN, ttl)?;
        record.put_name(target);
        record.commit()
    }

    /// Adds a SRV record. Its target is never compressed (RFC 2782), but later names may point to it: its place is
    /// what this gives.
    ///
    /// # Errors
    /// [`Full`].
    pub fn srv<'n>(
        &mut self,
        section: Section,
        owner: impl Into<Owner<'n>>,
        ttl: u32,
        srv: Srv,
        target: &Name,
    ) -> Result<NameAt, Full> {
        let mut record = self.record(section, owner, RecordType::SRV, Class::IN, ttl)?;
        record.put([srv.priority, srv.weight, srv.port].map(u16::to_be_bytes).as_flattened());
        let at = record.put_name_plain(target);
        record.commit()?;
        Ok(at)
    }

    /// Adds a SOA record.
    ///
    /// # Errors
    /// [`Full`].
    pub fn soa<'n>(&mut self, section: Section, owner: impl Into<Owner<'n>>, ttl: u32, soa: &Soa) -> Result<(), Full> {
        let mut record = self.record(section, owner, RecordType::SOA, Class::IN, ttl)?;
        record.put_name(&soa.mname);
        record.put_name(&soa.rname);
        for timer in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
            record.put(&timer.to_be_bytes());
        }
        record.commit()
    }

    /// Adds a TXT record of one text given in parts; it is cut into strings of 255 octets.
    ///
    /// # Errors
    /// [`Full`].
    pub fn txt<'n, 't>(
        &mut self,
        section: Section,
        owner: impl Into<Owner<'n>>,
        ttl: u32,
        parts: impl Iterator<Item = &'t [u8]>,
    ) -> Result<(), Full> {
        let mut record = self.record(section, owner, RecordType::TXT, Class::IN, ttl)?;
        record.put_text(parts);
        record.commit()
    }

    /// Adds a record whose data is given as bytes without names (RFC 3597).
    ///
    /// # Errors
    /// [`Full`].
    pub fn raw<'n>(
        &mut self,
        section: Section,
        owner: impl Into<Owner<'n>>,
        rtype: RecordType,
        class: Class,
        ttl: u32,
        data: &[u8],
    ) -> Result<(), Full> {
        let mut record = self.record(section, owner, rtype, class, ttl)?;
        record.put(data);
        record.commit()
    }

    /// Adds a record decoded from another message, its names written anew, with this TTL.
    ///
    /// # Errors
    /// [`Full`].
    pub fn copy(&mut self, section: Section, from: &Record<'_>, ttl: u32) -> Result<(), Full> {
        let mut record = self.record(section, &from.name.to_name(), from.rtype, from.class, ttl)?;
        match from.data {
            RData::A(v4) => record.put(&v4.octets()),
            RData::Aaaa(v6) => record.put(&v6.octets()),
            RData::Ns(name) | RData::Cname(name) | RData::Ptr(name) => record.put_name(&name.to_name()),
            RData::Mx { preference, exchange } => {
                record.put_u16(preference);
                record.put_name(&exchange.to_name());
            }
            RData::Soa { mname, rname, timers } => {
                record.put_name(&mname.to_name());
                record.put_name(&rname.to_name());
                for timer in timers {
                    record.put(&timer.to_be_bytes());
                }
            }
            RData::Srv { priority, weight, port, target } => {
                record.put_u16(priority);
                record.put_u16(weight);
                record.put_u16(port);
                record.put_name_plain(&target.to_name());
            }
            RData::Txt(txt) => {
                for string in txt.strings() {
                    record.put(&[string.len() as u8]);
                    record.put(string);
                }
            }
            RData::Opt(opt) => {
                for (code, data) in opt.options() {
                    record.put_u16(code);
                    record.put_u16(data.len() as u16);
                    record.put(data);
                }
            }
            RData::Unknown(data) => record.put(data),
        }
        record.commit()
    }

    /// Octets of an OPT record with this option.
    #[must_use]
    pub fn opt_len(subnet: Option<&ClientSubnet>) -> usize {
        11 + subnet.map_or(0, ClientSubnet::wire_len)
    }

    /// Adds the OPT record.
    ///
    /// # Errors
    /// [`Full`].
    pub fn opt(&mut self, header: OptHeader, subnet: Option<&ClientSubnet>) -> Result<(), Full> {
        let class = Class(header.payload);
        let mut record = self.record(Section::Additional, &Name::root(), RecordType::OPT, class, header.ttl())?;
        if let Some(subnet) = subnet {
            let (data, len) = subnet.data();
            record.put_u16(CLIENT_SUBNET);
            record.put_u16(len as u16);
            record.put(data.get(..len).unwrap_or_default());
        }
        record.commit()
    }

    /// Octets that a record of this owner with `data_len` octets of data will take.
    #[must_use]
    pub fn cost(&self, owner: NameAt, data_len: usize) -> usize {
        let name = if self.names.is_some() && usize::from(owner.0) <= MAX_POINTER {
            2
        } else {
            self.name_at(owner).map_or(crate::name::MAX_NAME, NameRef::wire_len)
        };
        name + 10 + data_len
    }

    /// Fills in the header and gives the message's length.
    #[must_use]
    pub fn finish(self) -> usize {
        let [q, a, n, x] = self.counts.map(u16::to_be_bytes);
        let header = [self.id.to_be_bytes(), self.flags.0.to_be_bytes(), q, a, n, x];
        for (to, from) in self.buf.iter_mut().zip(header.as_flattened()) {
            *to = *from;
        }
        self.len
    }

    fn name_at(&self, at: NameAt) -> Option<NameRef<'_>> {
        NameRef::read(self.buf.get(..self.len)?, usize::from(at.0)).ok().map(|(name, _)| name)
    }

    fn count_one(&mut self, index: usize) -> bool {
        match self.counts.get_mut(index).map(|count| (count.checked_add(1), count)) {
            Some((Some(more), count)) => {
                *count = more;
                true
            }
            _ => false,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.room() {
            return false;
        }
        let Some(to) = self.buf.get_mut(self.len..self.len + bytes.len()) else { return false };
        to.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    fn put_name(&mut self, name: &Name) -> bool {
        let wire = name.as_wire();
        let Some(names) = &mut self.names else { return self.put(wire) };
        let found = names.find_and_learn(self.buf.get(..self.len).unwrap_or_default(), wire, self.len);
        match found.pointer {
            None => self.put(wire),
            Some(pointer) => {
                self.put(wire.get(..found.prefix).unwrap_or_default()) && self.put(&(0xc000 | pointer).to_be_bytes())
            }
        }
    }

    fn put_name_plain(&mut self, name: &Name) -> bool {
        let wire = name.as_wire();
        let at = self.len;
        if !self.put(wire) {
            return false;
        }
        if let Some(names) = &mut self.names {
            names.learn_all(self.buf.get(..at).unwrap_or_default(), wire, at);
        }
        true
    }

    fn put_same(&mut self, at: NameAt) -> bool {
        if self.names.is_some() && usize::from(at.0) <= MAX_POINTER {
            return self.put(&(0xc000 | at.0).to_be_bytes());
        }
        match self.name_at(at).map(NameRef::to_name) {
            Some(name) => self.put_name(&name),
            None => false,
        }
    }
}

/// A record being written. Dropped without [`RecordWriter::commit`], it was never there.
#[must_use = "a record that is not committed is taken back"]
pub struct RecordWriter<'w, 'b> {
    builder: &'w mut Builder<'b>,
    mark: Mark,
    data_at: usize,
    fits: bool,
    kept: bool,
}

impl RecordWriter<'_, '_> {
    /// Adds bytes to the record's data.
    pub fn put(&mut self, bytes: &[u8]) {
        self.fits = self.fits && self.builder.put(bytes);
    }

    /// Adds 16 bits.
    pub fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Adds a name, compressed. Only for the types of RFC 1035 (RFC 3597, 4).
    pub fn put_name(&mut self, name: &Name) {
        self.fits = self.fits && self.builder.put_name(name);
    }

    /// Adds a name in full and gives its place.
    pub fn put_name_plain(&mut self, name: &Name) -> NameAt {
        let at = NameAt(self.builder.len as u16);
        self.fits = self.fits && self.builder.put_name_plain(name);
        at
    }

    /// Adds a text given in parts as character strings of at most 255 octets; an empty text is one empty string.
    pub fn put_text<'t>(&mut self, parts: impl Iterator<Item = &'t [u8]>) {
        let mut len_at = self.builder.len;
        self.put(&[0]);
        let mut len = 0;
        for mut part in parts {
            while !part.is_empty() {
                if len == u8::MAX {
                    self.set_octet(len_at, len);
                    len_at = self.builder.len;
                    self.put(&[0]);
                    len = 0;
                }
                let (now, later) = part.split_at(part.len().min(usize::from(u8::MAX - len)));
                self.put(now);
                len += now.len() as u8;
                part = later;
            }
        }
        self.set_octet(len_at, len);
    }

    /// Keeps the record.
    ///
    /// # Errors
    /// [`Full`] if some of it did not fit; then nothing of it is kept.
    pub fn commit(mut self) -> Result<(), Full> {
        let len = u16::try_from(self.builder.len - self.data_at).map_err(|_| Full)?;
        if !self.fits || !self.builder.count_one(self.builder.section) {
            return Err(Full);
        }
        let [high, low] = len.to_be_bytes();
        self.set_octet(self.data_at.saturating_sub(2), high);
        self.set_octet(self.data_at.saturating_sub(1), low);
        self.kept = true;
        Ok(())
    }

    fn set_octet(&mut self, at: usize, value: u8) {
        if self.fits
            && let Some(octet) = self.builder.buf.get_mut(at)
        {
            *octet = value;
        }
    }
}

impl Drop for RecordWriter<'_, '_> {
    fn drop(&mut self) {
        if !self.kept {
            self.builder.rewind(self.mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use std::net::Ipv4Addr;
    use std::string::{String, ToString};
    use std::vec::Vec;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn start<'b>(buf: &'b mut [u8], limit: usize, question: &str) -> (Builder<'b>, NameAt) {
        let mut b = Builder::new(buf, limit, 7, Flags(Flags::QR)).expect("room for a header");
        let at = b.question(&name(question), RecordType::ANY, Class::IN).expect("room for the question");
        (b, at)
    }

    fn owners(message: &Message<'_>, section: Section) -> Vec<String> {
        message.records(section).map(|r| r.name.to_string()).collect()
    }

    #[test]
    fn names_are_compressed_and_srv_targets_are_not() {
        let mut buf = [0; 512];
        let (mut b, at) = start(&mut buf, 512, "web.service.consul");
        assert_eq!(b.len(), 12 + 20 + 4);
        let srv = Srv { priority: 1, weight: 1, port: 80 };
        let target = b.srv(Section::Answer, at, 0, srv, &name("n1.node.dc1.consul")).expect("room");
        assert_eq!(b.len(), 36 + 2 + 10 + 6 + 20, "the whole target");
        assert_eq!(b.cost(target, 4), 16);
        b.address(Section::Additional, target, 0, LOCAL).expect("room");
        b.address(Section::Additional, &name("n2.node.dc1.consul"), 0, LOCAL).expect("room");
        assert_eq!(b.len(), 74 + 16 + 5 + 14, "the owner points into the target");
        let len = b.finish();
        let message = Message::parse(&buf[..len]).expect("well-formed");
        assert_eq!(message.header().counts, [1, 1, 0, 2]);
        assert_eq!(owners(&message, Section::Additional), ["n1.node.dc1.consul.", "n2.node.dc1.consul."]);
    }

    #[test]
    fn without_compression_every_name_is_whole() {
        let mut buf = [0; 512];
        let mut b = Builder::new(&mut buf, 512, 7, Flags::default()).expect("room");
        b.disable_compression();
        let at = b.question(&name("a.consul"), RecordType::A, Class::IN).expect("room");
        assert_eq!(b.cost(at, 4), 10 + 14);
        b.address(Section::Answer, at, 0, LOCAL).expect("room");
        assert_eq!(b.len(), 12 + 14 + 24);
        let len = b.finish();
        assert_eq!(owners(&Message::parse(&buf[..len]).expect("well-formed"), Section::Answer), ["a.consul."]);
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let mut buf = [0; 512];
        let (mut b, at) = start(&mut buf, 60, "a.consul");
        b.reserve(11).expect("room");
        let before = b.len();
        assert_eq!(b.name_record(Section::Answer, at, RecordType::CNAME, 0, &name("elsewhere.example")), Err(Full));
        assert_eq!((b.len(), b.counts()), (before, [1, 0, 0, 0]));
        // What would have been learned from the record is not pointed to.
        b.name_record(Section::Answer, at, RecordType::CNAME, 0, &name("x.consul")).expect("fits without the suffix");
        b.release(11);
        b.opt(OptHeader { payload: 1232, rcode_high: 0, version: 0, dnssec_ok: false }, None).expect("was reserved");
        let len = b.finish();
        assert!(len <= 60);
        let message = Message::parse(&buf[..len]).expect("well-formed");
        assert_eq!(message.header().counts, [1, 1, 0, 1]);
        assert_eq!(message.opt().map(|(h, _)| h.payload), Some(1232));
    }

    #[test]
    fn marks_take_back_records_and_reservations() {
        let mut buf = [0; 512];
        let (mut b, at) = start(&mut buf, 512, "a.consul");
        let mark = b.mark();
        b.name_record(Section::Authority, at, RecordType::NS, 0, &name("ns.example")).expect("room");
        b.reserve(100).expect("room");
        b.rewind(mark);
        assert_eq!(b.room(), 512 - 26);
        // The section goes back too, and the name is written anew, not pointed to.
        b.name_record(Section::Answer, at, RecordType::NS, 0, &name("ns.example")).expect("room");
        assert_eq!(b.len(), 26 + 12 + 12);
    }

    #[test]
    fn a_dropped_guard_takes_its_record_back() {
        let mut buf = [0; 512];
        let (mut b, at) = start(&mut buf, 512, "a.consul");
        let before = b.len();
        let mut record = b.record(Section::Answer, at, RecordType::TXT, Class::IN, 0).expect("room");
        record.put(b"\x05hello");
        drop(record);
        assert_eq!((b.len(), b.counts()), (before, [1, 0, 0, 0]));
    }

    #[test]
    fn long_texts_are_cut_into_strings() {
        let long = std::vec![b'x'; 600];
        // parts, lengths of the strings
        let table: [(&[&[u8]], &[usize]); 4] =
            [(&[], &[0]), (&[b"key", b"=", b"value"], &[9]), (&[&long[..255]], &[255]), (&[&long], &[255, 255, 90])];
        for (parts, lengths) in table {
            let mut buf = [0; 2048];
            let (mut b, at) = start(&mut buf, 2048, "a.consul");
            b.txt(Section::Answer, at, 0, parts.iter().copied()).expect("room");
            let len = b.finish();
            let message = Message::parse(&buf[..len]).expect("well-formed");
            let Some(RData::Txt(txt)) = message.records(Section::Answer).next().map(|r| r.data) else {
                panic!("a TXT record")
            };
            assert_eq!(txt.strings().map(<[u8]>::len).collect::<Vec<_>>(), lengths);
        }
    }

    #[test]
    fn names_beyond_the_reach_of_a_pointer_are_copied() {
        let mut buf = std::vec![0; 65_535];
        let (mut b, at) = start(&mut buf, 65_535, "a.consul");
        while b.len() <= MAX_POINTER {
            b.raw(Section::Answer, at, RecordType(999), Class::IN, 0, &[7; 200]).expect("room");
        }
        let srv = Srv { priority: 0, weight: 0, port: 0 };
        let far = b.srv(Section::Answer, at, 0, srv, &name("far.example")).expect("room");
        assert_eq!(b.cost(far, 4), 13 + 14);
        b.address(Section::Additional, far, 0, LOCAL).expect("room");
        b.address(Section::Additional, &name("far.example"), 0, LOCAL).expect("room");
        let len = b.finish();
        let message = Message::parse(&buf[..len]).expect("well-formed");
        assert_eq!(owners(&message, Section::Additional), ["far.example.", "far.example."]);
    }

    #[test]
    fn a_limit_below_a_header_is_refused() {
        let mut buf = [0; 512];
        assert!(Builder::new(&mut buf, 11, 0, Flags::default()).is_err());
        assert!(Builder::new(&mut buf[..11], 512, 0, Flags::default()).is_err());
        let mut b = Builder::new(&mut buf, 12, 0, Flags::default()).expect("room for a header");
        assert!(b.is_empty());
        assert_eq!(b.question(&Name::root(), RecordType::A, Class::IN), Err(Full));
        assert_eq!(b.finish(), 12);
    }
}
