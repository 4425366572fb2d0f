//! The decoder: a borrowed view of a whole message that has been checked once.

use core::fmt;

use crate::edns::{Opt, OptHeader};
use crate::reader::Reader;
use crate::{Class, Error, Flags, HEADER_LEN, NameRef, RData, RecordType};

/// The fixed 12 octets (RFC 1035, 4.1.1). Readable even when the rest of the packet is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chosen by who asks, echoed by who answers.
    pub id: u16,
    /// QR, opcode, bits and response code.
    pub flags: Flags,
    /// Entries in the question, answer, authority and additional sections.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header alone; `None` below 12 octets.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let [i0, i1, f0, f1, q0, q1, a0, a1, n0, n1, x0, x1] = *packet.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            id: u16::from_be_bytes([i0, i1]),
            flags: Flags(u16::from_be_bytes([f0, f1])),
            counts: [[q0, q1], [a0, a1], [n0, n1], [x0, x1]].map(u16::from_be_bytes),
        })
    }
}

/// The sections that hold records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Answers to the question.
    Answer,
    /// Where authority lies; the SOA of a negative answer (RFC 2308).
    Authority,
    /// What may help, and OPT.
    Additional,
}

impl Section {
    /// Its place among the four counts of the header.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Answer => 1,
            Self::Authority => 2,
            Self::Additional => 3,
        }
    }
}

/// A question. Its class is compared by nobody but echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The name asked for.
    pub name: NameRef<'a>,
    /// The record type asked for.
    pub rtype: RecordType,
    /// The class asked for.
    pub class: Class,
}

/// A resource record, its data decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Whom the record belongs to.
    pub name: NameRef<'a>,
    /// Its type.
    pub rtype: RecordType,
    /// Its class; for OPT the payload size.
    pub class: Class,
    /// Seconds it may be kept; for OPT extended flags.
    pub ttl: u32,
    /// What it carries.
    pub data: RData<'a>,
}

impl<'a> Record<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Error> {
        let name = r.name()?;
        let [y0, y1, c0, c1, t0, t1, t2, t3, l0, l1] = r.array("a record")?;
        let (rtype, class) = (RecordType(u16::from_be_bytes([y0, y1])), Class(u16::from_be_bytes([c0, c1])));
        let ttl = u32::from_be_bytes([t0, t1, t2, t3]);
        let at = r.at;
        r.bytes(usize::from(u16::from_be_bytes([l0, l1])), "record data")?;
        let data = RData::read(rtype, r.message, at, r.at)?;
        Ok(Self { name, rtype, class, ttl, data })
    }
}

/// A message whose every name, length and record was checked by [`Message::parse`].
///
/// A view: it copies nothing, and its iterators walk the packet again. Octets after the last record are
/// tolerated, see [`Message::end`].
#[derive(Clone, Copy)]
pub struct Message<'a> {
    packet: &'a [u8],
    header: Header,
    /// Where the answer, authority and additional sections begin, and where the message ends.
    starts: [usize; 4],
    opt: Option<(OptHeader, Opt<'a>)>,
}

impl<'a> Message<'a> {
    /// Checks the whole packet.
    ///
    /// # Errors
    /// [`Error`] says what is wrong and where. Nothing but the header can be used then.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Error> {
        let header = Header::read(packet).ok_or(Error::Short { at: packet.len(), what: "the header" })?;
        let mut r = Reader::new(packet, HEADER_LEN);
        let [questions, records @ ..] = header.counts;
        for _ in 0..questions {
            read_question(&mut r)?;
        }
        let mut starts = [r.at; 4];
        let mut opt = None;
        for (index, count) in records.into_iter().enumerate() {
            for _ in 0..count {
                let at = r.at;
                let record = Record::read(&mut r)?;
                if let RData::Opt(options) = record.data {
                    // RFC 6891, 6.1.1: at most one, in the additional section, owned by the root.
                    if index != 2 || opt.is_some() || record.name.wire_len() != 1 {
                        return Err(Error::Opt { at });
                    }
                    opt = Some((OptHeader::from_fields(record.class.0, record.ttl), options));
                }
            }
            if let Some(next) = starts.get_mut(index + 1) {
                *next = r.at;
            }
        }
        Ok(Self { packet, header, starts, opt })
    }

    /// The fixed fields.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// The questions in order.
    #[must_use]
    pub fn questions(&self) -> Questions<'a> {
        Questions { reader: Reader::new(self.packet, HEADER_LEN), left: self.header.counts[0] }
    }

    /// The records of one section in order; OPT is among those of the additional section.
    #[must_use]
    pub fn records(&self, section: Section) -> Records<'a> {
        let [answer, authority, additional, _] = self.starts;
        let [_, answers, authorities, additionals] = self.header.counts;
        let (at, left) = match section {
            Section::Answer => (answer, answers),
            Section::Authority => (authority, authorities),
            Section::Additional => (additional, additionals),
        };
        Records { reader: Reader::new(self.packet, at), left }
    }

    /// The OPT record's fixed fields and options, if the message has one.
    #[must_use]
    pub fn opt(&self) -> Option<(OptHeader, Opt<'a>)> {
        self.opt
    }

    /// The offset after the last record. What the packet holds beyond it belongs to no section.
    #[must_use]
    pub fn end(&self) -> usize {
        let [.., end] = self.starts;
        end
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Message");
        out.field("id", &self.header.id).field("flags", &self.header.flags);
        for question in self.questions() {
            out.field("question", &question);
        }
        for (title, section) in
            [("answer", Section::Answer), ("authority", Section::Authority), ("additional", Section::Additional)]
        {
            for record in self.records(section) {
                out.field(title, &record);
            }
        }
        out.finish()
    }
}

fn read_question<'a>(r: &mut Reader<'a>) -> Result<Question<'a>, Error> {
    let name = r.name()?;
    Ok(Question { name, rtype: RecordType(r.u16("a question")?), class: Class(r.u16("a question")?) })
}

/// Walks the questions of a checked message.
#[derive(Clone)]
pub struct Questions<'a> {
    reader: Reader<'a>,
    left: u16,
}

impl<'a> Iterator for Questions<'a> {
    type Item = Question<'a>;

    fn next(&mut self) -> Option<Question<'a>> {
        self.left = self.left.checked_sub(1)?;
        read_question(&mut self.reader).ok()
    }
}

/// Walks the records of one section of a checked message.
#[derive(Clone)]
pub struct Records<'a> {
    reader: Reader<'a>,
    left: u16,
}

impl Records<'_> {
    /// Where the record starts that [`Iterator::next`] will give.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.reader.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        self.left = self.left.checked_sub(1)?;
        Record::read(&mut self.reader).ok()
    }
}
