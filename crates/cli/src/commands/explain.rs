//! `kannuki explain ID`: an option, a reason for refusing or a finding, from the one catalogue.

use std::fmt::Write as _;

use clap::{Arg, Command};
use kannuki_audit::findings::{catalogue as findings, pages as finding_pages};
use kannuki_audit::memcached_options::{OptionSpec, Spelling, nearest, pages};
use kannuki_audit::texts::{Lang, Texts};
use kannuki_server::refusals::{Refusal, catalogue};

use crate::{exit, own_options, print};

pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Explain an option, a reason for refusing or a finding; without ID list all")
        .arg(Arg::new("ID").allow_hyphen_values(true))
        .args_conflicts_with_subcommands(true)
        .subcommand(super::explain_access::command())
        .after_help(
            "Examples:\n  kannuki explain                   every id\n  \
             kannuki explain memory-limit      an option by its name\n  \
             kannuki explain -m                or as it is typed\n  \
             kannuki explain peer-not-allowed  a reason for refusing, from logs and stats\n  \
             kannuki explain MC-NET-001        a finding of kannuki check\n  \
             kannuki explain access --peer 10.0.0.7 get  who may do what, and what decides",
        )
}

pub(super) fn run(id: Option<&String>) -> u8 {
    match id {
        None => print::stdout(&list()),
        Some(id) => match find(id) {
            Some(page) => print::stdout(&page),
            None => {
                let meant = nearest(id, ids().map(|(id, _)| id.into()))
                    .map_or_else(String::new, |id| format!("; did you mean {id}?"));
                print::stderr(&format!(
                    "error: nothing is called \"{}\"{meant}\n",
                    id.escape_debug()
                ));
                exit::USAGE
            }
        },
    }
}

fn find(id: &str) -> Option<String> {
    let grammar = own_options::grammar();
    if let Some(spec) = grammar.options().find(|spec| is_called(spec, id)) {
        return Some(pages::explain(spec));
    }
    if let Some(definition) = findings::find(id) {
        // Both languages: the page is short, and who reads it may have been sent the id.
        let [en, ja] =
            [Lang::En, Lang::Ja].map(|lang| finding_pages::explain(definition, &Texts::of(lang)));
        return Some(format!("{en}\n{ja}"));
    }
    catalogue().find(|refusal| refusal.name == id).map(|refusal| refusal_page(&refusal))
}

fn refusal_page(refusal: &Refusal) -> String {
    let told = match refusal.answer {
        None => String::new(),
        Some("") => "\nThe connection is closed without a word.\n".to_owned(),
        Some(answer) => format!("\nThe client is told: {answer}\n"),
    };
    format!("{}: a reason for refusing\n\n{}\n{told}", refusal.name, refusal.meaning)
}

/// Is this the option, by its name or as it is typed?
fn is_called(spec: &OptionSpec, id: &str) -> bool {
    let id = id.strip_prefix("-o ").unwrap_or(id);
    match spec.spelling {
        _ if spec.name() == id => true,
        Spelling::Flag { short, long } => {
            let letter = short.map(char::from);
            id.strip_prefix("--").is_some_and(|id| long == Some(id))
                || id.strip_prefix('-').is_some_and(|id| {
                    let mut chars = id.chars();
                    chars.next() == letter && letter.is_some() && chars.next().is_none()
                })
        }
        Spelling::Suboption { name, negation } => id == name || Some(id) == negation,
    }
}

fn ids() -> impl Iterator<Item = (String, String)> {
    let options: Vec<(String, String)> = own_options::grammar()
        .options()
        .map(|spec| (spec.name().into_owned(), spec.brief()))
        .collect();
    let refusals = catalogue().map(|refusal| (refusal.name.to_owned(), refusal.meaning.to_owned()));
    let texts = Texts::of(Lang::En);
    let found: Vec<(String, String)> = findings::ALL
        .iter()
        .map(|d| (d.id.to_owned(), texts.get(&format!("{}.title", d.id)).to_owned()))
        .collect();
    options.into_iter().chain(refusals).chain(found)
}

fn list() -> String {
    let mut out = String::new();
    for (id, brief) in ids() {
        let _ = writeln!(out, "{id:30} {brief}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_as_they_are_typed() {
        for id in ["memory-limit", "-m", "--memory-limit"] {
            assert!(find(id).unwrap().starts_with("-m, --memory-limit=N"), "{id}");
        }
        for id in ["idle-timeout", "idle_timeout", "-o idle_timeout"] {
            assert!(find(id).unwrap().contains("-o idle_timeout=S"), "{id}");
        }
        assert!(find("no_lru_crawler").unwrap().contains("accepted, no effect"));
        assert!(find("nonsense").is_none());
        assert!(find("-").is_none());
    }

    #[test]
    fn no_id_stands_for_two_things() {
        let mut seen = std::collections::HashSet::new();
        for (id, brief) in ids() {
            assert!(seen.insert(id.clone()), "{id}");
            assert!(!brief.is_empty(), "{id}");
            assert!(find(&id).is_some(), "{id}");
        }
    }
}
