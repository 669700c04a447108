//! What people read about options, made from the table: help and documentation.

use std::fmt::Write as _;

use super::{
    getopt::Grammar,
    spec::{Effect, Group, OptionSpec, Shape, Spelling},
};

/// Column at which the explanations of help begin.
const HELP_COLUMN: usize = 30;
/// Width of help, in columns.
const HELP_WIDTH: usize = 98;

/// The list of options for `--help`.
#[must_use]
pub fn help<'g>(groups: impl IntoIterator<Item = &'g Group>) -> String {
    let mut out = String::new();
    for group in groups {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "{}:", group.title);
        for spec in group.options {
            help_entry(&mut out, spec);
        }
    }
    out
}

/// The page of all options, in Markdown.
#[must_use]
pub fn markdown(grammar: &Grammar) -> String {
    let mut out = String::from(MARKDOWN_HEAD);
    for group in grammar.groups() {
        let _ = writeln!(out, "\n## {}\n", group.title);
        out.push_str("| Option | `kannuki.toml` | Default | Meaning | Here |\n");
        out.push_str("|---|---|---|---|---|\n");
        for spec in group.options {
            markdown_row(&mut out, spec);
        }
        markdown_details(&mut out, group);
    }
    out
}

/// A `kannuki.toml` of every option that does something, each behind a comment mark.
#[must_use]
pub fn template(grammar: &Grammar) -> String {
    let mut out = String::from(TEMPLATE_HEAD);
    for group in grammar.groups() {
        let works = |spec: &&&OptionSpec| spec.in_file && spec.effect == Effect::Works;
        let mut specs = group.options.iter().filter(works).peekable();
        if specs.peek().is_some() {
            let _ = write!(out, "\n# ---- {} ----\n", group.title);
        }
        for spec in specs {
            for line in wrap(&spec.brief(), HELP_WIDTH) {
                let _ = write!(out, "\n# {line}");
            }
            let _ = write!(out, "\n#{}\n", toml_example(spec));
        }
    }
    out
}

/// Everything about one option.
#[must_use]
pub fn explain(spec: &OptionSpec) -> String {
    format!("{}\n\n{}", spellings(spec), description(spec))
}

/// Everything about one option but how it is typed.
#[must_use]
pub fn description(spec: &OptionSpec) -> String {
    let mut out = String::new();
    for paragraph in spec.paragraphs() {
        let _ = write!(out, "{paragraph}\n\n");
    }
    if let Some(default) = shown_default(spec) {
        let _ = write!(out, "Default: {default}\n\n");
    }
    if spec.in_file {
        let _ = write!(out, "In kannuki.toml: {}\n\n", toml_example(spec));
    }
    let origin = if spec.memcached { "memcached 1.6.45" } else { "Kannuki" };
    let _ = write!(out, "An option of {origin}. Here: {}", spec.effect.label());
    if let Some(why) = spec.effect.why() {
        let _ = write!(out, ": {why}");
    }
    out.push_str(".\n");
    out
}

/// How the option is typed: `-p N, --port=N`.
#[must_use]
pub fn spellings(spec: &OptionSpec) -> String {
    let value = if spec.takes_value() { spec.placeholder } else { "" };
    match spec.spelling {
        Spelling::Flag { short, long } => {
            let short = short.map(|letter| {
                let gap = if value.is_empty() || long.is_some() { "" } else { " " };
                let value = if long.is_some() { "" } else { value };
                format!("-{}{gap}{value}", char::from(letter))
            });
            let long = long.map(|long| match value {
                "" => format!("--{long}"),
                value => format!("--{long}={value}"),
            });
            let both: Vec<String> = short.into_iter().chain(long).collect();
            both.join(", ")
        }
        Spelling::Suboption { name, negation } => {
            let optional = matches!(spec.shape, Shape::Integer(i) if i.bare.is_some());
            let name = match (value, optional) {
                ("", _) => format!("-o {name}"),
                (value, true) => format!("-o {name}[={value}]"),
                (value, false) => format!("-o {name}={value}"),
            };
            negation.map_or_else(|| name.clone(), |negation| format!("{name}, -o {negation}"))
        }
    }
}

