//! Packet filters: what is in force now, and what the next boot loads.

use super::{CONFIG_BYTES_MAX, View};
use crate::{
    facts::{
        ConfigFile, FileRole, Firewall, Firewalld, Process, Publisher, Ruleset, Seen, Ufw, Why,
    },
    formats::{container, variables},
};

/// Kernel modules that filter packets.
const MODULES: &[&str] = &[
    "nf_tables",
    "nft_chain_nat",
    "ip_tables",
    "ip6_tables",
    "iptable_filter",
    "ip6table_filter",
    "iptable_nat",
    "iptable_raw",
    "ebtables",
    "bpfilter",
    "nf_conntrack",
];

pub(super) fn collect(view: &View, processes: &[Process]) -> Firewall {
    let mut modules = modules(view);
    let legacy_tables_v4 = names(view, "/proc/net/ip_tables_names", &modules, "ip_tables");
    let legacy_tables_v6 = names(view, "/proc/net/ip6_tables_names", &modules, "ip6_tables");
    let nft = has(view, &modules, "nf_tables");
    if let Seen::Known(modules) = &mut modules {
        // Built into the kernel they filter as well, and no list of modules names them.
        let absent = |tables: &Seen<_>| tables.why().is_none_or(|unseen| unseen.why == Why::Absent);
        for (name, there) in [
            ("nf_tables", nft && view.host),
            ("ip_tables", !absent(&legacy_tables_v4)),
            ("ip6_tables", !absent(&legacy_tables_v6)),
        ] {
            if there && !modules.iter().any(|module| module == name) {
                modules.push(name.to_owned());
            }
        }
    }
    // Which of them a change could use: noted with the commands that were run.
    for program in ["nft", "iptables", "ip6tables"] {
        view.run(&[program, "--version"]);
    }
    let mut firewall = Firewall {
        nftables: if nft { rules(view, &["nft", "-j", "list", "ruleset"]) } else { none(view) },
        legacy_v4: legacy(view, &legacy_tables_v4, "iptables-legacy-save"),
        legacy_v6: legacy(view, &legacy_tables_v6, "ip6tables-legacy-save"),
        iptables_v4: saved(view, nft, &legacy_tables_v4, "iptables-save"),
        iptables_v6: saved(view, nft, &legacy_tables_v6, "ip6tables-save"),
        legacy_tables_v4,
        legacy_tables_v6,
        modules,
        firewalld: firewalld(view),
        ufw: ufw(view),
        published: Vec::new(),
        at_boot: at_boot(view),
        services: services(view),
    };
    firewall.published = published(&firewall, processes);
    firewall
}

fn modules(view: &View) -> Seen<Vec<String>> {
    view.word("/proc/modules").map(|text| {
        let loaded = text.lines().filter_map(|line| line.split_ascii_whitespace().next());
        loaded.filter(|name| MODULES.contains(name)).map(str::to_owned).collect()
    })
}

/// Whether a module is there. Asking `nft` or `iptables` would load it, and nothing is changed
/// here, so they are asked only when it is.
fn has(view: &View, modules: &Seen<Vec<String>>, name: &str) -> bool {
    let Seen::Known(modules) = modules else { return true };
    modules.iter().any(|module| module == name)
        || view.root.exists(&format!("/sys/module/{name}"))
        || built_in(view, name)
}

fn built_in(view: &View, name: &str) -> bool {
    let Seen::Known(release) = view.word("/proc/sys/kernel/osrelease") else { return true };
    let list = format!("/lib/modules/{release}/modules.builtin");
    match view.root.quiet_text(&list, CONFIG_BYTES_MAX) {
        Seen::Known(text) => text.contains(&format!("/{name}.ko")),
        // A kernel without modules has everything built in; so may one whose list is gone.
        Seen::Unseen(_) => true,
    }
}

fn names(view: &View, path: &str, modules: &Seen<Vec<String>>, module: &str) -> Seen<Vec<String>> {
    match view.word(path) {
        Seen::Known(text) => Seen::Known(text.lines().map(str::to_owned).collect()),
        Seen::Unseen(unseen) if unseen.why == Why::Absent && view.proc => {
            // No such file: the kernel has no such backend, or it is not loaded.
            let loaded = modules.list().iter().any(|name| name == module);
            if loaded { Seen::Unseen(unseen) } else { Seen::Known(Vec::new()) }
        }
        Seen::Unseen(unseen) => Seen::Unseen(unseen),
    }
}

