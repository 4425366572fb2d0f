//! A cursor over a whole message. Every read is checked; nothing here can panic.

use crate::Error;
use crate::name::NameRef;

/// Reads forward from a position of a message; names may refer back to all of it.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8], at: usize) -> Self {
        Self { message, at }
    }

    pub(crate) fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let short = Error::Short { at: self.message.len(), what };
        let end = self.at.checked_add(len).ok_or(short)?;
        let bytes = self.message.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let rest = self.message.get(self.at..).and_then(|rest| rest.first_chunk());
        let chunk = rest.ok_or(Error::Short { at: self.message.len(), what })?;
        self.at += N;
        Ok(*chunk)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn name(&mut self) -> Result<NameRef<'a>, Error> {
        let (name, end) = NameRef::read(self.message, self.at)?;
        self.at = end;
        Ok(name)
    }
}
