//! Signals, leaving, and writes that fail.

use alloc::format;
use alloc::string::String;

use convoke_api::response::Response;
use convoke_kit::{Out, Time};

use crate::consensus;
use crate::identity::MemberState;
use crate::node::shell::Work;
use crate::node::{Action, Level, Node, Signal};

impl Node {
    /// Takes a signal. The exit code tells whether the agent left gracefully (0) or was stopped (1), as Consul's does.
    pub(super) fn signal(&mut self, now: Time, signal: Signal, out: &mut Out<Action>) {
        let (name, leaves) = match signal {
            Signal::Reload => return self.ask_reload(None, out),
            Signal::Interrupt => ("interrupt", !self.config.skip_leave_on_interrupt),
            Signal::Terminate => ("terminate", self.config.leave_on_terminate),
        };
        if self.member == MemberState::Leaving {
            // Somebody is in a hurry.
            Self::log(out, Level::Info, format!("caught signal {name} while leaving: stopping at once"));
            self.exit = Some(1);
            return;
        }
        let how = if leaves { "leaving gracefully" } else { "stopping without leaving" };
        Self::log(out, Level::Info, format!("caught signal {name}: {how}"));
        if leaves {
            self.leave(now, None, out);
        } else {
            self.exit = Some(1);
        }
    }

    /// A write was not carried out. Registrations that depended on it are not safe, which their clients are told; a log
    /// that cannot be written is the end of this agent.
    pub(super) fn persist_failed(&mut self, seq: u64, error: String, out: &mut Out<Action>) {
        let (of_log, lost) = self.writes.failed(seq);
        for id in lost {
            let text = format!(
                "the change is in effect, but it could not be saved in data_dir and will be lost at the next restart: \
                 {error}"
            );
            self.reply(id, Response::text(500, text));
        }
        if of_log {
            let line = format!("the log in data_dir cannot be written, so this agent stops: {error}");
            Self::log(out, Level::Error, line);
            self.push(Work::Consensus(consensus::Event::Failed { error }));
            self.exit = Some(1);
        } else {
            Self::log(out, Level::Error, format!("a file in data_dir could not be written: {error}"));
        }
    }
}
