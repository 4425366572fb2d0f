//! Against servers that answer with bytes as written here.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use super::*;
use crate::client::testing::{
    Tokio, http, identity, listen, listen_tls, ok, read_request, refused, run, server_config,
};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), body: 1 << 20, overflow: Overflow::Refuse };

fn get(url: String) -> Request {
    Request { url, ..Request::new("GET", "") }
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[test]
fn sends_method_fields_and_body() {
    let server = http(ok);
    run(async {
        let mut request = get(format!("http://user:p%40ss@{server}/a?b=c"));
        request.method = "PUT".into();
        request.headers = vec![("X-Probe".into(), "yes".into()), ("x-probe".into(), "again".into())];
        request.body = "ping".into();
        let answer = fetch(&Tokio, &request, &LIMITS).await.unwrap();
        let seen = text(&answer);
        assert!(seen.starts_with("PUT /a?b=c HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("X-Probe: yes\r\n") && seen.contains("X-Probe: again\r\n"), "{seen}");
        assert!(seen.contains(&format!("Host: {server}\r\n")), "{seen}");
        assert!(seen.contains("Authorization: Basic dXNlcjpwQHNz\r\n"), "{seen}");
        assert!(seen.ends_with("\r\n\r\nping"), "{seen}");
        assert_eq!(answer.status_line(), "200 OK");

        request.headers = vec![("Host".into(), "other.example".into())];
        let answer = fetch(&Tokio, &request, &LIMITS).await.unwrap();
        assert!(text(&answer).contains("Host: other.example\r\n"), "{}", text(&answer));
        assert_eq!(text(&answer).matches("Host:").count(), 1);
    });
}

#[test]
fn reads_every_kind_of_body() {
    let server = listen(|mut stream| {
        let request = read_request(&mut stream);
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let pieces: &[&str] = match path.as_str() {
            "/chunked" => {
                &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "2\r\nde\r\n", "0\r\n\r\n"]
            }
            "/close" => &["HTTP/1.0 200 Fine\r\n\r\nab", "cd", "e"],
            "/late" => &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "abc", "de"],
            "/none" => &["HTTP/1.1 204 No Content\r\n\r\n"],
            "/short" => &["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"],
            "/empty" => &[],
            "/junk" => &["not HTTP at all\r\n\r\n"],
            _ => &["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"],
        };
        for piece in pieces {
            let _ = stream.write_all(piece.as_bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    run(async {
        for (path, status, body) in [
            ("chunked", "200 OK", "abcde"),
            ("close", "200 Fine", "abcde"),
            ("late", "200 OK", "abcde"),
            ("none", "204 No Content", ""),
            ("x", "404 Not Found", ""),
        ] {
            let answer = fetch(&Tokio, &get(format!("http://{server}/{path}")), &LIMITS).await.unwrap();
            assert_eq!((answer.status_line().as_str(), text(&answer)), (status, body), "{path}");
        }
        for (path, cause) in [("empty", "EOF"), ("short", "unexpected EOF"), ("junk", "malformed HTTP response: ")] {
            let url = format!("http://{server}/{path}");
            let error = fetch(&Tokio, &get(url.clone()), &LIMITS).await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("Get \"{url}\": {cause}")), "{path}: {error}");
        }
        let cut = Limits { overflow: Overflow::Cut, ..LIMITS };
        let answer = fetch(&Tokio, &get(format!("http://{server}/short")), &cut).await.unwrap();
        assert_eq!(text(&answer), "abc");
    });
}

#[test]
fn a_body_is_bounded() {
    let server = http(|_| ok(&"x".repeat(9000)));
    let endless = listen(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'y'; 10_000]).is_ok() {}
    });
    run(async {
        for (limit, overflow, want) in [
            (9000, Overflow::Refuse, Some(9000)),
            (8999, Overflow::Refuse, None),
            (20, Overflow::Cut, Some(20)),
            (0, Overflow::Cut, Some(0)),
            (usize::MAX, Overflow::Cut, Some(9000)),
        ] {
            let limits = Limits { body: limit, overflow, ..LIMITS };
            let answer = fetch(&Tokio, &get(format!("http://{server}/")), &limits).await;
            match (answer, want) {
                (Ok(answer), Some(want)) => assert_eq!(answer.body.len(), want),
                (Err(error), None) => {
                    assert!(error.to_string().ends_with("response body is longer than 8999 bytes"), "{error}");
                }
                (answer, want) => panic!("{answer:?} {want:?}"),
            }
        }
        let limits = Limits { body: 100, overflow: Overflow::Cut, ..LIMITS };
        let answer = fetch(&Tokio, &get(format!("http://{endless}/")), &limits).await.unwrap();
        assert_eq!(answer.body, [b'y'; 100]);
    });
}

