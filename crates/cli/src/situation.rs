//! What the program finds around it when it starts: its user, its environment, the host's users.
//! The only file here that looks at the host.

use std::{env, ffi::OsString, path::PathBuf};

/// Under which name the program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CalledAs {
    /// As `kannuki`.
    Kannuki,
    /// As `memcached`, by a link: it behaves as memcached does.
    Memcached,
}

/// Accounts to become when started as root without -u, the most fitting first: our own, then those
/// that the packages of memcached make, then the one that every system has.
const UNPRIVILEGED: [&str; 4] = ["kannuki", "memcache", "memcached", "nobody"];

/// Facts of the start.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    pub(crate) called_as: CalledAs,
    /// Started with the rights of root.
    pub(crate) root: bool,
    /// The account to become when -u is missing.
    pub(crate) unprivileged: Option<&'static str>,
    /// Sockets were handed over.
    pub(crate) sockets_inherited: bool,
    /// `MEMCACHED_SASL_PWDB`
    pub(crate) sasl_pwdb: Option<PathBuf>,
    /// `SASL_CONF_PATH` is set.
    pub(crate) sasl_conf: bool,
    /// `MEMCACHED_PORT_FILENAME`
    pub(crate) port_file: Option<PathBuf>,
    /// Where relative paths begin, also after the server has gone to `/`.
    pub(crate) directory: PathBuf,
}

impl Situation {
    /// Looks around.
    pub(crate) fn look(called_as: CalledAs) -> Self {
        Self {
            called_as,
            root: rustix::process::geteuid().is_root(),
            unprivileged: unprivileged(&std::fs::read("/etc/passwd").unwrap_or_default()),
            sockets_inherited: sockets_inherited(),
            sasl_pwdb: env::var_os("MEMCACHED_SASL_PWDB").filter(not_empty).map(PathBuf::from),
            sasl_conf: env::var_os("SASL_CONF_PATH").as_ref().is_some_and(not_empty),
            port_file: env::var_os("MEMCACHED_PORT_FILENAME").filter(not_empty).map(PathBuf::from),
            directory: env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }

    /// Started by hand in `/start`, with nothing in the environment: for tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            called_as: CalledAs::Kannuki,
            root: false,
            unprivileged: None,
            sockets_inherited: false,
            sasl_pwdb: None,
            sasl_conf: false,
            port_file: None,
            directory: PathBuf::from("/start"),
        }
    }
}

/// Sockets were handed to this very process. Variables that a parent forgot to remove name another.
fn sockets_inherited() -> bool {
    let addressee = env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
    env::var_os("LISTEN_FDS").is_some() && addressee == Some(std::process::id())
}

fn not_empty(value: &OsString) -> bool {
    !value.is_empty()
}

/// The first of the accounts that exists.
fn unprivileged(passwd: &[u8]) -> Option<&'static str> {
    let exists = |name: &str| {
        passwd
            .split(|b| *b == b'\n')
            .any(|line| line.split(|b| *b == b':').next() == Some(name.as_bytes()))
    };
    UNPRIVILEGED.into_iter().find(|name| exists(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_fitting_account_is_chosen() {
        let passwd = b"root:x:0:0::/:/bin/sh\nnobody:x:65534:\nmemcache:x:101:\n#kannuki:x\n";
        assert_eq!(unprivileged(passwd), Some("memcache"));
        assert_eq!(unprivileged(b"root:x:0\nnobodyx:x:1\n"), None);
    }
}
