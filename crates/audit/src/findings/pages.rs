//! The pages about findings, from the one catalogue: `kannuki explain ID` and `docs/findings.md`.

use std::fmt::Write as _;

use super::catalogue::{self, Definition};
use crate::texts::{Lang, Texts};

/// What `kannuki explain ID` prints.
#[must_use]
pub fn explain(definition: &Definition, texts: &Texts) -> String {
    let text = |part: &str| texts.get(&format!("{}.{part}", definition.id)).to_owned();
    let severity = texts.get(&format!("severity.{}", definition.severity.name())).to_owned();
    let mut out = format!(
        "{} [{severity}]\n{}\n\n{}: {}\n\n{}: {}\n",
        definition.id,
        text("title"),
        texts.get("label.why"),
        text("why"),
        texts.get("label.fix"),
        text("fix"),
    );
    if !definition.references.is_empty() {
        let _ = write!(out, "\n{}:\n", texts.get("label.references"));
        for page in definition.references {
            let _ = writeln!(out, "  {page}");
        }
    }
    out
}

/// The page of the documentation.
#[must_use]
pub fn markdown() -> String {
    let (en, ja) = (Texts::of(Lang::En), Texts::of(Lang::Ja));
    let mut out = String::from(
        "# Findings\n\nWhat `kannuki check` can say, written by `cargo xtask docs` from the one \
         catalogue. Words in braces\nare filled in on the host. `kannuki explain ID` prints one of \
         them. The severity is the usual one; a rule\nmay say otherwise where it knows more.\n\n\
         | Id | Severity | Finding |\n|---|---|---|\n",
    );
    for definition in catalogue::ALL {
        let title = en.get(&format!("{}.title", definition.id)).to_owned();
        let (id, severity) = (definition.id, definition.severity.name());
        let anchor = id.to_lowercase();
        let _ = writeln!(out, "| [{id}](#{anchor}) | {severity} | {title} |");
    }
    for definition in catalogue::ALL {
        let _ = write!(out, "\n## {}\n", definition.id);
        for texts in [&en, &ja] {
            let text = |part: &str| texts.get(&format!("{}.{part}", definition.id)).to_owned();
            let (title, why, fix) = (text("title"), text("why"), text("fix"));
            let _ = write!(out, "\n**{title}**\n{why}\n{fix}\n");
        }
        if !definition.references.is_empty() {
            out.push('\n');
        }
        for page in definition.references {
            let _ = writeln!(out, "- <{page}>");
        }
    }
    out
}
