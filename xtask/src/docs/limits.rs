//! `docs/limits.md`: every named bound of the product with its reason, read from the sources.
//!
//! A bound is a documented constant of a `limits.rs`, or one elsewhere whose name says `_MAX` or
//! `_MIN`. The reason is its documentation, so the page cannot say anything else than the source.

use std::fmt::Write as _;

use crate::tidy::source::Source;
use crate::tidy::tree::Tree;

/// One bound.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    name: String,
    value: String,
    reason: String,
}

const HEAD: &str = "\
# Limits

Every buffer, table, queue and loop of the product has a bound with a name, and the reason stands
beside it. This page is written by `cargo xtask docs` from the sources; change them, not this page.
Values are as the sources write them; units end the names.
";

/// The whole page.
pub(super) fn page(tree: &Tree) -> String {
    let mut page = HEAD.to_owned();
    let mut last = String::new();
    for file in &tree.files {
        let Some(source) = &file.source else { continue };
        let mut parts = file.path.split('/');
        let (Some("crates"), Some(name), Some("src")) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if file.is_test() || name == "bench" {
            continue;
        }
        let limits = limits(source, file.path.ends_with("/limits.rs"));
        if limits.is_empty() {
            continue;
        }
        if last != name {
            // Writing into a string cannot fail.
            let _ = write!(page, "\n## {name}\n\n| Name | Value | Why |\n|---|---|---|\n");
            last = name.to_owned();
        }
        for Limit { name, value, reason } in limits {
            let _ = writeln!(page, "| `{name}` | `{value}` | {reason} |");
        }
    }
    page
}

fn limits(source: &Source, all: bool) -> Vec<Limit> {
    let production = &source.lines[..source.production_lines()];
    let mut found = Vec::new();
    let mut reason: Vec<&str> = Vec::new();
    let mut lines = production.iter().map(|line| line.trim());
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("///") {
            reason.push(text.trim());
            continue;
        }
        if let Some(declared) = declared_constant(line) {
            let mut statement = declared.to_owned();
            while !statement.ends_with(';') {
                let Some(next) = lines.next() else { break };
                statement.push(' ');
                statement.push_str(next);
            }
            found.extend(limit(&statement, &reason).filter(|limit| all || limit.says_so()));
        }
        reason.clear();
    }
    found
}

/// What follows `const ` on a line that begins a constant with a name.
fn declared_constant(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("const ")?;
    let visibility = before.trim();
    let is_declaration = visibility.is_empty() || visibility.starts_with("pub");
    let named = after.starts_with(|c: char| c.is_ascii_uppercase());
    (is_declaration && !visibility.contains("fn") && named).then_some(after)
}

fn limit(statement: &str, reason: &[&str]) -> Option<Limit> {
    let (name, rest) = statement.split_once(':')?;
    let (_, value) = rest.split_once(" = ")?;
    let value = value.trim_end_matches(';').replace('|', "\\|");
    (!reason.is_empty()).then(|| Limit {
        name: name.trim().to_owned(),
        value,
        reason: reason.join(" ").replace('|', "\\|").replace("[`", "`").replace("`]", "`"),
    })
}

impl Limit {
    fn says_so(&self) -> bool {
        self.name.contains("_MAX") || self.name.contains("_MIN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "//! Head.\n\n/// Longest line,\n/// in [`BYTES`].\npub(crate) const \
                        LINE_BYTES_MAX: usize =\n    16 * 1024;\n\nconst BARE_MAX: u8 = 1;\n\n/// \
                        Polls.\nconst POLL: u8 = 2;\n\n#[cfg(test)]\nmod tests {\n    /// x\n    \
                        const T_MAX: u8 = 1;\n}\n";

    #[test]
    fn documented_bounds_are_found_with_their_reasons() {
        let found = limits(&Source::new(TEXT), false);
        assert_eq!(
            found,
            [Limit {
                name: "LINE_BYTES_MAX".into(),
                value: "16 * 1024".into(),
                reason: "Longest line, in `BYTES`.".into(),
            }]
        );
    }

    #[test]
    fn in_a_limits_file_every_documented_constant_counts() {
        assert_eq!(limits(&Source::new(TEXT), true).len(), 2);
    }
}
