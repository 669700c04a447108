//! Looks for traces of an intruder: reads only, bounded in time and amount, never out of the root.
//!
//! ```text
//! volatile first: processes, sockets, modules -> accounts, keys -> what starts -> logs -> files
//! ```
//!
//! Invariants:
//! - No program of the host is run but one that prints what no file tells (`rpm`): an intruder may
//!   have replaced `ps` and `ss`, so `/proc` and the kernel are asked themselves.
//! - Password hashes and private keys are looked at in passing and never kept.
//! - Whatever cannot be seen becomes a gap.

mod accounts;
mod clock_signs;
mod evidence;
mod files;
mod kernel;
mod log_lines;
mod logs;
mod owners;
mod processes;
mod surroundings;
mod texts;
mod verify;
mod walk;
mod web_logs;

use std::{path::PathBuf, time::Duration};

use super::{CollectError, Request, View, clock};
use crate::traces::{Traces, VERSION};
pub use evidence::{Bundle, BundleError, bundle};

/// Longest time that the logs may take; a rotated gigabyte unpacks in ten seconds.
const LOGS_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest time that all walks through folders may take.
const WALK_TIME_MAX: Duration = Duration::from_secs(90);
/// Longest time that comparing programs with their packages may take.
const VERIFY_TIME_MAX: Duration = Duration::from_secs(60);

/// What to look at.
#[derive(Clone, Debug)]
pub struct Search {
    /// `/`, or the folder where another system's disk is mounted.
    pub root: PathBuf,
    /// The program and its version.
    pub by: String,
    /// When the traffic was seen, in seconds since 1970-01-01 UTC, if the provider told.
    pub incident: Option<i64>,
    /// The time to note instead of the clock's.
    pub at: Option<i64>,
}

impl Search {
    fn request(&self) -> Request {
        Request {
            root: self.root.clone(),
            talk: true,
            probe: false,
            every_port: false,
            window: Duration::ZERO,
            by: self.by.clone(),
            at: self.at,
        }
    }
}

/// Looks. `progress` is told the key of a text before each part.
///
/// # Errors
///
/// Only when the root itself cannot be opened; everything else that fails becomes a gap.
pub fn collect(
    search: &Search,
    progress: &mut dyn FnMut(&'static str),
) -> Result<Traces, CollectError> {
    progress("triage.step-volatile");
    let request = search.request();
    let facts = super::collect(&request)?;
    let view = View::open(&request)?;
    let owners = owners::Owners::read(&view);
    let running = processes::collect(&view, &facts.host, &owners);
    progress("triage.step-hidden");
    let hidden = kernel::hidden(&view);
    progress("triage.step-accounts");
    let people = accounts::collect(&view);
    let keys = accounts::keys(&view, people.list());
    let texts = texts::collect(&view, people.list(), &owners);
    progress("triage.step-logs");
    let logs = logs::collect(&view, people.list(), clock::Deadline::after(LOGS_TIME_MAX));
    let web_requests = web_logs::collect(&view, clock::Deadline::after(LOGS_TIME_MAX));
    progress("triage.step-files");
    let deadline = clock::Deadline::after(WALK_TIME_MAX);
    let mut walk = walk::Walk::new(&view, deadline);
    let files = files::collect(&mut walk, &owners, search.incident);
    let mut texts = texts;
    texts.extend(files::web(&mut walk, &owners));
    walk.finish();
    progress("triage.step-packages");
    let verification = verify::collect(&view, clock::Deadline::after(VERIFY_TIME_MAX));
    let mut gaps = facts.gaps.clone();
    for gap in view.root.take_gaps() {
        if !gaps.contains(&gap) {
            gaps.push(gap);
        }
    }
    Ok(Traces {
        version: VERSION,
        installed_at: clock_signs::installed_at(&view),
        newest_log: logs.states.iter().map(|log| log.modified).max(),
        tainted: kernel::tainted(&view),
        modules: kernel::modules(&view),
        promiscuous: kernel::promiscuous(&view),
        raw_sockets: running.raw,
        processes: running.all,
        hidden,
        connections: running.connections,
        listeners: running.listeners,
        accounts: people,
        people_from: accounts::people_from(&view),
        keys,
        texts,
        logins: logs.logins,
        failures: logs.failures,
        refusals: logs.refusals,
        logs: logs.states,
        web_requests,
        mail: surroundings::mail(&view),
        guards: surroundings::guards(&view, running.names),
        files,
        verification,
        gaps,
        facts,
    })
}
