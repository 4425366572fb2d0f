//! HTTP, TCP, UDP, gRPC, HTTP/2 PING, the container engine.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use convoke_core::probe::Tls;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;

use super::*;
use crate::client::testing::{Io, http, identity, listen, listen_tls, ok, read_request, refused, server_config};
use crate::probe::docker;

const ANY: Tls = Tls { server_name: String::new(), skip_verify: true };

fn http_kind(url: String) -> Kind {
    Kind::Http {
        url,
        method: "GET".into(),
        headers: BTreeMap::new(),
        body: String::new(),
        disable_redirects: false,
        tls: Tls::default(),
    }
}

#[test]
fn http_tells_status_and_body() {
    let server = http(|request| {
        if request.starts_with("GET /bad ") {
            return "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad".into();
        }
        ok(request)
    });
    let outcome = probe(http_kind(format!("http://{server}/bad")), AMPLE, 4096);
    assert_eq!(outcome, Outcome::Http { status: 503, reason: "503 Service Unavailable".into(), body: b"bad".to_vec() });

    let outcome = probe(http_kind(format!("http://{server}/")), AMPLE, 4096);
    let Outcome::Http { status: 200, body, .. } = outcome else { panic!("{outcome:?}") };
    let seen = String::from_utf8(body).unwrap();
    assert!(seen.contains("User-Agent: Consul Health Check\r\n"), "{seen}");
    assert!(seen.contains("Accept: text/plain, text/*, */*\r\n"), "{seen}");

    let outcome = probe(http_kind(format!("http://{server}/")), AMPLE, 20);
    let Outcome::Http { status: 200, body, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(body.len(), 20);
}

#[test]
fn http_sends_what_the_check_says() {
    let server = http(ok);
    let kind = Kind::Http {
        url: format!("http://{server}/need"),
        method: "PUT".into(),
        headers: BTreeMap::from([
            ("user-agent".to_owned(), vec!["mine".to_owned()]),
            ("X-Probe".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
            ("Host".to_owned(), vec!["web.example".to_owned()]),
        ]),
        body: "ping".into(),
        disable_redirects: true,
        tls: Tls::default(),
    };
    let Outcome::Http { status: 200, body, .. } = probe(kind, AMPLE, 4096) else { panic!() };
    let seen = String::from_utf8(body).unwrap();
    for part in [
        "PUT /need ",
        "User-Agent: mine\r\n",
        "X-Probe: a\r\n",
        "X-Probe: b\r\n",
        "Host: web.example\r\n",
        "\r\n\r\nping",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert_eq!(seen.matches("User-Agent").count(), 1);
}

#[test]
fn http_fails_and_times_out() {
    let closed = refused();
    assert_eq!(
        error(probe(http_kind(format!("http://{closed}/")), AMPLE, 100)),
        format!("dial tcp {closed}: connect: connection refused")
    );
    let silent = listen(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let started = Instant::now();
    assert_eq!(probe(http_kind(format!("http://{silent}/")), 200, 100), Outcome::TimedOut { output: vec![] });
    assert!(started.elapsed() >= Duration::from_millis(190) && started.elapsed() < Duration::from_secs(20));
    let redirect = http(|_| "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".into());
    assert!(error(probe(http_kind(format!("http://{redirect}/")), AMPLE, 100)).ends_with("stopped after 10 redirects"));
}

#[test]
fn tcp_connects_and_shakes_hands() {
    let plain = listen(drop);
    let id = identity(&["127.0.0.1"]);
    let secure = listen_tls(server_config(&id, None, &[]), |stream| drop(stream.read(&mut [0; 10])));
    let tcp = |address: SocketAddr, tls| Kind::Tcp { address: address.to_string(), tls };
    let good = Outcome::Ok { detail: String::new() };
    assert_eq!(probe(tcp(plain, None), AMPLE, 0), good);
    assert_eq!(probe(tcp(secure, Some(ANY)), AMPLE, 0), good);
    assert!(
        error(probe(tcp(secure, Some(Tls::default())), AMPLE, 0)).contains("certificate signed by unknown authority")
    );
    let closed = refused();
    assert_eq!(error(probe(tcp(closed, None), AMPLE, 0)), "connect: connection refused");
    let nowhere = Kind::Tcp { address: "no such host:1".into(), tls: None };
    assert_eq!(error(probe(nowhere, AMPLE, 0)), "lookup no such host: no such host");
    // Connects, but never says a word of TLS.
    let silent = listen(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert_eq!(probe(tcp(silent, Some(ANY)), 200, 0), Outcome::TimedOut { output: vec![] });
}

#[test]
fn udp_silence_is_healthy_refusal_is_not() {
    let udp = |address: SocketAddr| Kind::Udp { address: address.to_string() };
    let good = Outcome::Ok { detail: String::new() };
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    assert_eq!(probe(udp(silent.local_addr().unwrap()), 200, 0), good);
    assert!(started.elapsed() >= Duration::from_millis(190));
    let mut got = [0; 10];
    assert_eq!(silent.recv(&mut got).unwrap(), 1);

    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = echo.local_addr().unwrap();
    std::thread::spawn(move || {
        let (_, from) = echo.recv_from(&mut [0; 10]).unwrap();
        echo.send_to(b"here", from).unwrap();
    });
    assert_eq!(probe(udp(address), AMPLE, 0), good);

    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(error(probe(udp(closed), AMPLE, 0)), "read: connection refused");
    assert_eq!(error(probe(Kind::Udp { address: "x".into() }, AMPLE, 0)), "missing port in address");
}

/// An HTTP/2 server of hyper's: the health service for `web` (serving), `db` (not serving); no other.
fn grpc_server(tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(answer);
                    let server = hyper::server::conn::http2::Builder::new(Executor);
                    match tls {
                        None => drop(server.serve_connection(Io(stream), service).await),
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).unwrap();
                            let stream = crate::client::tls::TlsStream::new(Io(stream), session);
                            drop(server.serve_connection(stream, service).await);
                        }
                    }
                });
            }
        });
    });
    address
}

