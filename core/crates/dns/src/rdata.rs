//! What records carry, by type.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::edns::Opt;
use crate::reader::Reader;
use crate::{Error, Name, NameRef, RecordType};

/// The data of a decoded record; names refer into the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RData<'a> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A name server.
    Ns(NameRef<'a>),
    /// The name this one is an alias of.
    Cname(NameRef<'a>),
    /// The name an address belongs to.
    Ptr(NameRef<'a>),
    /// A mail exchange.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The mail server.
        exchange: NameRef<'a>,
    },
    /// The start of a zone.
    Soa {
        /// Primary name server.
        mname: NameRef<'a>,
        /// Mailbox of who is responsible, its `@` a dot.
        rname: NameRef<'a>,
        /// Serial, refresh, retry, expire, minimum.
        timers: [u32; 5],
    },
    /// A service's location.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// TCP or UDP port.
        port: u16,
        /// The host.
        target: NameRef<'a>,
    },
    /// Character strings.
    Txt(Txt<'a>),
    /// EDNS.
    Opt(Opt<'a>),
    /// Any other type: the bytes as they came (RFC 3597).
    Unknown(&'a [u8]),
}

impl<'a> RData<'a> {
    /// Reads `message[at..end]` as data of this type; the whole range has to be used.
    pub(crate) fn read(rtype: RecordType, message: &'a [u8], at: usize, end: usize) -> Result<Self, Error> {
        let bad = Error::RecordData { at };
        let raw = message.get(at..end).ok_or(bad)?;
        let mut r = Reader::new(message, at);
        let data = match rtype {
            RecordType::A => return <[u8; 4]>::try_from(raw).map(|b| Self::A(b.into())).map_err(|_| bad),
            RecordType::AAAA => return <[u8; 16]>::try_from(raw).map(|b| Self::Aaaa(b.into())).map_err(|_| bad),
            RecordType::TXT => return Txt::new(raw).map(Self::Txt).ok_or(bad),
            RecordType::OPT => return Opt::new(raw).map(Self::Opt).ok_or(bad),
            RecordType::NS => Self::Ns(r.name()?),
            RecordType::CNAME => Self::Cname(r.name()?),
            RecordType::PTR => Self::Ptr(r.name()?),
            RecordType::MX => Self::Mx { preference: r.u16("MX")?, exchange: r.name()? },
            RecordType::SRV => {
                Self::Srv { priority: r.u16("SRV")?, weight: r.u16("SRV")?, port: r.u16("SRV")?, target: r.name()? }
            }
            RecordType::SOA => {
                let (mname, rname, mut timers) = (r.name()?, r.name()?, [0; 5]);
                for timer in &mut timers {
                    *timer = r.u32("SOA")?;
                }
                Self::Soa { mname, rname, timers }
            }
            _ => return Ok(Self::Unknown(raw)),
        };
        if r.at == end { Ok(data) } else { Err(bad) }
    }
}

/// Character strings as TXT carries them: each of at most 255 octets after a length octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Txt<'a> {
    raw: &'a [u8],
}

impl<'a> Txt<'a> {
    /// Checks that the length octets add up. At least one string has to be there.
    fn new(raw: &'a [u8]) -> Option<Self> {
        let mut rest = raw;
        while let Some((len, tail)) = rest.split_first() {
            rest = tail.get(usize::from(*len)..)?;
        }
        (!raw.is_empty()).then_some(Self { raw })
    }

    /// The strings in order.
    pub fn strings(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.raw;
        core::iter::from_fn(move || {
            let (len, tail) = rest.split_first()?;
            let (string, next) = tail.split_at_checked(usize::from(*len))?;
            rest = next;
            Some(string)
        })
    }
}

/// A SOA record to write (RFC 1035, 3.3.13). All times are seconds.
#[derive(Debug, Clone)]
pub struct Soa {
    /// Primary name server.
    pub mname: Name,
    /// Mailbox of who is responsible, its `@` a dot.
    pub rname: Name,
    /// Version of the zone.
    pub serial: u32,
    /// How often a secondary asks.
    pub refresh: u32,
    /// How soon it asks again after a failure.
    pub retry: u32,
    /// When it gives up.
    pub expire: u32,
    /// How long a negative answer may be kept (RFC 2308).
    pub minimum: u32,
}

/// The numbers of a SRV record to write (RFC 2782).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
    /// TCP or UDP port.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn lengths_have_to_be_exact() {
        // type, data, whether it fits
        let table: &[(RecordType, &[u8], bool)] = &[
            (RecordType::A, &[1, 2, 3, 4], true),
            (RecordType::A, &[1, 2, 3], false),
            (RecordType::A, &[1, 2, 3, 4, 5], false),
            (RecordType::AAAA, &[0; 16], true),
            (RecordType::AAAA, &[0; 15], false),
            (RecordType::TXT, b"\x02hi\x00", true),
            (RecordType::TXT, b"", false),
            (RecordType::TXT, b"\x03hi", false),
            (RecordType::NS, b"\x01a\x00", true),
            (RecordType::NS, b"\x01a\x00x", false),
            (RecordType::NS, b"\x01a", false),
            (RecordType::MX, b"\x00\x01\x01a\x00", true),
            (RecordType::SRV, b"\x00\x01\x00\x01\x00\x50\x01a\x00", true),
            (RecordType::SRV, b"\x00\x01\x00\x01\x00", false),
            (RecordType::SOA, b"\x00\x00\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05", true),
            (RecordType::SOA, b"\x00\x00\0\0\0\x01", false),
            (RecordType::OPT, b"\x00\x0a\x00\x01x", true),
            (RecordType::OPT, b"\x00\x0a\x00\x02x", false),
            (RecordType(999), b"\x00anything", true),
        ];
        for (rtype, data, fits) in table {
            assert_eq!(RData::read(*rtype, data, 0, data.len()).is_ok(), *fits, "{rtype} {data:?}");
        }
    }

    #[test]
    fn a_name_must_end_where_the_data_ends() {
        // The name runs over the end of the data into what follows.
        assert_eq!(RData::read(RecordType::PTR, b"\x03abc\x00", 0, 3), Err(Error::RecordData { at: 0 }));
    }

    #[test]
    fn txt_strings() {
        let Ok(RData::Txt(txt)) = RData::read(RecordType::TXT, b"\x02hi\x00\x01!", 0, 6) else {
            panic!("a TXT record")
        };
        assert_eq!(txt.strings().collect::<Vec<_>>(), [b"hi".as_slice(), b"", b"!"]);
    }
}
