//! Where nodes are: what is near, what is kept, and that what older versions wrote still reads.

use convoke_catalog::command::{Deregister, KvDelete, Register};
use convoke_catalog::coordinate::{Coordinate, CoordinateUpdate};
use convoke_catalog::model::{Node, Tenancy};
use convoke_catalog::{Catalog, Command, Reply, Session, Snapshot, Topic};

fn node(name: &str) -> Command {
    let node = Node { name: name.into(), address: "10.0.0.1".into(), ..Node::default() };
    Command::Register(Register { node, ..Register::default() })
}

fn at(east: f64) -> Coordinate {
    let mut coordinate = Coordinate::default();
    coordinate.vec[0] = east;
    coordinate
}

fn update(node: &str, segment: &str, coordinate: Coordinate) -> CoordinateUpdate {
    CoordinateUpdate { node: node.into(), segment: segment.into(), coordinate, ..CoordinateUpdate::default() }
}

fn catalog(nodes: &[&str], places: Vec<CoordinateUpdate>) -> Catalog {
    let mut catalog = Catalog::default();
    for (name, index) in nodes.iter().zip(1..) {
        catalog.apply(index, node(name));
    }
    assert_eq!(catalog.apply(100, Command::Coordinates(places)).reply, Reply::Done);
    catalog
}

fn sorted<'a>(catalog: &Catalog, from: &str, rows: &[&'a str]) -> Vec<&'a str> {
    let mut rows = rows.to_vec();
    catalog.view().sort_by_distance("default", from, &mut rows, |name| name);
    rows
}

#[test]
fn distance_is_that_of_the_paper() {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    let (a, mut b) = (at(0.003), at(0.007));
    assert!(near(a.distance(&b), 0.004 + 2e-5));
    b.vec[1] = 0.003;
    assert!(near(a.distance(&b), 0.005 + 2e-5), "{}", a.distance(&b));
    b.adjustment = -0.001;
    b.height = 0.002;
    assert!(near(a.distance(&b), 0.005 + 1e-5 + 0.002 - 0.001));
    // A correction that would make it negative is none.
    b.adjustment = -1.0;
    assert!(near(a.distance(&b), 0.005 + 1e-5 + 0.002));
    assert!(near(a.distance(&b), b.distance(&a)));
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!at(wrong).is_valid() && !Coordinate { height: wrong, ..a }.is_valid());
    }
}

#[test]
fn the_nearest_come_first_and_the_unknown_last() {
    let places = vec![
        update("a", "", at(0.0)),
        update("B", "", at(0.9)),
        update("c", "", at(0.1)),
        update("d", "", at(-0.1)),
        update("ghost", "", at(0.0)),
    ];
    let catalog = catalog(&["a", "b", "c", "d", "e"], places);
    assert_eq!(sorted(&catalog, "A", &["e", "b", "ghost", "d", "c", "a"]), ["a", "d", "c", "b", "e", "ghost"]);
    assert_eq!(sorted(&catalog, "b", &["a", "c", "d", "e"]), ["c", "a", "d", "e"]);
    // A node is nearest to itself, however high it stands.
    let high = |node: &str, height: f64| update(node, "", Coordinate { height, ..at(0.0) });
    let hills = self::catalog(&["a", "b"], vec![high("a", 0.0), high("b", 0.5)]);
    assert_eq!(sorted(&hills, "b", &["a", "b"]), ["b", "a"]);
    // Nobody knows where these are.
    for from in ["e", "ghost", ""] {
        assert_eq!(sorted(&catalog, from, &["b", "a"]), ["b", "a"]);
    }
    assert!(catalog.view().coordinates_of("default", "ghost").is_empty());
    assert!(catalog.view().coordinates_of("elsewhere", "a").is_empty());
}

