//! What would shut the caches of a host, and how to take it back: planned, not done.
//!
//! ```text
//! Facts --target--> what is open --bind | stop | firewall--> Plan { files, forward, backward }
//!                                                              |
//!                                           apply (the one part that changes a host)
//! ```
//!
//! Invariants:
//! - Pure: the same facts give the same plan; nothing is read or written here.
//! - Every change has its way back in `backward`, and every step of the way back may be taken twice
//!   or after a half-taken way forth without harm.
//! - A default policy of a packet filter, the rules of others and the port of SSH are in no plan.

mod bind;
mod diff;
mod drop_in;
mod firewall;
mod listening;
mod options_file;
pub mod pages;
mod stop;
mod target;
mod variables_file;
pub mod verify;

use serde::{Deserialize, Serialize};

pub use diff::unified;
pub use target::{Opening, Target};

use self::target::Open;
use crate::facts::Facts;
use crate::rules::Case;
use crate::texts::{Lang, Texts};
use crate::vulnerabilities::Table;

/// The name and version of a plan's form; it grows by addition only.
pub const SCHEMA: &str = "kannuki.close-plan/1";

/// How a cache is shut. The numbers are those under which providers list the methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// 1: it listens on this host only, over TCP only.
    Bind,
    /// 2: it is stopped and does not come back.
    Stop,
    /// 3: a packet filter drops what comes from outside.
    Firewall,
}

impl Method {
    /// All, in the providers' order.
    pub const ALL: [Self; 3] = [Self::Bind, Self::Stop, Self::Firewall];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Stop => "stop",
            Self::Firewall => "firewall",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A sentence for people: a text of the catalogue's group `close`, and what it is filled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its name in the group.
    pub key: String,
    /// Values by name.
    pub values: Vec<(String, String)>,
}

impl Note {
    /// A sentence without values.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), values: Vec::new() }
    }

    /// Fills `{name}`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.values.push((name.to_owned(), crate::findings::quoted(value)));
        self
    }

    /// The sentence in a language.
    #[must_use]
    pub fn say(&self, texts: &Texts) -> String {
        let values: Vec<(&str, &str)> =
            self.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        texts.fill(&self.key, &values)
    }
}

/// A file that gets another text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path on the host.
    pub path: String,
    /// What stands there; none for a file that is made.
    pub before: Option<String>,
    /// What will stand there.
    pub after: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Puts the new text of this file (its place in `files`) in place.
    Write(usize),
    /// Puts the old file in place again, or takes a made one away.
    Restore(usize),
    /// Runs exactly this command.
    Run(Vec<String>),
    /// The same; that it fails changes nothing, since what it clears away may not be there.
    Try(Vec<String>),
}

/// One step of the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backward {
    /// Only needed if this step of the way forth (from 0) was begun.
    pub if_begun: usize,
    /// What is done.
    pub action: Action,
}

/// Something that this method does not shut, and what a person can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// What.
    pub title: String,
    /// Why not.
    pub why: Note,
    /// Commands for a person.
    pub commands: Vec<String>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// By which method.
    pub method: Method,
    /// What it shuts.
    pub targets: Vec<Target>,
    /// The files that it changes.
    pub files: Vec<FileChange>,
    /// The way forth.
    pub forward: Vec<Action>,
    /// The way back, in its order.
    pub backward: Vec<Backward>,
    /// What it may cost.
    pub risks: Vec<Note>,
    /// What stays as it is.
    pub untouched: Vec<Note>,
    /// What stays open.
    pub left: Vec<Left>,
}

