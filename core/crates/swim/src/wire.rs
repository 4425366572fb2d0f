//! Messages as bytes.

/// Most bytes of a frame on a stream: a table of 100,000 members fits.
pub const MAX_FRAME: usize = 32 << 20;