const MARKDOWN_HEAD: &str = "\
# Options

Every option of the command line and of `kannuki.toml`. This page is generated; change the tables in
the sources, not this file.

*Here* says what an option does in Kannuki: **works**; *no effect*: accepted, shown by `stats
settings`, and changes nothing; *warns*: accepted with a warning, not available yet; *refuses*: the
server does not start with it, because it protects or routes and would not.
";

const TEMPLATE_HEAD: &str = "\
# Settings of `kannuki serve --config FILE`: every option that does something here, with its default
# or an example. Take the mark away to set one; `kannuki explain NAME` says more about each, and
# `kannuki config check --config FILE` whether all is well. Sizes may be written \"64m\" and times
# \"30s\". This file is generated.
";

fn help_entry(out: &mut String, spec: &OptionSpec) {
    let mut text = spec.brief().trim_end_matches('.').to_owned();
    if let Some(default) = shown_default(spec) {
        let _ = write!(text, " (default: {default})");
    }
    match spec.effect {
        Effect::Works => {}
        Effect::NoEffect { .. } => text.push_str(" [no effect]"),
        Effect::Warns { .. } | Effect::Refuses { .. } => text.push_str(" [not available yet]"),
    }
    let head = format!("  {}", spellings(spec));
    let lines = wrap(&text, HELP_WIDTH - HELP_COLUMN);
    let mut lines = lines.iter();
    if head.len() + 2 > HELP_COLUMN {
        let _ = writeln!(out, "{head}");
    } else {
        let _ = writeln!(out, "{head:HELP_COLUMN$}{}", lines.next().map_or("", String::as_str));
    }
    for line in lines {
        let _ = writeln!(out, "{:HELP_COLUMN$}{line}", "");
    }
}

fn markdown_row(out: &mut String, spec: &OptionSpec) {
    let code = |text: &str| format!("`{}`", text.replace('|', "\\|"));
    let key = if spec.in_file { code(&spec.name()) } else { String::new() };
    let default = shown_default(spec).map(code).unwrap_or_default();
    let here = match spec.effect {
        Effect::Works => "works".to_owned(),
        Effect::NoEffect { why } => format!("no effect: {why}"),
        Effect::Warns { why } => format!("warns: {why}"),
        Effect::Refuses { why } => format!("refuses: {why}"),
    };
    let spelling = spellings(spec).split(", ").map(code).collect::<Vec<_>>().join(" ");
    let _ = writeln!(out, "| {spelling} | {key} | {default} | {} | {here} |", spec.brief());
}

fn markdown_details(out: &mut String, group: &Group) {
    for spec in group.options {
        for (i, paragraph) in details(spec).enumerate() {
            let name = if i == 0 { format!("**`{}`**: ", spec.usual()) } else { String::new() };
            let _ = write!(out, "\n{name}{paragraph}\n");
        }
    }
}

fn shown_default(spec: &OptionSpec) -> Option<&'static str> {
    match (spec.shape, spec.default) {
        (Shape::Switch, Some("true")) => Some("on"),
        (Shape::Switch, Some("false")) | (Shape::Count, _) => None,
        (_, default) => default,
    }
}

/// The option in `kannuki.toml`, with its default or else a value of the right kind.
fn toml_example(spec: &OptionSpec) -> String {
    let name = spec.name();
    let text = spec.default.unwrap_or(spec.placeholder);
    let value = match spec.shape {
        Shape::Switch => (spec.default != Some("true")).to_string(),
        Shape::Integer(integer) if spec.default.is_none() => integer.min.max(0).to_string(),
        Shape::Integer(_) | Shape::Count | Shape::Real { .. } => text.to_owned(),
        Shape::Choice([first, ..]) if spec.default.is_none() => format!("\"{first}\""),
        _ => format!("\"{text}\""),
    };
    if spec.repeats { format!("{name} = [{value}]") } else { format!("{name} = {value}") }
}

/// The paragraphs after the one that stands alone.
fn details(spec: &OptionSpec) -> impl Iterator<Item = String> {
    spec.paragraphs().skip(1)
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|l| !l.is_empty() && l.len() + 1 + word.len() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
