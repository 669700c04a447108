//! `cargo xtask static`: a `kannuki` that needs no library, proved where there is none.
//!
//! 1. `check` in an empty chroot: no `/proc`, no `/etc`, no libc.
//! 2. `check --root` on the tree of another distribution (Alpine: apk, OpenRC, musl).
//! 3. The same while every system call that is younger than Linux 3.2 answers "not implemented",
//!    where strace is there: what an old kernel would say.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;

/// The target has to be named: else build scripts would be linked statically too.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Calls that came after Linux 3.2 and that the program, its runtime or the C library may try.
const YOUNG_CALLS: [&str; 13] = [
    "getrandom",
    "memfd_create",
    "execveat",
    "copy_file_range",
    "preadv2",
    "statx",
    "rseq",
    "pidfd_open",
    "clone3",
    "close_range",
    "openat2",
    "faccessat2",
    "renameat2",
];
/// Alpine, as its files tell it: memcached is installed, started at boot, and on every address.
const ALPINE: [(&str, &str); 5] = [
    ("etc/os-release", "ID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n"),
    ("etc/init.d/memcached", "#!/sbin/openrc-run\n"),
    ("etc/conf.d/memcached", "PORT=\"11211\"\nUDPPORT=\"${PORT}\"\nLISTENON=\"0.0.0.0\"\n"),
    ("lib/apk/db/installed", "P:memcached\nV:1.6.27-r0\nA:x86_64\nF:usr/bin\nR:memcached\n\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/ash\nmemcached:x:100:101::/:/sbin/nologin\n"),
];

/// Builds it and runs it.
pub(crate) fn prove() -> Result<()> {
    let target = shell::target().join("static");
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--release", "--package", "kannuki", "--target", TARGET]);
    build.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", &target);
    shell::run(&mut build)?;
    let program = target.join(TARGET).join("release/kannuki");
    ensure!(!needs_libraries(&program)?, "{} wants an interpreter", program.display());
    let folder = shell::target().join("stand-alone");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let tree = alpine(&folder.join("alpine"))?;
    seen(Command::new(&program).args(["check", "--format", "json", "--root"]).arg(&tree))?;
    println!("check --root: sees Alpine's memcached");
    if shell::find("strace").is_some() {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
        command.arg(format!("inject={}:error=ENOSYS", YOUNG_CALLS.join(",")));
        command.arg(&program).args(["check", "--format", "json", "--root"]).arg(&tree);
        seen(&mut command)?;
        println!("check --root without {}: the same", YOUNG_CALLS.join(", "));
    } else {
        println!("strace is not there: old kernels were not tried");
    }
    if !shell::is_root() {
        bail!("only root can change into an empty root: that was not tried");
    }
    let empty = folder.join("empty");
    fs::create_dir_all(&empty)?;
    fs::copy(&program, empty.join("kannuki"))?;
    let words = ["/kannuki", "check", "--format", "json"];
    let told = shell::capture(Command::new("chroot").arg(&empty).args(words))?;
    ensure!(told.contains("\"schema\": \"kannuki.check/1\""), "{told}");
    println!("check in an empty root: ends with a report");
    Ok(())
}

/// Whether the file's program headers name an interpreter: the loader of shared libraries. (The
/// loader's name alone also stands in the C library, for programs that load modules.)
fn needs_libraries(program: &Path) -> Result<bool> {
    const INTERPRETER: [u8; 4] = [3, 0, 0, 0];
    let file = fs::read(program)?;
    let number = |at: usize, len: usize| {
        let bytes = file.get(at..at + len).context("no ELF file of 64 bits")?;
        Ok::<_, anyhow::Error>(bytes.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)))
    };
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let head = |index: usize| file.get(first + index * size..first + index * size + 4);
    Ok((0..count).any(|index| head(index) == Some(&INTERPRETER)))
}

fn alpine(root: &Path) -> Result<PathBuf> {
    for (name, text) in ALPINE {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(path, text)?;
    }
    let level = root.join("etc/runlevels/default");
    fs::create_dir_all(&level)?;
    symlink("/etc/init.d/memcached", level.join("memcached"))?;
    Ok(root.to_path_buf())
}

/// `check` ends with 0 or 1, and has seen which system it is and what would be open.
fn seen(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(matches!(output.status.code(), Some(0 | 1)), "{command:?}: {told}{errors}");
    for part in ["Alpine Linux v3.20", "MC-BOOT-001", "/etc/conf.d/memcached"] {
        ensure!(told.contains(part), "{command:?}: nothing of {part}: {told}{errors}");
    }
    Ok(())
}
