//! Which prepared query a name finds.

use convoke_catalog::queries::{PreparedQuery, QueryService, QueryTemplate};
use convoke_catalog::{Catalog, Command, Reply};

fn query(id: &str, name: &str, template: bool, service: &str) -> PreparedQuery {
    let kind = if template { "name_prefix_match" } else { "" };
    PreparedQuery {
        id: id.into(),
        name: name.into(),
        template: QueryTemplate { kind: kind.into(), ..QueryTemplate::default() },
        service: QueryService { service: service.into(), ..QueryService::default() },
        ..PreparedQuery::default()
    }
}

fn found(catalog: &Catalog, name: &str) -> String {
    match catalog.view().resolve_query(name, "") {
        Ok(Some(query)) => format!("{} {}", query.id, query.service.service),
        Ok(None) => "none".to_string(),
        Err(why) => why,
    }
}

#[test]
fn the_longest_template_wins_unless_a_query_has_the_very_name() {
    let mut catalog = Catalog::default();
    let mut index = 0;
    let mut apply = |catalog: &mut Catalog, command| {
        index += 1;
        catalog.apply(index, command).reply
    };
    let mut set = |catalog: &mut Catalog, query, create| apply(catalog, Command::QuerySet { query, create });
    assert_eq!(set(&mut catalog, query("i1", "Geo", true, "1-${name.suffix}"), true), Reply::Done);
    assert_eq!(set(&mut catalog, query("i2", "geo-db", true, "2-${name.suffix}"), true), Reply::Done);
    assert_eq!(set(&mut catalog, query("i3", "geo-db-x", false, "plain ${name.full}"), true), Reply::Done);
    let refused = |why: &str| Reply::Refused(why.into());
    let aliases = refused("name 'GEO' aliases an existing query name");
    assert_eq!(set(&mut catalog, query("i4", "GEO", true, "x"), true), aliases);
    let table = [
        ("geo", "i1 1-"),
        ("GEO-x", "i1 1--x"),
        ("geo-db", "i2 2-"),
        ("geo-db-y", "i2 2--y"),
        ("geo-db-x", "i3 plain ${name.full}"),
        ("ge", "none"),
        ("", "none"),
        ("i3", "i3 plain ${name.full}"),
        ("i1", "prepared query templates can only be resolved up by name, not by ID"),
    ];
    for (name, expected) in table {
        assert_eq!(found(&catalog, name), expected, "{name}");
    }
    let copy = Catalog::import(catalog.export()).unwrap();
    for (name, expected) in table {
        assert_eq!(found(&copy, name), expected, "{name} after a snapshot");
    }
    assert_eq!(set(&mut catalog, query("i5", "", true, "all"), true), Reply::Done);
    let second = refused("a query template with an empty name already exists");
    assert_eq!(set(&mut catalog, query("i6", "", true, "all"), true), second);
    assert_eq!(found(&catalog, "ge"), "i5 all");
    // A template that moves leaves nothing behind, nor does one that becomes a plain query or goes.
    assert_eq!(set(&mut catalog, query("i1", "geometry", true, "moved"), false), Reply::Done);
    assert_eq!(set(&mut catalog, query("i2", "geo-db", false, "plain"), false), Reply::Done);
    assert_eq!((found(&catalog, "geo-y"), found(&catalog, "geo-db-y")), ("i5 all".into(), "i5 all".into()));
    assert_eq!(apply(&mut catalog, Command::QueryDelete { id: "i5".into() }), Reply::Done);
    assert_eq!(found(&catalog, "geo-y"), "none");
}
