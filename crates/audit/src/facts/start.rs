//! What would start a cache: units, scripts, files of variables, containers.

use serde::{Deserialize, Serialize};

use super::Seen;

/// One way in which a cache is or would be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartConfig {
    /// Stable name: "systemd:memcached.service", "sysv:memcached", "openrc:memcached.blog",
    /// "supervisord:cache", "cron:/etc/crontab:7", "docker:0123456789ab",
    /// "quadlet:FILE", "systemd-user:NAME:cache.service", "compose:FILE#service".
    pub id: String,
    /// Who would start it.
    pub kind: StartKind,
    /// What it is made of, the weakest first; a later file wins over an earlier one.
    pub files: Vec<ConfigFile>,
    /// Whether the next boot starts it.
    pub at_boot: Seen<AtBoot>,
    /// What would run, after all files were merged and variables expanded. Empty: nothing
    /// (masked), or see `problems`.
    pub commands: Vec<StartCommand>,
    /// Ports that are opened by somebody else on its behalf: systemd sockets, containers'
    /// published ports. As written: "0.0.0.0:11211/tcp".
    pub opened_for_it: Vec<String>,
    /// What cannot be understood or contradicts itself, in words.
    pub problems: Vec<String>,
}

/// Who starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartKind {
    /// A systemd service.
    Systemd,
    /// A systemd service of one user, or of every user.
    SystemdUser,
    /// A systemd socket: the port is open while no process runs.
    SystemdSocket,
    /// An init script with links in `rc?.d`.
    SysV,
    /// An OpenRC service.
    OpenRc,
    /// An upstart job.
    Upstart,
    /// A supervisord program.
    Supervisord,
    /// runit, s6, monit or another supervisor's file.
    OtherSupervisor,
    /// `/etc/rc.local`.
    RcLocal,
    /// A cron line (`@reboot` or a time).
    Cron,
    /// xinetd or inetd.
    Xinetd,
    /// A container of an engine's own records.
    Container,
    /// A compose file; it starts only what somebody starts with it.
    Compose,
    /// A static pod.
    Kubernetes,
    /// FreeBSD's `rc.conf`.
    FreeBsd,
}

/// Whether the next boot starts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtBoot {
    /// Yes.
    Enabled {
        /// The link, line or setting that says so.
        by: String,
    },
    /// No.
    Disabled,
    /// No, and nothing else can start it either (`systemctl mask`).
    Masked,
    /// Only when something else asks for it.
    OnDemand {
        /// What asks.
        by: String,
    },
}

/// A file and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Its path on the host.
    pub path: String,
    /// What it is for.
    pub role: FileRole,
    /// Its text; bytes that are no UTF-8 are replaced.
    pub text: Seen<String>,
    /// SHA-256 of its bytes as hex; `None` if it was not read whole.
    pub sha256: Option<String>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Last change, in seconds since 1970-01-01 UTC.
    pub modified: Option<i64>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileRole {
    /// A unit, script, job or pod.
    Start,
    /// A drop-in that changes the unit.
    DropIn,
    /// Variables for it (`EnvironmentFile=`, sysconfig, conf.d).
    Variables,
    /// Options, one a line (Debian's memcached.conf).
    Options,
    /// A filter's rules or settings.
    Filter,
    /// Log rotation.
    Rotation,
    /// Anything else that is quoted as evidence.
    Evidence,
}

/// A command that would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartCommand {
    /// Words with their origin, the program first.
    pub words: Vec<StartWord>,
    /// The user that it would run as, if the starter sets one.
    pub user: Option<String>,
    /// Where standard error goes if the starter says so ("journal", "null", a path).
    pub standard_error: Option<String>,
    /// Variables that the starter sets for the process, by name only.
    pub environment_names: Vec<String>,
}

/// A word of a command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartWord {
    /// The word, without quotes.
    pub text: String,
    /// The file that it stands in.
    pub path: String,
    /// Its line there, from 1.
    pub line: u32,
}

impl StartConfig {
    /// Whether the next boot starts it; `None` = not known.
    #[must_use]
    pub fn comes_back(&self) -> Option<bool> {
        self.at_boot.known().map(|at_boot| matches!(at_boot, AtBoot::Enabled { .. }))
    }
}

impl StartCommand {
    /// The words alone.
    pub fn argv(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| word.text.as_str())
    }
}
