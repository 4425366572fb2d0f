//! Write bookkeeping: what waits for which write.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use convoke_api::response::Response;
use convoke_kit::Out;

use crate::node::{Action, RequestId};
use crate::store::{Change, Write};

/// Replies that may wait for the disk; then requests are refused.
pub(super) const QUEUE: usize = 4096;

/// Numbers writes and remembers who waits for them. Does nothing where nothing is kept on disk.
#[derive(Debug)]
pub(super) struct Writes {
    enabled: bool,
    /// Of the last write issued.
    issued: u64,
    /// Of the last write known to be durable.
    durable: u64,
    /// Of the last write of a small file.
    last_file: u64,
    /// Writes of the log, and the log index each makes durable (0 for a compaction).
    log: VecDeque<(u64, u64)>,
    replies: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// First write it depends on.
    from: u64,
    /// Last one.
    upto: u64,
    id: RequestId,
    response: Response,
}

/// What became durable.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The log up to this index.
    pub(super) log: Option<u64>,
    /// These can be answered.
    pub(super) replies: Vec<(RequestId, Response)>,
}

impl Writes {
    pub(super) const fn new(enabled: bool) -> Self {
        Self { enabled, issued: 0, durable: 0, last_file: 0, log: VecDeque::new(), replies: VecDeque::new() }
    }

    /// Whether anything is kept on disk.
    pub(super) const fn keeps(&self) -> bool {
        self.enabled
    }

    /// The number the next write will have.
    pub(super) const fn next(&self) -> u64 {
        self.issued + 1
    }

    /// No more requests that need the disk, please.
    pub(super) fn full(&self) -> bool {
        self.replies.len() >= QUEUE
    }

    /// Writes a small file, if anything is kept.
    pub(super) fn file(&mut self, change: Change, out: &mut Out<Action>) {
        if self.enabled {
            self.issued += 1;
            self.last_file = self.issued;
            out.push(Action::Persist(Write { seq: self.issued, change }));
        }
    }

    /// Writes to the log, which makes it durable up to `index`.
    pub(super) fn log(&mut self, index: u64, change: Change, out: &mut Out<Action>) {
        self.issued += 1;
        self.log.push_back((self.issued, index));
        out.push(Action::Persist(Write { seq: self.issued, change }));
    }

    /// Keeps a reply until the files written since `from`, or those that were on their way before, are durable.
    /// Comes back at once if there is nothing to wait for.
    pub(super) fn hold(&mut self, from: u64, id: RequestId, response: Response) -> Option<Response> {
        if self.last_file <= self.durable {
            return Some(response);
        }
        let from = if self.last_file >= from { from } else { self.durable + 1 };
        self.replies.push_back(Waiting { from, upto: self.last_file, id, response });
        None
    }

    /// Everything up to this write is durable.
    pub(super) fn persisted(&mut self, upto: u64) -> Done {
        self.durable = self.durable.max(upto.min(self.issued));
        let mut done = Done::default();
        while let Some((_, index)) = self.log.pop_front_if(|(seq, _)| *seq <= self.durable) {
            done.log = done.log.max((index > 0).then_some(index));
        }
        while let Some(waiting) = self.replies.pop_front_if(|waiting| waiting.upto <= self.durable) {
            done.replies.push((waiting.id, waiting.response));
        }
        done
    }

    /// A write failed; whether it was one of the log, and who depended on it.
    pub(super) fn failed(&mut self, seq: u64) -> (bool, Vec<RequestId>) {
        let of_log = self.log.iter().any(|(at, _)| *at == seq);
        let mut lost = Vec::new();
        self.replies.retain(|waiting| {
            let depends = (waiting.from..=waiting.upto).contains(&seq);
            if depends {
                lost.push(waiting.id);
            }
            !depends
        });
        (of_log, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec;

    fn remove() -> Change {
        Change::Remove { path: "services/1".to_string() }
    }

    fn append() -> Change {
        Change::Append { bytes: vec![1] }
    }

    #[test]
    fn replies_wait_for_their_files_and_the_log_for_its_records() {
        let (mut writes, mut out) = (Writes::new(true), Out::new());
        assert!(writes.hold(writes.next(), RequestId(1), Response::empty(200)).is_some(), "nothing to wait for");
        let from = writes.next();
        writes.file(remove(), &mut out);
        writes.file(remove(), &mut out);
        assert!(writes.hold(from, RequestId(2), Response::empty(200)).is_none());
        writes.log(9, append(), &mut out);
        let from = writes.next();
        assert!(writes.hold(from, RequestId(3), Response::empty(200)).is_none(), "a repeat waits for the original");
        assert!(writes.persisted(1).replies.is_empty());
        let done = writes.persisted(2);
        assert_eq!((done.log, done.replies.len()), (None, 2));
        assert_eq!(writes.persisted(99).log, Some(9));
    }

    #[test]
    fn a_failed_write_is_told_to_those_who_depend_on_it() {
        let (mut writes, mut out) = (Writes::new(true), Out::new());
        let from = writes.next();
        writes.file(remove(), &mut out);
        writes.file(remove(), &mut out);
        writes.hold(from, RequestId(1), Response::empty(200));
        writes.log(1, append(), &mut out);
        assert_eq!(writes.failed(1), (false, vec![RequestId(1)]));
        assert_eq!(writes.failed(3), (true, vec![]));
        assert!(writes.persisted(2).replies.is_empty(), "told once");
    }

    #[test]
    fn without_a_disk_nothing_waits() {
        let (mut writes, mut out) = (Writes::new(false), Out::new());
        writes.file(remove(), &mut out);
        assert!(out.is_empty());
        assert!(writes.hold(1, RequestId(1), Response::empty(200)).is_some());
    }
}
