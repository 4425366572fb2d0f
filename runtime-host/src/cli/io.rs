//! The streams and the randomness a command uses.

use std::fs::File;
use std::io::{self, Read, Write};

/// What the command line touches besides files and the agent. Tests give their own.
pub trait Io {
    /// Results.
    fn stdout(&mut self) -> &mut dyn Write;
    /// Complaints and remarks.
    fn stderr(&mut self) -> &mut dyn Write;
    /// Read when an argument is `-`.
    fn stdin(&mut self) -> &mut dyn Read;
    /// Fills `buf` with bytes fit for keys.
    ///
    /// # Errors
    /// The system has none to give.
    fn entropy(&mut self, buf: &mut [u8]) -> io::Result<()>;
}

/// The streams of this process and the system's random device.
#[derive(Debug)]
pub struct StdIo {
    stdout: io::Stdout,
    stderr: io::Stderr,
    stdin: io::Stdin,
}

impl StdIo {
    /// Opens nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { stdout: io::stdout(), stderr: io::stderr(), stdin: io::stdin() }
    }
}

impl Default for StdIo {
    fn default() -> Self {
        Self::new()
    }
}

impl Io for StdIo {
    fn stdout(&mut self) -> &mut dyn Write {
        &mut self.stdout
    }

    fn stderr(&mut self) -> &mut dyn Write {
        &mut self.stderr
    }

    fn stdin(&mut self) -> &mut dyn Read {
        &mut self.stdin
    }

    fn entropy(&mut self, buf: &mut [u8]) -> io::Result<()> {
        File::open("/dev/urandom")?.read_exact(buf)
    }
}
