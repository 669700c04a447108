//! CPU per key, Kannuki beside memcached: builds both, then lets `kannuki-bench compare` do it.

use anyhow::Result;

use crate::shell;

/// Which memcached, where the environment names none: the distribution's.
const MEMCACHED: &str = "memcached";

/// Builds, measures, and prints the table of `docs/performance.md`.
pub(crate) fn run() -> Result<()> {
    let packages = ["--package", "kannuki", "--package", "kannuki-bench"];
    shell::run(shell::cargo().args(["build", "--locked", "--release"]).args(packages))?;
    let release = shell::target().join("release");
    let ours = format!("'{}' serve -t 4", release.join("kannuki").display());
    let theirs = std::env::var("KANNUKI_MEMCACHED").unwrap_or_else(|_| MEMCACHED.to_owned());
    let theirs = format!("'{theirs}' -t 4");
    let mut compare = std::process::Command::new(release.join("kannuki-bench"));
    shell::run(compare.args(["compare", "--pairs", "5", &ours, &theirs]))
}
