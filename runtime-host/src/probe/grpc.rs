//! The standard gRPC health service, `grpc.health.v1.Health/Check`, with its two messages coded by hand.

use std::time::Duration;

use bytes::Bytes;
use convoke_core::probe::{Outcome, Tls};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use http_body_util::{BodyExt as _, Full};

use crate::client::dial;
use crate::client::drive::Tasks;
use crate::client::fetch::{broken, percent_decode};
use crate::client::tls;
use crate::probe::{failed, settings};
use crate::rt::{Runtime, Stream};

/// Bytes of an answer; the real one has seven.
const ANSWER: usize = 64 * 1024;

/// Asks `address` how `service` is (empty: the server as a whole). [`Outcome::Ok`] when it is `SERVING`,
/// [`Outcome::NotOk`] with the state otherwise. The caller sets the limit in time.
pub async fn run<R: Runtime>(rt: &R, address: &str, service: &str, tls: Option<&Tls>) -> Outcome {
    let stream = match dial::tcp(rt, address).await {
        Ok(stream) => stream,
        Err(error) => return unavailable(&error.to_string()),
    };
    let result = match tls {
        None => ask(stream, "http", address, service).await,
        Some(tls) => {
            let host = dial::split_host_port("tcp", address).map_or("", |(host, _)| host);
            match tls::connect(rt, stream, host, &settings(tls), tls::HTTP2).await {
                Ok(stream) => ask(stream, "https", address, service).await,
                Err(error) => return unavailable(&error.to_string()),
            }
        }
    };
    match result {
        Ok(1) => Outcome::Ok { detail: "SERVING".to_owned() },
        Ok(state) => Outcome::NotOk { detail: state_name(state) },
        Err(error) => failed(&error),
    }
}

/// As grpc-go words a connection that did not come about.
fn unavailable(reason: &str) -> Outcome {
    failed(&rpc_error(14, &format!("connection error: desc = \"transport: Error while dialing: {reason}\"")))
}

/// The number of the state, or why there is none.
async fn ask<S: Stream>(stream: S, scheme: &str, address: &str, service: &str) -> Result<u64, String> {
    let tasks = Tasks::default();
    let handshake =
        hyper::client::conn::http2::Builder::new(tasks.clone()).keep_alive_interval(None::<Duration>).handshake(stream);
    let (mut sender, connection) = tasks.drive(handshake).await.map_err(|error| broken(&error).to_string())?;
    tasks.add(async move { drop(connection.await) });
    let request = http::Request::post(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, HeaderValue::from_static("trailers"))
        .header(USER_AGENT, "convoke")
        .body(Full::new(Bytes::from(encode(service))))
        .map_err(|_| format!("{address:?} cannot be an authority"))?;
    tasks
        .drive(async {
            let response = sender.send_request(request).await.map_err(|error| broken(&error).to_string())?;
            let (head, mut body) = response.into_parts();
            // A server that has nothing to say but a status sends it in place of the head.
            if let Some(result) = status(&head.headers) {
                result?;
            }
            if head.status != http::StatusCode::OK {
                return Err(rpc_error(
                    2,
                    &format!("unexpected HTTP status code received from server: {}", head.status),
                ));
            }
            let mut message = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| broken(&error).to_string())?;
                match frame.into_data() {
                    Ok(data) if message.len() + data.len() <= ANSWER => message.extend_from_slice(&data),
                    Ok(_) => return Err(rpc_error(8, "received message larger than max")),
                    Err(frame) => {
                        if let Some(result) = frame.trailers_ref().and_then(status) {
                            result?;
                        }
                    }
                }
            }
            decode(&message).ok_or_else(|| rpc_error(13, "the answer is not a HealthCheckResponse"))
        })
        .await
}

/// `grpc-status` and `grpc-message`, if they are there; 0 is success.
fn status(fields: &HeaderMap) -> Option<Result<(), String>> {
    let code = fields.get("grpc-status")?.to_str().unwrap_or_default();
    if code == "0" {
        return Some(Ok(()));
    }
    let message =
        fields.get("grpc-message").map_or(Vec::new(), |text| percent_decode(&String::from_utf8_lossy(text.as_bytes())));
    Some(Err(rpc_error(code.parse().unwrap_or(2), &String::from_utf8_lossy(&message))))
}

fn rpc_error(code: u32, message: &str) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code)
        .ok()
        .and_then(|at| NAMES.get(at))
        .map_or_else(|| format!("Code({code})"), |name| (*name).to_owned());
    format!("rpc error: code = {name} desc = {message}")
}

fn state_name(state: u64) -> String {
    match state {
        0 => "UNKNOWN".to_owned(),
        1 => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
}

/// `HealthCheckRequest { string service = 1 }` behind gRPC's prefix: not compressed, length.
fn encode(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            message.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut out = vec![0];
    out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&message);
    out
}

/// `HealthCheckResponse { ServingStatus status = 1 }`; fields it does not know are skipped. `None`: malformed.
fn decode(framed: &[u8]) -> Option<u64> {
    let (prefix, rest) = framed.split_at_checked(5)?;
    let [compressed, length @ ..] = prefix else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let mut rest = rest.get(..length).filter(|_| *compressed == 0)?;
    let mut state = 0;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => state = varint(&mut rest)?,
            (_, 0) => {
                varint(&mut rest)?;
            }
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(state)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn codes_messages() {
        assert_eq!(encode(""), [0, 0, 0, 0, 0]);
        assert_eq!(encode("web"), *b"\0\0\0\0\x05\x0a\x03web");
        let long = encode(&"x".repeat(300));
        assert_eq!(long.get(..8), Some(&[0, 0, 0, 1, 47, 0x0a, 0xac, 0x02][..]));
        assert_eq!(long.len(), 5 + 303);
        assert_eq!(decode(b"\0\0\0\0\0"), Some(0));
        assert_eq!(decode(b"\0\0\0\0\x02\x08\x01"), Some(1));
        assert_eq!(decode(b"\0\0\0\0\x07\x12\x01x\x18\x80\x01\x08\x02"), None);
        assert_eq!(decode(b"\0\0\0\0\x08\x12\x01x\x18\x80\x01\x08\x02"), Some(2));
        for bad in
            [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\0", b"\0\0\0\0\x02\x08", b"\0\0\0\0\x01\x08", b"\0\0\0\0\x01\x0b"]
        {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
