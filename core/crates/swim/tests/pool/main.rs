//! Members in virtual time: what they say to each other, and the laws they keep.

mod dialogues;
mod doubt;
mod harness;
mod laws;
