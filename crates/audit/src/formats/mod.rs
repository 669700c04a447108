//! Formats that hosts keep their facts in: texts in, values out.
//!
//! | module | what it reads |
//! |---|---|
//! | [`process`] | `/proc/PID/{stat,status,cgroup}`, control groups as starters and containers |
//! | [`net_table`] | `/proc/net/{tcp,tcp6,udp,udp6,unix}` |
//! | [`net_address`] | `/proc/net/fib_trie`, `/proc/net/if_inet6` |
//! | [`mod@unit`] | systemd units with their drop-ins and variables |
//! | [`variables`] | `KEY=value` files that no shell reads: `os-release`, `EnvironmentFile=` |
//! | [`ini`] | sections with settings: supervisord |
//! | [`script`] | command lines in boot scripts and cron tables |
//! | [`container`] | engines' records, compose files, published ports |
//! | [`journal`] | files of systemd's journal |
//! | [`known`] | names of programs that speak memcached's protocol |
//! | [`dpkg`], [`apk`], [`rpm`], [`pacman`] | package databases and logs |
//! | [`logins`] | records of log-ins; lines of sshd, sudo and su |
//! | [`base64`] | keys, fingerprints, mail |
//! | [`time`] | dates in logs, time zones |
//! | [`mod@reference`] | settings of programs that use a cache |
//! | [`web_log`] | lines of the logs of web servers |
//! | [`secrets`] | private keys, hashes and passwords in other texts, to be taken out |
//!
//! Invariants: nothing here reads a file or a clock; nothing panics, whatever the text; what cannot
//! be understood is left out or said, never guessed.

pub(crate) mod apk;
pub(crate) mod base64;
pub(crate) mod container;
pub(crate) mod dpkg;
pub(crate) mod ini;
pub(crate) mod journal;
pub(crate) mod known;
pub(crate) mod logins;
pub(crate) mod net_address;
pub(crate) mod net_table;
pub(crate) mod pacman;
pub(crate) mod process;
pub(crate) mod reference;
pub(crate) mod rpm;
pub(crate) mod script;
pub(crate) mod secrets;
pub(crate) mod time;
pub(crate) mod unit;
pub(crate) mod variables;
pub(crate) mod web_log;

/// Lines with their numbers from 1; carriage returns at their ends are dropped.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines())
}
