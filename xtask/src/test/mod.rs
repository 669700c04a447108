//! `cargo xtask test`: everything, in one command, from a cold clone.
//!
//! Each step ends as passed, failed or missing, and a table at the end says which. A step never
//! hides another: after a failure the rest runs all the same, unless it needs what failed. Missing
//! is a failure where everything has to run.

pub(crate) mod debian;
mod fuzz;
mod licences;
mod proofs;
mod provision;
mod report;
mod rival;

use std::process::Command;

use anyhow::Result;

use crate::{docs, image, shell};
use report::{Outcome, Report};

/// When the fuzz targets run: they take a minute each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fuzzing {
    /// Asked for by `--fuzz`.
    Always,
    /// Under `CI=true` only.
    WhereEverythingMustRun,
}

/// Runs every step and fails if one failed, or is missing where everything has to run.
pub(crate) fn run(fuzzing: Fuzzing) -> Result<()> {
    let mut report = Report::new();
    provision::install(&mut report);
    report.step("memcached 1.6.45", rival::install);
    let built = report.step("build the product", || {
        shell::run(shell::cargo().args(["build", "--locked", "--package", "kannuki"]))?;
        Ok(Outcome::passed())
    });
    if built {
        report.step("system to boot", || {
            if !shell::is_root() {
                return Ok(Outcome::Missing("root makes and boots it".into()));
            }
            image::story().map(|_| Outcome::passed())
        });
        report.step("tests", tests);
        report.step("documentation examples", doc_tests);
        report.step("documentation links", doc_links);
        report.step("generated pages", || docs::compare().map(|()| Outcome::passed()));
    }
    proofs::run(&mut report);
    report.step("licences, sources, versions", licences::check);
    if fuzzing == Fuzzing::Always || shell::everything_must_run() {
        fuzz::run(&mut report);
    } else {
        report.step("fuzzing", || Ok(Outcome::Missing("asked for by --fuzz or CI=true".into())));
    }
    report.close()
}

/// Unit, property, conformance, hostile and client tests.
fn tests() -> Result<Outcome> {
    let has_nextest = shell::succeeds(shell::cargo().args(["nextest", "--version"]));
    let mut command = shell::cargo();
    if has_nextest {
        command.args(["nextest", "run"]);
    } else {
        command.args(["test", "--lib", "--bins", "--tests"]);
    }
    command.args(["--workspace", "--locked", "--no-fail-fast"]);
    shell::run(in_our_world(&mut command))?;
    Ok(Outcome::passed())
}

/// The incident from end to end, alone: what `run` does of it, with its figures shown.
pub(crate) fn story() -> Result<()> {
    image::story()?;
    shell::run(shell::cargo().args(["build", "--locked", "--package", "kannuki"]))?;
    let mut command = shell::cargo();
    command.args(["test", "--locked", "--package", "kannuki-tests", "--test", "story"]);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    shell::run(in_our_world(command.env("CI", "true")))
}

/// Tells tests where the product, the clients and the system to boot are.
fn in_our_world(command: &mut Command) -> &mut Command {
    command.env("KANNUKI_BIN", shell::target().join("debug/kannuki"));
    command.env("KANNUKI_CLIENTS", provision::clients());
    command.env("KANNUKI_RIVAL", rival::program());
    if let Ok(schema) = provision::sarif_schema() {
        command.env("KANNUKI_SARIF_SCHEMA", schema);
    }
    command.env("KANNUKI_SYSTEM", shell::target().join("story/debian12"))
}

fn doc_tests() -> Result<Outcome> {
    shell::run(shell::cargo().args(["test", "--workspace", "--locked", "--doc", "--quiet"]))?;
    Ok(Outcome::passed())
}

/// What the documentation of an item names must be there, of those that are not public too.
fn doc_links() -> Result<Outcome> {
    let mut command = shell::cargo();
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    command.args(["--locked", "--quiet"]);
    shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::passed())
}
