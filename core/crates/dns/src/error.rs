//! What can be wrong with a packet or with a name's text.

/// Why bytes are not a DNS message. The offsets are octets from the start of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message ends before the thing that has to be there.
    #[error("message ends at octet {at}, in the middle of {what}")]
    Short {
        /// Where the message ends.
        at: usize,
        /// What was being read.
        what: &'static str,
    },
    /// A label's length octet begins with the reserved bits 01 or 10 (RFC 1035, 4.1.4).
    #[error("reserved label type at octet {at}")]
    LabelType {
        /// Where the label starts.
        at: usize,
    },
    /// A compression pointer does not point to an earlier name.
    #[error("compression pointer at octet {at} does not point backwards")]
    Pointer {
        /// Where the pointer is.
        at: usize,
    },
    /// A name is longer than 255 octets.
    #[error("name at octet {at} is longer than 255 octets")]
    NameTooLong {
        /// Where the name starts.
        at: usize,
    },
    /// The data of a record does not have the form of its type.
    #[error("record data at octet {at} does not fit its type")]
    RecordData {
        /// Where the data starts.
        at: usize,
    },
    /// More than one OPT record, or one that is not owned by the root or outside the additional section.
    #[error("misplaced or second OPT record at octet {at}")]
    Opt {
        /// Where the record starts.
        at: usize,
    },
}

/// Why a text is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing between two dots, or an empty text; the root is written `.`.
    #[error("empty label in a domain name; the root is written \".\"")]
    EmptyLabel,
    /// A label of more than 63 octets.
    #[error("label of a domain name is longer than 63 octets")]
    LabelTooLong,
    /// More than 255 octets in all.
    #[error("domain name is longer than 255 octets")]
    TooLong,
    /// A backslash that is followed neither by a character nor by three digits up to 255.
    #[error("bad escape in a domain name; write \\. or \\DDD")]
    Escape,
}
