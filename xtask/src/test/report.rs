//! What ran, what failed, what could not run: one line a step, and a verdict.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell;

/// How a step ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Did what it is for; the text, which may be empty, says how much.
    Passed(String),
    /// Could not run, and why.
    Missing(String),
}

impl Outcome {
    /// Passed, with nothing to add.
    pub(crate) fn passed() -> Self {
        Self::Passed(String::new())
    }
}

/// The steps so far.
pub(crate) struct Report {
    lines: Vec<Line>,
    started: Instant,
}

struct Line {
    name: String,
    end: End,
    note: String,
    took: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    Missing,
}

impl Report {
    /// An empty report; its clock starts now.
    pub(crate) fn new() -> Self {
        Self { lines: Vec::new(), started: shell::now() }
    }

    /// Runs one step, shows that it begins, and keeps how it ended. True if it passed.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) -> bool {
        println!("\n==> {name}");
        let started = shell::now();
        let (end, note) = match work() {
            Ok(Outcome::Passed(note)) => (End::Passed, note),
            Ok(Outcome::Missing(why)) => (End::Missing, why),
            Err(error) => (End::Failed, format!("{error:#}")),
        };
        if end != End::Passed {
            println!("==> {name}: {}: {note}", end.word());
        }
        self.lines.push(Line { name: name.to_owned(), end, note, took: started.elapsed() });
        end == End::Passed
    }

    /// Prints the table and gives the verdict.
    pub(crate) fn close(self) -> Result<()> {
        let seconds = self.started.elapsed().as_secs();
        println!("\n==> summary ({} min {} s)\n", seconds / 60, seconds % 60);
        for line in &self.lines {
            let note = line.note.lines().next().unwrap_or_default();
            let took = line.took.as_secs_f64();
            println!("  {:<8}{:<34}{took:>7.1} s  {note}", line.end.word(), line.name);
        }
        let count = |end| self.lines.iter().filter(|line| line.end == end).count();
        let (failed, missing) = (count(End::Failed), count(End::Missing));
        println!("\n{} passed, {failed} failed, {missing} skipped", count(End::Passed));
        if failed > 0 {
            bail!("{failed} steps failed");
        }
        if missing > 0 && shell::everything_must_run() {
            bail!("{missing} steps could not run, and under CI=true everything has to");
        }
        Ok(())
    }
}

impl End {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_whole_and_hides_no_other() {
        let mut report = Report::new();
        assert!(!report.step("a", || bail!("broken")));
        assert!(report.step("b", || Ok(Outcome::passed())));
        assert_eq!(report.lines.len(), 2);
        assert!(report.close().is_err());
    }

    #[test]
    fn passed_steps_pass() {
        let mut report = Report::new();
        report.step("a", || Ok(Outcome::Passed("3 of 3".into())));
        assert!(report.close().is_ok());
    }
}