#[derive(Clone)]
struct Executor;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}

type Reply = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(request: http::Request<hyper::body::Incoming>) -> Result<http::Response<Reply>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let asked = request.into_body().collect().await.unwrap().to_bytes();
    let reply = http::Response::builder().header("content-type", "application/grpc");
    let state = match &asked[..] {
        b"\0\0\0\0\0" | b"\0\0\0\0\x05\x0a\x03web" => 1,
        b"\0\0\0\0\x04\x0a\x02db" => 2,
        _ => {
            let empty = Full::new(Bytes::new()).boxed();
            let reply = reply.header("grpc-status", "5").header("grpc-message", "unknown%20service");
            return Ok(reply.body(empty).unwrap());
        }
    };
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let frames: Vec<Result<Frame<Bytes>, Infallible>> =
        vec![Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, state]))), Ok(Frame::trailers(trailers))];
    Ok(reply.body(http_body_util::StreamBody::new(futures_lite::stream::iter(frames)).boxed()).unwrap())
}

#[test]
fn grpc_tells_the_state() {
    let id = identity(&["127.0.0.1"]);
    for (server, tls) in [(grpc_server(None), None), (grpc_server(Some(server_config(&id, None, &[b"h2"]))), Some(ANY))]
    {
        let grpc = |service: &str| {
            probe(Kind::Grpc { address: server.to_string(), service: service.into(), tls: tls.clone() }, AMPLE, 0)
        };
        assert_eq!(grpc(""), Outcome::Ok { detail: "SERVING".into() });
        assert_eq!(grpc("web"), Outcome::Ok { detail: "SERVING".into() });
        assert_eq!(grpc("db"), Outcome::NotOk { detail: "NOT_SERVING".into() });
        assert_eq!(error(grpc("nobody")), "rpc error: code = NotFound desc = unknown service");
    }
}

