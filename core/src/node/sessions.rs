//! The node's hands of [`sessions`]: who leads, what changed, what is proposed, what clients renew.

use convoke_api::response::Response;
use convoke_api::session::{not_found, renewed};
use convoke_catalog::topic::Changes;
use convoke_kit::{Machine as _, Out, Time};

use crate::node::shell::{Origin, Work};
use crate::node::{Node, RequestId};
use crate::sessions::{self, Action, Event, Key, Renewal, Subject};

/// A renewal is asked for by a client, who may want indented JSON.
type Asked = (RequestId, bool);
/// The machine as the node drives it.
pub(super) type Sessions = sessions::Sessions<Asked>;

impl Node {
    /// This server leads from now on, and its tables hold everything committed before.
    pub(super) fn sessions_lead(&mut self, now: Time) {
        let view = self.tables.catalog.view();
        self.sessions_event(now, Event::Lead { view: &view });
    }

    /// It does not any more.
    pub(super) fn sessions_follow(&mut self) {
        // No time passes for who measures none.
        self.sessions_event(Time::ZERO, Event::Follow);
    }

    /// Which sessions a command made or ended.
    pub(super) fn note_sessions(&mut self, changes: &Changes) {
        if self.leads {
            let keys = changes.sessions().map(|(tenancy, id)| Work::Session((tenancy.clone(), id.clone())));
            for work in keys {
                self.push(work);
            }
        }
    }

    /// A session came or went.
    pub(super) fn session_changed(&mut self, now: Time, key: Key) {
        let view = self.tables.catalog.view();
        self.sessions_event(now, Event::Changed { key, view: &view });
    }

    /// A proposal about sessions was applied or refused.
    pub(super) fn sessions_over(&mut self, now: Time, subject: Subject, applied: bool) {
        let view = self.tables.catalog.view();
        let event = if applied { Event::Applied { subject, view: &view } } else { Event::Refused { subject } };
        self.sessions_event(now, event);
    }

    /// A client renews a session.
    pub(super) fn renew(&mut self, now: Time, id: RequestId, key: Key, pretty: bool) {
        // Somebody else may lead by now, who has not seen this renewal.
        if self.lease_until(now).is_none_or(|until| until <= now) {
            return self.reply(id, self.no_leader());
        }
        self.sessions_event(now, Event::Renew { key, origin: (id, pretty) });
    }

    /// Timers of sessions.
    pub(super) fn sessions_timeout(&mut self, now: Time) {
        let mut out = Out::new();
        self.sessions.handle_timeout(now, &mut out);
        self.on_sessions(out);
    }

    fn sessions_event(&mut self, now: Time, event: Event<'_, Asked>) {
        let mut out = Out::new();
        self.sessions.handle(now, event, &mut out);
        self.on_sessions(out);
    }

    fn on_sessions(&mut self, mut out: Out<Action<Asked>>) {
        for action in out.drain_actions() {
            match action {
                Action::Propose { command, subject } => {
                    self.propose_own(*command, Origin::Sessions(subject));
                }
                Action::Renewed { origin: (id, pretty), key, outcome } => {
                    let response = self.renewal(&key, pretty, outcome);
                    self.reply(id, response);
                }
            }
        }
    }

    fn renewal(&self, key: &Key, pretty: bool, outcome: Renewal) -> Response {
        match outcome {
            Renewal::NoLeader => self.no_leader(),
            Renewal::Busy => Response::text(429, "too many sessions are being renewed; try again later"),
            Renewal::TooLate => not_found(&key.1),
            Renewal::Done => match self.tables.catalog.view().session((&key.0).into(), &key.1) {
                Some(session) => renewed(session, pretty),
                None => not_found(&key.1),
            },
        }
    }
}
