//! What still has to be told: SWIM's dissemination component (section 4.1).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Broadcasts that wait, those that were sent least first, among these the newest first.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    /// By times sent and by age, newest first.
    items: BTreeMap<(u32, u64), Item>,
    /// Where the news of a subject stand; newer ones take their place.
    subjects: BTreeMap<u64, (u32, u64)>,
    made: u64,
    taken: Vec<(u32, u64)>,
}

#[derive(Debug)]
struct Item {
    subject: u64,
    bytes: Box<[u8]>,
    /// Never sent unsealed, where there is a key.
    secret: bool,
}

impl Broadcasts {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether something about this subject waits.
    pub(crate) fn tells_of(&self, subject: u64) -> bool {
        self.subjects.contains_key(&subject)
    }

    /// Adds news; `subject` says whose older news they replace. They count as `sent` so often already, if what they replace
    /// was not sent less often. True if something else was dropped for them.
    pub(crate) fn push(&mut self, subject: u64, bytes: &[u8], secret: bool, sent: u32, depth: usize) -> bool {
        let mut sent = sent;
        if let Some(at) = self.subjects.remove(&subject) {
            self.items.remove(&at);
            sent = sent.min(at.0);
        }
        self.made += 1;
        let at = (sent, u64::MAX - self.made);
        self.subjects.insert(subject, at);
        self.items.insert(at, Item { subject, bytes: bytes.into(), secret });
        if self.items.len() <= depth {
            return false;
        }
        if let Some((_, item)) = self.items.pop_last() {
            self.subjects.remove(&item.subject);
        }
        true
    }

    /// Appends what fits into `room` bytes to `packet`; what was sent `limit` times is done with. How many, and whether one
    /// of them must be sealed.
    pub(crate) fn fill(&mut self, packet: &mut Vec<u8>, room: usize, limit: u32) -> (u64, bool) {
        let mut left = room;
        let mut secret = false;
        for (at, item) in &self.items {
            if item.bytes.len() <= left {
                left -= item.bytes.len();
                packet.extend_from_slice(&item.bytes);
                secret |= item.secret;
                self.taken.push(*at);
            }
            // No message is shorter.
            if left < 8 {
                break;
            }
        }
        let count = self.taken.len() as u64;
        for at in self.taken.drain(..) {
            let Some(item) = self.items.remove(&at) else { continue };
            if at.0 + 1 >= limit {
                self.subjects.remove(&item.subject);
                continue;
            }
            let next = (at.0 + 1, at.1);
            self.subjects.insert(item.subject, next);
            self.items.insert(next, item);
        }
        (count, secret)
    }
}

/// How often news are sent in a pool of `n` members.
pub(crate) fn transmissions(mult: u32, n: usize) -> u32 {
    // ceil(log10(n + 1)) without floating point.
    let mut digits = 0;
    let mut power = 1_usize;
    while power < n + 1 {
        power = power.saturating_mul(10);
        digits += 1;
    }
    // Two digits at least: one in a hundred misses news that all others tell four times, and in a pool of eight that is
    // somebody too often.
    mult.saturating_mul(digits.max(2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(queue: &mut Broadcasts, room: usize, limit: u32) -> alloc::string::String {
        let mut packet = Vec::new();
        queue.fill(&mut packet, room, limit);
        alloc::string::String::from_utf8(packet).unwrap()
    }

    #[test]
    fn least_sent_first_then_newest_and_each_so_often() {
        let mut queue = Broadcasts::default();
        for (n, bytes) in ["aaaaaaaa", "bbbbbbbb", "cccccccc"].iter().enumerate() {
            assert!(!queue.push(n as u64, bytes.as_bytes(), false, 0, 9));
        }
        assert_eq!(text(&mut queue, 17, 2), "ccccccccbbbbbbbb");
        assert_eq!(text(&mut queue, 17, 2), "aaaaaaaacccccccc");
        assert_eq!(text(&mut queue, 99, 2), "bbbbbbbbaaaaaaaa", "c was sent twice");
        assert!(queue.is_empty());
    }

    #[test]
    fn newer_news_replace_older_ones_and_start_anew() {
        let mut queue = Broadcasts::default();
        queue.push(1, b"old news", false, 0, 9);
        assert_eq!(text(&mut queue, 99, 3), "old news");
        queue.push(1, b"new news", true, 0, 9);
        assert_eq!((queue.len(), queue.fill(&mut Vec::new(), 99, 3)), (1, (1, true)));
    }

    #[test]
    fn at_the_bound_what_was_sent_most_goes() {
        let mut queue = Broadcasts::default();
        queue.push(1, b"oldoldold", false, 0, 2);
        queue.fill(&mut Vec::new(), 99, 9);
        queue.push(2, b"second..", false, 0, 2);
        assert!(queue.push(3, b"third...", false, 0, 2));
        assert_eq!(text(&mut queue, 99, 9), "third...second..");
    }

    #[test]
    fn counts_grow_with_the_logarithm() {
        let counts = [(1, 8), (9, 8), (10, 8), (99, 8), (100, 12), (999, 12), (1000, 16), (10_000, 20)];
        for (n, count) in counts {
            assert_eq!(transmissions(4, n), count, "n = {n}");
        }
        assert_eq!(transmissions(0, 5), 1);
    }
}
