//! Polls a connection inside the future that uses it.
//!
//! hyper wants its connection future polled by somebody. Spawning it would let it outlive a check that was cancelled;
//! here it is polled beside the work, in one task, and dropped with it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Futures that run while somebody is inside [`Tasks::drive`], and end when the last handle is dropped.
///
/// It is hyper's executor too: what an HTTP/2 connection spawns lands here.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<Vec<Task>>>);

impl Tasks {
    /// Adds a future.
    pub(crate) fn add(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().push(Box::pin(task));
    }

    /// Runs `work` to its end, and the added futures meanwhile.
    pub(crate) async fn drive<W: Future>(&self, work: W) -> W::Output {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.poll_all(cx);
            Poll::Pending
        })
        .await
    }

    /// Polls each once, and those added meanwhile. One that makes `work` ready wakes this very task.
    fn poll_all(&self, cx: &mut Context<'_>) {
        let mut waiting = Vec::new();
        loop {
            // Taken out, because a task that is polled may add another.
            let batch = std::mem::take(&mut *self.lock());
            if batch.is_empty() {
                break;
            }
            for mut task in batch {
                if task.as_mut().poll(cx).is_pending() {
                    waiting.push(task);
                }
            }
        }
        *self.lock() = waiting;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Task>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.add(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_beside_the_work_and_may_add_more() {
        let tasks = Tasks::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (first, second, inner) = (seen.clone(), seen.clone(), tasks.clone());
        tasks.add(async move {
            futures_lite::future::yield_now().await;
            first.lock().unwrap().push(1);
            inner.add(async move { second.lock().unwrap().push(2) });
        });
        futures_lite::future::block_on(tasks.drive(async {
            while seen.lock().unwrap().len() < 2 {
                futures_lite::future::yield_now().await;
            }
        }));
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        assert!(tasks.lock().is_empty());
    }

    #[test]
    fn what_is_unfinished_is_dropped_with_the_last_handle() {
        let held = Arc::new(());
        let tasks = Tasks::default();
        let moved = held.clone();
        tasks.add(async move {
            std::future::pending::<()>().await;
            drop(moved);
        });
        futures_lite::future::block_on(tasks.drive(futures_lite::future::yield_now()));
        assert_eq!(Arc::strong_count(&held), 2);
        drop(tasks);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