fn rules(view: &View, words: &[&str]) -> Seen<Ruleset> {
    let command = words.iter().map(|word| (*word).to_owned()).collect();
    let seen = view.run(words).map(|text| Ruleset { command, text });
    if let (Seen::Unseen(unseen), true) = (&seen, view.host) {
        view.root.gap(words.join(" "), unseen);
    }
    seen
}

/// The kernel's nf_tables is not loaded: there are no rules, and nobody was asked.
fn none(view: &View) -> Seen<Ruleset> {
    if !view.proc {
        return Seen::Unseen(view.no_proc());
    }
    Seen::Known(Ruleset { command: Vec::new(), text: "{\"nftables\": []}\n".to_owned() })
}

fn legacy(view: &View, tables: &Seen<Vec<String>>, program: &str) -> Seen<Ruleset> {
    match tables {
        Seen::Known(tables) if tables.is_empty() => {
            Seen::Known(Ruleset { command: Vec::new(), text: String::new() })
        }
        Seen::Known(_) => rules(view, &[program]),
        Seen::Unseen(unseen) => Seen::Unseen(unseen.clone()),
    }
}

fn saved(view: &View, nft: bool, tables: &Seen<Vec<String>>, program: &str) -> Seen<Ruleset> {
    if !nft && tables.known().is_some_and(Vec::is_empty) {
        return Seen::Known(Ruleset { command: Vec::new(), text: String::new() });
    }
    // nft shows the same rules; a host without iptables has no gap for that.
    let seen = view.run(&[program]);
    let command = vec![program.to_owned()];
    seen.map(|text| Ruleset { command, text })
}

fn firewalld(view: &View) -> Seen<Firewalld> {
    let path = "/etc/firewalld/firewalld.conf";
    let Some(file) = view.config_file(path, FileRole::Filter) else {
        return Seen::unseen(Why::Absent, "firewalld is not installed");
    };
    let settings = variables::read(file.text.known().map_or("", String::as_str));
    let zone = variables::last(&settings, "DefaultZone");
    let default_zone = zone.map_or_else(|| "public".to_owned(), |zone| zone.value.clone());
    let mut files = vec![file];
    for name in view.root.names_in("/etc/firewalld/zones") {
        if name.text.ends_with(".xml") {
            let path = format!("/etc/firewalld/zones/{}", name.text);
            files.extend(view.config_file(&path, FileRole::Filter));
        }
    }
    let own = format!("/etc/firewalld/zones/{default_zone}.xml");
    if !files.iter().any(|file| file.path == own) {
        let shipped = format!("/usr/lib/firewalld/zones/{default_zone}.xml");
        files.extend(view.config_file(&shipped, FileRole::Filter));
    }
    files.extend(view.config_file("/etc/firewalld/direct.xml", FileRole::Filter));
    Seen::Known(Firewalld { running: is_running(view, "firewalld"), default_zone, files })
}

/// Whether a service runs, by the file with its process's id.
fn is_running(view: &View, name: &str) -> Seen<bool> {
    if !view.proc {
        return Seen::Unseen(view.no_proc());
    }
    for path in [format!("/run/{name}.pid"), format!("/var/run/{name}.pid")] {
        if let Seen::Known(pid) = view.root.quiet_text(&path, 64) {
            return Seen::Known(view.root.exists(&format!("/proc/{}/stat", pid.trim())));
        }
    }
    Seen::Known(false)
}

fn ufw(view: &View) -> Seen<Ufw> {
    let Some(conf) = view.config_file("/etc/ufw/ufw.conf", FileRole::Filter) else {
        return Seen::unseen(Why::Absent, "ufw is not installed");
    };
    let default = view.config_file("/etc/default/ufw", FileRole::Filter);
    let text = |file: Option<&ConfigFile>, name: &str| {
        let text = file.and_then(|file| file.text.known()).map_or("", String::as_str);
        let all = variables::read(text);
        variables::last(&all, name).map(|v| v.value.to_ascii_lowercase()).unwrap_or_default()
    };
    let enabled = text(Some(&conf), "ENABLED") == "yes";
    let ipv6 = text(default.as_ref(), "IPV6") == "yes";
    let input_policy = text(default.as_ref(), "DEFAULT_INPUT_POLICY").to_ascii_uppercase();
    let mut files = vec![conf];
    files.extend(default);
    for path in ["/etc/ufw/user.rules", "/etc/ufw/user6.rules", "/lib/ufw/user.rules"] {
        files.extend(view.config_file(path, FileRole::Filter));
    }
    Seen::Known(Ufw { enabled, ipv6, input_policy, files })
}

