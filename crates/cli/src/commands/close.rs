//! `kannuki close`: shuts the caches that `check` finds open. Shows first, changes on request,
//! proves it, takes it back.
//!
//! Invariants: without `--apply` and `--undo` nothing is changed; only the running host is changed;
//! what the preview showed is what `--plan` carries out, or nothing.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, builder::PossibleValuesParser};
use kannuki_audit::{
    apply::{self, CloseError, Host, Ledger, Listed, Manifest, State},
    collect::{self, Request},
    facts::{Facts, printable},
    plan::{self, Method, Plan, pages::Page},
    texts::Texts,
    vulnerabilities::Table,
};

use super::{telling, waiting::Waiting};
use crate::{exit, print};

/// Columns of a rescue console; what is told must not be broken there by the terminal.
const COLUMNS: usize = 80;

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("close")
        .about("Shut open caches: preview, apply with proof, undo")
        .args(choosing())
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORM")
                .value_parser(["text", "json"])
                .default_value("text")
                .help("How to tell"),
        )
        .arg(telling::language())
        .arg(telling::news_file())
        .group(ArgGroup::new("act").args(["apply", "undo", "list"]))
        .after_help(format!("{EXAMPLES}\n\n{}", exit::CLOSE_TABLE))
}

const EXAMPLES: &str = "\
Without --apply, --undo and --list nothing is changed: it shows the changes of files, the exact
commands, what they may cost and what stays as it is.

Examples:
  kannuki close                          preview of the method that fits
  kannuki close --method firewall        preview of another one
  kannuki close --method bind --apply    do it, prove it; what fails is taken back at once
  kannuki close --list
  kannuki close --undo 20261122T154501Z-bind
  kannuki close --root /mnt              preview for a disk of another system
  kannuki close --root /mnt --list       what was done on it

A lost connection does not end a run; Ctrl-C and SIGTERM take it back at once.";

fn choosing() -> [Arg; 6] {
    [
        Arg::new("method")
            .long("method")
            .value_name("METHOD")
            .value_parser(PossibleValuesParser::new(Method::ALL.map(Method::name)))
            .help("bind, stop or firewall; else the one that fits")
            .long_help(
                "bind (method 1): listen on this host only, without UDP. stop (method 2): end it, \
                 and keep it from starting. firewall (method 3): drop what comes from outside by a \
                 table of its own. Else the first that shuts everything of bind and firewall.",
            ),
        Arg::new("apply").long("apply").action(ArgAction::SetTrue).help("Change this host"),
        Arg::new("plan")
            .long("plan")
            .value_name("MARK")
            .requires("apply")
            .help("Only if the plan is still the one with this mark, as the preview showed it"),
        Arg::new("undo").long("undo").value_name("ID").help("Take a run back"),
        Arg::new("list").long("list").action(ArgAction::SetTrue).help("List the runs on this host"),
        Arg::new("root")
            .long("root")
            .value_name("DIR")
            .value_parser(clap::value_parser!(PathBuf))
            .default_value("/")
            .help("Preview, or list, for the system whose disk is mounted at DIR"),
    ]
}

/// Why it ends early: a message and an exit code.
struct Refused(String, u8);

impl From<CloseError> for Refused {
    fn from(error: CloseError) -> Self {
        Self(error.to_string(), exit::INCOMPLETE)
    }
}

/// What all parts need.
struct Call<'a> {
    args: &'a ArgMatches,
    texts: Texts,
    ledger: Ledger,
    root: PathBuf,
    /// The root in words; `/` for every path that leads to the running host's.
    root_name: String,
}

/// Does what was asked for.
pub(crate) fn run(args: &ArgMatches) -> u8 {
    let root = args.get_one::<PathBuf>("root").cloned().unwrap_or_else(|| PathBuf::from("/"));
    let root_name = match apply::is_running_root(&root) {
        true => "/".to_owned(),
        false => root.to_string_lossy().into_owned(),
    };
    let texts = telling::texts(args);
    let call = Call { args, texts, ledger: Ledger::default(), root, root_name };
    let done = if args.get_flag("list") {
        call.list()
    } else if let Some(id) = args.get_one::<String>("undo") {
        call.undo(id)
    } else if args.get_flag("apply") {
        call.apply()
    } else {
        call.preview()
    };
    done.unwrap_or_else(|Refused(message, code)| {
        print::error(&message);
        code
    })
}

