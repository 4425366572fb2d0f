//! Waiting without a runtime: for a change (a flag and a waker in the core's watch table), for a reply.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use atomic_waker::AtomicWaker;

/// Set once by whoever publishes a change; awaited by one task.
#[derive(Debug, Default)]
pub struct Signal {
    set: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    /// Wakes the waiting task, now or as soon as it waits.
    pub fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Completes once set, and unsets it.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.set.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// One value from whoever has the [`Sender`] to one task.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Slot<T>>);

/// Gives the value; dropped without, it says that there will be none.
#[derive(Debug)]
pub struct Sender<T>(Arc<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    /// `None` as long as it is not known; then the value, if there is one.
    value: Mutex<Option<Option<T>>>,
    waker: AtomicWaker,
}

/// Both ends. Leaner than a channel: one allocation, and no lock is held while the task is woken.
#[must_use]
pub fn once<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Slot { value: Mutex::new(None), waker: AtomicWaker::new() });
    (Sender(Arc::clone(&slot)), Receiver(slot))
}

impl<T> Slot<T> {
    fn fill(&self, with: Option<T>) {
        // The first one counts.
        self.value.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(with);
        self.waker.wake();
    }
}

impl<T> Sender<T> {
    /// Somebody still waits for it.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Gives it.
    pub fn send(self, value: T) {
        self.0.fill(Some(value));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.fill(None);
    }
}

impl<T> Receiver<T> {
    /// Waits for it; `None` if the sender went away without.
    pub async fn recv(self) -> Option<T> {
        poll_fn(|cx| {
            self.0.waker.register(cx.waker());
            match self.0.value.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                Some(value) => Poll::Ready(value.take()),
                None => Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_signal_set_before_the_wait_is_not_lost() {
        let s = Signal::default();
        assert!(block_on(poll_once(s.wait())).is_none());
        s.set();
        s.set();
        block_on(s.wait());
        assert!(block_on(poll_once(s.wait())).is_none());
    }

    #[test]
    fn a_reply_comes_once_or_its_absence_is_told() {
        let (tx, rx) = once();
        tx.send(7);
        assert_eq!(block_on(rx.recv()), Some(7));

        let (tx, rx) = once::<u8>();
        let mut waiting = std::pin::pin!(rx.recv());
        assert!(block_on(poll_once(waiting.as_mut())).is_none());
        drop(tx);
        assert_eq!(block_on(waiting), None);
    }
}
