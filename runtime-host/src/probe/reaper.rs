//! One thread that watches all programs: reads their output, kills them at their deadline, reaps them.
//!
//! Its cost is one pipe and one process a program, and no thread: a hundred scripts at once need as many threads as
//! one. It wakes for output, for `SIGCHLD`, for a new program, and for the nearest deadline.
//!
//! A program is over when it has exited *and* nobody holds the other end of its pipe any more: a child it left in the
//! background and that may still write belongs to it, and is killed with it at the deadline. Until then the exited
//! program is left unreaped, so that its process group's number cannot be given to anybody else before the kill.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Seek as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::client::dial::os_text;
use crate::probe::tail::Tail;

/// Programs on their way to the thread; whoever starts one more waits.
const QUEUE: usize = 64;

/// Bytes read from one pipe before the next one has its turn.
const CHUNK: usize = 64 * 1024;

/// How often the dead are looked for although no signal came; one may be lost if somebody replaced the handler.
const SWEEP: Duration = Duration::from_secs(1);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) how: How,
    /// Standard output and error as they came, the last bytes.
    pub(crate) output: Vec<u8>,
    /// All bytes it wrote.
    pub(crate) written: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By itself; no code: by a signal.
    Exited(Option<i32>),
    /// Killed with its group at the deadline.
    TimedOut,
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Program {
    /// Program and arguments.
    pub(crate) args: Vec<String>,
    /// Killed then.
    pub(crate) deadline: Option<Instant>,
    /// Bytes of output to keep.
    pub(crate) keep: usize,
    /// Added to the environment.
    pub(crate) env: Vec<(&'static str, String)>,
    /// What it reads; `None`: nothing.
    pub(crate) input: Option<Vec<u8>>,
}

/// Says whether a program may live. Dropping it kills the program's group.
#[derive(Debug)]
pub(crate) struct Leash(Option<Arc<Mutex<Group>>>);

/// A process group as seen by those who may kill it.
#[derive(Debug)]
enum Group {
    /// Not started yet.
    Coming,
    /// Its leader is not reaped, so the number is still its own.
    Alive(Pid),
    /// Killed, given up, or reaped.
    Over,
}

impl Leash {
    /// For a program that is still to be started with the second value.
    pub(crate) fn new() -> (Self, Tag) {
        let group = Arc::new(Mutex::new(Group::Coming));
        (Self(Some(group.clone())), Tag(group))
    }

    /// Lets the program live, however long it takes.
    pub(crate) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(group) = &self.0
            && end(&mut lock(group))
            && let Some(Ok(reaper)) = REAPER.get()
        {
            reaper.wake();
        }
    }
}

/// The program's end of a [`Leash`].
#[derive(Debug)]
pub(crate) struct Tag(Arc<Mutex<Group>>);

fn lock(group: &Mutex<Group>) -> MutexGuard<'_, Group> {
    group.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the group if it lives. Whether it did.
fn end(group: &mut Group) -> bool {
    let alive = match group {
        Group::Alive(leader) => {
            // It fails only when all of them are dead already.
            let _ = kill_process_group(*leader, Signal::KILL);
            true
        }
        Group::Coming | Group::Over => false,
    };
    *group = Group::Over;
    alive
}

/// Starts a program; blocks until it runs. Its end is sent to `ended`, unless the leash was dropped.
///
/// An error is what Go's `os/exec` says.
pub(crate) fn start(program: &Program, tag: Tag, ended: async_channel::Sender<Ended>) -> Result<(), String> {
    let reaper = REAPER.get_or_init(|| Reaper::start().map_err(|error| format!("no thread for scripts: {error}")));
    let reaper = reaper.as_ref().map_err(Clone::clone)?;
    if matches!(*lock(&tag.0), Group::Over) {
        return Ok(());
    }
    let Some((name, args)) = program.args.split_first() else {
        return Err("exec: no command".to_owned());
    };
    let (child, pipe) = spawn(name, args, program).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !name.contains('/') => {
            format!("exec: {name:?}: executable file not found in $PATH")
        }
        _ => format!("fork/exec {name}: {}", os_text(&error)),
    })?;
    let mut group = lock(&tag.0);
    let wanted = matches!(*group, Group::Coming);
    *group = Group::Alive(Pid::from_child(&child));
    if !wanted {
        end(&mut group);
    }
    drop(group);
    let job =
        Job { child, pipe: Some(pipe), group: tag.0, deadline: program.deadline, tail: Tail::new(program.keep), ended };
    // The thread never ends, and it drains the queue whenever it is woken: every sender before us has done so.
    if reaper.jobs.send(job).is_ok() {
        reaper.wake();
    }
    Ok(())
}

