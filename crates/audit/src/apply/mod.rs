//! Carries a plan out, proves it, and takes it back: the one part of this crate that changes a host.
//!
//! ```text
//! lock -> finish what was broken off -> files as planned? writable? programs there?
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

mod files;
mod host;
mod manifest;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use files::Original;
pub use host::Host;
pub use manifest::{Held, Ledger, Manifest, Ran, SCHEMA, State};

use crate::collect::sha256;
use crate::facts::{Facts, Protocol, Seen};
use crate::plan::verify::{self, Check};
use crate::plan::{Action, FileChange, Method, Plan};
use crate::vulnerabilities::Table;

/// How often it is looked whether the change has come into effect; a service of a busy host needs
/// some seconds until it listens.
const LOOKS_MAX: u32 = 10;
/// Most own addresses that are asked afterwards.
const ADDRESSES_MAX: usize = 32;

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
    /// Something was done that a loss of power could follow. For tests, which then take it away.
    fn reached(&mut self, _what: &str) {}
}

/// Why nothing was done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Somebody else is at it.
    #[error("another `kannuki close` is changing this host; try again when it has ended")]
    Busy,
    /// The records cannot be read or written.
    #[error("{path}: {error}", path = .path.display())]
    Ledger {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// No such run.
    #[error("there is no run {id}; `kannuki close --list` names all")]
    NoSuch {
        /// The name that was given.
        id: String,
    },
    /// There is nothing to take back.
    #[error("{id} is {}; there is nothing to take back", .state.name())]
    NothingToUndo {
        /// The run.
        id: String,
        /// Its state.
        state: State,
    },
    /// A file is not what the plan was made for.
    #[error("{path} was changed since the preview; look at a new one. Nothing was changed")]
    Changed {
        /// The file.
        path: String,
    },
    /// A file is not what the run left.
    #[error("{path} was changed since {id}{later}; nothing was taken back. The old file is {kept}")]
    ChangedSince {
        /// The file.
        path: String,
        /// The run.
        id: String,
        /// " (by RUN; undo that first)", if it was one of ours.
        later: String,
        /// Where the old bytes are.
        kept: String,
    },
    /// A file cannot be written.
    #[error("cannot change {path}: {error}. Nothing was changed")]
    NotWritable {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A program is missing.
    #[error("{program} is not installed, and the plan needs it. Nothing was changed")]
    NoProgram {
        /// Its name.
        program: String,
    },
}

impl Held {
    /// Takes back every run that was broken off; those runs.
    ///
    /// # Errors
    ///
    /// When the records cannot be read or written.
    pub fn finish(&self, around: &mut dyn Surroundings) -> Result<Vec<Manifest>, CloseError> {
        let mut finished = Vec::new();
        for mut run in self.ledger.runs()?.into_iter().rev() {
            if run.state.is_midway() {
                let end = match run.state {
                    State::Undoing => State::Undone,
                    _ => State::RolledBack,
                };
                self.back(&mut run, end, around)?;
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
        if let Err(failure) = self.forth(&mut run, around)? {
            run.failure = failure;
            self.back(&mut run, State::RolledBack, around)?;
            return Ok(run);
        }
        run.checks = prove(&run.plan, table, around);
        around.reached("verified");
        if let Some(bad) = run.checks.iter().find(|check| !check.ok) {
            run.failure = format!("{}: {}", bad.key, bad.seen);
            self.back(&mut run, State::RolledBack, around)?;
            return Ok(run);
        }
        self.becomes(&mut run, State::Applied, around)?;
        Ok(run)
    }

    /// Takes a run back, whether it is complete or was broken off. The state of what is returned is
    /// [`State::Undone`] or [`State::RollBackFailed`].
    ///
    /// # Errors
    ///
    /// When there is nothing to take back, or somebody changed the same files since.
    pub fn undo(&self, id: &str, around: &mut dyn Surroundings) -> Result<Manifest, CloseError> {
        let mut run = self.ledger.run(id)?;
        if matches!(run.state, State::Undone | State::RolledBack) {
            return Err(CloseError::NothingToUndo { id: id.to_owned(), state: run.state });
        }
        for at in 0..run.plan.files.len() {
            self.must_be_ours(&run, at)?;
        }
        self.becomes(&mut run, State::Undoing, around)?;
        self.back(&mut run, State::Undone, around)?;
        Ok(run)
    }

    /// Everything that can be known before the first step.
    fn must_fit(&self, plan: &Plan, around: &mut dyn Surroundings) -> Result<(), CloseError> {
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
            let Action::Run(argv) = action else { continue };
            let program = argv.first().map_or("", String::as_str);
            if !around.has(program) {
                return Err(CloseError::NoProgram { program: program.to_owned() });
            }
        }
        Ok(())
    }

    /// Keeps the old files and writes the first manifest.
    fn begin(
        &self,
        plan: Plan,
        facts: &Facts,
        around: &mut dyn Surroundings,
    ) -> Result<Manifest, CloseError> {
        let now = around.now();
        let id = self.ledger.begin(now, plan.method.name())?;
        let mut originals = Vec::new();
        let mut folders: Vec<String> = Vec::new();
        for (at, file) in plan.files.iter().enumerate() {
            let refused = |error| CloseError::NotWritable { path: file.path.clone(), error };
            let place = files::place(&self.ledger.root, &file.path).map_err(refused)?;
            let bytes = files::read(&place).map_err(refused)?;
            originals.push(match &bytes {
                None => None,
                Some(bytes) => {
                    files::keep(&self.kept(&id, at), bytes).map_err(refused)?;
                    Some(files::original(&place, bytes).map_err(refused)?)
                }
            });
            for folder in files::missing_folders(&place) {
                let folder = folder.to_string_lossy().into_owned();
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
        }
        let run = Manifest {
            schema: SCHEMA.to_owned(),
            id,
            by: concat!("kannuki ", env!("CARGO_PKG_VERSION")).to_owned(),
            host: facts.host.name.known().cloned().unwrap_or_default(),
            begun_at: now,
            at: now,
            state: State::Applying,
            plan,
            originals,
            folders,
            begun: 0,
            commands: Vec::new(),
            checks: Vec::new(),
            failure: String::new(),
            by_hand: Vec::new(),
        };
        self.ledger.save(&run)?;
        Ok(run)
    }

    /// The steps forth; inside, what failed.
    fn forth(
        &self,
        run: &mut Manifest,
        around: &mut dyn Surroundings,
    ) -> Result<Result<(), String>, CloseError> {
        for at in 0..run.plan.forward.len() {
            run.begun = at + 1;
            run.at = around.now();
            self.ledger.save(run)?;
            around.reached("step noted");
            let Some(action) = run.plan.forward.get(at).cloned() else { break };
            if let Err(failure) = self.step(run, &action, around) {
                return Ok(Err(failure));
            }
            around.reached("step done");
        }
        Ok(Ok(()))
    }

    /// The way back, every step that may be needed; goes on where one fails.
    fn back(
        &self,
        run: &mut Manifest,
        end: State,
        around: &mut dyn Surroundings,
    ) -> Result<(), CloseError> {
        if run.state == State::Applying {
            self.becomes(run, State::RollingBack, around)?;
        }
        run.by_hand.clear();
        for back in run.plan.backward.clone() {
            if back.if_begun >= run.begun {
                continue;
            }
            if let Err(failure) = self.step(run, &back.action, around) {
                run.by_hand.push(self.by_hand(run, &back.action));
                if run.failure.is_empty() {
                    run.failure = failure;
                }
            }
            around.reached("step back");
        }
        for file in &run.plan.files {
            if let Ok(place) = files::place(&self.ledger.root, &file.path) {
                files::clear(&place);
            }
        }
        let end = if run.by_hand.is_empty() { end } else { State::RollBackFailed };
        self.becomes(run, end, around)
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

    fn step(
        &self,
        run: &mut Manifest,
        action: &Action,
        around: &mut dyn Surroundings,
    ) -> Result<(), String> {
        match action {
            Action::Run(argv) => {
                let ran = around.run(argv);
                let failure = format!("{}: {}", argv.join(" "), ran.said);
                let ok = ran.ok;
                run.commands.push(ran);
                if ok { Ok(()) } else { Err(failure) }
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
        let (file, place) = self.file(run, at)?;
        let failed = |error: io::Error| format!("{}: {error}", file.path);
        // Looked at again as late as possible: an editor may be at work beside us.
        let now = files::read(&place).map_err(failed)?;
        if now.as_deref() != file.before.as_deref().map(str::as_bytes) {
            return Err(format!("{} was changed meanwhile", file.path));
        }
        let mut watch = |what: &str| around.reached(what);
        files::replace(&place, file.after.as_bytes(), None, &mut watch).map_err(failed)
    }

    fn restore(
        &self,
        run: &Manifest,
        at: usize,
        around: &mut dyn Surroundings,
    ) -> Result<(), String> {
        let (file, place) = self.file(run, at)?;
        let failed = |error: io::Error| format!("{}: {error}", file.path);
        let now = files::read(&place).map_err(failed)?;
        match standing(file, now.as_deref()) {
            Standing::Old => return Ok(()),
            Standing::Theirs => return Err(format!("{} was changed since", file.path)),
            Standing::New => {}
        }
        let mut watch = |what: &str| around.reached(what);
        let Some(Some(original)) = run.originals.get(at) else {
            let folders: Vec<PathBuf> = run.folders.iter().map(PathBuf::from).collect();
            return files::remove(&place, &folders, &mut watch).map_err(failed);
        };
        let kept = files::read(&self.kept(&run.id, at)).map_err(failed)?.unwrap_or_default();
        if sha256(&kept) != original.sha256 {
            return Err(format!(
                "{} is not the old file any more",
                self.kept(&run.id, at).display()
            ));
        }
        files::replace(&place, &kept, Some(original), &mut watch).map_err(failed)
    }

    fn file<'r>(&self, run: &'r Manifest, at: usize) -> Result<(&'r FileChange, PathBuf), String> {
        let file = run.plan.files.get(at).ok_or("the manifest names a file that it has not")?;
        let place = files::place(&self.ledger.root, &file.path)
            .map_err(|error| format!("{}: {error}", file.path))?;
        Ok((file, place))
    }

    fn kept(&self, id: &str, at: usize) -> PathBuf {
        self.ledger.folder_of(id).join(format!("file-{at}"))
    }

    fn must_be_ours(&self, run: &Manifest, at: usize) -> Result<(), CloseError> {
        let Some(file) = run.plan.files.get(at) else { return Ok(()) };
        let refused = |error| CloseError::NotWritable { path: file.path.clone(), error };
        let place = files::place(&self.ledger.root, &file.path).map_err(refused)?;
        let now = files::read(&place).map_err(refused)?;
        if standing(file, now.as_deref()) != Standing::Theirs {
            return files::must_be_writable(&place).map_err(refused);
        }
        let later = self.ledger.runs()?.into_iter().rev().find(|other| {
            let writes = other.plan.files.iter().any(|other| other.path == file.path);
            other.state == State::Applied && other.begun_at >= run.begun_at && writes
        });
        let later = later.filter(|other| other.id != run.id);
        Err(CloseError::ChangedSince {
            path: file.path.clone(),
            id: run.id.clone(),
            later: later
                .map(|other| format!(" by {}: undo that first", other.id))
                .unwrap_or_default(),
            kept: self.kept(&run.id, at).display().to_string(),
        })
    }

    /// A step of the way back in the words of a shell.
    fn by_hand(&self, run: &Manifest, action: &Action) -> String {
        let word = crate::rules::shell_word;
        match action {
            Action::Run(argv) => argv.iter().map(|text| word(text)).collect::<Vec<_>>().join(" "),
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

/// Which text stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The one from before.
    Old,
    /// Ours.
    New,
    /// Neither: somebody changed it.
    Theirs,
}

fn standing(file: &FileChange, now: Option<&[u8]>) -> Standing {
    if now == file.before.as_deref().map(str::as_bytes) {
        Standing::Old
    } else if now == Some(file.after.as_bytes()) {
        Standing::New
    } else {
        Standing::Theirs
    }
}

impl Ledger {
    /// Which text stands in each file of a run; none where it cannot be read.
    #[must_use]
    pub fn standing(&self, run: &Manifest) -> Vec<Option<Standing>> {
        let of_file = |file: &FileChange| {
            let place = files::place(&self.root, &file.path).ok()?;
            Some(standing(file, files::read(&place).ok()?.as_deref()))
        };
        run.plan.files.iter().map(of_file).collect()
    }
}

/// Looks until everything is as it must be, or for the last time.
fn prove(plan: &Plan, table: &Table, around: &mut dyn Surroundings) -> Vec<Check> {
    let mut checks = Vec::new();
    for look in 0..LOOKS_MAX {
        if look > 0 {
            around.pause();
        }
        checks = match around.look() {
            Ok(facts) => {
                let mut checks = verify::checks(plan, &facts, table);
                checks.extend(units(plan, around));
                checks.extend(answers(plan, &facts, around));
                checks
            }
            Err(error) => vec![Check::new("close.check-sockets", false, &error)],
        };
        if checks.iter().all(|check| check.ok) {
            break;
        }
    }
    checks
}

/// What systemd itself says of the units.
fn units(plan: &Plan, around: &mut dyn Surroundings) -> Vec<Check> {
    let mut checks = Vec::new();
    for target in &plan.targets {
        let unit = target.start.as_deref().and_then(|start| start.strip_prefix("systemd:"));
        let Some(unit) = unit.filter(|_| plan.method != Method::Firewall) else { continue };
        let properties = "ActiveState,UnitFileState,NeedDaemonReload";
        let Some(said) = around.ask(&["systemctl", "show", "-p", properties, unit]) else {
            checks.push(Check::new("close.check-unit", false, unit));
            continue;
        };
        let is = |line: &str| said.lines().any(|other| other == line);
        let stopped = is("ActiveState=inactive") || is("ActiveState=failed");
        let ok = match plan.method {
            Method::Stop => stopped && !is("UnitFileState=enabled"),
            _ => is("NeedDaemonReload=no") && (target.pid.is_none() || is("ActiveState=active")),
        };
        let seen: Vec<&str> = said.lines().collect();
        checks.push(Check::new("close.check-unit", ok, &format!("{unit}: {}", seen.join(" "))));
    }
    if plan.method == Method::Firewall && !plan.targets.is_empty() {
        let unit = "kannuki-firewall.service";
        let said = around.ask(&["systemctl", "is-active", unit]).unwrap_or_default();
        let ok = said.trim() == "active";
        checks.push(Check::new("close.check-unit", ok, &format!("{unit}: {}", said.trim())));
    }
    checks
}

/// Own addresses are asked from here, which a filter on the outside interfaces does not see; so
/// this proves methods 1 and 2 only.
fn answers(plan: &Plan, facts: &Facts, around: &mut dyn Surroundings) -> Option<Check> {
    if plan.method == Method::Firewall {
        return None;
    }
    let own = facts.interfaces_of(None).flat_map(|interface| &interface.addresses);
    let own = own.filter(|address| {
        let is_link = matches!(address.scope, crate::facts::Scope::Link);
        !address.ip.is_loopback() && !is_link
    });
    let mut seen = Vec::new();
    for address in own.take(ADDRESSES_MAX) {
        for target in &plan.targets {
            for opening in &target.ports {
                let at = SocketAddr::new(address.ip, opening.port);
                if around.answers(opening.protocol, at) {
                    seen.push(format!("{:?} {at}", opening.protocol).to_lowercase());
                }
            }
        }
    }
    let text = if seen.is_empty() { "-".to_owned() } else { seen.join(", ") };
    Some(Check::new("close.check-answers", seen.is_empty(), &text))
}

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
