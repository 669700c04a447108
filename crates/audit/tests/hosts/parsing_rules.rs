//! The rules by which memcached's command lines and files are read, one test each.
//!
//! What depends on a version is asked of `rules::Running`, what distributions' files mean of the
//! parser and of whole hosts made of files.

use std::{ffi::OsString, net::IpAddr, path::PathBuf, sync::Arc};

use kannuki_audit::{
    facts::{Address, Facts, Scope, Seen, StartConfig},
    findings::{Finding, Report},
    firewall::Transport,
    memcached_options::{
        Grammar, Settings, Word, conf_file,
        listen::{ListenProtocol, ListenTls},
        table::{listening, process},
    },
    rules::{self, Running},
    texts::{Lang, Texts},
    vulnerabilities::Table,
};

use crate::made;
use crate::tree::{Process, Tree};

fn settings(line: &str) -> Settings {
    let words = line.split(' ').filter(|word| !word.is_empty()).map(OsString::from);
    let words: Vec<Word> = Word::arguments(words, 1).collect();
    Settings::merge([Grammar::memcached().read(&words)])
}

fn running(line: &str, version: &str) -> Running {
    let line = format!("memcached {line}");
    Running::new(line.split(' ').filter(|word| !word.is_empty()), Some(version))
}

/// Addresses and ports of a transport, in order.
fn doors(running: &Running, transport: Transport) -> Vec<(Option<IpAddr>, u16)> {
    let all = running.listens().into_iter().filter(|(_, other, _)| *other == transport);
    let mut doors: Vec<_> = all.map(|(ip, _, port)| (ip, port)).collect();
    doors.sort();
    doors
}

fn at(ip: &str, port: u16) -> (Option<IpAddr>, u16) {
    (Some(ip.parse().unwrap()), port)
}

fn judge(facts: &Facts) -> Report {
    rules::judge(facts, &Table::embedded(), &Texts::of(Lang::En))
}

fn filter_text(policy: &str) -> String {
    format!("*filter\n:INPUT {policy} [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n")
}

fn finding<'r>(report: &'r Report, id: &str) -> Option<&'r Finding> {
    report.findings.iter().find(|finding| finding.id == id)
}

/// Hosts and ports of `-l`, in order.
fn elements(line: &str) -> Vec<(String, Option<u16>)> {
    let list = settings(line).listens(&listening::LISTEN);
    list.into_iter().map(|element| (element.host, element.port)).collect()
}

fn element(host: &str, port: Option<u16>) -> (String, Option<u16>) {
    (host.to_owned(), port)
}

#[test]
fn p01_clusters_and_joined_arguments() {
    let all = settings("-dp11212 -l127.0.0.1 -vv");
    assert!(all.switch(&process::DAEMON));
    assert_eq!(all.number(&listening::PORT), 11212);
    assert_eq!(all.listens(&listening::LISTEN)[0].host, "127.0.0.1");
    assert_eq!(all.number(&process::VERBOSE), 2);
}

#[test]
fn p02_long_forms_and_abbreviations() {
    for line in ["--listen=10.0.0.1 --udp-port 11299", "--listen 10.0.0.1 --udp=11299"] {
        let all = settings(line);
        assert_eq!(all.listens(&listening::LISTEN)[0].host, "10.0.0.1", "{line}");
        assert_eq!(all.number(&listening::UDP_PORT), 11299, "{line}");
    }
    let ambiguous = settings("--lis 10.0.0.1");
    assert!(!ambiguous.errors().is_empty(), "--listen and --listen-backlog begin alike");
}

#[test]
fn p03_leading_blanks_of_an_argument_are_dropped() {
    let words = ["-l", "  127.0.0.1", "-p", " 11212"].map(OsString::from);
    let words: Vec<Word> = Word::arguments(words, 1).collect();
    let all = Settings::merge([Grammar::memcached().read(&words)]);
    assert_eq!(all.listens(&listening::LISTEN)[0].host, "127.0.0.1");
    assert_eq!(all.number(&listening::PORT), 11212);
}

#[test]
fn p04_repeated_addresses_accumulate() {
    let both = [element("127.0.0.1", None), element("192.0.2.1", None)];
    assert_eq!(elements("-l 127.0.0.1 -l 192.0.2.1"), both);
    for (version, expected) in [
        ("1.4.6", &[at("127.0.0.1", 11211), at("192.0.2.1", 11211)][..]),
        ("1.4.5", &[at("192.0.2.1", 11211)]),
    ] {
        let all = running("-l 127.0.0.1 -l 192.0.2.1", version);
        assert_eq!(doors(&all, Transport::Tcp), expected, "{version}");
    }
    assert_eq!(running("-l 192.0.2.1 -l 127.0.0.1", "1.4.5").is_local(), Some(true));
    assert_eq!(running("-l 192.0.2.1 -l 127.0.0.1", "1.4.6").is_local(), Some(false));
}