impl Plan {
    fn new(method: Method) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            method,
            targets: Vec::new(),
            files: Vec::new(),
            forward: Vec::new(),
            backward: Vec::new(),
            risks: Vec::new(),
            untouched: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forward.is_empty()
    }

    /// What tells this plan from another: the same steps on the same texts have the same one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let steps = (self.method, &self.files, &self.forward, &self.backward);
        let text = serde_json::to_vec(&steps).unwrap_or_default();
        crate::collect::sha256(&text).chars().take(12).collect()
    }

    /// Adds a file, unless it is in the plan already; where it stands.
    fn file(&mut self, path: &str, before: Option<&str>, after: String) -> usize {
        if let Some(at) = self.files.iter().position(|file| file.path == path) {
            return at;
        }
        let before = before.map(str::to_owned);
        self.files.push(FileChange { path: path.to_owned(), before, after });
        self.files.len() - 1
    }

    /// Writes every file; the way back takes them in the other order.
    fn write_files(&mut self) {
        for at in 0..self.files.len() {
            self.forward.push(Action::Write(at));
        }
    }

    fn restore_files(&mut self) {
        for at in (0..self.files.len()).rev() {
            self.back(at, Action::Restore(at));
        }
    }

    /// Adds a command unless it is there; the place of the step.
    fn run(&mut self, words: &[&str]) -> usize {
        self.step(Action::Run(owned(words)))
    }

    /// systemd refuses a start when there were some within seconds (`StartLimitBurst`); who shuts a
    /// cache is to be able to, and to take it back at once.
    fn clear_start_limit(&mut self, unit: &str) {
        self.step(Action::Try(owned(&["systemctl", "reset-failed", unit])));
    }

    fn back_clear_start_limit(&mut self, if_begun: usize, unit: &str) {
        self.back(if_begun, Action::Try(owned(&["systemctl", "reset-failed", unit])));
    }

    fn step(&mut self, action: Action) -> usize {
        if let Some(at) = self.forward.iter().position(|other| *other == action) {
            return at;
        }
        self.forward.push(action);
        self.forward.len() - 1
    }

    fn back(&mut self, if_begun: usize, action: Action) {
        if !self.backward.iter().any(|back| back.action == action) {
            self.backward.push(Backward { if_begun, action });
        }
    }

    fn back_run(&mut self, if_begun: usize, words: &[&str]) {
        self.back(if_begun, Action::Run(owned(words)));
    }

    /// For a disk: nothing of it runs, so only what stands on it is changed.
    fn at_rest(mut self) -> Self {
        let runs = ["daemon-reload", "reset-failed", "restart", "start", "stop"];
        let stays = |action: &Action| match action {
            Action::Run(argv) | Action::Try(argv) => {
                !argv.iter().any(|word| runs.contains(&word.as_str()))
            }
            Action::Write(_) | Action::Restore(_) => true,
        };
        self.forward.retain(&stays);
        self.backward.retain(|back| stays(&back.action));
        // The steps are others now; each way back may be taken whatever was begun.
        self.backward.iter_mut().for_each(|back| back.if_begun = 0);
        self
    }

    fn note(&mut self, note: Note) {
        if !self.risks.contains(&note) {
            self.risks.push(note);
        }
    }

    /// Who talks to it now will be cut off.
    fn note_peers(&mut self, open: &Open<'_>) {
        if !open.peers.is_empty() {
            let peers = crate::rules::list(&open.peers);
            self.note(Note::new("close.risk-peers").with("peers", &peers));
        }
    }

    /// This method does not shut it, for this reason.
    fn leave(&mut self, open: &Open<'_>, why: Note) {
        let (title, commands) = (open.target.title.clone(), open.by_hand());
        self.left.push(Left { title, why, commands });
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The plan for a host, by the given method or the one that fits best.
///
/// What the method cannot shut is in [`Plan::left`]; a plan without steps has nothing to do.
#[must_use]
pub fn plan(facts: &Facts, table: &Table, method: Option<Method>) -> Plan {
    let texts = Texts::of(Lang::En);
    let case = Case { facts, table, texts: &texts };
    if let Some(method) = method {
        return made(&case, method);
    }
    // Listening on this host only costs nobody anything who should be there; where settings cannot
    // be mended by a program, the filter is what still can be taken back.
    let bind = made(&case, Method::Bind);
    if bind.left.is_empty() {
        return bind;
    }
    let firewall = made(&case, Method::Firewall);
    if firewall.left.len() < bind.left.len() { firewall } else { bind }
}

fn made(case: &Case<'_>, method: Method) -> Plan {
    let openings = target::openings(case, method);
    let plan = match method {
        Method::Bind => bind::plan(case, &openings),
        Method::Stop => stop::plan(case, &openings),
        Method::Firewall => firewall::plan(case, &openings),
    };
    if case.facts.collection.live { plan } else { plan.at_rest() }
}
