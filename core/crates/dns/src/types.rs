//! The numbers of the protocol: record types, classes, opcodes, response codes, header flags.

use core::fmt;

/// A record or question type (RFC 1035, 3.2.2). Unknown numbers are kept (RFC 3597).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordType(pub u16);

impl RecordType {
    /// IPv4 address.
    pub const A: Self = Self(1);
    /// Name server.
    pub const NS: Self = Self(2);
    /// Alias.
    pub const CNAME: Self = Self(5);
    /// Start of a zone of authority.
    pub const SOA: Self = Self(6);
    /// Pointer, for reverse lookups.
    pub const PTR: Self = Self(12);
    /// Mail exchange.
    pub const MX: Self = Self(15);
    /// Text.
    pub const TXT: Self = Self(16);
    /// IPv6 address.
    pub const AAAA: Self = Self(28);
    /// Service location (RFC 2782).
    pub const SRV: Self = Self(33);
    /// EDNS pseudo record (RFC 6891).
    pub const OPT: Self = Self(41);
    /// Incremental zone transfer; only asked for.
    pub const IXFR: Self = Self(251);
    /// Zone transfer; only asked for.
    pub const AXFR: Self = Self(252);
    /// Everything there is; only asked for.
    pub const ANY: Self = Self(255);
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::A => "A",
            Self::NS => "NS",
            Self::CNAME => "CNAME",
            Self::SOA => "SOA",
            Self::PTR => "PTR",
            Self::MX => "MX",
            Self::TXT => "TXT",
            Self::AAAA => "AAAA",
            Self::SRV => "SRV",
            Self::OPT => "OPT",
            Self::IXFR => "IXFR",
            Self::AXFR => "AXFR",
            Self::ANY => "ANY",
            Self(other) => return write!(f, "TYPE{other}"),
        };
        f.write_str(text)
    }
}

/// A class. Everything in use is [`Class::IN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(pub u16);

impl Class {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// Chaos; used to ask servers for their version.
    pub const CH: Self = Self(3);
    /// Any class; only asked for.
    pub const ANY: Self = Self(255);
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IN => f.write_str("IN"),
            Self::CH => f.write_str("CH"),
            Self::ANY => f.write_str("ANY"),
            Self(other) => write!(f, "CLASS{other}"),
        }
    }
}

/// The kind of a request: 4 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// A question.
    pub const QUERY: Self = Self(0);
    /// Server status.
    pub const STATUS: Self = Self(2);
    /// "This zone has changed" (RFC 1996).
    pub const NOTIFY: Self = Self(4);
    /// Dynamic update (RFC 2136).
    pub const UPDATE: Self = Self(5);
}

/// A response code: 4 bits in the header, 8 more in OPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The request could not be read.
    pub const FORMERR: Self = Self(1);
    /// The server failed.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The server does not do this kind of request.
    pub const NOTIMP: Self = Self(4);
    /// The server does not want to.
    pub const REFUSED: Self = Self(5);
    /// EDNS version not supported (RFC 6891, 9). Does not fit the header alone.
    pub const BADVERS: Self = Self(16);

    /// The 4 bits that go into the header.
    #[must_use]
    pub fn low(self) -> u8 {
        (self.0 & 0x0f) as u8
    }

    /// The 8 bits that go into OPT.
    #[must_use]
    pub fn high(self) -> u8 {
        (self.0 >> 4) as u8
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::NOERROR => "NOERROR",
            Self::FORMERR => "FORMERR",
            Self::SERVFAIL => "SERVFAIL",
            Self::NXDOMAIN => "NXDOMAIN",
            Self::NOTIMP => "NOTIMP",
            Self::REFUSED => "REFUSED",
            Self::BADVERS => "BADVERS",
            Self(other) => return write!(f, "RCODE{other}"),
        };
        f.write_str(text)
    }
}

/// The second 16 bits of a header: QR, opcode, AA, TC, RD, RA, Z, AD, CD, response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// This is a response.
    pub const QR: u16 = 0x8000;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;

    /// Whether all these bits are set.
    #[must_use]
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// With these bits set or cleared.
    #[must_use]
    pub fn with(self, bits: u16, on: bool) -> Self {
        Self(if on { self.0 | bits } else { self.0 & !bits })
    }

    /// The kind of request.
    #[must_use]
    pub fn opcode(self) -> Opcode {
        Opcode((self.0 >> 11) as u8 & 0x0f)
    }

    /// With this opcode.
    #[must_use]
    pub fn with_opcode(self, opcode: Opcode) -> Self {
        Self(self.0 & !0x7800 | u16::from(opcode.0 & 0x0f) << 11)
    }

    /// The header's part of the response code.
    #[must_use]
    pub fn rcode(self) -> Rcode {
        Rcode(self.0 & 0x0f)
    }

    /// With the low 4 bits of this response code.
    #[must_use]
    pub fn with_rcode(self, rcode: Rcode) -> Self {
        Self(self.0 & !0x0f | u16::from(rcode.low()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn flags_keep_their_fields_apart() {
        let f =
            Flags::default().with(Flags::QR | Flags::RD, true).with_opcode(Opcode::UPDATE).with_rcode(Rcode::BADVERS);
        assert_eq!(f.0, 0x8000 | 0x2800 | 0x0100);
        assert_eq!(f.opcode(), Opcode::UPDATE);
        assert_eq!(f.rcode(), Rcode::NOERROR);
        assert_eq!(Rcode::BADVERS.high(), 1);
        let f = f.with_rcode(Rcode::REFUSED).with(Flags::RD, false);
        assert!(f.has(Flags::QR) && !f.has(Flags::QR | Flags::RD));
        assert_eq!(f.rcode(), Rcode::REFUSED);
    }

    #[test]
    fn unknown_numbers_print_as_rfc_3597_says() {
        assert_eq!(RecordType(65280).to_string(), "TYPE65280");
        assert_eq!(Class(7).to_string(), "CLASS7");
        assert_eq!(Rcode(23).to_string(), "RCODE23");
        assert_eq!(RecordType::SRV.to_string(), "SRV");
    }
}
