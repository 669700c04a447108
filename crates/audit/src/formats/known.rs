//! Programs that speak memcached's protocol, by the names of their files and packages.

/// File names of programs, in lower case.
const PROGRAMS: &[&str] = &[
    "memcached",
    "memcached-debug",
    "kannuki",
    "nutcracker",
    "twemproxy",
    "twemcache",
    "mcrouter",
    "moxi",
    "memcachedb",
    "yrmcdsd",
    "lsmcd",
    "beansdb",
    "ktserver",
    "dragonfly",
    "pelikan_twemcache",
    "pelikan_segcache",
    "pelikan_slimcache",
    "systemd-memcached-wrapper",
];

/// Names of packages that bring one of them, or a proxy for them.
const PACKAGES: &[&str] = &[
    "memcached",
    "memcached-selinux",
    "kannuki",
    "nutcracker",
    "twemproxy",
    "mcrouter",
    "moxi",
    "memcachedb",
    "yrmcds",
    "lsmcd",
    "kyototycoon",
    "dragonfly",
    "zimbra-memcached",
];

/// Ports that such servers use when nobody chose one; memcached's first.
pub(crate) const PORTS: &[u16] = &[11211, 11210, 21201, 22121];

/// Whether a program's path or name is that of a server of this protocol.
pub(crate) fn is_cache(program: &str) -> bool {
    PROGRAMS.contains(&stem(program).as_str())
}

/// Whether a package brings one.
pub(crate) fn is_cache_package(name: &str) -> bool {
    PACKAGES.contains(&name)
}

/// The file name in lower case, without a version that was appended ("memcached-1.4.15").
fn stem(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program).to_ascii_lowercase();
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    match name.rsplit_once('-') {
        Some((stem, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            stem.to_owned()
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_paths_and_versions() {
        for name in ["memcached", "/usr/local/bin/memcached-1.4.15", "/opt/x/Memcached (deleted)"] {
            assert!(is_cache(name), "{name}");
        }
        for name in ["memcached-tool", "memcached.sh", "php-memcached", "", "/"] {
            assert!(!is_cache(name), "{name}");
        }
    }
}
