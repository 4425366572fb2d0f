//! Network coordinates: where members are in a space whose distances are round trip times (Vivaldi, Dabek et al.,
//! SIGCOMM 2004, with height, adjustment and gravity).

use serde::{Deserialize, Serialize};

/// Dimensions of the space, as Consul's.
pub const DIMENSIONS: usize = 8;

/// A place. Everything in seconds, except `error`, which has no unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// In the Euclidean part.
    pub vec: [f64; DIMENSIONS],
    /// Confidence, 0 (sure) to 1.5 (no idea).
    pub error: f64,
    /// Offset learnt from the last samples.
    pub adjustment: f64,
    /// Distance to the core of the network: access links.
    pub height: f64,
}