#[test]
fn p05_commas_and_semicolons_part_addresses() {
    assert_eq!(elements("-l 127.0.0.1,::1;192.0.2.1").len(), 3);
}

#[test]
fn p06_ports_and_brackets_of_an_element() {
    let all = running("-p 11212 -l 127.0.0.1:9,[::1]:8,::2,*", "1.6.18");
    let bound =
        [at("0.0.0.0", 11212), at("127.0.0.1", 9), at("::", 11212), at("::1", 8), at("::2", 11212)];
    assert_eq!(doors(&all, Transport::Tcp), bound);
    let expected = [
        element("127.0.0.1", Some(9)),
        element("::1", Some(8)),
        element("::2", None),
        element("*", None),
    ];
    assert_eq!(elements("-p 11212 -l 127.0.0.1:9,[::1]:8,::2,*"), expected);
}

#[test]
fn p07_prefixes_of_an_element() {
    let all = settings("-Z -l mtls:proto[ascii]:tag[ab]:127.0.0.1:9,tag_x_:10.0.0.1");
    let list = all.listens(&listening::LISTEN);
    assert_eq!(list[0].tls, Some(ListenTls::Mutual));
    assert_eq!(list[0].protocol, Some(ListenProtocol::Ascii));
    assert_eq!((list[0].tag.as_deref(), list[0].host.as_str()), (Some("ab"), "127.0.0.1"));
    assert_eq!((list[1].tag.as_deref(), list[1].host.as_str()), (Some("x"), "10.0.0.1"));
    assert!(!settings("-l tag[123456789]:h").errors().is_empty(), "a tag has 8 bytes at most");
}

#[test]
fn p08_a_name_is_looked_up_every_address_told_and_a_warning_given() {
    assert_eq!(elements("-l cache.example:9"), [element("cache.example", Some(9))]);
    assert_eq!(running("-l cache.example", "1.6.18").is_local(), None, "a name can change");
    let make = |hosts: &str| {
        let tree = Tree::new("ID=debian\n", "systemd").v4("203.0.113.9");
        tree.file("/usr/lib/systemd/system/memcached.service", made::UNIT_DEBIAN);
        let wanted = "/etc/systemd/system/multi-user.target.wants/memcached.service";
        tree.link(wanted, "/usr/lib/systemd/system/memcached.service");
        let text = made::MEMCACHED_CONF.replace("-l 127.0.0.1", "-l cache.example");
        tree.file("/etc/memcached.conf", &text);
        tree.file("/etc/hosts", hosts);
        tree.facts()
    };
    let facts = make("127.0.0.1 localhost\n203.0.113.9 cache.example\n::1 cache.example\n");
    let problem = &facts.starts[0].problems[0];
    assert!(problem.contains("now 203.0.113.9, ::1 by /etc/hosts"), "{problem}");
    assert!(problem.contains("it can change"), "{problem}");
    let report = judge(&facts);
    assert!(finding(&report, "MC-BOOT-001").is_some(), "one of its addresses is not this host's");
    assert!(finding(&report, "MC-BOOT-005").unwrap().evidence[0].line().contains("203.0.113.9"));
    let report = judge(&make("127.0.0.1 localhost cache.example\n"));
    assert!(finding(&report, "MC-BOOT-001").is_none(), "now it means loopback");
    assert!(finding(&report, "MC-BOOT-005").is_some(), "and can change");
    let facts = make("127.0.0.1 localhost\n");
    assert!(facts.starts[0].problems[0].contains("a name server decides"));
}

#[test]
fn p09_no_address_is_every_address_of_both_families() {
    let both = [at("0.0.0.0", 11211), at("::", 11211)];
    assert_eq!(doors(&running("", "1.6.18"), Transport::Tcp), both);
    assert_eq!(running("", "1.6.18").is_local(), Some(false));
    let facts = kept("centos-7");
    assert!(facts.process(700).unwrap().argv.list().iter().all(|word| word != "-l"));
    let wild = facts.sockets.list().iter().filter(|s| s.local.unwrap().ip().is_unspecified());
    assert_eq!(wild.count(), 4, "TCP and UDP of both families");
}

