//! A program that a command starts: what `lock` guards and what `watch` calls.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(20);
/// A child that is asked to end has so long before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How to start it.
pub(super) struct Program<'a> {
    /// The words of the command line.
    pub(super) words: &'a [String],
    /// Have `/bin/sh` read them as one line.
    pub(super) shell: bool,
    /// Variables to add to the environment.
    pub(super) env: &'a [(&'a str, String)],
    /// It reads what this process would.
    pub(super) pass_stdin: bool,
}

/// A running program; killed with everything in its group when dropped before it ended.
pub(super) struct Child {
    child: std::process::Child,
    /// It leads a process group of its own.
    group: bool,
    ended: bool,
}

impl Program<'_> {
    fn command(&self) -> io::Result<Command> {
        let mut command = if self.shell {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(self.words.join(" "));
            command
        } else {
            let (name, args) =
                self.words.split_first().ok_or_else(|| io::Error::other("there is no program to run"))?;
            let mut command = Command::new(name);
            command.args(args);
            command
        };
        command.envs(self.env.iter().map(|(name, value)| (*name, value.as_str())));
        Ok(command)
    }

    /// Starts it. One that reads the terminal stays in the group of this process, or it would be stopped for reading.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(&self) -> io::Result<Child> {
        let mut command = self.command()?;
        command.stdin(if self.pass_stdin { Stdio::inherit() } else { Stdio::null() });
        if !self.pass_stdin {
            command.process_group(0);
        }
        Ok(Child { child: command.spawn()?, group: !self.pass_stdin, ended: false })
    }

    /// Runs it to its end with this on its standard input, in the group of this process.
    ///
    /// # Errors
    /// It cannot be started. One that does not read everything is none.
    pub(super) fn feed(&self, input: &[u8]) -> io::Result<ExitStatus> {
        let mut child = self.command()?.stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input) {
                Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(why);
                }
                _ => {}
            }
        }
        child.wait()
    }
}

impl Child {
    /// Waits until it ends or `stop` says so, which is asked again and again; `None`: it still runs.
    ///
    /// # Errors
    /// The system cannot tell.
    pub(super) fn wait(&mut self, stop: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(Some(status));
            }
            if stop() {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it: asks first, kills it if that does not help.
    ///
    /// # Errors
    /// The system cannot tell.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        let patience = Instant::now() + GRACE;
        if self.wait(|| Instant::now() >= patience)?.is_none() {
            self.signal(Signal::KILL);
            self.child.wait()?;
            self.ended = true;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        // It may have ended this moment.
        let _ = if self.group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// How a program ended, in Go's words: `exit status 3`, `signal: 9`.
pub(super) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}
