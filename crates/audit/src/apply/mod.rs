//! Carries a plan out, proves it, and takes it back: the one part of this crate that changes a host.
//!
//! ```text
//! lock -> finish what was broken off -> files as planned? writable? programs there? room for notes?
//!      -> keep old files -> (manifest, step)* -> look again, verify -> applied
//!                                  |                   |
//!                                  +--- fails ---------+--> way back -> rolled back
//! ```
//!
//! Invariants:
//! - Before a step is begun, the manifest that names it is on the disk. So whatever ends this
//!   program, the next run knows which steps may have happened, and the way back of each may be
//!   taken whether it happened, half happened or did not.
//! - A file is always wholly old or wholly new.
//! - Nothing is undone over somebody else's change: then it stops before the first step.
//! - The way back needs no manifest: where none can be written any more, it is taken all the same.

mod files;
mod fit;
mod host;
mod manifest;
mod proof;
mod refusals;
mod standing;
mod steps;

use std::{net::SocketAddr, path::Path};

pub use files::Original;
pub use host::{Host, Onlooker};
pub use manifest::{Held, Ledger, Manifest, Ran, SCHEMA, State};
pub use refusals::CloseError;
pub use standing::{Listed, Standing, listed_on_disk};

use crate::facts::{Facts, Protocol, Seen};
use crate::plan::{Action, Plan};
use crate::vulnerabilities::Table;

/// What a plan is carried out in: the host, or a test's picture of one.
pub trait Surroundings {
    /// Runs exactly this command.
    fn run(&mut self, argv: &[String]) -> Ran;
    /// Whether this program is installed.
    fn has(&self, program: &str) -> bool;
    /// What a command prints that only prints; none if it fails.
    fn ask(&mut self, words: &[&str]) -> Option<String>;
    /// Looks at the host again.
    ///
    /// # Errors
    ///
    /// In words, when nothing can be seen.
    fn look(&mut self) -> Result<Facts, String>;
    /// Whether anybody answers at an own address.
    fn answers(&mut self, protocol: Protocol, address: SocketAddr) -> bool;
    /// The time, in seconds since 1970-01-01 UTC.
    fn now(&mut self) -> i64;
    /// Waits a little before the next look.
    fn pause(&mut self);
    /// Whether somebody asked for it to be broken off: then it is taken back.
    fn is_unwanted(&mut self) -> bool {
        false
    }
    /// What is being done now, for whoever waits.
    fn tell(&mut self, _stage: Stage<'_>) {}
    /// Something was done that a loss of power could follow. For tests, which then take it away.
    fn reached(&mut self, _what: &str) {}
}

/// A part of a run that may take its time.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'r> {
    /// A step of the way forth.
    Forth {
        /// Which, from 1.
        step: usize,
        /// The plan that it belongs to.
        plan: &'r Plan,
        /// What it does.
        action: &'r Action,
    },
    /// A step of the way back.
    Back {
        /// The plan that it belongs to.
        plan: &'r Plan,
        /// What it does.
        action: &'r Action,
    },
    /// Looking whether it is shut.
    Looking {
        /// Which look, from 1.
        look: u32,
        /// How many at the most.
        looks_max: u32,
    },
}

impl Held {
    /// Takes back every run that was broken off; those runs.
    ///
    /// # Errors
    ///
    /// When the records cannot be read.
    pub fn finish(&self, around: &mut dyn Surroundings) -> Result<Vec<Manifest>, CloseError> {
        let mut finished = Vec::new();
        for mut run in self.ledger.runs()?.into_iter().rev() {
            if run.state.is_midway() {
                let end = match run.state {
                    State::Undoing => State::Undone,
                    _ => State::RolledBack,
                };
                self.back(&mut run, end, around);
                finished.push(run);
            }
        }
        Ok(finished)
    }

    /// Carries a plan out. The state of what is returned is [`State::Applied`],
    /// [`State::RolledBack`] or [`State::RollBackFailed`].
    ///
    /// # Errors
    ///
    /// When nothing was changed because nothing could be begun.
    pub fn apply(
        &self,
        plan: Plan,
        facts: &Facts,
        table: &Table,
        around: &mut dyn Surroundings,
    ) -> Result<Manifest, CloseError> {
        self.must_fit(&plan, around)?;
        let mut run = self.begin(plan, facts, around)?;
        around.reached("begun");
        let done = self.forth(&mut run, around);
        self.ledger.release(&run.id);
        let done = done.and_then(|()| self.proved(&mut run, table, around));
        if let Err(failure) = done {
            run.failure = failure;
            self.back(&mut run, State::RolledBack, around);
        }
        Ok(run)
    }

