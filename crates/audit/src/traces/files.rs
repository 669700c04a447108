//! Files that start, steer or hide something.

use serde::{Deserialize, Serialize};

/// Which package brought a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// One of the system's packages.
    Package,
    /// None.
    Nobody,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// A key that may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizedKey {
    /// The file.
    pub path: String,
    /// Its line, from 1.
    pub line: u32,
    /// Whose account it opens.
    pub user: String,
    /// That account's number.
    pub uid: u32,
    /// "ssh-ed25519".
    pub kind: String,
    /// SHA-256 of the key as `ssh-keygen -l` shows it: never the key.
    pub fingerprint: String,
    /// The words behind it.
    pub comment: String,
    /// What stands before it: `command="..."`.
    pub options: String,
    /// When the file was written, in seconds since 1970-01-01 UTC.
    pub modified: i64,
    /// When the file was last touched in any way.
    pub changed: i64,
}

/// What a short text does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextKind {
    /// A table or script of cron, anacron or at.
    Cron,
    /// A unit, timer, generator or drop-in of systemd.
    Unit,
    /// Something that runs at boot, at a log-in or at an event.
    Hook,
    /// `/etc/ld.so.preload`.
    Preload,
    /// A shell's history.
    History,
    /// The settings of the ssh server.
    Sshd,
    /// The settings of PAM.
    Pam,
    /// `sudoers`.
    Sudoers,
    /// `/etc/group`.
    Groups,
    /// How an engine runs a container, and who may steer the engine.
    Engine,
    /// The settings of what protects the host.
    Guard,
    /// `/etc/hosts` and the like.
    Names,
    /// A script below a web server's folders.
    Web,
}

/// A short text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFile {
    /// What it does.
    pub kind: TextKind,
    /// Where it is.
    pub path: String,
    /// What stands in it, cut to a bound; empty where a link leads to `/dev/null`.
    pub text: String,
    /// Whose it is.
    pub uid: u32,
    /// Which package brought it.
    pub owner: Owner,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
    /// When it was written.
    pub modified: i64,
    /// When it was last touched in any way.
    pub changed: i64,
    /// Whether it may not be changed (`chattr +i`, `+a`).
    pub immutable: bool,
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogState {
    /// Where it is.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
    /// When it was written.
    pub modified: i64,
    /// Records of zeros between others: somebody wiped them.
    pub wiped: u32,
    /// The first and the last time in it, if it was read.
    pub span: Option<(i64, i64)>,
}

/// Why a file stands in the traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A program where everybody may write.
    Program,
    /// A name that hides (`...`, a dot folder among temporary files).
    HiddenName,
    /// A regular file among devices.
    AmongDevices,
    /// It gives its user's rights to whoever runs it.
    SetUser,
    /// A PAM module.
    PamModule,
    /// It was changed in the time of the incident.
    Recent,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTrace {
    /// Why it stands here.
    pub place: Place,
    /// Where it is.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Whose it is.
    pub uid: u32,
    /// Which package brought it.
    pub owner: Owner,
    /// When it was written.
    pub modified: i64,
    /// When it was last touched in any way.
    pub changed: i64,
}

/// Whether programs are as their packages brought them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// How it was done: "md5sums of dpkg", "rpm -V".
    pub by: String,
    /// Packages that were looked at.
    pub packages: Vec<String>,
    /// Files that were compared.
    pub compared: u64,
    /// Files that differ.
    pub changed: Vec<ChangedFile>,
}

/// A file that is not as its package brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedFile {
    /// Where it is.
    pub path: String,
    /// Its package.
    pub package: String,
    /// "differs" or "missing".
    pub how: String,
    /// When it was last touched in any way.
    pub changed: Option<i64>,
}