#[test]
fn p10_closing_one_family_leaves_the_other_open() {
    assert_eq!(running("-l 127.0.0.1 -l ::", "1.6.18").is_local(), Some(false));
    // A host whose filter shuts IPv4 alone, with the two sockets that a wildcard start has.
    let mut host = kept("centos-7");
    let global: IpAddr = "2001:db8::7".parse().unwrap();
    let Seen::Known(interfaces) = &mut host.interfaces else { panic!("they are known") };
    let outer = interfaces.iter_mut().find(|interface| interface.name != "lo").unwrap();
    outer.addresses.push(Address { ip: global, prefix: 64, scope: Scope::Global });
    let filter = |policy: &str| crate::tree::rules(&["save"], &filter_text(policy));
    (host.firewall.iptables_v4, host.firewall.iptables_v6) = (filter("DROP"), filter("ACCEPT"));
    assert!(finding(&judge(&host), "MC-NET-006").is_some(), "IPv6 stays open");
    host.firewall.iptables_v6 = filter("DROP");
    assert!(finding(&judge(&host), "MC-NET-006").is_none());
    let facts = kept("ipv6-only");
    let open: Vec<_> = facts.sockets.list().iter().filter(|s| s.takes_v6()).collect();
    assert_eq!(open.len(), 1);
    // Recorded files do not tell whether IPv6 sockets take IPv4 too: then they do.
    assert!(open[0].takes_v4());
    let mut only = open[0].clone();
    only.v6_only = kannuki_audit::facts::Seen::Known(true);
    assert!(!only.takes_v4() && only.takes_v6());
}

#[test]
fn p11_udp_is_on_by_default_from_1_2_7_to_1_5_5() {
    for (version, port) in
        [("1.2.6", 0), ("1.2.7", 11211), ("1.4.15", 11211), ("1.5.5", 11211), ("1.5.6", 0)]
    {
        assert_eq!(running("", version).udp_port(), port, "{version}");
        assert_eq!(running("-U 0", version).udp_port(), 0, "{version}");
    }
}

#[test]
fn p12_udp_follows_the_tcp_port_from_1_4_3_to_1_5_5() {
    for (version, port) in [("1.4.2", 11211), ("1.4.3", 11311), ("1.5.5", 11311), ("1.5.6", 0)] {
        assert_eq!(running("-p 11311", version).udp_port(), port, "{version}");
    }
    assert_eq!(running("-p 11311 -U 11299", "1.4.15").udp_port(), 11299);
}

#[test]
fn p13_a_udp_port_alone_moves_tcp_along() {
    assert_eq!(running("-U 11299", "1.6.18").tcp_port(), 11299);
    assert_eq!(running("-U 0", "1.6.18").tcp_port(), 11211);
    assert_eq!(running("-U 11299 -p 11211", "1.6.18").tcp_port(), 11211);
}

#[test]
fn p14_a_unix_socket_has_its_mask() {
    let shut = running("-s /run/m.sock -a 0770 -U 11211 -p 11211", "1.4.15");
    assert_eq!((shut.tcp_port(), shut.udp_port(), shut.listens().len()), (0, 0, 0));
    let all = settings("-s /run/m.sock");
    assert_eq!(all.text(&listening::UNIX_SOCKET).as_deref(), Some("/run/m.sock"));
    assert_eq!(all.number(&listening::UNIX_MASK), 0o700);
    assert_eq!(settings("-s /x -a 0770").number(&listening::UNIX_MASK), 0o770);
}

#[test]
fn p15_logins_refuse_udp() {
    for line in ["-S -U 11211", "-Y /etc/users -U 11211", "-S -B ascii"] {
        assert!(!settings(line).errors().is_empty(), "{line}");
    }
    assert_eq!(running("-S", "1.4.15").udp_port(), 0);
    assert_eq!(running("-Y /etc/users", "1.5.5").udp_port(), 0);
    for line in ["-S", "-Y /etc/users", "-S -U 0"] {
        assert!(settings(line).errors().is_empty(), "{line}");
    }
}

#[test]
fn p16_an_address_of_a_family_that_is_off_makes_the_start_fail() {
    let make = |disabled: &str| {
        let tree = Tree::new("ID=debian\n", "systemd");
        tree.file("/proc/sys/net/ipv6/conf/all/disable_ipv6", disabled);
        tree.file("/usr/lib/systemd/system/memcached.service", made::UNIT_DEBIAN);
        let text = made::MEMCACHED_CONF.replace("-l 127.0.0.1", "-l 127.0.0.1\n-l ::1");
        tree.file("/etc/memcached.conf", &text);
        one(tree.facts())
    };
    assert!(make("1\n").problems[0].contains("the start fails"));
    assert_eq!(make("0\n").problems, [""; 0]);
}

