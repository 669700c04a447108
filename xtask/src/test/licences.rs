//! What the product is made of: licences, where the crates come from, no crate twice.
//!
//! `deny.toml` is the one list of what is allowed; cargo-deny reads it where it is installed.
//! Because it takes longer to build than the whole product, the same three lists are also checked
//! here, from what cargo itself says.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::report::Outcome;
use crate::shell;

/// The only place crates may come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the lists, and lets cargo-deny judge too where it is there.
pub(crate) fn check() -> Result<Outcome> {
    let rules = fs::read_to_string(shell::root().join("deny.toml")).context("deny.toml")?;
    let lock = fs::read_to_string(shell::root().join("Cargo.lock")).context("Cargo.lock")?;
    let tree = shell::capture(shell::cargo().args([
        "tree",
        "--locked",
        "--workspace",
        "--all-features",
        "--edges=normal,build",
        "--prefix=none",
        "--format={p}|{l}",
    ]))?;
    let crates = check_licences(&tree, &listed(&rules, "allow"))?;
    let packages = packages(&lock);
    check_sources(&packages)?;
    check_versions(&packages, &listed(&rules, "skip"))?;
    let mut note = format!("{crates} crates");
    if shell::find("cargo-deny").is_some() {
        let words = ["deny", "--offline", "check", "bans", "licenses", "sources"];
        shell::run(shell::cargo().args(words))?;
        note.push_str(", by cargo-deny too");
    }
    Ok(Outcome::Passed(note))
}

/// The strings of `key = [ ... ]`, comments skipped.
fn listed(rules: &str, key: &str) -> Vec<String> {
    let opening = format!("{key} = [");
    let lines = rules.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut inside = lines.skip_while(|line| !line.starts_with(&opening)).peekable();
    let mut text = String::new();
    while let Some(line) = inside.next() {
        text.push_str(line.strip_prefix(&opening).unwrap_or(line));
        if line.contains(']') || inside.peek().is_none() {
            break;
        }
    }
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every crate's licence allows what we do with it. Returns how many crates there are.
fn check_licences(tree: &str, allowed: &[String]) -> Result<usize> {
    let mut crates = 0;
    for line in tree.lines().filter(|line| !line.trim_end().ends_with("(*)")) {
        let Some((package, licence)) = line.rsplit_once('|') else { continue };
        ensure!(permits(licence, allowed), "{package}: licence `{licence}` is not in deny.toml");
        crates += 1;
    }
    ensure!(crates > 0, "cargo tree listed no crate");
    Ok(crates)
}

/// Whether an SPDX expression can be satisfied by the allowed licences alone. `/` is the old way to
/// write OR.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // In every expression that crates use, AND binds its neighbours in one alternative or joins
    // bracketed alternatives. Taking AND as the outer joint refuses some mixtures that would be
    // fine: the safe side.
    plain
        .split(" AND ")
        .all(|all| all.split(" OR ").any(|one| allowed.iter().any(|licence| licence == one.trim())))
}

#[derive(Debug, PartialEq, Eq)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    /// Absent for our own.
    source: Option<&'a str>,
}

/// The packages of a lock file.
fn packages(lock: &str) -> Vec<Package<'_>> {
    let blocks = lock.split("[[package]]").skip(1);
    blocks
        .map(|block| {
            let field = |key: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(key))?;
                line.strip_prefix(" = \"")?.strip_suffix('"')
            };
            let text = |key| field(key).unwrap_or_default();
            Package { name: text("name"), version: text("version"), source: field("source") }
        })
        .collect()
}

fn check_sources(packages: &[Package<'_>]) -> Result<()> {
    ensure!(!packages.is_empty(), "Cargo.lock names no package");
    for package in packages {
        let fine = package.source.is_none_or(|source| source == CRATES_IO);
        ensure!(fine, "{} comes from {:?}", package.name, package.source);
    }
    Ok(())
}

/// No crate twice, but for `name` or `name@version` in the skip list, which holds nothing unused.
fn check_versions(packages: &[Package<'_>], skipped: &[String]) -> Result<()> {
    let is_skipped = |package: &Package<'_>| {
        skipped.iter().any(|skip| *skip == format!("{}@{}", package.name, package.version))
    };
    for (at, package) in packages.iter().enumerate().filter(|(_, package)| !is_skipped(package)) {
        let twin = packages[at + 1..]
            .iter()
            .find(|other| other.name == package.name && !is_skipped(other));
        if let Some(twin) = twin {
            anyhow::bail!("{} twice: {} and {}", package.name, package.version, twin.version);
        }
    }
    for skip in skipped {
        let used = packages.iter().any(|package| {
            is_skipped(package) && { *skip == format!("{}@{}", package.name, package.version) }
        });
        ensure!(used, "deny.toml skips {skip}, which is not there any more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<String> {
        ["MIT", "Apache-2.0"].map(str::to_owned).to_vec()
    }

    #[test]
    fn lists_are_read_over_lines_and_comments() {
        let rules =
            "[licenses]\nallow = [\n    \"MIT\", # \"GPL\"\n    \"Apache-2.0\",\n]\nx = [\"y\"]\n";
        assert_eq!(listed(rules, "allow"), allowed());
        assert_eq!(listed("skip = []\n", "skip"), [""; 0]);
    }

    #[test]
    fn licences_are_judged_by_expression() {
        assert!(permits("MIT OR GPL-3.0", &allowed()));
        assert!(permits("MIT/Apache-2.0", &allowed()));
        assert!(permits("(MIT OR Apache-2.0) AND MIT", &allowed()));
        assert!(!permits("MIT AND GPL-3.0", &allowed()));
        assert!(!permits("GPL-3.0", &allowed()));
        assert!(!permits("", &allowed()));
        assert!(check_licences("a v1|MIT\nb v1|GPL-3.0\n", &allowed()).is_err());
        assert_eq!(check_licences("a v1|MIT\na v1|MIT (*)\n", &allowed()).unwrap(), 1);
    }

    #[test]
    fn sources_and_twins_are_found() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\n\
                    version = \"2.0.0\"\nsource = \"git+https://example.org\"\n";
        let packages = packages(lock);
        assert_eq!(packages.len(), 2);
        assert!(check_sources(&packages).is_err());
        assert!(check_sources(&packages[..1]).is_ok());
        assert!(check_versions(&packages, &[]).is_err());
        assert!(check_versions(&packages, &["a@1.0.0".to_owned()]).is_ok());
        assert!(check_versions(&packages, &["b@1.0.0".to_owned()]).is_err());
    }
}
