//! Network coordinates: where nodes are in a space whose distances are round trip times (Vivaldi, Dabek et al., SIGCOMM
//! 2004), and what is near.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::catalog::Write;
use crate::command::Reply;
use crate::model::Str;
use crate::name::{fold, fold_shared};
use crate::state::{Partition, State, space};
use crate::topic::Topic;
use crate::view::View;

/// Dimensions of the space.
pub const DIMENSIONS: usize = 8;

/// A place. In seconds, except `error`, which has no unit. Two are equal if they are so bit by bit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Coordinate {
    /// In the Euclidean part.
    pub vec: [f64; DIMENSIONS],
    /// Confidence: 0 is sure, 1.5 has no idea.
    pub error: f64,
    /// Offset learnt from the last samples.
    pub adjustment: f64,
    /// Distance to the core of the network: access links.
    pub height: f64,
}

impl Default for Coordinate {
    /// Where every node starts: at the origin, with no idea.
    fn default() -> Self {
        Self { vec: [0.0; DIMENSIONS], error: 1.5, adjustment: 0.0, height: 1e-5 }
    }
}

impl Coordinate {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.vec.into_iter().chain([self.error, self.adjustment, self.height])
    }

    /// Whether every number of it is one, and finite.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.numbers().all(f64::is_finite)
    }

    /// Estimated round trip time in seconds: Euclidean distance and both heights, corrected by both adjustments unless
    /// that made it negative.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f64 {
        let squares = self.vec.iter().zip(&other.vec).map(|(a, b)| (a - b) * (a - b));
        let raw = libm::sqrt(squares.sum()) + self.height + other.height;
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }
}

impl PartialEq for Coordinate {
    fn eq(&self, other: &Self) -> bool {
        self.numbers().map(f64::to_bits).eq(other.numbers().map(f64::to_bits))
    }
}

impl Eq for Coordinate {}

/// One entry of [`Command::Coordinates`](crate::Command::Coordinates). A node that is not there is passed over: its
/// place would never be taken away again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinateUpdate {
    /// Admin partition.
    pub partition: Str,
    /// Name of the node.
    pub node: Str,
    /// Network segment it was measured in; empty for the default one.
    pub segment: Str,
    /// Where the node is.
    pub coordinate: Coordinate,
}

/// Where a node is, in one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCoordinate {
    /// Name of the node, as it was told.
    pub node: Str,
    /// Network segment; empty for the default one.
    pub segment: Str,
    /// Where.
    pub coordinate: Coordinate,
    /// Log index of the last change.
    pub modify: u64,
}

/// See [`Command::Coordinates`](crate::Command::Coordinates).
pub(crate) fn update(state: &mut State, write: &mut Write, updates: &[CoordinateUpdate]) -> Reply {
    if updates.iter().any(|update| !update.coordinate.is_valid()) {
        return Reply::Refused("invalid coordinate".into());
    }
    for update in updates {
        let name = state.partitions.shared_key(space(&update.partition));
        let key = fold_shared(&update.node);
        let known = state.partitions.get(&*name).and_then(|partition| partition.nodes.get(&*key));
        let Some(node) = known.cloned() else { continue };
        state.partition(&name, |partition| {
            let rows = partition.coordinates.get(&*key);
            let at = |rows: &Arc<Vec<NodeCoordinate>>| rows.binary_search_by(|row| row.segment.cmp(&update.segment));
            let place = rows.map_or(Err(0), at);
            let before = rows.zip(place.ok()).and_then(|(rows, at)| rows.get(at));
            if before.is_some_and(|row| row.coordinate == update.coordinate && row.node == update.node) {
                return;
            }
            let row = NodeCoordinate {
                // The name is kept once where it is spelt as the node's own.
                node: Arc::clone(if update.node == node.name { &node.name } else { &update.node }),
                segment: Arc::clone(&update.segment),
                coordinate: update.coordinate,
                modify: write.index,
            };
            let key = partition.coordinates.shared_key(Arc::clone(&key));
            partition.coordinates.change(&key, |rows| {
                let rows = Arc::make_mut(rows);
                match place {
                    Ok(at) => rows[at] = row,
                    Err(at) => rows.insert(at, row),
                }
            });
            changed(partition, write, &name, &key);
        });
    }
    Reply::Done
}

/// Takes the places of a node away that goes.
pub(crate) fn forget(partition: &mut Partition, write: &mut Write, space: &Str, node: &Str) {
    if partition.coordinates.remove(&**node) {
        changed(partition, write, space, node);
    }
}

fn changed(partition: &mut Partition, write: &mut Write, space: &Str, node: &Str) {
    partition.coordinates_index = write.index;
    write.changes.add(Topic::Coordinates { partition: Arc::clone(space) });
    write.changes.add(Topic::NodeCoordinates { partition: Arc::clone(space), node: Arc::clone(node) });
}

/// Coordinates.
impl View {
    /// Where the nodes of a partition are, by node and segment.
    pub fn coordinates<'v>(&'v self, partition: &str) -> impl Iterator<Item = &'v NodeCoordinate> + use<'v> {
        self.partition(partition)
            .into_iter()
            .flat_map(|partition| partition.coordinates.values())
            .flat_map(|r| r.iter())
    }

    /// Where a node is, by segment; empty if it never told.
    #[must_use]
    pub fn coordinates_of(&self, partition: &str, node: &str) -> &[NodeCoordinate] {
        let rows = self.partition(partition).and_then(|partition| partition.coordinates.get(&*fold(node)));
        rows.map_or(&[], |rows| rows)
    }

    /// Sorts rows by the distance of their nodes from the node `from`; those whose distance is not known go last, and
    /// what is equally far stays in its order. Nothing is sorted if nobody knows where `from` is.
    pub fn sort_by_distance<'n, T>(&self, partition: &str, from: &str, rows: &mut [T], node: impl Fn(&T) -> &'n str) {
        let here = self.coordinates_of(partition, from);
        if !here.is_empty() {
            rows.sort_by_cached_key(|row| Distance::between(here, self.coordinates_of(partition, node(row))));
        }
    }
}

/// A distance in seconds; infinite if it is not known.
#[derive(Clone, Copy, Debug)]
struct Distance(f64);

impl Distance {
    /// Between two nodes, in a segment that both are in: servers are in several, a client only in its own.
    ///
    /// From a node to itself there is no distance, though by its height there would be some: a neighbour with less of it
    /// would come out nearer.
    fn between(here: &[NodeCoordinate], there: &[NodeCoordinate]) -> Self {
        if core::ptr::eq(here, there) {
            return Self(0.0);
        }
        let segment = match (here, there) {
            ([only], _) | (_, [only]) => &*only.segment,
            _ => "",
        };
        let find = |rows: &[NodeCoordinate]| rows.iter().find(|row| *row.segment == *segment).map(|row| row.coordinate);
        match (find(here), find(there)) {
            (Some(here), Some(there)) => Self(here.distance(&there)),
            _ => Self(f64::INFINITY),
        }
    }
}

impl Ord for Distance {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Distance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Distance {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Distance {}
