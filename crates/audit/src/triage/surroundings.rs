//! Checks of what stands around: web servers, protection, mail, containers, the age of the system.

use serde::Deserialize;

use super::{Case, Found, Grade, Sign, accounts::is_later, files, show};
use crate::{
    facts::Seen,
    findings::Evidence,
    traces::{TextFile, TextKind, WebSign},
};

/// Mails that wait on a host that sends none for others.
const MAILS_NOTED: u64 = 100;
/// So many are a flood of mails, or a newsletter.
const MAILS_SUSPICIOUS: u64 = 5000;

fn texts<'c>(case: &'c Case<'_>, kind: TextKind) -> impl Iterator<Item = &'c TextFile> {
    case.traces.texts.iter().filter(move |file| file.kind == kind)
}

/// What was not readable below these paths makes the check blind.
fn unread(case: &Case<'_>, found: &mut Found, paths: &[&str]) {
    for gap in &case.traces.gaps {
        if paths.iter().any(|path| gap.what.starts_with(path)) {
            found.unseen(&format!("{}: {}", gap.what, gap.unseen.detail));
            found.blind = true;
        }
    }
}

pub(super) fn web_logs(case: &Case<'_>) -> Found {
    let requests = &case.traces.web_requests;
    let mut found = Found::among(usize::try_from(requests.lines).unwrap_or(usize::MAX));
    for trace in &requests.found {
        let (grade, text) = match trace.sign {
            WebSign::Leak => (Grade::Suspicious, "sign.web-leak"),
            WebSign::Upload => (Grade::Suspicious, "sign.web-upload"),
            WebSign::Guessed => (Grade::Suspicious, "sign.web-guessed"),
            // Many sites answer whatever they are asked.
            WebSign::Command => (Grade::Note, "sign.web-command"),
        };
        let evidence = Evidence::file(&trace.path, 0, &trace.example);
        let sign = Sign::new(grade, text, evidence).with("from", &trace.from).at(trace.first);
        let first = trace.first.map_or_else(|| "?".to_owned(), show::utc);
        let sign = sign.with("count", &trace.count.to_string()).with("first", &first);
        found.sign(sign.with("request", &trace.example).supporting());
    }
    let folders = ["/var/log/apache2", "/var/log/httpd", "/var/log/nginx", "/var/log/lighttpd"];
    unread(case, &mut found, &folders);
    found
}

pub(super) fn protection(case: &Case<'_>) -> Found {
    let mut found = Found::among(case.traces.guards.len());
    for guard in &case.traces.guards {
        if guard.running == Seen::Known(false) {
            let evidence = Evidence::file(&guard.path, 0, &guard.name);
            let sign = Sign::new(Grade::Note, "sign.guard-stopped", evidence).supporting();
            found.sign(sign.with("name", &guard.name));
        }
        if let Seen::Unseen(unseen) = &guard.running {
            found.unseen(&format!("{}: {}", guard.name, unseen.detail));
        }
    }
    for file in texts(case, TextKind::Guard) {
        found.looked_at += 1;
        for (number, line) in crate::formats::lines(&file.text) {
            let weak = ["SELINUX=disabled", "SELINUX=permissive"];
            if weak.contains(&line.trim()) {
                let evidence = Evidence::file(&file.path, number, line.trim());
                let sign = Sign::new(Grade::Note, "sign.selinux-off", evidence);
                let sign = sign.with("rule", line.trim()).at(Some(file.modified));
                found.sign(if is_later(case, file.modified) { sign.supporting() } else { sign });
            }
        }
    }
    filters(case, &mut found);
    found
}

/// Rules that the next boot would load, and that are not in force now.
fn filters(case: &Case<'_>, found: &mut Found) {
    let firewall = &case.traces.facts.firewall;
    let refuses = |text: &str| {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .any(|line| ["drop", "DROP", "reject", "REJECT"].iter().any(|word| line.contains(word)))
    };
    let now = [&firewall.nftables, &firewall.legacy_v4, &firewall.iptables_v4];
    let texts = || now.iter().filter_map(|rules| rules.known());
    let blind = texts().next().is_none();
    let in_force = texts().any(|rules| refuses(&rules.text));
    for file in &firewall.at_boot {
        found.looked_at += 1;
        let saved = file.text.known().is_some_and(|text| refuses(text));
        if saved && !blind && !in_force && case.traces.facts.collection.live {
            let evidence = Evidence::file(&file.path, 0, "");
            let sign = Sign::new(Grade::Note, "sign.filter-gone", evidence).supporting();
            found.sign(sign.with("path", &file.path).at(file.modified));
        }
    }
    if blind {
        found.unseen("the rules of the packet filter that are in force");
    }
}

