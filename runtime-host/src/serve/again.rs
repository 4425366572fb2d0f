//! A future that wakes itself is polled again on the spot.
//!
//! A connection that takes in a body wakes itself: its reading half feeds its answering half. A runtime takes such a wake
//! for a yield, queues the task, and wakes a second worker to look whether there is something to steal: two switches of
//! threads for nothing, a tenth of what a registration costs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

/// Nobody polls it: a wake goes to the runtime.
const IDLE: u8 = 0;
/// Being polled.
const POLLED: u8 = 1;
/// Woken while being polled.
const AGAIN: u8 = 2;
/// So often in a row; then the runtime has its turn, so that no task keeps a worker.
const TURNS: usize = 4;

#[derive(Debug)]
struct Inner {
    state: AtomicU8,
    outer: AtomicWaker,
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self.state.compare_exchange(POLLED, AGAIN, Ordering::AcqRel, Ordering::Acquire);
        if noted == Err(IDLE) {
            self.outer.wake();
        }
    }
}

/// The same future, polled again at once when it was woken while it was being polled.
pub(super) async fn again<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let inner = Arc::new(Inner { state: AtomicU8::new(IDLE), outer: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&inner));
    poll_fn(move |cx| {
        inner.outer.register(cx.waker());
        for _ in 0..TURNS {
            inner.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
            // Fails if it was woken meanwhile.
            if inner.state.compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        inner.state.store(IDLE, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Ready at the `at`-th poll; wakes itself before.
    async fn restless(at: usize, kept: &Mutex<Option<Waker>>) -> usize {
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            if polls == at {
                return Poll::Ready(polls);
            }
            cx.waker().wake_by_ref();
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    #[test]
    fn a_wake_from_within_does_not_reach_the_runtime() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let kept = Mutex::default();
        let mut future = pin!(again(restless(3, &kept)));
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(3));
        assert_eq!(count.0.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_restless_one_yields_and_goes_on() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let kept = Mutex::default();
        let mut future = pin!(again(restless(TURNS + 1, &kept)));
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        assert_eq!(count.0.load(Ordering::Acquire), 1);
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(TURNS + 1));
    }

    #[test]
    fn a_wake_from_outside_reaches_the_runtime() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let kept: Mutex<Option<Waker>> = Mutex::default();
        let quiet = poll_fn(|cx| {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        let mut future = pin!(again(quiet));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        kept.lock().unwrap().take().unwrap().wake();
        assert_eq!(count.0.load(Ordering::Acquire), 1);
    }
}
