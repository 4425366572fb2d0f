//! Log lines for those who watch: `/v1/agent/monitor`.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender, bounded};
use convoke_core::node::Level;

/// Lines a slow reader may lag behind; newer ones are dropped for it then, as in Consul.
const LAG: usize = 512;
/// Nobody listens: above every level.
const NOBODY: u8 = u8::MAX;

/// Where monitors subscribe.
#[derive(Clone, Debug)]
pub struct Tail(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The least severe level any reader wants; checked before a line is formatted.
    lowest: AtomicU8,
    readers: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    level: Level,
    json: bool,
    lines: Sender<String>,
}

impl Default for Tail {
    fn default() -> Self {
        Self(Arc::new(Shared { lowest: AtomicU8::new(NOBODY), readers: Mutex::new(Vec::new()) }))
    }
}

impl Tail {
    /// Lines of at least this level from now on. Dropping the receiver ends it.
    #[must_use]
    pub fn subscribe(&self, level: Level, json: bool) -> Receiver<String> {
        let (lines, receiver) = bounded(LAG);
        if let Ok(mut readers) = self.0.readers.lock() {
            readers.push(Reader { level, json, lines });
            self.note(&readers);
        }
        receiver
    }

    pub(super) fn wants(&self, level: Level) -> bool {
        level as u8 >= self.0.lowest.load(Ordering::Relaxed)
    }

    pub(super) fn publish(&self, level: Level, text: &dyn Fn() -> String, json: &dyn Fn() -> String) {
        if !self.wants(level) {
            return;
        }
        let Ok(mut readers) = self.0.readers.lock() else { return };
        readers.retain(|r| {
            if level >= r.level {
                let _ = r.lines.try_send(if r.json { json() } else { text() });
            }
            !r.lines.is_closed()
        });
        self.note(&readers);
    }

    fn note(&self, readers: &[Reader]) {
        let lowest = readers.iter().map(|r| r.level as u8).min().unwrap_or(NOBODY);
        self.0.lowest.store(lowest, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_get_their_level_in_their_form_and_leave() {
        let tail = Tail::default();
        assert!(!tail.wants(Level::Error));
        let a = tail.subscribe(Level::Info, false);
        let b = tail.subscribe(Level::Warn, true);
        tail.publish(Level::Info, &|| "t".into(), &|| "j".into());
        tail.publish(Level::Error, &|| "t".into(), &|| "j".into());
        assert_eq!((a.try_recv().unwrap(), a.try_recv().unwrap()), ("t".into(), "t".into()));
        assert_eq!(b.try_recv().unwrap(), "j");
        drop((a, b));
        tail.publish(Level::Error, &|| "t".into(), &|| "j".into());
        assert!(!tail.wants(Level::Error));
    }
}
