//! Both README commands in a fresh Debian 12 that has a Rust toolchain and nothing else of ours.
//!
//! debootstrap makes the system once, below `target/fresh`; each run works on a copy, in mount and
//! process namespaces of its own, so nothing of it outlives the run. From the host come only the
//! toolchain (read-only), a clean clone of the last commit, and what the network needs: name
//! service, certificates and the variables that point to them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{image, shell};

/// What a Rust toolchain needs beside itself (a linker), and what the README's example calls (nc).
const PACKAGES: [&str; 4] = ["ca-certificates", "gcc", "libc6-dev", "netcat-openbsd"];
/// Files of the host without which no package can be fetched, and none of the product's.
const NETWORK_FILES: [&str; 3] = ["etc/resolv.conf", "etc/hosts", "etc/pip.conf"];
/// Certificates of the host, in which a private network's own may be.
const CERTIFICATES: &str = "etc/ssl/certs";
/// Variables that tell programs where certificates and packages are.
const VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Makes the system if it is not there, copies it, and runs both commands in the copy.
pub(crate) fn run() -> Result<()> {
    ensure!(shell::is_root(), "`cargo xtask fresh` needs root: it makes namespaces and mounts");
    for program in ["debootstrap", "unshare", "ip", "git"] {
        ensure!(shell::find(program).is_some(), "{program} is missing: apt-get install {program}");
    }
    let folder = shell::target().join("fresh");
    fs::create_dir_all(&folder)?;
    let base = image::made(&folder.join("debian12"), &PACKAGES, |_| Ok(()))?;
    let system = folder.join("system");
    shell::run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&system))?;
    shell::run(Command::new("cp").arg("-a").arg(&base).arg(&system))?;
    connect(&system)?;
    let clone = system.join("srv/kannuki");
    let words = ["clone", "--quiet", "--no-hardlinks", "--depth=1"];
    let origin = format!("file://{}", shell::root().display());
    shell::run(Command::new("git").args(words).arg(origin).arg(&clone))?;
    enter(&system, Network::OfHost, FETCH)?;
    enter(&system, Network::OwnLoopback, SERVE)?;
    enter(&system, Network::OfHost, TEST)
}

/// What a part of the work may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// Package registries, as the host does.
    OfHost,
    /// A loopback of its own, on which every port is free.
    OwnLoopback,
}

/// Copies what the network needs.
fn connect(system: &Path) -> Result<()> {
    let host = Path::new("/");
    for name in NETWORK_FILES.into_iter().filter(|name| host.join(name).is_file()) {
        fs::copy(host.join(name), system.join(name)).with_context(|| name.to_owned())?;
    }
    let certificates = system.join(CERTIFICATES);
    shell::run(Command::new("rm").arg("-rf").arg(&certificates))?;
    let (from, to) = (host.join(CERTIFICATES), certificates);
    shell::run(Command::new("cp").args(["--recursive", "--dereference"]).arg(from).arg(to))
}

/// Runs a script in the system, in namespaces that end with it.
fn enter(system: &Path, network: Network, script: &str) -> Result<()> {
    fs::write(system.join("srv/commands"), script)?;
    let sysroot = shell::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child"]);
    if network == Network::OwnLoopback {
        command.arg("--net");
    }
    command.args(["sh", "-eu", "-c", ENTER, "sh"]).arg(system).arg(sysroot.trim()).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    for name in VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    shell::run(&mut command)
}

/// Arguments: the system, the toolchain. The system becomes the root of its mounts, as on a machine
/// of its own: whoever makes a network namespace in it wants `/` to be a mount, and in a mere
/// chroot the story's machines would show their programs by the path that leads here. Loopback is
/// up already where it is the host's.
const ENTER: &str = "\
mkdir -p \"$1/opt/rust\"
mount --make-rprivate /
mount --bind \"$1\" \"$1\"
mount --bind -o ro \"$2\" \"$1/opt/rust\"
mount --rbind /dev \"$1/dev\"
mount -t proc proc \"$1/proc\"
mount --rbind /sys \"$1/sys\"
ip link set lo up
export HOME=/root LANG=C.UTF-8 PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd \"$1\"
mkdir -p oldroot
pivot_root . oldroot
umount -l oldroot
rmdir oldroot
exec chroot . /bin/sh -eu -c 'cd /srv/kannuki; . /srv/commands'
";

/// What cargo would fetch by itself in the next part, which has no network.
const FETCH: &str = "cargo fetch --quiet --locked\n";

/// The first command of the README, with checks of what a newcomer sees.
const SERVE: &str = r#"
echo "==> cargo run --release -- serve"
cargo run --release -- serve >/tmp/stdout 2>/tmp/stderr &
server=$!
answer=
for second in $(seq 1200); do
    answer=$(printf 'version\r\nquit\r\n' | nc -w 2 127.0.0.1 11211 || true)
    if [ -n "$answer" ]; then break; fi
    kill -0 "$server" || { cat /tmp/stderr; echo "the server ended"; exit 1; }
    sleep 1
done
grep -A 5 '^kannuki listens on' /tmp/stderr || { cat /tmp/stderr; echo "no greeting"; exit 1; }
case "$answer" in "VERSION "*) ;; *) echo "no VERSION after 20 minutes"; exit 1 ;; esac
try=$(sed -n 's/^try it *//p' /tmp/stderr)
echo "==> $try"
sh -c "$try" | tee /tmp/tried
grep -q '^world' /tmp/tried || { echo "the line to try it brings no world"; exit 1; }
kill -TERM "$server"
wait "$server" || { echo "the server ended with $?"; exit 1; }
if [ -s /tmp/stdout ]; then echo "serve wrote to stdout:"; cat /tmp/stdout; exit 1; fi
"#;

/// The second.
const TEST: &str = r#"
echo "==> cargo xtask test"
CI=true cargo xtask test
"#;