/// JSON whose strings steer no terminal: what serde leaves of control characters is escaped.
fn escaped(json: &str) -> String {
    let steers = |c: &char| c.is_control() && *c != '\n';
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if steers(&c) {
            // Writing into a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

impl Call<'_> {
    fn page(&self) -> Page<'_> {
        let columns = telling::columns().min(COLUMNS);
        Page { texts: &self.texts, columns, root: &self.root_name }
    }

    fn is_json(&self) -> bool {
        self.args.get_one::<String>("format").is_some_and(|format| format == "json")
    }

    fn tell(
        &self,
        text: impl FnOnce() -> String,
        json: &impl serde::Serialize,
    ) -> Result<(), Refused> {
        let text = if self.is_json() {
            let json = serde_json::to_string_pretty(json);
            let json = json.map_err(|error| Refused(error.to_string(), exit::INCOMPLETE))?;
            escaped(&json) + "\n"
        } else {
            text()
        };
        match print::stdout(&text) {
            exit::FINE => Ok(()),
            code => Err(Refused("the report could not be written".to_owned(), code)),
        }
    }

    fn note(&self, key: &str, values: &[(&str, &str)]) {
        print::stderr(&format!("note: {}\n", printable(&self.texts.fill(key, values))));
    }

    fn request(&self) -> Request {
        Request {
            root: self.root.clone(),
            talk: true,
            probe: true,
            every_port: false,
            window: Duration::ZERO,
            by: concat!("kannuki ", env!("CARGO_PKG_VERSION")).to_owned(),
            at: None,
        }
    }

    fn planned(&self) -> Result<(Facts, Table, Plan), Refused> {
        let refused = |message| Refused(message, exit::INCOMPLETE);
        let facts = collect::collect(&self.request());
        let facts = facts.map_err(|error| refused(error.to_string()))?;
        let table = telling::table(self.args).map_err(refused)?;
        let method = self.args.get_one::<String>("method").and_then(|name| Method::named(name));
        let plan = plan::plan(&facts, &table, method);
        Ok((facts, table, plan))
    }

    fn preview(&self) -> Result<u8, Refused> {
        let waiting = Waiting::new(self.page());
        waiting.says(self.texts.get("close.stage-reading"));
        let planned = self.planned();
        waiting.has_ended();
        let (facts, _, plan) = planned?;
        if facts.collection.live && !apply::can_be_planned(&facts) {
            self.note("close.unseen", &[]);
        }
        // Who may not read the records sees no note about them.
        for Listed { run, at_work, .. } in self.listed().unwrap_or_default() {
            if run.state.is_midway() && !at_work {
                self.note("close.broken-off", &[("id", &run.id)]);
            }
        }
        self.tell(|| self.page().preview(&plan), &plan)?;
        let is_shut = plan.is_empty() && plan.left.is_empty();
        Ok(if is_shut { exit::FINE } else { exit::FOUND })
    }

    /// Whether this host may be changed by us.
    fn must_be_allowed(&self) -> Result<(), Refused> {
        if !apply::is_running_root(&self.root) {
            return Err(Refused(self.texts.get("close.other-root").to_owned(), exit::USAGE));
        }
        if !apply::is_permitted() {
            return Err(Refused(self.texts.get("close.not-root").to_owned(), exit::NOT_PERMITTED));
        }
        Ok(())
    }

    fn apply(&self) -> Result<u8, Refused> {
        self.must_be_allowed()?;
        let held = self.ledger.hold()?;
        let mut waiting = Waiting::undisturbed(self.page())?;
        let mut host = Host { request: self.request(), onlooker: &mut waiting };
        for run in held.finish(&mut host)? {
            self.note("close.finished", &[("id", &run.id), ("state", run.state.name())]);
            if run.state == State::RollBackFailed {
                self.tell(|| self.page().result(&run), &run)?;
                return Ok(exit::NOT_ROLLED_BACK);
            }
        }
        let (facts, table, plan) = self.planned()?;
        if !apply::can_be_planned(&facts) {
            return Err(Refused(self.texts.get("close.unseen").to_owned(), exit::INCOMPLETE));
        }
        let now = plan.fingerprint();
        if let Some(wanted) = self.args.get_one::<String>("plan").filter(|mark| **mark != now) {
            let values = [("wanted", wanted.as_str()), ("now", now.as_str())];
            return Err(Refused(self.texts.fill("close.other-plan", &values), exit::INCOMPLETE));
        }
        if plan.is_empty() {
            self.tell(|| self.page().preview(&plan), &plan)?;
            return Ok(if plan.left.is_empty() { exit::FINE } else { exit::FOUND });
        }
        let run = held.apply(plan, &facts, &table, &mut host)?;
        self.ended(&run)
    }

    fn undo(&self, id: &str) -> Result<u8, Refused> {
        self.must_be_allowed()?;
        let held = self.ledger.hold()?;
        // Nothing is broken off on the way back: it ends with the old state or says what to do.
        let mut waiting = Waiting::undisturbed(self.page())?;
        let mut host = Host { request: self.request(), onlooker: &mut waiting };
        let run = held.undo(id, &mut host)?;
        self.ended(&run)
    }

    fn ended(&self, run: &Manifest) -> Result<u8, Refused> {
        self.tell(|| self.page().result(run), run)?;
        Ok(match run.state {
            State::Applied if run.plan.left.is_empty() => exit::FINE,
            State::Applied => exit::FOUND,
            State::Undone => exit::FINE,
            State::RolledBack => exit::ROLLED_BACK,
            _ => exit::NOT_ROLLED_BACK,
        })
    }

    /// The runs on this host, or on the disk that was named.
    fn listed(&self) -> Result<Vec<Listed>, CloseError> {
        match self.root_name.as_str() {
            "/" => self.ledger.listed(),
            _ => apply::listed_on_disk(&self.root),
        }
    }

    fn list(&self) -> Result<u8, Refused> {
        let listed = self.listed()?;
        let runs: Vec<&Manifest> = listed.iter().map(|listed| &listed.run).collect();
        self.tell(|| self.page().list(&listed), &runs)?;
        let broken_off = |listed: &Listed| listed.run.state.is_midway() && !listed.at_work;
        let is_midway = listed.iter().any(broken_off);
        Ok(if is_midway { exit::FOUND } else { exit::FINE })
    }
}
