//! Method 3: a table of our own drops what comes from outside, now and after each boot.
//!
//! Invariants: no policy and no rule of others is changed; only the ports of the targets are named,
//! never that of SSH; the whole goes away with one `delete table` (or with the rules' own comment).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::target::{Open, Opening};
use super::{Method, Note, Plan};
use crate::facts::{Facts, Protocol, Seen, Why};
use crate::rules::Case;

/// The rules' file.
const RULES: &str = "/etc/kannuki/firewall.nft";
/// The unit that loads them.
const UNIT: &str = "kannuki-firewall.service";
/// Where it stands.
const UNIT_PATH: &str = "/etc/systemd/system/kannuki-firewall.service";
/// SSH's port, which no rule of ours may name.
const SSH: u16 = 22;
/// Head of both files.
const HEAD: &str =
    "# Written by `kannuki close`; `kannuki close --list` says how to take it back.\n";

pub(super) fn plan(case: &Case<'_>, openings: &[Open<'_>]) -> Plan {
    let mut plan = Plan::new(Method::Firewall);
    let mut ports = BTreeSet::new();
    for open in openings.iter().filter(|open| !is_shut_already(case.facts, open)) {
        match allowed(case.facts, open) {
            Ok(()) => {
                ports.extend(open.target.ports.iter().copied());
                plan.targets.push(open.target.clone());
                plan.note_peers(open);
            }
            Err(why) => plan.leave(open, why),
        }
    }
    if plan.targets.is_empty() {
        return plan;
    }
    ports.extend(kept_ports(case.facts));
    write(case.facts, &ports, &mut plan);
    plan.note(Note::new("close.risk-filter"));
    plan.untouched = ["close.keeps-settings", "close.keeps-policy", "close.keeps-packages"]
        .map(Note::new)
        .to_vec();
    plan
}

fn allowed(facts: &Facts, open: &Open<'_>) -> Result<(), Note> {
    let by_systemd = facts.host.init.known().is_some_and(|init| init.contains("systemd"));
    if !by_systemd {
        return Err(Note::new("close.left-no-systemd"));
    }
    if !has_nft(facts) && !has_iptables(facts) {
        return Err(Note::new("close.left-no-filter"));
    }
    let of_filter = |opening: &Opening| opening.protocol != Protocol::Unix && opening.port != SSH;
    if open.target.ports.is_empty() || !open.target.ports.iter().all(of_filter) {
        return Err(Note::new("close.left-ports"));
    }
    if !has_nft(facts) && open.is_contained() {
        return Err(Note::new("close.left-container"));
    }
    Ok(())
}

/// What does not run yet has no socket whose way through the filter could be judged: then it is our
/// own table, loaded at boot, that says so.
fn is_shut_already(facts: &Facts, open: &Open<'_>) -> bool {
    let is_enabled = |(name, at_boot): &(String, Seen<bool>)| {
        name == UNIT && at_boot.known().is_some_and(|enabled| *enabled)
    };
    let kept = kept_ports(facts);
    open.process.is_none()
        && !open.target.ports.is_empty()
        && open.target.ports.iter().all(|port| kept.contains(port))
        && facts.firewall.services.iter().any(is_enabled)
}

fn has_nft(facts: &Facts) -> bool {
    is_installed(facts, "nft")
        && facts.firewall.nftables.why().is_none_or(|unseen| unseen.why != Why::Absent)
}

fn has_iptables(facts: &Facts) -> bool {
    is_installed(facts, "iptables") && is_installed(facts, "ip6tables")
}

/// Where no command was run (a disk, saved facts of old), nothing says that it is missing.
fn is_installed(facts: &Facts, program: &str) -> bool {
    let runs = facts.collection.commands.iter();
    let mut of_program = runs.filter(|run| run.argv.first().is_some_and(|name| name == program));
    !of_program.any(|run| run.outcome == "not installed")
}

/// Ports that an earlier run shut: a new file must not open them again.
fn kept_ports(facts: &Facts) -> Vec<Opening> {
    let ours = |path: &str| path == RULES || path == UNIT_PATH;
    let files = facts.firewall.at_boot.iter().filter(|file| ours(&file.path));
    let mut ports = Vec::new();
    for text in files.filter_map(|file| file.text.known()) {
        let words: Vec<&str> = text.split_whitespace().collect();
        for three in words.windows(3) {
            if let [name, "dport" | "--dport", port] = three
                && let Ok(port) = port.parse()
            {
                let protocol = if *name == "udp" { Protocol::Udp } else { Protocol::Tcp };
                // Whoever edited the file by hand: SSH is in no rule of ours.
                if port != SSH {
                    ports.push(Opening { protocol, port });
                }
            }
        }
    }
    ports
}