#[test]
fn time_is_bounded() {
    let silent = listen(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let halting = listen(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    run(async {
        let limits = Limits { timeout: Duration::from_millis(200), ..LIMITS };
        let error = fetch(&Tokio, &get(format!("http://{silent}/")), &limits).await.unwrap_err();
        assert_eq!(error.cause, Cause::Timeout);
        assert!(error.to_string().contains("context deadline exceeded"), "{error}");
        let error = fetch(&Tokio, &get(format!("https://{silent}/")), &limits).await.unwrap_err();
        assert_eq!(error.cause, Cause::Timeout);
        let error = fetch(&Tokio, &get(format!("http://{halting}/")), &limits).await.unwrap_err();
        assert_eq!(error.cause, Cause::BodyTimeout);
        let limits = Limits { overflow: Overflow::Cut, ..limits };
        let answer = fetch(&Tokio, &get(format!("http://{halting}/")), &limits).await.unwrap();
        assert_eq!((answer.status, text(&answer)), (200, "abc"));
    });
}

/// `/n` sends to `/n-1`, `/0` answers.
fn countdown(request: &str) -> String {
    let path = request.split(' ').nth(1).unwrap_or_default();
    match path.trim_start_matches('/').parse::<u32>().unwrap_or(0) {
        0 => ok("there"),
        n => format!("HTTP/1.1 302 Found\r\nLocation: /{}\r\nContent-Length: 0\r\n\r\n", n - 1),
    }
}

#[test]
fn ten_requests_and_no_more() {
    let server = http(countdown);
    run(async {
        let answer = fetch(&Tokio, &get(format!("http://{server}/9")), &LIMITS).await.unwrap();
        assert_eq!(text(&answer), "there");
        let error = fetch(&Tokio, &get(format!("http://{server}/10")), &LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), format!("Get \"http://{server}/0\": stopped after 10 redirects"));
        let stay = Request { follow_redirects: false, ..get(format!("http://{server}/3")) };
        let answer = fetch(&Tokio, &stay, &LIMITS).await.unwrap();
        assert_eq!(answer.status_line(), "302 Found");
        assert_eq!(answer.headers.get("location").unwrap(), "/2");
    });
}

#[test]
fn a_redirect_changes_what_gos_client_changes() {
    let other = http(ok);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let server = http(move |request| {
        log.lock().unwrap().push(request.to_owned());
        let mut words = request.split(' ').nth(1).unwrap_or_default().split('/').skip(1);
        match (words.next().unwrap_or_default(), words.next()) {
            ("end", _) => ok(request),
            ("bare", _) => "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            (status, Some("away")) => {
                format!(
                    "HTTP/1.1 {status} X\r\nLocation: http://localhost:{}/end\r\nContent-Length: 0\r\n\r\n",
                    other.port()
                )
            }
            (status, _) => format!("HTTP/1.1 {status} X\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"),
        }
    });
    run(async {
        for (method, status, then, keeps) in [
            ("POST", 301, "GET", false),
            ("PUT", 302, "GET", false),
            ("DELETE", 303, "GET", false),
            ("POST", 307, "POST", true),
            ("PUT", 308, "PUT", true),
        ] {
            let mut request = get(format!("http://{server}/{status}/here"));
            request.method = method.into();
            request.body = "payload".into();
            request.headers = vec![("Host".into(), "named".into()), ("Authorization".into(), "secret".into())];
            let answer = fetch(&Tokio, &request, &LIMITS).await.unwrap();
            let got = text(&answer);
            assert!(got.starts_with(&format!("{then} /end ")), "{status}: {got}");
            assert_eq!(got.ends_with("payload"), keeps, "{status}: {got}");
            assert!(got.contains("Host: named") && got.contains("Authorization: secret"), "{status}: {got}");

            request.url = format!("http://{server}/{status}/away");
            let answer = fetch(&Tokio, &request, &LIMITS).await.unwrap();
            let got = text(&answer);
            assert!(got.contains("Host: localhost:") && !got.contains("secret"), "{status}: {got}");
        }
        let head = Request { method: "HEAD".into(), ..get(format!("http://{server}/301/here")) };
        assert_eq!(fetch(&Tokio, &head, &LIMITS).await.unwrap().status, 200);
        assert!(seen.lock().unwrap().last().unwrap().starts_with("HEAD /end "));
        // Without a place to go to, the redirect itself is the answer.
        let answer = fetch(&Tokio, &get(format!("http://{server}/bare")), &LIMITS).await.unwrap();
        assert_eq!(answer.status, 302);
    });
}

