//! A program inside a container, through the engine's HTTP API: create an exec, start it, read its stream, ask for the
//! exit code.

use std::time::Duration;

use convoke_core::probe::Outcome;
use serde::Deserialize;

use crate::client::fetch::{Deadline, Error, Limits, Overflow, Request, Response, fetch, fetch_with};
use crate::probe::failed;
use crate::probe::tail::Tail;
use crate::rt::Runtime;

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// Bytes of the engine's JSON answers.
const ANSWER: usize = 1 << 20;

/// The engine's address: `DOCKER_HOST`, or its usual socket.
pub fn engine() -> String {
    std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()).unwrap_or_else(|| SOCKET.to_owned())
}

/// Runs `args` in `container`. With a `shell` and a single argument that argument is a line for the shell; several
/// arguments are already split, and run as they are.
///
/// `engine` is `unix://<socket>`, `tcp://<host:port>`, or an `http` or `https` URL. A program that outlasts `timeout`
/// is given up, and lives on in its container: the engine has no call to end it. The caller enforces the limit.
pub async fn run<R: Runtime>(
    rt: &R,
    engine: &str,
    container: &str,
    shell: &str,
    args: &[String],
    timeout: Duration,
    keep: usize,
) -> Outcome {
    let mut tail = Tail::new(keep);
    let engine = Engine { rt, base: base(engine), deadline: Deadline::after(timeout) };
    match engine.exec(container, &command(shell, args), &mut tail).await {
        Ok(code) => Outcome::Exited { code: Some(code), written: tail.seen(), output: tail.take() },
        Err(error) => failed(&error),
    }
}

fn command(shell: &str, args: &[String]) -> Vec<String> {
    match args {
        [line] if !shell.is_empty() => vec![shell.to_owned(), "-c".to_owned(), line.clone()],
        _ => args.to_vec(),
    }
}

/// What the path of a call is appended to.
fn base(engine: &str) -> String {
    if engine.starts_with("unix://") {
        // Behind the socket a colon begins the path.
        return format!("{engine}:");
    }
    engine
        .strip_prefix("tcp://")
        .map_or_else(|| engine.trim_end_matches('/').to_owned(), |place| format!("http://{place}"))
}

struct Engine<'a, R> {
    rt: &'a R,
    base: String,
    deadline: Deadline,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    running: bool,
    exit_code: Option<i32>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

impl<R: Runtime> Engine<'_, R> {
    async fn exec(&self, container: &str, command: &[String], tail: &mut Tail) -> Result<i32, String> {
        let order = serde_json::json!({
            "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": command,
        });
        let path = format!("/containers/{}/exec", segment(container));
        let created: Created = self.json(&self.request("POST", &path, &order.to_string())).await?;
        let exec = format!("/exec/{}", segment(&created.id));
        self.stream(&format!("{exec}/start"), tail).await?;
        // The stream may end a little before the engine has noted that the program did.
        let mut pause = Duration::from_millis(5);
        loop {
            let seen: Inspected = self.json(&self.request("GET", &format!("{exec}/json"), "")).await?;
            match seen.exit_code {
                Some(code) if !seen.running => return Ok(code),
                _ => self.rt.sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Request {
        Request {
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.to_owned().into(),
            ..Request::new(method, &format!("{}{path}", self.base))
        }
    }

    async fn json<T: for<'a> Deserialize<'a>>(&self, request: &Request) -> Result<T, String> {
        let limits = Limits { timeout: self.deadline.left(), body: ANSWER, overflow: Overflow::Refuse };
        let answer = fetch(self.rt, request, &limits).await.map_err(|error| unreachable_engine(&error))?;
        if !(200..300).contains(&answer.status) {
            return Err(problem(&answer.status_line(), &answer.body));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| format!("docker: the engine's answer is not understood: {error}"))
    }

    /// Starts the exec and reads what it writes, until it closes.
    async fn stream(&self, path: &str, tail: &mut Tail) -> Result<(), String> {
        let request = self.request("POST", path, r#"{"Detach":false,"Tty":false}"#);
        let mut frames = Frames::default();
        let mut complaint = Vec::new();
        let take = |answer: &Response, data: &[u8]| {
            if (200..300).contains(&answer.status) {
                frames.feed(data, |bytes| tail.push(bytes));
            } else {
                complaint.extend_from_slice(data);
            }
            Ok(complaint.len() < ANSWER)
        };
        let done = fetch_with(self.rt, &request, self.deadline.left(), take).await;
        match done.map_err(|error| unreachable_engine(&error))? {
            (answer, _) if !(200..300).contains(&answer.status) => Err(problem(&answer.status_line(), &complaint)),
            (_, Some(error)) => Err(unreachable_engine(&error)),
            (_, None) => Ok(()),
        }
    }
}

fn unreachable_engine(error: &Error) -> String {
    format!("docker: {error}")
}

/// The engine's own words, if it sent some.
fn problem(status: &str, body: &[u8]) -> String {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => format!("docker: {}", problem.message),
        Err(_) => format!("docker: the engine answered {status}"),
    }
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Takes the engine's stream apart: standard output and error in frames of an 8-octet header (kind, three zeros,
/// length in network order) and as many octets as it says.
#[derive(Default)]
struct Frames {
    header: [u8; 8],
    have: usize,
    left: usize,
}

impl Frames {
    fn feed(&mut self, mut bytes: &[u8], mut content: impl FnMut(&[u8])) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (now, later) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= now.len();
                content(now);
                bytes = later;
                continue;
            }
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == self.header.len() {
                let [_, _, _, _, length @ ..] = self.header;
                self.left = u32::from_be_bytes(length) as usize;
                self.have = 0;
            }
        }
    }
}
