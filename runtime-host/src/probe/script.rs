//! A program, in a process group of its own.
//!
//! Standard input is empty; standard output and error come through one pipe, all of it is read, the last bytes are
//! kept. At the timeout, and when the future is dropped, the whole group gets `SIGKILL`: a process that left the group
//! (`setsid`) escapes, and finds its pipe closed.
//!
//! Starting is done on one of the runtime's blocking threads and takes about a millisecond; what bounds the number of
//! programs at once is the number of checks, of which each has one run at a time.

use std::time::{Duration, Instant};

use convoke_core::probe::Outcome;

use crate::probe::failed;
use crate::probe::reaper::{self, Ended, How, Leash, Program};
use crate::rt::{Runtime, within};

/// The reaper reports in time; this much later its silence is taken as an answer.
const GRACE: Duration = Duration::from_millis(500);

/// Runs `args`: [`Outcome::Exited`], [`Outcome::TimedOut`], or [`Outcome::Failed`] when it could not be started.
pub async fn run<R: Runtime>(rt: &R, args: &[String], timeout: Duration, keep: usize) -> Outcome {
    match execute(rt, args.to_vec(), timeout, keep).await {
        Err(error) => failed(&error),
        Ok(None) => Outcome::TimedOut { output: Vec::new() },
        Ok(Some(Ended { how, output, written })) => match how {
            How::Exited(code) => Outcome::Exited { code, output, written },
            How::TimedOut => Outcome::TimedOut { output },
        },
    }
}

/// `None`: it did not even start in time.
async fn execute<R: Runtime>(
    rt: &R,
    args: Vec<String>,
    timeout: Duration,
    keep: usize,
) -> Result<Option<Ended>, String> {
    let program = Program { args, deadline: Instant::now().checked_add(timeout), keep, env: Vec::new(), input: None };
    let (leash, tag) = Leash::new();
    let (ended, end) = async_channel::bounded(1);
    let running = async {
        rt.blocking(move || reaper::start(&program, tag, ended)).await?;
        Ok(end.recv().await.ok())
    };
    let result = within(rt, timeout.saturating_add(GRACE), running).await;
    drop(leash);
    result.unwrap_or(Ok(None))
}