#[test]
fn p17_a_shell_expands_and_systemd_does_not() {
    let path = Arc::new(PathBuf::from("/etc/conf.d/memcached"));
    let read = conf_file::read(made::CONF_D_ALPINE.as_bytes(), &path);
    let words: Vec<_> = read.words.iter().map(|word| word.text.to_str().unwrap()).collect();
    assert!(words.windows(2).any(|pair| pair == ["-U", "11211"]), "{words:?}");
    let tree = Tree::new("ID=gentoo\n", "systemd");
    let unit = "[Service]\nEnvironmentFile=/etc/conf.d/memcached\n\
        ExecStart=/usr/bin/memcached -U ${UDPPORT} -m ${MEMUSAGE} $MISC_OPTS\n";
    tree.file("/usr/lib/systemd/system/memcached.service", unit);
    let text = made::CONF_D_ALPINE.to_owned() + "MISC_OPTS=\"-l \\\n 127.0.0.1\"\nMEMUSAGE=128\n";
    tree.file("/etc/conf.d/memcached", &text);
    let start = one(tree.facts());
    let words: Vec<_> = start.commands[0].argv().skip(1).collect();
    let expected = ["-U", "${PORT}", "-m", "128", "-l", "127.0.0.1"];
    assert_eq!(words, expected);
}

#[test]
fn p18_drop_ins_by_name_resets_and_files_before_variables() {
    let tree = Tree::new("ID=rocky\n", "systemd");
    tree.file("/usr/lib/systemd/system/memcached.service", made::UNIT_EL7);
    tree.file("/etc/sysconfig/memcached", made::SYSCONFIG_EL6);
    let folder = "/etc/systemd/system/memcached.service.d";
    let drop_in = |name: &str, text: &str| {
        tree.file(&format!("{folder}/{name}"), &format!("[Service]\n{text}\n"));
    };
    drop_in("10-env.conf", "Environment=OPTIONS=\"-l 127.0.0.1,::1\"");
    let line = |tree: &Tree| {
        let start = one(tree.facts());
        start.commands.iter().map(|c| c.argv().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let shipped = "/usr/bin/memcached -p 11211 -u memcached -m 64 -c 1024";
    assert_eq!(line(&tree), [shipped], "the file wins over Environment=");
    tree.file("/etc/kannuki/memcached.env", "OPTIONS=\"-l 127.0.0.1,::1 -U 0\"\n");
    drop_in(
        "50-kannuki.conf",
        "EnvironmentFile=-/etc/none\nEnvironmentFile=/etc/kannuki/memcached.env",
    );
    assert_eq!(line(&tree), [format!("{shipped} -l 127.0.0.1,::1 -U 0")], "a later file wins");
    drop_in("60-whole.conf", "ExecStart=\nExecStart=/usr/bin/memcached -l 10.0.0.1");
    assert_eq!(line(&tree), ["/usr/bin/memcached -l 10.0.0.1"], "an empty one resets");
    tree.file(
        "/usr/lib/systemd/system/memcached.service.d/60-whole.conf",
        "[Service]\nExecStart=\n",
    );
    assert_eq!(line(&tree), ["/usr/bin/memcached -l 10.0.0.1"], "/etc hides a file of its name");
}

#[test]
fn p19_the_running_process_and_every_file_are_seen_apart() {
    let tree = Tree::new("ID=debian\n", "systemd").listens("00000000", 11211, 9001, false);
    tree.file("/usr/lib/systemd/system/memcached.service", made::UNIT_DEBIAN);
    tree.file("/etc/memcached.conf", made::MEMCACHED_CONF);
    tree.file("/etc/crontab", "@reboot nobody /usr/bin/memcached -d -l 0.0.0.0 -p 11311\n");
    tree.process(&Process {
        argv: &["memcached", "-l", "0.0.0.0"],
        cgroup: "0::/user.slice/user-0.slice/session-4.scope\n",
        sockets: &[9001],
        ..Process::default()
    });
    let facts = tree.facts();
    let ids: Vec<_> = facts.starts.iter().map(|start| start.id.as_str()).collect();
    assert_eq!(ids, ["systemd:memcached.service", "cron:/etc/crontab:1"]);
    assert_eq!(facts.starts[0].comes_back(), Some(false));
    assert_eq!(facts.starts[1].comes_back(), Some(true));
    let process = facts.process(700).unwrap();
    assert_eq!(process.argv.list(), ["memcached", "-l", "0.0.0.0"]);
    let by_hand = kannuki_audit::facts::Starter::Session { session: "4".to_owned() };
    assert_eq!(process.starter, by_hand);
}

fn kept(name: &str) -> Facts {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Facts::from_json(&std::fs::read(path).unwrap()).unwrap()
}

/// The only starter of a host.
fn one(facts: Facts) -> StartConfig {
    assert_eq!(facts.starts.len(), 1, "{:?}", facts.starts);
    facts.starts.into_iter().next().unwrap()
}