#[test]
fn distances_are_taken_in_a_segment_that_both_are_in() {
    let places = vec![
        update("s", "", at(0.0)),
        update("s", "alpha", at(0.5)),
        update("c1", "alpha", at(0.5)),
        update("c2", "", at(0.3)),
        update("c3", "beta", at(0.0)),
        update("s2", "", at(0.1)),
        update("s2", "alpha", at(9.0)),
    ];
    let catalog = catalog(&["s", "c1", "c2", "c3", "s2"], places);
    assert_eq!(sorted(&catalog, "s", &["c3", "c2", "s2", "c1"]), ["c1", "s2", "c2", "c3"]);
    assert_eq!(sorted(&catalog, "c1", &["c3", "c2", "s2", "s"]), ["s", "s2", "c3", "c2"]);
    let view = catalog.view();
    let segments: Vec<&str> = view.coordinates_of("default", "S").iter().map(|row| &*row.segment).collect();
    assert_eq!(segments, ["", "alpha"]);
}

#[test]
fn a_place_goes_with_its_node_and_wakes_who_waits() {
    let mut catalog = catalog(&["a", "b"], vec![update("a", "", at(0.1))]);
    let table = Topic::Coordinates { partition: "default".into() };
    let of = |node: &str| Topic::NodeCoordinates { partition: "default".into(), node: node.into() };
    assert_eq!((catalog.view().index_of(&table), catalog.view().index_of(&of("A"))), (100, 100));
    assert_eq!(catalog.view().index_of(&of("b")), 1);
    // The same again is no news.
    assert!(catalog.apply(101, Command::Coordinates(vec![update("a", "", at(0.1))])).changes.is_empty());
    // One that is no place spoils the batch.
    let batch = vec![update("a", "", at(0.2)), update("b", "", at(f64::NAN))];
    assert_eq!(catalog.apply(102, Command::Coordinates(batch)).reply, Reply::Refused("invalid coordinate".into()));
    assert_eq!(catalog.view().index_of(&table), 100);
    let gone = Deregister { node: "A".into(), ..Deregister::default() };
    let applied = catalog.apply(103, Command::Deregister(gone));
    assert!(
        applied.changes.contains(&table) && applied.changes.contains(&of("a")) && !applied.changes.contains(&of("b"))
    );
    assert_eq!(catalog.view().coordinates("default").count(), 0);
    assert_eq!((catalog.view().index_of(&table), catalog.view().index_of(&of("a"))), (103, 103));
    let gone = Deregister { node: "b".into(), ..Deregister::default() };
    assert!(!catalog.apply(104, Command::Deregister(gone)).changes.contains(&table));
}

#[test]
fn what_older_versions_wrote_still_reads() {
    let old = catalog(&["a"], Vec::new());
    let bytes = postcard::to_allocvec(&old.export()).unwrap();
    let (older, added) = bytes.split_at(bytes.len() - 5);
    assert_eq!(added, [1, 0, 1, 0, 0], "a mark, and no coordinates; a mark, and no sessions");
    for older in [older, &bytes[..bytes.len() - 3]] {
        let read: Snapshot = postcard::from_bytes(older).unwrap();
        assert_eq!(read, old.export());
        assert!(Catalog::import(read).unwrap().view().node("default", "a").is_some());
    }

    // What is damaged inside is not taken for old.
    let new = catalog(&["a"], vec![update("a", "", at(0.1))]);
    let bytes = postcard::to_allocvec(&new.export()).unwrap();
    assert_eq!(postcard::from_bytes::<Snapshot>(&bytes).unwrap(), new.export());
    assert!(postcard::from_bytes::<Snapshot>(&bytes[..bytes.len() - 1]).is_err());

    // The place of a command in the log is for ever.
    let delete = KvDelete { tenancy: Tenancy::default(), key: "k".into(), recurse: false, cas: None };
    for (command, tag) in [
        (node("a"), 0),
        (Command::Deregister(Deregister::default()), 1),
        (Command::KvDelete(delete), 3),
        (Command::QueryDelete { id: "x".into() }, 5),
        (Command::Txn(Vec::new()), 6),
        (Command::Coordinates(Vec::new()), 7),
        (Command::SessionCreate(Session::default()), 9),
        (Command::SessionEpoch, 11),
        (Command::LockDelayOver { sessions: Vec::new() }, 13),
    ] {
        assert_eq!(postcard::to_allocvec(&command).unwrap()[0], tag, "{command:?}");
    }
}
