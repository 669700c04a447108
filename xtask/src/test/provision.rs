//! The programs and libraries that tests talk to: real clients, and the memcached to compare with.
//!
//! As root on Debian what is missing is installed; else it is listed, with the packages that bring
//! it. Python and Node packages go below `target/` in pinned versions, checked against the hashes
//! in the lock files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::debian;
use super::report::{Outcome, Report};

use crate::shell;

/// Something that has to be on the machine.
struct Need {
    what: &'static str,
    is_there: fn() -> bool,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
}

const NEEDS: [Need; 20] = [
    Need { what: "nft", is_there: || program("nft"), packages: &["nftables"] },
    Need { what: "iptables", is_there: || program("iptables-nft"), packages: &["iptables"] },
    Need {
        what: "rpm (for its order of versions)",
        is_there: || program("rpm"),
        packages: &["rpm"],
    },
    Need { what: "patch", is_there: || program("patch"), packages: &["patch"] },
    Need {
        what: "C++ compiler (for the fuzzing runtime)",
        is_there: || program("c++"),
        packages: &["g++"],
    },
    Need {
        what: "memcached (to compare with)",
        is_there: || Path::new("/usr/bin/memcached").exists(),
        packages: &["memcached"],
    },
    Need {
        what: "memccapable",
        is_there: || program("memccapable"),
        packages: &["libmemcached-tools"],
    },
    Need { what: "network namespaces (ip)", is_there: || program("ip"), packages: &["iproute2"] },
    Need { what: "debootstrap", is_there: || program("debootstrap"), packages: &["debootstrap"] },
    Need {
        what: "systemd-nspawn",
        is_there: || program("systemd-nspawn"),
        packages: &["systemd-container"],
    },
    Need {
        what: "Python 3 with venv",
        is_there: || runs("python3", &["-c", "import venv, ensurepip"]),
        packages: &["python3", "python3-venv"],
    },
    Need {
        what: "pylibmc with SASL",
        is_there: || runs("/usr/bin/python3", &["-c", "import pylibmc"]),
        packages: &["python3-pylibmc", "libsasl2-modules"],
    },
    Need {
        what: "python-binary-memcached",
        is_there: || runs("/usr/bin/python3", &["-c", "import bmemcached"]),
        packages: &["python3-binary-memcached"],
    },
    Need {
        what: "Python's jsonschema",
        is_there: || runs("/usr/bin/python3", &["-c", "import jsonschema"]),
        packages: &["python3-jsonschema"],
    },
    Need { what: "Node.js", is_there: || program("node"), packages: &["nodejs"] },
    Need { what: "npm", is_there: || program("npm"), packages: &["npm"] },
    Need {
        what: "php-memcached",
        is_there: || runs("php", &["-r", "exit(extension_loaded('memcached') ? 0 : 1);"]),
        packages: &["php-cli", "php-memcached"],
    },
    Need {
        what: "Perl's Cache::Memcached::Fast",
        is_there: || runs("perl", &["-MCache::Memcached::Fast", "-e", "1"]),
        packages: &["perl", "libcache-memcached-fast-perl"],
    },
    Need {
        what: "Java compiler",
        is_there: || program("javac"),
        packages: &["default-jdk-headless"],
    },
    Need {
        what: "spymemcached",
        is_there: || Path::new("/usr/share/java/spymemcached.jar").exists(),
        packages: &["libspymemcached-java"],
    },
];

/// Where the Python and Node clients live.
pub(crate) fn clients() -> PathBuf {
    shell::target().join("clients")
}

/// Brings what is missing, or says what is.
pub(crate) fn install(report: &mut Report) {
    report.step("Debian packages", packages);
    report.step("Python client", python);
    report.step("Node client", node);
    report.step("SARIF's schema", || sarif_schema().map(|_| Outcome::passed()));
}

fn packages() -> Result<Outcome> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(Outcome::Passed("all there".into()));
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    let command = format!("apt-get install {}", packages.join(" "));
    for need in &missing {
        println!("missing: {} ({})", need.what, need.packages.join(" "));
    }
    if !shell::is_root() || shell::find("apt-get").is_none() {
        return Ok(Outcome::Missing(format!("as root: {command}")));
    }
    debian::install(&packages)?;
    match self::missing().first() {
        None => Ok(Outcome::Passed(format!("installed {}", packages.join(" ")))),
        Some(need) => bail!("installed {}, but {} is not there", packages.join(" "), need.what),
    }
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !(need.is_there)()).collect()
}

fn python() -> Result<Outcome> {
    let lock = shell::root().join("tests/clients/python/requirements.txt");
    let folder = clients().join("python");
    if is_current(&lock, &folder) {
        return Ok(Outcome::Passed("as pinned".into()));
    }
    if !runs("python3", &["-c", "import venv, ensurepip"]) {
        return Ok(Outcome::Missing("no python3 with venv".into()));
    }
    let module = ["-m", "venv", "--clear"];
    shell::run(Command::new("python3").args(module).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--requirement"];
    shell::run(Command::new(folder.join("bin/python")).args(pip).arg(&lock))?;
    fs::copy(&lock, stamp(&folder))?;
    Ok(Outcome::Passed("installed as pinned".into()))
}

fn node() -> Result<Outcome> {
    let source = shell::root().join("tests/clients/node");
    let lock = source.join("package-lock.json");
    let folder = clients().join("node");
    if is_current(&lock, &folder) {
        return Ok(Outcome::Passed("as pinned".into()));
    }
    if !program("npm") {
        return Ok(Outcome::Missing("no npm".into()));
    }
    fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(source.join(name), folder.join(name))?;
    }
    let words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    shell::run(Command::new("npm").args(words).current_dir(&folder))?;
    fs::copy(&lock, stamp(&folder))?;
    Ok(Outcome::Passed("installed as pinned".into()))
}

/// The published schema of SARIF, as the package that `tests/schemas` pins carries it.
pub(crate) fn sarif_schema() -> Result<PathBuf> {
    let manifest = shell::root().join("tests/schemas/Cargo.toml");
    let words = ["metadata", "--locked", "--format-version=1", "--manifest-path"];
    let told = shell::capture(shell::cargo().args(words).arg(&manifest))?;
    let package = told.split("\"manifest_path\":\"").find_map(|rest| {
        let path = rest.split('"').next()?;
        path.contains("/serde-sarif-").then(|| PathBuf::from(path))
    });
    let schema = package.map(|manifest| manifest.with_file_name("src").join("schema.json"));
    match schema {
        Some(schema) if schema.is_file() => Ok(schema),
        _ => bail!("the package serde-sarif carries no src/schema.json"),
    }
}

/// Written last: a copy of the lock file that was installed.
fn stamp(folder: &Path) -> PathBuf {
    folder.join("installed.lock")
}

fn is_current(lock: &Path, folder: &Path) -> bool {
    match (fs::read(lock), fs::read(stamp(folder))) {
        (Ok(wanted), Ok(installed)) => wanted == installed,
        _ => false,
    }
}

fn program(name: &str) -> bool {
    shell::find(name).is_some()
}

fn runs(name: &str, words: &[&str]) -> bool {
    shell::succeeds(Command::new(name).args(words))
}
