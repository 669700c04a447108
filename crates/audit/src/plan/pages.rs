//! What `close` tells people: the preview, the result, the list. Columns fit a rescue console.

use std::fmt::Write as _;

use super::verify::Check;
use super::{Action, Plan, unified};
use crate::apply::{Listed, Manifest, Stage, Standing, State};
use crate::facts::printable;
use crate::rules::{close, shell_word, utc};
use crate::texts::{Texts, wrap};

/// Text and its width.
#[derive(Clone, Copy, Debug)]
pub struct Page<'p> {
    /// The language.
    pub texts: &'p Texts,
    /// Columns of the terminal.
    pub columns: usize,
    /// The root of the system that it is about; `/` is the running host.
    pub root: &'p str,
}

impl Page<'_> {
    /// What would be done, and the command that does it.
    #[must_use]
    pub fn preview(&self, plan: &Plan) -> String {
        let mut out = String::new();
        self.paragraph(&mut out, "", self.texts.get("close.preview"));
        let _ = writeln!(out, "{}", self.method(plan));
        out.push('\n');
        if plan.is_empty() && plan.left.is_empty() {
            self.paragraph(&mut out, "", self.texts.get("close.nothing"));
            return out;
        }
        self.targets(&mut out, plan);
        self.steps(&mut out, plan);
        self.notes(&mut out, "close.risks", plan.risks.iter().map(|n| n.say(self.texts)));
        self.notes(&mut out, "close.untouched", plan.untouched.iter().map(|n| n.say(self.texts)));
        self.left(&mut out, plan);
        if !plan.is_empty() {
            self.last_line(&mut out, plan);
        }
        out
    }

    /// The command that does what was shown; a disk is not changed by this program.
    fn last_line(&self, out: &mut String, plan: &Plan) {
        let method = ["--method", plan.method.name()];
        let print = plan.fingerprint();
        let (key, line) = if self.root == "/" {
            let words = [method[0], method[1], "--plan", &print, "--apply"];
            ("close.do-it", close(self.root, &words))
        } else if plan.files.is_empty() {
            ("close.do-it-there", close(self.root, &method))
        } else {
            let patch = format!("patch -d {} -p1", shell_word(self.root));
            ("close.do-it-on-disk", format!("{} | {patch}", close(self.root, &method)))
        };
        self.paragraph(out, "", self.texts.get(key));
        let _ = writeln!(out, "  {line}");
    }

    /// What is done now, in one line.
    #[must_use]
    pub fn stage(&self, stage: Stage<'_>) -> String {
        match stage {
            Stage::Forth { step, plan, action } => {
                format!("[{step}/{}] {}", plan.forward.len(), self.action(plan, action))
            }
            Stage::Back { plan, action } => {
                format!("{} {}", self.texts.get("close.stage-back"), self.action(plan, action))
            }
            Stage::Looking { look, looks_max } => {
                let (look, most) = (look.to_string(), looks_max.to_string());
                self.texts.fill("close.stage-looking", &[("look", &look), ("most", &most)])
            }
        }
    }

    fn action(&self, plan: &Plan, action: &Action) -> String {
        match action {
            Action::Run(argv) | Action::Try(argv) => format!("$ {}", self.line(argv)),
            Action::Write(file) | Action::Restore(file) => {
                plan.files.get(*file).map(|file| printable(&file.path)).unwrap_or_default()
            }
        }
    }

    /// A command in the words of a shell; for a disk, of a shell of this host.
    fn line(&self, argv: &[String]) -> String {
        let words = argv.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ");
        let root = shell_word(self.root);
        match words.strip_prefix("systemctl ") {
            _ if self.root == "/" => words,
            Some(rest) => format!("systemctl --root={root} {rest}"),
            None => format!("chroot {root} {words}"),
        }
    }

    fn method(&self, plan: &Plan) -> String {
        let name = plan.method.name();
        self.texts.get(&format!("close.method-{name}")).to_owned()
    }

    fn targets(&self, out: &mut String, plan: &Plan) {
        if plan.targets.is_empty() {
            return;
        }
        let _ = writeln!(out, "{}", self.texts.get("close.shuts"));
        for target in &plan.targets {
            let _ = writeln!(out, "  {}", target.title);
            for door in &target.doors {
                let _ = writeln!(out, "    {door}");
            }
        }
        out.push('\n');
    }

    fn steps(&self, out: &mut String, plan: &Plan) {
        if plan.is_empty() {
            return;
        }
        let _ = writeln!(out, "{}", self.texts.get("close.steps"));
        for (at, action) in plan.forward.iter().enumerate() {
            let _ = write!(out, " {:>2}. ", at + 1);
            match action {
                Action::Run(_) => {
                    let _ = writeln!(out, "{}", self.action(plan, action));
                }
                Action::Try(_) => {
                    let may = self.texts.get("close.may-fail");
                    let _ = writeln!(out, "{}  # {may}", self.action(plan, action));
                }
                Action::Write(file) | Action::Restore(file) => {
                    let Some(file) = plan.files.get(*file) else { continue };
                    let _ = writeln!(out, "{}", printable(&file.path));
                    let shown = unified(&file.path, file.before.as_deref(), Some(&file.after));
                    for line in shown.lines() {
                        // Tabs are harmless, and part of what is written.
                        let line: Vec<String> = line.split('\t').map(printable).collect();
                        let _ = writeln!(out, "     {}", line.join("\t"));
                    }
                }
            }
        }
        out.push('\n');
        if self.root == "/" {
            self.paragraph(out, "", self.texts.get("close.afterwards"));
            out.push('\n');
        }
    }

    fn notes(&self, out: &mut String, head: &str, notes: impl Iterator<Item = String>) {
        let mut notes = notes.peekable();
        if notes.peek().is_none() {
            return;
        }
        let _ = writeln!(out, "{}", self.texts.get(head));
        for note in notes {
            self.paragraph(out, "  - ", &note);
        }
        out.push('\n');
    }

    fn left(&self, out: &mut String, plan: &Plan) {
        if plan.left.is_empty() {
            return;
        }
        let _ = writeln!(out, "{}", self.texts.get("close.left"));
        for left in &plan.left {
            self.paragraph(out, "  - ", &format!("{}: {}", left.title, left.why.say(self.texts)));
            for command in &left.commands {
                let _ = writeln!(out, "      $ {command}");
            }
        }
        out.push('\n');
    }

    /// How a run ended.
    #[must_use]
    pub fn result(&self, run: &Manifest) -> String {
        let mut out = String::new();
        let key = format!("close.state-{}", run.state.name());
        let values = [("id", run.id.as_str())];
        self.paragraph(&mut out, "", &self.texts.fill(&key, &values));
        if !run.failure.is_empty() {
            let failure = match run.failure.split_once(": ") {
                Some((key, seen)) if key.starts_with("close.check-") => {
                    format!("{}: {seen}", self.texts.get(key))
                }
                _ => run.failure.clone(),
            };
            self.paragraph(&mut out, "  ! ", &printable(&failure));
        }
        for check in &run.checks {
            self.check(&mut out, check);
        }
        if !run.by_hand.is_empty() {
            let _ = writeln!(out, "{}", self.texts.get("close.by-hand"));
            for command in &run.by_hand {
                let _ = writeln!(out, "  $ {command}");
            }
        }
        if run.state == State::Applied {
            out.push('\n');
            self.left(&mut out, &run.plan);
            self.paragraph(&mut out, "", self.texts.get("close.not-proved"));
            let _ = writeln!(out, "{}", self.texts.fill("close.undo-it", &values));
        }
        out
    }

    fn check(&self, out: &mut String, check: &Check) {
        let word = if check.ok { "[ok]" } else { "[NG]" };
        let text = format!("{}: {}", self.texts.get(&check.key), check.seen);
        self.paragraph(out, &format!("  {word} "), &text);
    }

    /// Every run: what it was, and which state of the files stands now.
    #[must_use]
    pub fn list(&self, runs: &[Listed]) -> String {
        let mut out = String::new();
        if runs.is_empty() {
            let _ = writeln!(out, "{}", self.texts.get("close.no-runs"));
        }
        for Listed { run, at_work, standing } in runs {
            let id = printable(&run.id);
            let _ = writeln!(out, "{id}  {}  {}", utc(run.begun_at), run.state.name());
            let key = if *at_work {
                "close.list-working".to_owned()
            } else {
                format!("close.list-{}", run.state.name())
            };
            let step = run.begun.to_string();
            let steps = run.plan.forward.len().to_string();
            let values = [("id", id.as_str()), ("step", step.as_str()), ("steps", steps.as_str())];
            self.paragraph(&mut out, "    ", &self.texts.fill(&key, &values));
            for (file, standing) in run.plan.files.iter().zip(standing) {
                let word = self.texts.get(match standing {
                    Some(Standing::Old) => "close.stands-old",
                    Some(Standing::New) => "close.stands-new",
                    Some(Standing::Theirs) => "close.stands-theirs",
                    None => "close.stands-unread",
                });
                let _ = writeln!(out, "    {}: {word}", printable(&file.path));
            }
        }
        out
    }

    /// `first` stands before the first line, blanks of its width before the others.
    fn paragraph(&self, out: &mut String, first: &str, text: &str) {
        let columns = self.columns.saturating_sub(first.len()).max(20);
        for (at, line) in wrap(text, columns).iter().enumerate() {
            let margin = if at == 0 { first.to_owned() } else { " ".repeat(first.len()) };
            let _ = writeln!(out, "{margin}{line}");
        }
    }
}