pub(super) fn mail(case: &Case<'_>) -> Found {
    let total: u64 = case.traces.mail.iter().map(|queue| queue.messages).sum();
    let mut found = Found::among(usize::try_from(total).unwrap_or(usize::MAX));
    for queue in case.traces.mail.iter().filter(|queue| queue.messages >= MAILS_NOTED) {
        let many = queue.messages >= MAILS_SUSPICIOUS;
        let grade = if many { Grade::Suspicious } else { Grade::Note };
        let evidence = Evidence::file(&queue.path, 0, &format!("{} files", queue.messages));
        let sign = Sign::new(grade, "sign.mails", evidence).supporting();
        found.sign(sign.with("count", &queue.messages.to_string()).with("path", &queue.path));
    }
    unread(case, &mut found, &["/var/spool/postfix", "/var/spool/exim", "/var/spool/mqueue"]);
    found
}

/// What of an engine's record of a container tells how close to the host it is.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    privileged: bool,
    binds: Option<Vec<String>>,
    pid_mode: String,
    cap_add: Option<Vec<String>>,
}

/// The engine's own settings.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Daemon {
    hosts: Option<Vec<String>>,
    #[serde(rename = "tlsverify")]
    tls_verify: bool,
}

pub(super) fn containers(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    for file in texts(case, TextKind::Engine) {
        found.looked_at += 1;
        let read = match file.path.ends_with("/hostconfig.json") {
            true => serde_json::from_str(&file.text).map(|config| close_to_host(&config)),
            false => serde_json::from_str(&file.text).map(|daemon| steered(&daemon)),
        };
        match read {
            Ok(signs) => {
                for (grade, text, what) in signs {
                    let evidence = Evidence::file(&file.path, 0, &what);
                    let sign = Sign::new(grade, text, evidence).at(Some(file.modified));
                    found.sign(sign.with("what", &what).supporting());
                }
            }
            Err(error) => {
                found.unseen(&format!("{}: {error}", file.path));
                found.blind = true;
            }
        }
    }
    unread(case, &mut found, &["/var/lib/docker", "/etc/docker"]);
    files::cut(case, &mut found, &["/var/lib/docker"]);
    found
}

