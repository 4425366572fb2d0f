//! Watches a world while time passes, and says what it did that it must not.

use std::fmt;
use std::time::Duration;

use convoke_kit::Time;

use crate::note::Note;
use crate::world::World;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant that is broken.
    pub invariant: &'static str,
    /// When it was noticed, in the time of the world.
    pub at: Time,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// Seen now.
    #[must_use]
    pub fn now(world: &World, invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, at: world.now(), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.invariant, self.at, self.what)
    }
}

impl std::error::Error for Violation {}

/// A check's result.
pub type Verdict<T = ()> = Result<T, Violation>;

/// Something that always holds.
pub trait Invariant {
    /// Sees one note.
    ///
    /// # Errors
    ///
    /// When the note breaks it.
    fn note(&mut self, world: &World, note: &Note) -> Verdict {
        let _ = (world, note);
        Ok(())
    }

    /// Looks at the world now and then: once a second of its time.
    ///
    /// # Errors
    ///
    /// When it does not hold.
    fn look(&mut self, world: &World) -> Verdict {
        let _ = world;
        Ok(())
    }
}

/// Lets time pass in a world while invariants watch.
#[derive(Default)]
pub struct Referee {
    rules: Vec<Box<dyn Invariant>>,
    notes: Vec<Note>,
    /// Every note so far, if wanted.
    log: Option<Vec<Note>>,
}

impl fmt::Debug for Referee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Referee({} rules)", self.rules.len())
    }
}

/// How long time passes between two looks.
const SLICE: Duration = Duration::from_secs(1);

impl Referee {
    /// With no rules yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more rule.
    #[must_use]
    pub fn with(mut self, rule: impl Invariant + 'static) -> Self {
        self.add(rule);
        self
    }

    /// One more rule, from now on.
    pub fn add(&mut self, rule: impl Invariant + 'static) {
        self.rules.push(Box::new(rule));
    }

    /// Ends all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Keeps all notes from now on.
    #[must_use]
    pub fn logging(mut self) -> Self {
        self.log = Some(Vec::new());
        self
    }

    /// The notes kept so far.
    #[must_use]
    pub fn log(&self) -> &[Note] {
        self.log.as_deref().unwrap_or_default()
    }

    /// Lets time pass.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn run(&mut self, world: &mut World, span: Duration) -> Verdict {
        let end = world.now() + span;
        while world.now() < end {
            world.run_until((world.now() + SLICE).min(end));
            self.judge(world)?;
        }
        Ok(())
    }

    /// Lets time pass until something holds, looked at every `step`; says how long that took.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, or what is still missing after `limit`.
    pub fn run_until(
        &mut self,
        world: &mut World,
        limit: Duration,
        step: Duration,
        mut holds: impl FnMut(&World) -> Verdict,
    ) -> Verdict<Duration> {
        let start = world.now();
        loop {
            let Err(missing) = holds(world) else { return Ok(world.now().since(start)) };
            if world.now().since(start) >= limit {
                return Err(missing);
            }
            world.run_for(step);
            self.judge(world)?;
        }
    }

    fn judge(&mut self, world: &mut World) -> Verdict {
        world.take_notes(&mut self.notes);
        for note in &self.notes {
            for rule in &mut self.rules {
                rule.note(world, note)?;
            }
        }
        if let Some(log) = &mut self.log {
            log.append(&mut self.notes);
        }
        self.rules.iter_mut().try_for_each(|rule| rule.look(world))
    }
}
