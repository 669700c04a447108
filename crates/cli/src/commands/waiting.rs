//! Who waits for a change of the host: sees what is done now, and may ask it to stop.
//!
//! A connection that is lost in the middle (SIGHUP) must not leave a host half done, and neither
//! must Ctrl-C; so both are noted here while a run is under way, and the run ends in order.

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kannuki_audit::{
    apply::{CloseError, Onlooker, Stage},
    plan::pages::Page,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::print;

/// Somebody at a terminal, or nobody.
pub(super) struct Waiting<'p> {
    page: Page<'p>,
    /// Whether stderr is a terminal: lines of progress are for people only.
    shown: bool,
    asked_to_stop: Arc<AtomicBool>,
    /// The lines of a step are numbered, and stay on the screen.
    told_to_stop: bool,
}

impl<'p> Waiting<'p> {
    pub(super) fn new(page: Page<'p>) -> Self {
        let shown = io::stderr().is_terminal();
        Self { page, shown, asked_to_stop: Arc::default(), told_to_stop: false }
    }

    /// The same; from now on no signal that a terminal or an administrator sends ends the program.
    pub(super) fn undisturbed(page: Page<'p>) -> Result<Self, CloseError> {
        let waiting = Self::new(page);
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&waiting.asked_to_stop))
                .map_err(CloseError::Signals)?;
        }
        // Whoever lost the connection wanted it done.
        flag::register(SIGHUP, Arc::default()).map_err(CloseError::Signals)?;
        Ok(waiting)
    }

    /// Says on a terminal what takes time, on a line that goes again.
    pub(super) fn says(&self, text: &str) {
        if self.shown {
            print::stderr(&format!("\r\u{1b}[K{text}"));
        }
    }

    /// Takes that line away.
    pub(super) fn has_ended(&self) {
        self.says("");
    }
}

impl Onlooker for Waiting<'_> {
    fn tell(&mut self, stage: Stage<'_>) {
        if self.is_unwanted() && !self.told_to_stop {
            self.told_to_stop = true;
            print::stderr(&format!("note: {}\n", self.page.texts.get("close.heard")));
        }
        if self.shown {
            print::stderr(&format!("{}\n", self.page.stage(stage)));
        }
    }

    fn is_unwanted(&self) -> bool {
        self.asked_to_stop.load(Ordering::Relaxed)
    }
}
