//! When the system was installed, by files that nothing touches later.

use super::View;
use crate::facts::{Seen, Why};

/// Files that an installation or a first boot writes once, the surest first.
const SETTLED: [&str; 6] = [
    "/var/log/installer/syslog",
    "/root/anaconda-ks.cfg",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/etc/machine-id",
    "/etc/hostname",
    "/etc/fstab",
];

pub(super) fn installed_at(view: &View) -> Seen<i64> {
    let mut times = SETTLED.iter().filter_map(|path| view.root.stat(path).map(|s| s.st_mtime));
    match times.next() {
        Some(at) => Seen::Known(at),
        None => Seen::unseen(Why::Absent, "no file tells when the system was installed"),
    }
}
