//! One step of a run, forth or back, and what is kept for the way back.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::manifest::{Held, Manifest, SCHEMA, State};
use super::standing::{Standing, standing};
use super::{CloseError, Surroundings, files};
use crate::collect::sha256;
use crate::facts::Facts;
use crate::plan::{Action, FileChange, Plan};

/// A file of a run, and where it really is.
struct Placed<'r> {
    file: &'r FileChange,
    place: PathBuf,
}

impl Placed<'_> {
    fn failed(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.file.path)
    }
}

impl Held {
    /// Keeps the old files and writes the first manifest. What cannot be begun leaves nothing.
    pub(super) fn begin(
        &self,
        plan: Plan,
        facts: &Facts,
        around: &mut dyn Surroundings,
    ) -> Result<Manifest, CloseError> {
        let now = around.now();
        let id = self.ledger.begin(now, plan.method.name())?;
        let run = Manifest {
            schema: SCHEMA.to_owned(),
            id: id.clone(),
            by: concat!("kannuki ", env!("CARGO_PKG_VERSION")).to_owned(),
            host: facts.host.name.known().cloned().unwrap_or_default(),
            begun_at: now,
            at: now,
            state: State::Applying,
            plan,
            originals: Vec::new(),
            folders: Vec::new(),
            begun: 0,
            commands: Vec::new(),
            checks: Vec::new(),
            failure: String::new(),
            by_hand: Vec::new(),
        };
        self.kept_and_noted(run).inspect_err(|_| self.ledger.forget(&id))
    }

    fn kept_and_noted(&self, mut run: Manifest) -> Result<Manifest, CloseError> {
        for (at, file) in run.plan.files.iter().enumerate() {
            let refused = |error| CloseError::NotWritable { path: file.path.clone(), error };
            let place = files::place(&self.ledger.root, &file.path).map_err(refused)?;
            let bytes = files::read(&place).map_err(refused)?;
            run.originals.push(match &bytes {
                None => None,
                Some(bytes) => {
                    let kept = self.kept(&run.id, at);
                    let failed = |error| CloseError::Ledger { path: kept.clone(), error };
                    files::keep(&kept, bytes).map_err(failed)?;
                    Some(files::original(&place, bytes).map_err(refused)?)
                }
            });
            for folder in files::missing_folders(&place) {
                let folder = folder.to_string_lossy().into_owned();
                if !run.folders.contains(&folder) {
                    run.folders.push(folder);
                }
            }
        }
        self.ledger.reserve(&run)?;
        self.ledger.save(&run)?;
        Ok(run)
    }

    pub(super) fn step(
        &self,
        run: &mut Manifest,
        action: &Action,
        around: &mut dyn Surroundings,
    ) -> Result<(), String> {
        match action {
            Action::Run(argv) | Action::Try(argv) => {
                let ran = around.run(argv);
                let failure = format!("{}: {}", argv.join(" "), ran.said);
                let counts = matches!(action, Action::Run(_)) && !ran.ok;
                run.commands.push(ran);
                if counts { Err(failure) } else { Ok(()) }
            }
            Action::Write(at) => self.write(run, *at, around),
            Action::Restore(at) => self.restore(run, *at, around),
        }
    }

    fn write(
        &self,
        run: &Manifest,
        at: usize,
        around: &mut dyn Surroundings,
    ) -> Result<(), String> {
        let placed = self.placed(run, at)?;
        let text = files::Text {
            bytes: placed.file.after.as_bytes(),
            instead_of: placed.file.before.as_deref().map(str::as_bytes),
            as_was: None,
        };
        let mut watch = |what: &str| around.reached(what);
        let written = files::replace(&placed.place, &text, &mut watch);
        written.map_err(|error| placed.failed(&error))
    }

    fn restore(
        &self,
        run: &Manifest,
        at: usize,
        around: &mut dyn Surroundings,
    ) -> Result<(), String> {
        let placed = self.placed(run, at)?;
        let Placed { file, place } = &placed;
        let now = files::read(place).map_err(|error| placed.failed(&error))?;
        match standing(file, now.as_deref()) {
            Standing::Old => return Ok(()),
            Standing::Theirs => return Err(format!("{} was changed since", file.path)),
            Standing::New => {}
        }
        let mut watch = |what: &str| around.reached(what);
        let restored = match run.originals.get(at) {
            Some(Some(original)) => {
                let kept = kept_bytes(&self.kept(&run.id, at), original)?;
                let text = files::Text {
                    bytes: &kept,
                    instead_of: Some(file.after.as_bytes()),
                    as_was: Some(original),
                };
                files::replace(place, &text, &mut watch)
            }
            _ => {
                let folders: Vec<PathBuf> = run.folders.iter().map(PathBuf::from).collect();
                files::remove(place, &folders, &mut watch)
            }
        };
        restored.map_err(|error| placed.failed(&error))
    }

    fn placed<'r>(&self, run: &'r Manifest, at: usize) -> Result<Placed<'r>, String> {
        let file = run.plan.files.get(at).ok_or("the manifest names a file that it has not")?;
        let place = files::place(&self.ledger.root, &file.path)
            .map_err(|error| format!("{}: {error}", file.path))?;
        Ok(Placed { file, place })
    }

    /// Takes away what a killed run left beside its files.
    pub(super) fn tidy(&self, run: &Manifest) {
        for file in &run.plan.files {
            if let Ok(place) = files::place(&self.ledger.root, &file.path) {
                files::clear(&place);
            }
        }
    }

    /// Where the old bytes of a file are.
    pub(super) fn kept(&self, id: &str, at: usize) -> PathBuf {
        self.ledger.folder_of(id).join(format!("file-{at}"))
    }

    /// A step of the way back in the words of a shell.
    pub(super) fn by_hand(&self, run: &Manifest, action: &Action) -> String {
        let word = crate::rules::shell_word;
        match action {
            Action::Run(argv) | Action::Try(argv) => {
                argv.iter().map(|text| word(text)).collect::<Vec<_>>().join(" ")
            }
            Action::Write(at) | Action::Restore(at) => {
                let path = run.plan.files.get(*at).map_or("", |file| file.path.as_str());
                let kept = self.kept(&run.id, *at);
                match run.originals.get(*at) {
                    Some(Some(original)) => format!(
                        "install -m {:o} -o {} -g {} {} {}",
                        original.mode,
                        original.uid,
                        original.gid,
                        word(&kept.display().to_string()),
                        word(path)
                    ),
                    _ => format!("rm {}", word(path)),
                }
            }
        }
    }
}

/// The bytes that were kept, if they are still those.
fn kept_bytes(kept: &Path, original: &files::Original) -> Result<Vec<u8>, String> {
    let bytes = files::read(kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    let bytes = bytes.unwrap_or_default();
    if sha256(&bytes) == original.sha256 {
        return Ok(bytes);
    }
    Err(format!("{} is not the old file any more", kept.display()))
}
