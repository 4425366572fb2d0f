//! Addresses, names, and who wins the race.

use std::net::TcpListener;

use super::*;
use crate::client::testing::{Tokio, refused, run};

#[test]
fn splits_addresses() {
    for (address, want) in [
        ("h:80", Ok(("h", 80))),
        (":80", Ok(("", 80))),
        ("[::1]:80", Ok(("::1", 80))),
        ("1.2.3.4:65535", Ok(("1.2.3.4", 65535))),
        ("h", Err("dial tcp: address h: missing port in address")),
        ("", Err("dial tcp: address : missing port in address")),
        ("[::1]", Err("dial tcp: address [::1]: missing port in address")),
        ("[::1:80", Err("dial tcp: address [::1:80: missing ']' in address")),
        ("::1:80", Err("dial tcp: address ::1:80: too many colons in address")),
        ("h:65536", Err("dial tcp: address h:65536: invalid port")),
        ("h:x", Err("dial tcp: address h:x: invalid port")),
        ("h:", Err("dial tcp: address h:: invalid port")),
    ] {
        assert_eq!(
            split_host_port("tcp", address).map_err(|e| e.to_string()),
            want.map_err(str::to_owned),
            "{address}"
        );
    }
}

#[test]
fn families_alternate() {
    let of = |texts: &[&str]| texts.iter().map(|text| text.parse::<SocketAddr>().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        alternate(of(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"])),
        of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
    );
    let many: Vec<_> = (0..100).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect();
    assert_eq!(alternate(many.clone()), many[..ADDRESSES]);
}

#[test]
fn connects_by_name_and_by_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    run(async {
        for host in ["127.0.0.1", "localhost", ""] {
            assert!(tcp(&Tokio, &format!("{host}:{port}")).await.is_ok(), "{host}");
        }
    });
}

#[test]
fn says_why_there_is_no_connection() {
    let closed = refused();
    run(async {
        let error = tcp(&Tokio, &closed.to_string()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("dial tcp {closed}: connect: connection refused"));
        let error = tcp(&Tokio, "no such host:80").await.unwrap_err();
        assert_eq!(error.to_string(), "dial tcp: lookup no such host: no such host");
        let error = tcp(&Tokio, "nul\0:80").await.unwrap_err();
        assert_eq!(error.to_string(), "dial tcp: lookup nul\0: no such host");
        let error = unix(&Tokio, Path::new("/nonexistent/socket")).await.unwrap_err();
        assert_eq!(error.to_string(), "dial unix /nonexistent/socket: connect: no such file or directory");
    });
}

const SILENT: u16 = 1;
const REFUSES: u16 = 2;
const CONNECTS: u16 = 3;

/// Answers as the port says.
async fn fake(to: SocketAddr) -> Result<SocketAddr, DialError> {
    match to.port() {
        CONNECTS => Ok(to),
        REFUSES => {
            Err(DialError::Connect { network: "tcp", address: to.to_string(), reason: "connection refused".to_owned() })
        }
        _ => std::future::pending().await,
    }
}

/// 127.0.0.1, 127.0.0.2, ... with these ports.
fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
    (1..).zip(ports).map(|(last, port)| SocketAddr::from(([127, 0, 0, last], *port))).collect()
}

#[test]
fn the_first_that_connects_wins() {
    run(async {
        for (ports, winner) in [
            (&[CONNECTS][..], 0),
            (&[REFUSES, CONNECTS, CONNECTS], 1),
            (&[SILENT, CONNECTS], 1),
            (&[SILENT, SILENT, REFUSES, CONNECTS], 3),
            (&[CONNECTS, REFUSES], 0),
        ] {
            let all = addresses(ports);
            assert_eq!(first(&Tokio, all.clone(), fake).await, Ok(all[winner]), "{ports:?}");
        }
    });
}

#[test]
fn the_first_error_is_the_one_told() {
    run(async {
        let error = first(&Tokio, addresses(&[REFUSES, REFUSES, REFUSES]), fake).await.unwrap_err();
        assert_eq!(error.to_string(), "dial tcp 127.0.0.1:2: connect: connection refused");
        // While one is silent, nothing is certain.
        let limit = Duration::from_millis(800);
        assert!(crate::rt::within(&Tokio, limit, first(&Tokio, addresses(&[REFUSES, SILENT]), fake)).await.is_none());
    });
}

#[test]
fn the_resolvers_words() {
    let text = |said: &str| lookup_text(&io::Error::other(format!("failed to lookup address information: {said}")));
    assert_eq!(text("Name or service not known"), "no such host");
    assert_eq!(text("Temporary failure in name resolution"), "server misbehaving");
    assert_eq!(text("System error"), "System error");
}

#[test]
fn system_errors_in_lower_case() {
    assert_eq!(os_text(&io::Error::from_raw_os_error(111)), "connection refused");
    assert_eq!(os_text(&io::Error::other("EOF")), "EOF");
    assert_eq!(os_text(&io::Error::other("")), "");
}