    /// Takes a run back, whether it is complete or was broken off. The state of what is returned is
    /// [`State::Undone`] or [`State::RollBackFailed`].
    ///
    /// # Errors
    ///
    /// When there is nothing to take back, somebody changed the same files since, or a later run
    /// changed the same files or units.
    pub fn undo(&self, id: &str, around: &mut dyn Surroundings) -> Result<Manifest, CloseError> {
        let mut run = self.ledger.run(id)?;
        if matches!(run.state, State::Undone | State::RolledBack) {
            return Err(CloseError::NothingToUndo { id: id.to_owned(), state: run.state });
        }
        self.must_be_newest(&run)?;
        for at in 0..run.plan.files.len() {
            self.must_be_ours(&run, at)?;
        }
        self.becomes(&mut run, State::Undoing, around)?;
        self.back(&mut run, State::Undone, around);
        Ok(run)
    }

    /// The steps forth; what failed.
    fn forth(&self, run: &mut Manifest, around: &mut dyn Surroundings) -> Result<(), String> {
        for at in 0..run.plan.forward.len() {
            if around.is_unwanted() {
                return Err(BROKEN_OFF.to_owned());
            }
            let Some(action) = run.plan.forward.get(at).cloned() else { break };
            run.begun = at + 1;
            run.at = around.now();
            // Where it cannot be noted it is not begun.
            self.ledger.save(run).map_err(|error| error.to_string())?;
            around.reached("step noted");
            around.tell(Stage::Forth { step: at + 1, plan: &run.plan, action: &action });
            self.step(run, &action, around)?;
            around.reached("step done");
        }
        Ok(())
    }

    /// Looks until it is shut, and notes that; what is not.
    fn proved(
        &self,
        run: &mut Manifest,
        table: &Table,
        around: &mut dyn Surroundings,
    ) -> Result<(), String> {
        run.checks = proof::prove(&run.plan, table, around);
        around.reached("verified");
        if let Some(bad) = run.checks.iter().find(|check| !check.ok) {
            return Err(format!("{}: {}", bad.key, bad.seen));
        }
        if around.is_unwanted() {
            return Err(BROKEN_OFF.to_owned());
        }
        self.becomes(run, State::Applied, around).map_err(|error| error.to_string())
    }

    /// The way back, every step that may be needed; goes on where one fails, and where nothing can
    /// be noted any more: the manifest on the disk names all that may have to go back.
    fn back(&self, run: &mut Manifest, end: State, around: &mut dyn Surroundings) {
        self.ledger.release(&run.id);
        if matches!(run.state, State::Applying | State::Applied) {
            let _ = self.becomes(run, State::RollingBack, around);
        }
        run.by_hand.clear();
        for back in run.plan.backward.clone() {
            if back.if_begun >= run.begun {
                continue;
            }
            around.tell(Stage::Back { plan: &run.plan, action: &back.action });
            if let Err(failure) = self.step(run, &back.action, around) {
                run.by_hand.push(self.by_hand(run, &back.action));
                if run.failure.is_empty() {
                    run.failure = failure;
                }
            }
            around.reached("step back");
        }
        self.tidy(run);
        let end = if run.by_hand.is_empty() { end } else { State::RollBackFailed };
        if let Err(error) = self.becomes(run, end, around) {
            // Said, and harmless: the next run takes it back once more, which changes nothing.
            let gap = if run.failure.is_empty() { "" } else { "; " };
            run.failure = format!("{}{gap}{error}", run.failure);
        }
    }

    fn becomes(
        &self,
        run: &mut Manifest,
        state: State,
        around: &mut dyn Surroundings,
    ) -> Result<(), CloseError> {
        run.state = state;
        run.at = around.now();
        self.ledger.save(run)?;
        around.reached(state.name());
        Ok(())
    }
}

/// Why it was taken back when somebody asked for that.
const BROKEN_OFF: &str = "it was asked to stop";

/// Whether this program may change this host.
#[must_use]
pub fn is_permitted() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a path is the running host's own root: only that one can be changed and proved.
#[must_use]
pub fn is_running_root(root: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let same = |other: &std::fs::Metadata| {
        std::fs::metadata("/").is_ok_and(|own| (own.dev(), own.ino()) == (other.dev(), other.ino()))
    };
    std::fs::metadata(root).is_ok_and(|meta| same(&meta))
}

/// Whether facts were gathered with what a plan needs: on the running host, with its sockets.
#[must_use]
pub fn can_be_planned(facts: &Facts) -> bool {
    matches!(facts.sockets, Seen::Known(_)) && matches!(facts.processes, Seen::Known(_))
}
