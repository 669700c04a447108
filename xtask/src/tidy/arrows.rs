//! Which crate may know which: dependencies point down only. And every crate from outside has a
//! reason.

use super::Fault;
use super::tree::{File, Tree};

/// The arrows of `ARCHITECTURE.md`. A package that is not listed may name none of ours.
const ARROWS: [(&str, &[&str]); 5] = [
    ("crates/cli", &["kannuki-server", "kannuki-audit"]),
    ("crates/server", &["kannuki-protocol", "kannuki-store", "kannuki-guard", "kannuki-sys"]),
    ("crates/audit", &["kannuki-protocol", "kannuki-sys"]),
    ("crates/bench", &["kannuki-protocol", "kannuki-store", "kannuki-sys"]),
    // Of the program only what reads hostile text: the library beside it.
    (
        "fuzz",
        &[
            "kannuki",
            "kannuki-audit",
            "kannuki-guard",
            "kannuki-protocol",
            "kannuki-server",
            "kannuki-store",
        ],
    ),
];
/// The page on which each outside crate's reason stands.
const REASONS: &str = "deny.toml";

/// An arrow that points up or sideways.
pub(crate) fn check(file: &File, faults: &mut Vec<Fault>) {
    let folder = file.path.trim_end_matches("Cargo.toml").trim_end_matches('/');
    if folder.is_empty() {
        return; // The workspace's own list of where each crate is.
    }
    let arrows = ARROWS.iter().find(|(name, _)| *name == folder).map_or(&[][..], |(_, to)| to);
    for (line, name) in dependencies(&String::from_utf8_lossy(&file.bytes)) {
        if name.starts_with("kannuki") && !arrows.contains(&name.as_str()) {
            let message = format!("{folder} may not depend on {name}: arrows point down only");
            faults.push(Fault::new(&file.path, line, message));
        }
    }
}

/// A crate from outside whose reason is not written down.
pub(crate) fn check_reasons(tree: &Tree, faults: &mut Vec<Fault>) {
    let Some(reasons) = tree.text_of(REASONS) else { return };
    let Some(root) = tree.text_of("Cargo.toml") else { return };
    let named: Vec<&str> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("#   ")?.split_once(": "))
        .map(|(name, _)| name.trim())
        .collect();
    for (line, name) in dependencies(root) {
        if !name.starts_with("kannuki") && !named.contains(&name.as_str()) {
            let message = format!("{name}: its reason is missing in {REASONS} (`#   {name}: why`)");
            faults.push(Fault::new("Cargo.toml", line, message));
        }
    }
}

/// The packages named in any section of dependencies, each with its line.
fn dependencies(text: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_matches(['[', ']']);
            inside = section.ends_with("dependencies");
            if let Some((_, name)) = section.split_once("dependencies.") {
                found.push((index + 1, name.to_owned()));
            }
        } else if inside && let Some((name, _)) = line.split_once('=') {
            let name = name.trim().trim_end_matches(".workspace");
            if !name.starts_with('#') {
                found.push((index + 1, name.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_arrows_pass() {
        let judge = |path: &str, text: &str| {
            let mut faults = Vec::new();
            check(&File::of(path, text.as_bytes().to_vec()), &mut faults);
            faults.len()
        };
        let on_store = "[dependencies]\nkannuki-store = { workspace = true }\n";
        assert_eq!(judge("crates/server/Cargo.toml", on_store), 0);
        assert_eq!(judge("crates/protocol/Cargo.toml", on_store), 1);
        assert_eq!(judge("crates/audit/Cargo.toml", on_store), 1);
        let nested = "[target.'cfg(unix)'.dev-dependencies]\nkannuki-guard.workspace = true\n";
        assert_eq!(judge("crates/store/Cargo.toml", nested), 1);
        assert_eq!(judge("crates/store/Cargo.toml", "[dependencies.kannuki-sys]\n"), 1);
        assert_eq!(judge("crates/store/Cargo.toml", "[package]\nname = \"kannuki-store\"\n"), 0);
    }

    #[test]
    fn an_outside_crate_needs_its_reason() {
        let root = "[workspace.dependencies]\nmemchr = \"2\"\nitoa = \"1\"\n";
        let reasons = "#   memchr: newlines at memory speed\n";
        let files = vec![
            File::of("Cargo.toml", root.as_bytes().to_vec()),
            File::of("deny.toml", reasons.as_bytes().to_vec()),
        ];
        let mut faults = Vec::new();
        check_reasons(&Tree { files }, &mut faults);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.starts_with("itoa"));
    }
}