#[test]
fn over_tls_and_over_a_unix_socket() {
    let id = identity(&["127.0.0.1"]);
    let server = listen_tls(server_config(&id, None, &[b"http/1.1"]), |stream| {
        let request = read_request(stream);
        let _ = stream.write_all(ok(&format!("{:?} {request}", stream.conn.alpn_protocol())).as_bytes());
    });
    let path = std::env::temp_dir().join(format!("convoke-fetch-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let request = read_request(&mut stream);
            let _ = stream.write_all(ok(&request).as_bytes());
        }
    });
    run(async {
        let mut request = get(format!("https://{server}/secure"));
        request.tls.ca_pem = Some(id.cert.clone().into_bytes());
        let answer = fetch(&Tokio, &request, &LIMITS).await.unwrap();
        assert!(text(&answer).contains("GET /secure ") && text(&answer).starts_with("Some("), "{}", text(&answer));
        request.tls.ca_pem = None;
        let error = fetch(&Tokio, &request, &LIMITS).await.unwrap_err().to_string();
        assert!(error.ends_with("x509: certificate signed by unknown authority"), "{error}");

        let url = format!("unix://{}:/v1/agent/self?pretty", path.display());
        let answer = fetch(&Tokio, &get(url), &LIMITS).await.unwrap();
        assert!(text(&answer).starts_with("GET /v1/agent/self?pretty "), "{}", text(&answer));
    });
    let _ = std::fs::remove_file(&path);
}

#[test]
fn says_what_failed() {
    let closed = refused();
    run(async {
        for (request, want) in [
            (
                get(format!("http://{closed}/x")),
                format!("Get \"http://{closed}/x\": dial tcp {closed}: connect: connection refused"),
            ),
            (
                get("unix:///nonexistent/socket:/x".into()),
                "Get \"unix:///nonexistent/socket:/x\": dial unix /nonexistent/socket: connect: no such file or directory"
                    .into(),
            ),
            (get("gopher://x/".into()), "Get \"gopher://x/\": unsupported protocol scheme \"gopher\": use http, https or unix".into()),
            (
                Request { method: "BAD METHOD".into(), ..get(format!("http://{closed}/")) },
                format!("Bad method \"http://{closed}/\": net/http: invalid method \"BAD METHOD\""),
            ),
            (
                Request { headers: vec![("a b".into(), "c".into())], ..get(format!("http://{closed}/")) },
                format!("Get \"http://{closed}/\": net/http: invalid header field name \"a b\""),
            ),
            (
                Request { headers: vec![("a".into(), "b\r\nc".into())], ..get(format!("http://{closed}/")) },
                format!("Get \"http://{closed}/\": net/http: invalid header field value for \"a\""),
            ),
        ] {
            assert_eq!(fetch(&Tokio, &request, &LIMITS).await.unwrap_err().to_string(), want);
        }
    });
}

#[test]
fn credentials_stay_on_their_site() {
    assert!(same_site("Example.com", "example.com"));
    assert!(same_site("example.com", "www.example.com"));
    assert!(!same_site("example.com", "badexample.com"));
    assert!(!same_site("www.example.com", "example.com"));
    assert_eq!(percent_decode("a%40b%"), b"a@b%");
    assert_eq!(percent_decode("%4"), b"%4");
}
