//! HTTP/2 PING (RFC 9113 section 6.7), on a connection of its own, with its few frames coded by hand.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use convoke_core::probe::{Outcome, Tls};
use hyper::rt::ReadBuf;

use crate::client::dial::{self, os_text};
use crate::client::tls;
use crate::probe::{failed, settings};
use crate::rt::{Runtime, Stream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PAYLOAD: [u8; 8] = *b"convoke!";
/// The largest frame that we, having said nothing else, accept (section 4.2).
const LARGEST: usize = 16_384;
/// Frames that may come before the answer.
const FRAMES: usize = 10_000;

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// Sends a PING and waits for the answer to it. The caller sets the limit in time.
pub async fn run<R: Runtime>(rt: &R, address: &str, tls: Option<&Tls>) -> Outcome {
    let stream = match dial::tcp(rt, address).await {
        Ok(stream) => stream,
        Err(error) => return failed(&error),
    };
    let result = match tls {
        None => ping(stream).await,
        Some(tls) => {
            let host = dial::split_host_port("tcp", address).map_or("", |(host, _)| host);
            match tls::connect(rt, stream, host, &settings(tls), tls::HTTP2).await {
                Err(error) => return failed(&error),
                Ok(stream) if stream.alpn() != Some(b"h2") => {
                    let got = String::from_utf8_lossy(stream.alpn().unwrap_or_default()).into_owned();
                    return failed(&format!("http2: unexpected ALPN protocol {got:?}; want \"h2\""));
                }
                Ok(stream) => ping(stream).await,
            }
        }
    };
    match result {
        Ok(()) => Outcome::Ok { detail: String::new() },
        Err(error) => failed(&error),
    }
}

async fn ping<S: Stream>(mut io: S) -> Result<(), String> {
    let mut hello = PREFACE.to_vec();
    hello.extend(frame(SETTINGS, 0, &[]));
    hello.extend(frame(PING, 0, &PAYLOAD));
    write_all(&mut io, &hello).await?;
    let mut input = Vec::new();
    for count in 0..FRAMES {
        let (kind, flags, payload) = read_frame(&mut io, &mut input, count == 0).await?;
        match (kind, flags & ACK) {
            (SETTINGS, 0) => write_all(&mut io, &frame(SETTINGS, ACK, &[])).await?,
            (PING, 0) => write_all(&mut io, &frame(PING, ACK, &payload)).await?,
            (PING, _) if payload == PAYLOAD => return Ok(()),
            (GOAWAY, _) => {
                let code = payload.get(4..8).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes);
                return Err(format!("http2: server sent GOAWAY and closed the connection; ErrCode={code}"));
            }
            _ => {}
        }
    }
    Err(format!("http2: no answer to the PING among {FRAMES} frames"))
}

/// Of stream 0: length, kind, flags, stream, payload (section 4.1).
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut out = length.to_vec();
    out.extend([kind, flags, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
    out
}

/// Kind, flags and payload of the next frame. `input` holds what was read beyond it. The `first` must be SETTINGS,
/// which is how a peer that speaks something else is found out.
async fn read_frame<S: Stream>(io: &mut S, input: &mut Vec<u8>, first: bool) -> Result<(u8, u8, Vec<u8>), String> {
    loop {
        if let Some(&[high, middle, low, kind, flags, _, _, _, _]) = input.first_chunk() {
            if first && kind != SETTINGS {
                return Err("http2: the server does not speak HTTP/2: its first frame is not SETTINGS".to_owned());
            }
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            if length > LARGEST {
                return Err("http2: frame too large".to_owned());
            }
            if input.len() >= 9 + length {
                let payload = input.drain(..9 + length).skip(9).collect();
                return Ok((kind, flags, payload));
            }
        }
        let mut chunk = [0; 4096];
        let mut buf = ReadBuf::new(&mut chunk);
        let read = poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buf.unfilled())).await;
        read.map_err(|error| wire("read", &error))?;
        if buf.filled().is_empty() {
            return Err("EOF".to_owned());
        }
        input.extend_from_slice(buf.filled());
    }
}

async fn write_all<S: Stream>(io: &mut S, mut bytes: &[u8]) -> Result<(), String> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await;
        match written.map_err(|error| wire("write", &error))? {
            0 => return Err("EOF".to_owned()),
            count => bytes = bytes.get(count..).unwrap_or_default(),
        }
    }
    poll_fn(|cx| Pin::new(&mut *io).poll_flush(cx)).await.map_err(|error| wire("write", &error))
}

fn wire(call: &str, error: &io::Error) -> String {
    format!("{call}: {}", os_text(error))
}