/// Files that load rules at boot.
const AT_BOOT: &[&str] = &[
    "/etc/nftables.conf",
    "/etc/sysconfig/nftables.conf",
    "/etc/nftables.nft",
    "/etc/iptables/rules.v4",
    "/etc/iptables/rules.v6",
    "/etc/sysconfig/iptables",
    "/etc/sysconfig/ip6tables",
    "/etc/iptables/iptables.rules",
    "/etc/iptables/ip6tables.rules",
    "/etc/iptables/rules-save",
    "/etc/csf/csf.conf",
    "/etc/apf/conf.apf",
    "/etc/pf.conf",
    // Written by `kannuki close`.
    "/etc/kannuki/firewall.nft",
    "/etc/systemd/system/kannuki-firewall.service",
];

fn at_boot(view: &View) -> Vec<ConfigFile> {
    let mut files: Vec<ConfigFile> =
        AT_BOOT.iter().filter_map(|path| view.config_file(path, FileRole::Filter)).collect();
    for folder in ["/etc/nftables.d", "/etc/sysconfig/nftables"] {
        for name in view.root.names_in(folder) {
            files.extend(view.config_file(&format!("{folder}/{}", name.text), FileRole::Filter));
        }
    }
    files
}

/// Services that load rules, by their names in systemd and in other inits.
const SERVICES: &[&str] = &[
    "nftables",
    "iptables",
    "ip6tables",
    "netfilter-persistent",
    "firewalld",
    "ufw",
    "csf",
    "kannuki-firewall",
];

fn services(view: &View) -> Vec<(String, Seen<bool>)> {
    let mut found = Vec::new();
    for name in SERVICES {
        let unit = format!("{name}.service");
        let folders = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
        let installed = folders.iter().any(|folder| view.root.exists(&format!("{folder}/{unit}")));
        let script = view.root.exists(&format!("/etc/init.d/{name}"));
        if installed {
            let wants = view.root.names_in("/etc/systemd/system");
            let enabled = wants.iter().filter(|name| name.text.ends_with(".wants")).any(|wants| {
                let path = format!("/etc/systemd/system/{}/{unit}", wants.text);
                view.root.link(&path).known().is_some()
            });
            found.push((unit, Seen::Known(enabled)));
        } else if script {
            found.push(((*name).to_owned(), Seen::Known(script_enabled(view, name))));
        }
    }
    found
}

fn script_enabled(view: &View, name: &str) -> bool {
    let folders = ["/etc/rc3.d", "/etc/rc2.d", "/etc/rc.d/rc3.d", "/etc/runlevels/default"];
    folders.iter().any(|folder| {
        view.root.names(folder).list().iter().any(|link| {
            link.text == name || (link.text.starts_with('S') && link.text.ends_with(name))
        })
    })
}

/// Ports that an engine publishes: by its processes, and by rules that no process stands for.
fn published(firewall: &Firewall, processes: &[Process]) -> Vec<crate::facts::PublishedPort> {
    let proxies = processes.iter();
    let mut found: Vec<_> = proxies
        .filter_map(|process| container::docker_proxy(process.argv.list(), process.pid))
        .collect();
    for rules in [&firewall.iptables_v4, &firewall.iptables_v6, &firewall.legacy_v4] {
        let Some(rules) = rules.known() else { continue };
        for port in container::dnat(&rules.text) {
            let same = |other: &crate::facts::PublishedPort| {
                matches!(other.by, Publisher::Rule { .. })
                    && (other.protocol, other.host_port, other.host_ip)
                        == (port.protocol, port.host_port, port.host_ip)
            };
            if !found.iter().any(same) {
                found.push(port);
            }
        }
    }
    found
}
