//! Every fuzz target, one minute each, from its seeds.
//!
//! cargo-fuzz wants flags that only a nightly compiler takes; `RUSTC_BOOTSTRAP` lets the one
//! toolchain that is there take them, for the fuzzed build alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::report::{Outcome, Report};
use crate::shell;

/// Enough for a few million inputs a target; finding more is the work of long runs elsewhere.
const SECONDS_EACH: u32 = 60;
/// A decoder that needs more than this has lost its bounds.
const MEMORY_MIB_MAX: u32 = 2048;
/// The release that is installed when none is there.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// One step for the tool, one for each target.
pub(crate) fn run(report: &mut Report) {
    let targets = match targets() {
        Ok(targets) => targets,
        Err(error) => {
            report.step("fuzzing", || Err(error));
            return;
        }
    };
    let mut tool = None;
    let ready = report.step("cargo-fuzz", || {
        tool = Some(cargo_fuzz()?);
        Ok(Outcome::passed())
    });
    let Some(tool) = tool.filter(|_| ready) else { return };
    for target in targets {
        report.step(&format!("fuzz {target}"), || fuzz(&tool, &target));
    }
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    anyhow::ensure!(!names.is_empty(), "no target in {}", folder.display());
    Ok(names)
}

/// Where cargo-fuzz is; builds it below `target/tools` where it is nowhere.
fn cargo_fuzz() -> Result<PathBuf> {
    if let Some(path) = shell::find("cargo-fuzz") {
        return Ok(path);
    }
    let tools = shell::target().join("tools");
    let path = tools.join("bin/cargo-fuzz");
    if !path.is_file() {
        let words = ["install", "--quiet", "--locked", "cargo-fuzz"];
        let mut command = shell::cargo();
        command.args(words).args(["--version", CARGO_FUZZ_VERSION, "--root"]).arg(&tools);
        shell::run(&mut command)?;
    }
    Ok(path)
}

fn fuzz(tool: &PathBuf, target: &str) -> Result<Outcome> {
    let folder = shell::root().join("fuzz");
    let corpus = folder.join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    let mut command = Command::new(tool);
    command.current_dir(shell::root()).env("RUSTC_BOOTSTRAP", "1").args(["run", target]);
    // New inputs go to the first folder; the seeds of the second are only read.
    command.arg(&corpus);
    let seeds = folder.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg("--target-dir").arg(shell::target().join("fuzz"));
    command.args(["--".to_owned(), format!("-max_total_time={SECONDS_EACH}")]);
    command.args([format!("-rss_limit_mb={MEMORY_MIB_MAX}"), "-print_final_stats=1".to_owned()]);
    // Else every new input is a line, thousands of them.
    command.arg("-verbosity=0");
    shell::run(&mut command)?;
    Ok(Outcome::Passed(format!("{SECONDS_EACH} s, no crash")))
}