type Told = Vec<(Grade, &'static str, String)>;

fn close_to_host(config: &HostConfig) -> Told {
    let binds = config.binds.as_deref().unwrap_or_default();
    let root = |bind: &&String| {
        ["/:", "/etc:", "/root:", "/var/run/docker.sock:", "/run/docker.sock:"]
            .iter()
            .any(|begin| bind.starts_with(begin))
    };
    let mut what: Vec<String> = binds.iter().filter(root).map(|b| format!("bind {b}")).collect();
    let whole_host = config.privileged && binds.iter().any(|bind| bind.starts_with("/:"));
    if config.privileged {
        what.push("privileged".to_owned());
    }
    if config.pid_mode == "host" {
        what.push("pid host".to_owned());
    }
    let strong = ["ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE"];
    let caps = config.cap_add.iter().flatten();
    what.extend(
        caps.filter(|cap| strong.iter().any(|s| cap.ends_with(s))).map(|cap| format!("cap {cap}")),
    );
    let grade = if whole_host { Grade::Suspicious } else { Grade::Note };
    if what.is_empty() { Vec::new() } else { vec![(grade, "sign.container", what.join(", "))] }
}

fn steered(daemon: &Daemon) -> Told {
    let hosts = daemon.hosts.iter().flatten();
    let open = |host: &&String| {
        let local = ["127.", "localhost", "[::1]"];
        host.strip_prefix("tcp://").is_some_and(|at| !local.iter().any(|own| at.starts_with(own)))
    };
    let open = hosts.filter(open).filter(|_| !daemon.tls_verify);
    open.map(|host| (Grade::Suspicious, "sign.engine-open", host.clone())).collect()
}

/// Until when systems were or will be supported without an extra contract, as known when this
/// version was made: `ID`, `VERSION_ID` or its beginning, the last day.
const SUPPORTED: &[(&str, &str, &str)] = &[
    ("debian", "7", "2018-05-31"),
    ("debian", "8", "2020-06-30"),
    ("debian", "9", "2022-06-30"),
    ("debian", "10", "2024-06-30"),
    ("debian", "11", "2026-08-31"),
    ("debian", "12", "2028-06-30"),
    ("debian", "13", "2030-06-30"),
    ("ubuntu", "12.04", "2017-04-28"),
    ("ubuntu", "14.04", "2019-04-25"),
    ("ubuntu", "16.04", "2021-04-30"),
    ("ubuntu", "18.04", "2023-05-31"),
    ("ubuntu", "20.04", "2025-05-31"),
    ("ubuntu", "22.04", "2027-04-30"),
    ("ubuntu", "24.04", "2029-04-30"),
    ("centos", "5", "2017-03-31"),
    ("centos", "6", "2020-11-30"),
    ("centos", "7", "2024-06-30"),
    ("centos", "8", "2021-12-31"),
    ("rhel", "5", "2017-03-31"),
    ("rhel", "6", "2020-11-30"),
    ("rhel", "7", "2024-06-30"),
    ("rhel", "8", "2029-05-31"),
    ("rhel", "9", "2032-05-31"),
    ("almalinux", "8", "2029-03-01"),
    ("almalinux", "9", "2032-05-31"),
    ("rocky", "8", "2029-05-31"),
    ("rocky", "9", "2032-05-31"),
    ("alpine", "3.18", "2025-05-09"),
    ("alpine", "3.19", "2025-11-01"),
    ("alpine", "3.20", "2026-04-01"),
    ("alpine", "3.21", "2026-11-01"),
    ("alpine", "3.22", "2027-05-01"),
];

pub(super) fn support(case: &Case<'_>) -> Found {
    let facts = &case.traces.facts;
    let os = match &facts.host.os {
        Seen::Known(os) => os,
        Seen::Unseen(unseen) => return Found::blind(unseen),
    };
    let mut found = Found::among(1);
    let version = os.version_id.as_str();
    let is = |known: &str| {
        version.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let known = SUPPORTED.iter().find(|(id, known, _)| os.id == *id && is(known));
    let Some((.., last)) = known else {
        found.unseen(&format!("until when {} {version} is supported is not known here", os.id));
        found.blind = true;
        return found;
    };
    let at = case.incident.unwrap_or(facts.collection.at);
    if show::utc(at).get(..10).is_some_and(|day| day > *last) {
        let evidence = Evidence::file(&os.path, 0, &os.name);
        let sign = Sign::new(Grade::Note, "sign.unsupported", evidence).with("day", last);
        found.sign(sign.with("os", &format!("{} {version}", os.id)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_are_the_host_are_told() {
        let read = |text: &str| close_to_host(&serde_json::from_str(text).unwrap());
        let whole = read(r#"{"Privileged": true, "Binds": ["/:/host"], "PidMode": "host"}"#);
        assert_eq!(whole[0].0, Grade::Suspicious);
        assert_eq!(whole[0].2, "bind /:/host, privileged, pid host");
        let socket = read(r#"{"Binds": ["/var/run/docker.sock:/s"], "CapAdd": null}"#);
        assert_eq!((socket[0].0, socket.len()), (Grade::Note, 1));
        let plain = r#"{"Binds": ["/srv/www:/www"], "PidMode": "", "CapAdd": ["NET_ADMIN"]}"#;
        assert!(read(plain).is_empty());
        let open = |text: &str| steered(&serde_json::from_str(text).unwrap());
        assert_eq!(open(r#"{"hosts": ["tcp://0.0.0.0:2375", "unix:///x"]}"#).len(), 1);
        assert!(open(r#"{"hosts": ["tcp://127.0.0.1:2375"]}"#).is_empty());
        assert!(open(r#"{"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": true}"#).is_empty());
    }

    #[test]
    fn every_last_day_is_one() {
        for (id, version, day) in SUPPORTED {
            let at = crate::formats::time::read(&format!("{day} 00:00:00"));
            assert!(at.is_some(), "{id} {version} {day}");
        }
    }
}