fn write(facts: &Facts, ports: &BTreeSet<Opening>, plan: &mut Plan) {
    let old = |path: &str| {
        let files = facts.firewall.at_boot.iter();
        files.filter(|file| file.path == path).find_map(|file| file.text.known().cloned())
    };
    let unit = if has_nft(facts) {
        plan.file(RULES, old(RULES).as_deref(), rules(ports));
        nft_unit()
    } else {
        iptables_unit(ports)
    };
    plan.file(UNIT_PATH, old(UNIT_PATH).as_deref(), unit);
    plan.write_files();
    let reload = plan.run(&["systemctl", "daemon-reload"]);
    let enable = plan.run(&["systemctl", "enable", UNIT]);
    let had_unit = plan.files.iter().any(|file| file.path == UNIT_PATH && file.before.is_some());
    if had_unit {
        plan.clear_start_limit(UNIT);
    }
    let start = plan.run(&["systemctl", "restart", UNIT]);
    if had_unit {
        plan.restore_files();
        plan.back_run(0, &["systemctl", "daemon-reload"]);
        plan.back_clear_start_limit(start, UNIT);
        plan.back_run(start, &["systemctl", "restart", UNIT]);
        return;
    }
    // The unit's own end takes the rules out of the kernel; so it goes before its file does.
    plan.back_run(start, &["systemctl", "stop", UNIT]);
    plan.back_run(enable, &["systemctl", "disable", UNIT]);
    plan.restore_files();
    plan.back_run(reload, &["systemctl", "daemon-reload"]);
}

/// `prerouting` sees what a container engine redirects before it does so; `local` keeps what is
/// only routed through this host out of it.
fn rules(ports: &BTreeSet<Opening>) -> String {
    let mut text =
        format!("{HEAD}add table inet kannuki\ndelete table inet kannuki\ntable inet kannuki {{\n");
    for (chain, hook, only) in [
        ("before", "prerouting priority -310", "fib daddr type local "),
        ("in", "input priority -150", ""),
    ] {
        let _ = writeln!(text, "\tchain {chain} {{");
        let _ = writeln!(text, "\t\ttype filter hook {hook}; policy accept;");
        for Opening { protocol, port } in ports {
            let name = name(*protocol);
            let _ = writeln!(text, "\t\tiifname != \"lo\" {only}{name} dport {port} counter drop");
        }
        text.push_str("\t}\n");
    }
    text.push_str("}\n");
    text
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp | Protocol::Unix => "tcp",
    }
}

/// Before the network is up, after whatever empties all tables, and again whenever that happens.
const ORDER: &str = "\
[Unit]
Description=Drop what comes from outside to the ports of memcached (kannuki close)
DefaultDependencies=no
After=local-fs.target nftables.service netfilter-persistent.service iptables.service
PartOf=nftables.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=PATH=/usr/sbin:/usr/bin:/sbin:/bin
";
/// As early as the filters of the distributions.
const INSTALL: &str = "\n[Install]\nWantedBy=sysinit.target\n";

fn nft_unit() -> String {
    // systemd runs no shell: the commands of `nft` are one word. It wants a whole path, which is
    // not the same on all distributions: `env` looks for the program.
    format!(
        "{HEAD}{ORDER}ExecStart=/usr/bin/env nft -f {RULES}\n\
         ExecStop=/usr/bin/env nft \"add table inet kannuki ; delete table inet kannuki\"\n\
         {INSTALL}"
    )
}

fn iptables_unit(ports: &BTreeSet<Opening>) -> String {
    let mut text = format!("{HEAD}{ORDER}");
    let mut stops = String::new();
    for Opening { protocol, port } in ports {
        for program in ["iptables", "ip6tables"] {
            let rule = format!(
                "INPUT ! -i lo -p {} --dport {port} -m comment --comment kannuki -j DROP",
                name(*protocol)
            );
            // Whatever an interrupted start left goes first; none may be there.
            let _ = writeln!(text, "ExecStartPre=-/usr/bin/env {program} -w -D {rule}");
            let _ = writeln!(text, "ExecStart=/usr/bin/env {program} -w -I {rule}");
            let _ = writeln!(stops, "ExecStop=/usr/bin/env {program} -w -D {rule}");
        }
    }
    text + &stops + INSTALL
}
