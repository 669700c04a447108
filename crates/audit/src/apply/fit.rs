//! What must be true before the first step is taken, forth or back. Nothing is changed here.

use std::collections::BTreeSet;

use super::manifest::{Held, Manifest, State};
use super::standing::{Standing, standing};
use super::{CloseError, Surroundings, files};
use crate::plan::{Action, Plan};

impl Held {
    /// Everything that can be known before the first step.
    pub(super) fn must_fit(
        &self,
        plan: &Plan,
        around: &mut dyn Surroundings,
    ) -> Result<(), CloseError> {
        for file in &plan.files {
            let refused = |error| CloseError::NotWritable { path: file.path.clone(), error };
            let place = files::place(&self.ledger.root, &file.path).map_err(refused)?;
            let now = files::read(&place).map_err(refused)?;
            if now.as_deref() != file.before.as_deref().map(str::as_bytes) {
                return Err(CloseError::Changed { path: file.path.clone() });
            }
            files::must_be_writable(&place).map_err(refused)?;
        }
        let back = plan.backward.iter().map(|back| &back.action);
        for action in plan.forward.iter().chain(back) {
            let (Action::Run(argv) | Action::Try(argv)) = action else { continue };
            let program = argv.first().map_or("", String::as_str);
            if !around.has(program) {
                return Err(CloseError::NoProgram { program: program.to_owned() });
            }
        }
        Ok(())
    }

    /// Whether this file still has one of the two texts that the run knows.
    pub(super) fn must_be_ours(&self, run: &Manifest, at: usize) -> Result<(), CloseError> {
        let Some(file) = run.plan.files.get(at) else { return Ok(()) };
        let refused = |error| CloseError::NotWritable { path: file.path.clone(), error };
        let place = files::place(&self.ledger.root, &file.path).map_err(refused)?;
        let now = files::read(&place).map_err(refused)?;
        if standing(file, now.as_deref()) != Standing::Theirs {
            return files::must_be_writable(&place).map_err(refused);
        }
        Err(CloseError::ChangedSince {
            path: file.path.clone(),
            id: run.id.clone(),
            kept: self.kept(&run.id, at).display().to_string(),
        })
    }

    /// What a later run did to the same files and units would be half undone: that one goes first.
    pub(super) fn must_be_newest(&self, run: &Manifest) -> Result<(), CloseError> {
        let own = touched(&run.plan);
        let runs = self.ledger.runs()?;
        let later = runs.iter().rev().take_while(|other| other.id != run.id);
        let mut standing = later.filter(|other| other.state == State::Applied);
        match standing.find(|other| !touched(&other.plan).is_disjoint(&own)) {
            Some(other) => {
                Err(CloseError::NotNewest { id: run.id.clone(), later: other.id.clone() })
            }
            None => Ok(()),
        }
    }
}

/// Files and units that a plan changes.
fn touched(plan: &Plan) -> BTreeSet<&str> {
    let files = plan.files.iter().map(|file| file.path.as_str());
    let units = plan.forward.iter().filter_map(|action| match action {
        Action::Run(argv) | Action::Try(argv) => {
            let at = match argv.first().map(String::as_str) {
                Some("systemctl" | "rc-update") => 2,
                _ => 1,
            };
            argv.get(at).map(String::as_str)
        }
        Action::Write(_) | Action::Restore(_) => None,
    });
    files.chain(units).collect()
}
