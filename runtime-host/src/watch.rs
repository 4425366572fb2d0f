//! Waiting for a change without a runtime: a flag and a waker in the core's watch table.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
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
}