fn spawn(name: &str, args: &[String], program: &Program) -> io::Result<(Child, PipeReader)> {
    let (pipe, output) = io::pipe()?;
    let child = Command::new(name)
        .args(args)
        .envs(program.env.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(program.input.as_deref().map_or_else(|| Ok(Stdio::null()), readable)?)
        // One pipe for both, so that they stay in order.
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()?;
    Ok((child, pipe))
}

/// A file in memory, so that nobody has to feed a pipe while the program writes.
fn readable(input: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

static REAPER: OnceLock<Result<Reaper, String>> = OnceLock::new();

/// The way to the thread.
#[derive(Debug)]
struct Reaper {
    jobs: SyncSender<Job>,
    bell: UnixStream,
}

impl Reaper {
    fn start() -> io::Result<Self> {
        let (bell, heard) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, bell.try_clone()?)?;
        let (jobs, coming) = sync_channel(QUEUE);
        let thread = Watch { coming, heard, running: Vec::new(), dying: Vec::new() };
        std::thread::Builder::new().name("convoke-scripts".to_owned()).spawn(move || thread.run())?;
        Ok(Self { jobs, bell })
    }

    fn wake(&self) {
        // Full means that it will wake anyhow.
        let _ = (&self.bell).write(&[0]);
    }
}

/// A program that runs.
#[derive(Debug)]
struct Job {
    child: Child,
    /// `None` after its end.
    pipe: Option<PipeReader>,
    group: Arc<Mutex<Group>>,
    deadline: Option<Instant>,
    tail: Tail,
    ended: async_channel::Sender<Ended>,
}

/// The thread.
#[derive(Debug)]
struct Watch {
    coming: Receiver<Job>,
    heard: UnixStream,
    running: Vec<Job>,
    /// Killed, and not reaped yet.
    dying: Vec<Child>,
}

impl Watch {
    fn run(mut self) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let ready = self.wait();
            while matches!(self.heard.read(&mut chunk), Ok(count) if count > 0) {}
            for (job, _) in self.running.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
                job.read(&mut chunk);
            }
            // Before the next step, for one of them may be unwanted already.
            self.running.extend(self.coming.try_iter());
            let now = Instant::now();
            for job in std::mem::take(&mut self.running) {
                self.step(job, now);
            }
            self.dying.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        }
    }

    /// Sleeps until there is something to do. For each running program, whether its pipe has something.
    fn wait(&self) -> Vec<bool> {
        let mut fds = vec![PollFd::new(&self.heard, PollFlags::IN)];
        fds.extend(
            self.running.iter().filter_map(|job| job.pipe.as_ref()).map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        );
        let now = Instant::now();
        let unheard = !self.dying.is_empty() || self.running.iter().any(|job| job.pipe.is_none());
        let nearest = self.running.iter().filter_map(|job| job.deadline).min();
        let nearest =
            nearest.map(|at| at.saturating_duration_since(now)).into_iter().chain(unheard.then_some(SWEEP)).min();
        let limit = nearest.and_then(|limit| Timespec::try_from(limit).ok());
        if let Err(error) = poll(&mut fds, limit.as_ref())
            && error != rustix::io::Errno::INTR
        {
            // Out of memory, if anything. There is nobody to tell; not to spin is what can be done.
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut ready = fds.iter().skip(1).map(|fd| !fd.revents().is_empty());
        self.running.iter().map(|job| job.pipe.is_some() && ready.next().unwrap_or(false)).collect()
    }

    /// Ends what is over, keeps the rest.
    fn step(&mut self, mut job: Job, now: Instant) {
        let mut group = lock(&job.group);
        if matches!(*group, Group::Over) {
            drop(group);
            self.dying.push(job.child);
        } else if job.pipe.is_none() && exited(&job.child) {
            // From here on its number may become somebody else's.
            *group = Group::Over;
            drop(group);
            let code = job.child.try_wait().ok().flatten().and_then(|status| status.code());
            job.report(How::Exited(code));
        } else if job.deadline.is_some_and(|at| at <= now) {
            end(&mut group);
            drop(group);
            job.report(How::TimedOut);
            self.dying.push(job.child);
        } else {
            drop(group);
            self.running.push(job);
        }
    }
}

impl Job {
    /// Reads once; the pipe is said to have something, so it does not block.
    fn read(&mut self, chunk: &mut [u8]) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        match pipe.read(chunk) {
            Ok(count) if count > 0 => self.tail.push(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    fn report(&mut self, how: How) {
        let ended = Ended { how, written: self.tail.seen(), output: self.tail.take() };
        // Nobody waits any more: fine.
        let _ = self.ended.try_send(ended);
    }
}

/// Whether a child has exited, without reaping it.
fn exited(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    !matches!(waitid(WaitId::Pid(Pid::from_child(child)), options), Ok(None))
}
