//! Processes and who started them.

use serde::{Deserialize, Serialize};

use super::Seen;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its id as this host sees it.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// Its id inside its own container, where that differs.
    pub inner_pid: Option<u32>,
    /// The kernel's short name for it ("memcached").
    pub name: String,
    /// The command line with the program's name first.
    pub argv: Seen<Vec<String>>,
    /// What it executes.
    pub executable: Seen<Executable>,
    /// When it started, in seconds since 1970-01-01 UTC.
    pub started: Seen<i64>,
    /// The effective user id.
    pub uid: u32,
    /// That user's name by `/etc/passwd`.
    pub user: Option<String>,
    /// Effective capabilities as the kernel's bit mask.
    pub capabilities: Seen<u64>,
    /// Its network namespace; `Known(None)` = the host's own.
    pub net_namespace: Seen<Option<u64>>,
    /// Its control group ("/system.slice/memcached.service").
    pub cgroup: Seen<String>,
    /// Names, never values, of its environment.
    pub environment_names: Seen<Vec<String>>,
    /// Who started it.
    pub starter: Starter,
    /// The container that it runs in.
    pub container: Option<Container>,
}

/// What a process executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Executable {
    /// Its path as the process sees it.
    pub path: String,
    /// Whether the file was replaced or removed since: "updated but not restarted".
    pub deleted: bool,
    /// A version that stands in the file itself, of programs that carry one in a known form.
    pub version: Option<String>,
    /// Option names found in the file that tell how it was built: "proxy_config", "ext_path",
    /// "MEMCACHED_SASL_PWDB", "enable-ssl".
    pub features: Vec<String>,
}

/// Who started a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starter {
    /// A systemd unit; its [`super::StartConfig`] has the id `systemd:UNIT`.
    Systemd {
        /// "memcached.service".
        unit: String,
        /// The user whose own instance runs it, if not the system's.
        user: Option<u32>,
    },
    /// A login session: by hand.
    Session {
        /// Its number at logind.
        session: String,
    },
    /// An init script.
    SysV {
        /// "/etc/init.d/memcached".
        script: String,
    },
    /// An OpenRC service.
    OpenRc {
        /// "memcached.blog".
        service: String,
    },
    /// A program of supervisord, monit, runit or s6.
    Supervisor {
        /// "supervisord".
        kind: String,
        /// The supervisor's process.
        pid: u32,
    },
    /// The container engine; see [`Process::container`].
    Container,
    /// A cron job.
    Cron,
    /// A shell or another program that is still running.
    Parent {
        /// Its process id.
        pid: u32,
        /// Its short name.
        name: String,
    },
    /// Nothing tells.
    Unknown,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// "docker", "podman", "lxc", "kubernetes", "containerd".
    pub engine: String,
    /// Its id.
    pub id: String,
    /// Its name, if the engine's files tell.
    pub name: Option<String>,
    /// Its image, if the engine's files tell.
    pub image: Option<String>,
    /// The engine's restart policy ("always", "unless-stopped", "no").
    pub restart: Option<String>,
}