#[test]
fn grpc_fails_and_times_out() {
    let grpc = |address: SocketAddr, timeout| {
        probe(Kind::Grpc { address: address.to_string(), service: String::new(), tls: None }, timeout, 0)
    };
    let closed = refused();
    assert_eq!(
        error(grpc(closed, AMPLE)),
        format!(
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: \
             dial tcp {closed}: connect: connection refused\""
        )
    );
    let silent = listen(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert_eq!(grpc(silent, 200), Outcome::TimedOut { output: vec![] });
    let http1 = http(ok);
    assert!(!error(grpc(http1, AMPLE)).is_empty());
}

#[test]
fn h2ping_is_answered() {
    let good = Outcome::Ok { detail: String::new() };
    let ping =
        |address: SocketAddr, tls, timeout| probe(Kind::H2Ping { address: address.to_string(), tls }, timeout, 0);
    let id = identity(&["127.0.0.1"]);
    assert_eq!(ping(grpc_server(None), None, AMPLE), good);
    assert_eq!(ping(grpc_server(Some(server_config(&id, None, &[b"h2"]))), Some(ANY), AMPLE), good);
    let no_alpn = grpc_server(Some(server_config(&id, None, &[])));
    assert_eq!(error(ping(no_alpn, Some(ANY), AMPLE)), "http2: unexpected ALPN protocol \"\"; want \"h2\"");
    let http1_only = grpc_server(Some(server_config(&id, None, &[b"http/1.1"])));
    // It says so and closes, while our half of the handshake is still on its way: that may reset the connection.
    let said = error(ping(http1_only, Some(ANY), AMPLE));
    assert!(said == "remote error: tls: no application protocol" || said == "read: connection reset by peer", "{said}");
    let closed = refused();
    assert_eq!(error(ping(closed, None, AMPLE)), format!("dial tcp {closed}: connect: connection refused"));
    let silent = listen(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert_eq!(ping(silent, None, 200), Outcome::TimedOut { output: vec![] });
    let http1 = http(|_| "HTTP/1.1 400 Bad Request\r\n\r\n".into());
    let said = error(ping(http1, None, AMPLE));
    assert!(said.contains("does not speak HTTP/2"), "{said}");
}

#[test]
fn h2ping_through_all_sorts_of_frames() {
    const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
    const ACK: &[u8] = &[0, 0, 8, 6, 1, 0, 0, 0, 0];
    let serve = |frames: Vec<Vec<u8>>| {
        listen(move |mut stream: TcpStream| {
            stream.read_exact(&mut [0; 24 + 9 + 17]).unwrap();
            for byte in frames.concat() {
                stream.write_all(&[byte]).unwrap();
            }
            let _ = stream.read_to_end(&mut Vec::new());
        })
    };
    let ping =
        |address: SocketAddr, timeout| probe(Kind::H2Ping { address: address.to_string(), tls: None }, timeout, 0);
    let answer = [ACK, b"convoke!"].concat();
    let foreign = [ACK, b"another!"].concat();
    let asked = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], b"question"].concat();
    let window = vec![0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let goaway = vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
    let server = serve(vec![SETTINGS.to_vec(), window, foreign.clone(), asked, answer]);
    assert_eq!(ping(server, AMPLE), Outcome::Ok { detail: String::new() });
    assert_eq!(ping(serve(vec![SETTINGS.to_vec(), foreign]), 300), Outcome::TimedOut { output: vec![] });
    let said = error(ping(serve(vec![SETTINGS.to_vec(), goaway]), AMPLE));
    assert!(said.ends_with("ErrCode=11"), "{said}");
    let said = error(ping(serve(vec![SETTINGS.to_vec(), vec![255, 255, 255, 0, 0, 0, 0, 0, 0]]), AMPLE));
    assert_eq!(said, "http2: frame too large");
}

/// An engine with one container, `web`, whose programs write `out` and `err` and exit with 3.
fn engine() -> (String, std::path::PathBuf) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("convoke-docker-{}-{}.sock", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let mut inspected = 0;
        for mut stream in listener.incoming().flatten() {
            let request = read_request(&mut stream);
            let json = |status: &str, body: &str| {
                format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            let reply = if request.starts_with("POST /containers/web/exec ") {
                assert!(
                    request.contains(r#""Cmd":["/bin/check","-x"]"#)
                        || request.contains(r#""Cmd":["/bin/sh","-c","a b"]"#),
                    "{request}"
                );
                json("201 Created", r#"{"Id":"e1"}"#).into_bytes()
            } else if request.starts_with("POST /exec/e1/start ") {
                [
                    &b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"[..],
                    b"\x01\0\0\0\0\0\0\x04out\n",
                    b"\x02\0\0\0\0\0\0\x04err\n",
                    b"\x01\0\0\0\0\0\0\0",
                ]
                .concat()
            } else if request.starts_with("GET /exec/e1/json ") {
                inspected += 1;
                let running = inspected % 2 == 1;
                let code = if running { "null" } else { "3" };
                json("200 OK", &format!(r#"{{"ID":"e1","Running":{running},"ExitCode":{code}}}"#)).into_bytes()
            } else {
                json("404 Not Found", r#"{"message":"No such container: gone"}"#).into_bytes()
            };
            let _ = stream.write_all(&reply);
        }
    });
    (format!("unix://{}", path.display()), path)
}

#[test]
fn docker_runs_in_the_container() {
    let (engine, path) = engine();
    let exec = |container: &str, shell: &str, args: &[&str], keep| {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        run(docker::run(&Tokio, &engine, container, shell, &args, Duration::from_millis(AMPLE), keep))
    };
    let exited = |output: &[u8]| Outcome::Exited { code: Some(3), output: output.to_vec(), written: 8 };
    assert_eq!(exec("web", "", &["/bin/check", "-x"], 100), exited(b"out\nerr\n"));
    assert_eq!(exec("web", "/bin/sh", &["/bin/check", "-x"], 5), exited(b"\nerr\n"));
    assert_eq!(exec("web", "/bin/sh", &["a b"], 0), exited(b""));
    assert_eq!(error(exec("gone", "", &["x"], 100)), "docker: No such container: gone");
    assert_eq!(error(exec("../etc", "", &["x"], 100)), "docker: No such container: gone");
    let _ = std::fs::remove_file(path);
    let nobody = run(docker::run(&Tokio, "unix:///nonexistent/s", "web", "", &[], Duration::from_millis(AMPLE), 0));
    assert!(error(nobody).ends_with("dial unix /nonexistent/s: connect: no such file or directory"));
    let closed = refused();
    let nobody = run(docker::run(&Tokio, &format!("tcp://{closed}"), "web", "", &[], Duration::from_millis(AMPLE), 0));
    assert!(error(nobody).ends_with("connection refused"));
}
