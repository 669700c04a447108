//! Tests run again where more can be seen: memory errors by AddressSanitizer, every order of threads
//! by loom.
//!
//! Only `sys` has unsafe code, and the store is what uses it most; so these two run under the
//! sanitizer. Both runs build into folders of their own, since their flags would spoil the others'.

use std::path::Path;

use anyhow::Result;

use super::report::{Outcome, Report};
use crate::shell;

/// One step for each.
pub(crate) fn run(report: &mut Report) {
    report.step("AddressSanitizer: store, sys", sanitizer);
    report.step("loom: store", loom);
}

fn sanitizer() -> Result<Outcome> {
    let target = host()?;
    if !has_runtime(&target)? {
        return Ok(Outcome::Missing(format!("the Rust toolchain has no sanitizer for {target}")));
    }
    // A thread at a time for sys: its tests look at the mappings of the whole process.
    for (package, threads) in [("kannuki-store", "2"), ("kannuki-sys", "1")] {
        let mut command = shell::cargo();
        command
            .args(["test", "--locked", "--quiet", "--target", &target, "--package", package])
            .args(["--lib", "--tests", "--", "--test-threads", threads])
            // The flag is for nightly compilers only; this lets the one that is there take it.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=address")
            .env("CARGO_TARGET_DIR", shell::target().join("sanitizer"))
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        shell::run(&mut command)?;
    }
    Ok(Outcome::passed())
}

fn loom() -> Result<Outcome> {
    let mut command = shell::cargo();
    command
        .args(["test", "--locked", "--quiet", "--package", "kannuki-store", "--lib", "loom_tests"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", shell::target().join("loom"))
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    shell::run(&mut command)?;
    Ok(Outcome::passed())
}

/// The machine that the toolchain builds for.
fn host() -> Result<String> {
    let version = shell::capture(shell::rustc().arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.unwrap_or_default().to_owned())
}

/// Whether the toolchain brings the sanitizer's library.
fn has_runtime(target: &str) -> Result<bool> {
    let root = shell::capture(shell::rustc().args(["--print", "sysroot"]))?;
    let folder = Path::new(root.trim()).join("lib/rustlib").join(target).join("lib");
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(false) };
    Ok(entries
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a")))
}
