//! Events of a thread of ours, handed in on the runtime.
//!
//! When a thread outside wakes a task, a runtime queues it, wakes a worker for it, and that one a second to look whether
//! there is more to do. A byte in a socket is like anything else that is received: the worker that waits for such things
//! goes on, alone, and mostly with what the event is about still in its caches.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use convoke_core::node::Event;
use hyper::rt::ReadBuf;

use crate::driver::Driver;
use crate::rt::{Runtime, Stream};

/// After a failed system call.
const PAUSE: Duration = Duration::from_millis(5);

type Events = Arc<Mutex<Vec<Event<'static>>>>;

/// The thread's end. When it is dropped, its ear is deaf after the last event.
#[derive(Debug)]
pub(crate) struct Bell {
    events: Events,
    socket: UnixStream,
}

/// The runtime's end.
#[derive(Debug)]
pub(crate) struct Ear {
    events: Events,
    socket: UnixStream,
}

/// Both ends.
///
/// # Errors
///
/// When the system gives no pair of sockets.
pub(crate) fn hang() -> io::Result<(Bell, Ear)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let events = Events::default();
    Ok((Bell { events: Arc::clone(&events), socket: ours }, Ear { events, socket: theirs }))
}

impl Bell {
    /// Hands in an event, after those before it.
    pub(crate) fn ring(&self, event: Event<'static>) {
        let first = {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.push(event);
            events.len() == 1
        };
        if first {
            // Where there is no room, bytes are waiting to be read, and all events are taken with each of them.
            let _ = (&self.socket).write(&[0]);
        }
    }
}

/// Hands every event to the driver, until the bell is gone.
async fn answer<R: Runtime>(driver: Arc<Driver<R>>, events: Events, mut socket: R::Unix) {
    let mut bytes = [0; 64];
    loop {
        let rung = read(&mut socket, &mut bytes).await;
        let taken = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
        for event in taken {
            driver.handle(event);
        }
        match rung {
            Ok(0) => return,
            Ok(_) => {}
            // To be deaf to the disk would be the end of everything: look again, and soon.
            Err(_) => driver.runtime().sleep(PAUSE).await,
        }
    }
}

impl Ear {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// When the runtime cannot take the socket.
    pub(crate) fn listen<R: Runtime>(self, driver: &Arc<Driver<R>>) -> io::Result<()> {
        let rt = driver.runtime();
        let socket = rt.unix(self.socket)?;
        rt.spawn(answer(Arc::clone(driver), self.events, socket));
        Ok(())
    }
}

async fn read(socket: &mut impl Stream, bytes: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut buf = ReadBuf::new(bytes);
        ready!(Pin::new(&mut *socket).poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    })
    .await
}
