//! Mails that wait, and programs that protect the host.

use std::collections::HashSet;

use super::View;
use crate::{
    collect::root::Kind,
    facts::Seen,
    traces::{Guard, MailQueue},
};

/// Where mail servers keep what they could not deliver yet.
const QUEUES: [&str; 9] = [
    "/var/spool/postfix/deferred",
    "/var/spool/postfix/active",
    "/var/spool/postfix/incoming",
    "/var/spool/postfix/maildrop",
    "/var/spool/exim4/input",
    "/var/spool/exim/input",
    "/var/spool/mqueue",
    "/var/spool/clientmqueue",
    "/var/qmail/queue/mess",
];
/// Most names of one queue that are counted: of a flood of mails, enough.
const NAMES_MAX: u64 = 200_000;
/// Programs that protect or write logs: their process (15 letters at most) and their file.
const GUARDS: [(&str, &str); 9] = [
    ("auditd", "/usr/sbin/auditd"),
    ("auditd", "/sbin/auditd"),
    ("fail2ban-server", "/usr/bin/fail2ban-server"),
    ("crowdsec", "/usr/bin/crowdsec"),
    ("firewalld", "/usr/sbin/firewalld"),
    ("rsyslogd", "/usr/sbin/rsyslogd"),
    ("falcon-sensor", "/opt/CrowdStrike/falcon-sensor"),
    ("wazuh-agentd", "/var/ossec/bin/wazuh-agentd"),
    ("ossec-agentd", "/var/ossec/bin/ossec-agentd"),
];

pub(super) fn mail(view: &View) -> Vec<MailQueue> {
    let mut found = Vec::new();
    for path in QUEUES {
        if !view.root.exists(path) {
            continue;
        }
        let mut messages = 0;
        for name in view.root.names_in(path) {
            match name.kind {
                // Queues are split into folders of one letter.
                Kind::Folder if messages < NAMES_MAX => {
                    let below = view.root.names_in(&format!("{path}/{}", name.text));
                    messages += below.iter().filter(|name| name.kind == Kind::File).count() as u64;
                }
                Kind::File => messages += 1,
                _ => {}
            }
        }
        found.push(MailQueue { path: path.to_owned(), messages });
    }
    found
}

pub(super) fn guards(view: &View, running: Seen<HashSet<String>>) -> Vec<Guard> {
    let installed = GUARDS.iter().filter(|(_, path)| {
        let link = view.root.own_stat("/sbin").is_some_and(|s| s.st_mode & 0o170_000 == 0o120_000);
        // Where `/sbin` leads to `/usr/sbin` it is the same file.
        !(path.starts_with("/sbin/") && link) && view.root.exists(path)
    });
    let guard = |(name, path): &(&str, &str)| {
        let running = running.clone().map(|names| names.contains(*name));
        Guard { name: (*name).to_owned(), path: (*path).to_owned(), running }
    };
    installed.map(guard).collect()
}
