//! The hosts, one function each. The settings are those that each distribution ships or that its
//! users write; addresses are from the ranges for documentation.

use kannuki_audit::facts::{
    ClientConnection, Facts, Protocol, Seen, Server, StatsSample, Talk, Usage, Why,
};

use crate::tree::{AT, Process, Tree, rpm, rules};

/// Every address of a family, and loopback, as the kernel spells them.
const ANY: &str = "00000000";
const ANY6: &str = "00000000000000000000000000000000";
const LOOPBACK: &str = "0100007F";
const LOOPBACK6: &str = "00000000000000000000000001000000";

pub(crate) const SYSCONFIG_EL6: &str = "\
PORT=\"11211\"
USER=\"memcached\"
MAXCONN=\"1024\"
CACHESIZE=\"64\"
OPTIONS=\"\"
";

pub(crate) const UNIT_EL7: &str = "\
[Unit]
Description=Memcached
Before=httpd.service
After=network.target

[Service]
Type=simple
EnvironmentFile=/etc/sysconfig/memcached
ExecStart=/usr/bin/memcached -p ${PORT} -u ${USER} -m ${CACHESIZE} -c ${MAXCONN} $OPTIONS

[Install]
WantedBy=multi-user.target
";

pub(crate) const MEMCACHED_CONF: &str = "\
# memcached default config file
-d
logfile /var/log/memcached.log
-m 64
-p 11211
-u memcache
-l 127.0.0.1
-P /var/run/memcached/memcached.pid
";

pub(crate) const UNIT_DEBIAN: &str = "\
[Unit]
Description=memcached daemon
After=network.target

[Service]
ExecStart=/usr/share/memcached/scripts/systemd-memcached-wrapper /etc/memcached.conf
PIDFile=/run/memcached/memcached.pid
Restart=always

[Install]
WantedBy=multi-user.target
";

pub(crate) const CONF_D_ALPINE: &str = "\
MEMCACHED_BINARY=\"/usr/bin/memcached\"
MEMUSAGE=\"64\"
MEMCACHED_RUNAS=\"memcached\"
MAXCONN=\"1024\"
LISTENON=\"127.0.0.1\"
PORT=\"11211\"
UDPPORT=\"${PORT}\"
PIDBASE=\"/var/run/memcached/memcached\"
MISC_OPTS=\"\"
";

/// Makes a host.
pub(crate) type Make = fn() -> Facts;

/// Every host with the name of its file.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("centos-6", centos_6),
    ("centos-7", centos_7),
    ("rocky-9-firewalld", rocky_9),
    ("alpine", alpine),
    ("suse", suse),
    ("ubuntu", || ubuntu(false)),
    ("ubuntu-ufw", || ubuntu(true)),
    ("docker-published", docker),
    ("ipv6-only", ipv6_only),
    ("clean", clean),
    ("disk", disk),
];

const LINE_EL: &str = "memcached -p 11211 -u memcached -m 64 -c 1024";

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// What a cache on a socket answered.
fn answers(facts: &mut Facts, inode: u64, address: &str, version: &str, stats: &[(&str, &str)]) {
    facts.talks.push(Talk {
        inode,
        protocol: Protocol::Tcp,
        address: Some(address.parse().unwrap()),
        server: Seen::Known(Some(Server {
            name: "memcached".to_owned(),
            version: Some(version.to_owned()),
            because: "answers `version`".to_owned(),
        })),
        answer: Some(format!("VERSION {version}")),
        wants_login: false,
    });
    let values = stats.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let sample = |at| Seen::Known(StatsSample { at, values: values.clone().collect() });
    facts.usage.push(Usage {
        inode,
        pid: Some(700),
        window_ms: 10_000,
        first: sample(AT),
        second: sample(AT + 10),
        own_connections: 3,
        settings: Seen::Known([("udpport".to_owned(), "11211".to_owned())].into()),
        clients: Seen::Known(Vec::new()),
    });
}

const IDLE: &[(&str, &str)] = &[
    ("pid", "700"),
    ("uptime", "3455940"),
    ("cmd_get", "0"),
    ("cmd_set", "0"),
    ("curr_items", "0"),
    ("total_connections", "14"),
    ("curr_connections", "10"),
    ("bytes_read", "1200"),
    ("bytes_written", "91200"),
];

fn centos_6() -> Facts {
    let tree = Tree::new("", "init")
        .v4("192.0.2.6")
        .listens(ANY, 11211, 9001, true)
        .listens(ANY6, 11211, 9003, true);
    std::fs::remove_file(tree.root().join("etc/os-release")).unwrap();
    tree.file("/etc/centos-release", "CentOS release 6.9 (Final)\n");
    tree.file("/etc/sysconfig/memcached", SYSCONFIG_EL6);
    tree.file("/etc/init.d/memcached", "#!/bin/sh\n. /etc/sysconfig/memcached\n");
    tree.link("/etc/rc.d/rc3.d/S55memcached", "../init.d/memcached");
    tree.file("/var/run/memcached/memcached.pid", "700\n");
    tree.file("/proc/net/ip_tables_names", "");
    tree.file("/proc/net/ip6_tables_names", "");
    let line = format!("{LINE_EL} -d -P /var/run/memcached/memcached.pid");
    tree.process(&Process {
        argv: &words(&line),
        cgroup: "1:cpu:/\n",
        sockets: &[9001, 9002, 9003, 9004],
        ..Process::default()
    });
    let mut facts = tree.facts();
    rpm(&mut facts, "1.4.4-5.el6", "CentOS");
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.4.4", IDLE);
    facts
}

fn centos_7() -> Facts {
    let os = "NAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nID=\"centos\"\n\
        ID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"\nPRETTY_NAME=\"CentOS Linux 7 (Core)\"\n";
    let tree = Tree::new(os, "systemd")
        .v4("192.0.2.7")
        .listens(ANY, 11211, 9001, true)
        .listens(ANY6, 11211, 9003, true);
    tree.file("/etc/sysconfig/memcached", SYSCONFIG_EL6);
    tree.file("/usr/lib/systemd/system/memcached.service", UNIT_EL7);
    tree.link(
        "/etc/systemd/system/multi-user.target.wants/memcached.service",
        "/usr/lib/systemd/system/memcached.service",
    );
    tree.file(
        "/var/log/yum.log",
        "Jan 12 03:11:04 Installed: memcached-1.4.15-10.el7_3.1.x86_64\n",
    );
    tree.process(&Process {
        argv: &words(LINE_EL),
        cgroup: "1:name=systemd:/system.slice/memcached.service\n",
        sockets: &[9001, 9002, 9003, 9004],
        ..Process::default()
    });
    let mut facts = tree.facts();
    rpm(&mut facts, "1.4.15-10.el7_3.1", "CentOS");
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.4.15", IDLE);
    facts
}

fn rocky_9() -> Facts {
    let os = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n\
        PRETTY_NAME=\"Rocky Linux 9.4\"\n";
    let tree = Tree::new(os, "systemd").v4("192.0.2.9").listens(ANY, 11211, 9001, false);
    let text = SYSCONFIG_EL6.replace("OPTIONS=\"\"", "OPTIONS=\"-l 0.0.0.0\"");
    tree.file("/etc/sysconfig/memcached", &text);
    tree.file("/usr/lib/systemd/system/memcached.service", UNIT_EL7);
    tree.link(
        "/etc/systemd/system/multi-user.target.wants/memcached.service",
        "/usr/lib/systemd/system/memcached.service",
    );
    tree.file("/etc/firewalld/firewalld.conf", "# firewalld\nDefaultZone=public\n");
    let zone = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone>\n  <short>Public</short>\n  \
        <service name=\"ssh\"/>\n</zone>\n";
    tree.file("/usr/lib/firewalld/zones/public.xml", zone);
    tree.file("/run/firewalld.pid", "1\n");
    tree.file("/usr/lib/systemd/system/firewalld.service", "[Service]\n");
    tree.link(
        "/etc/systemd/system/multi-user.target.wants/firewalld.service",
        "/usr/lib/systemd/system/firewalld.service",
    );
    tree.file("/proc/modules", "nf_tables 100 0 - Live 0\n");
    let line = format!("/usr/bin/{LINE_EL} -l 0.0.0.0");
    tree.process(&Process { argv: &words(&line), sockets: &[9001], ..Process::default() });
    let mut facts = tree.facts();
    rpm(&mut facts, "1.6.9-7.el9_8.1", "Rocky Enterprise Software Foundation");
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.6.9", IDLE);
    facts.firewall.nftables = rules(&["nft", "-j", "list", "ruleset"], FIREWALLD_NFT);
    facts
}

/// firewalld's public zone in the shape of `nft -j list ruleset`, cut to what decides.
const FIREWALLD_NFT: &str = include_str!("firewalld-nft.json");

fn alpine() -> Facts {
    let os = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\n\
        PRETTY_NAME=\"Alpine Linux v3.20\"\n";
    let tree = Tree::new(os, "init").v4("192.0.2.20").listens(LOOPBACK, 11211, 9001, true);
    tree.file("/etc/conf.d/memcached", CONF_D_ALPINE);
    tree.file("/etc/init.d/memcached", "#!/sbin/openrc-run\n");
    tree.link("/etc/init.d/memcached.blog", "memcached");
    tree.link("/etc/runlevels/default/memcached", "/etc/init.d/memcached");
    tree.file(
        "/lib/apk/db/installed",
        "P:memcached\nV:1.6.27-r0\nA:x86_64\no:memcached\nF:usr/bin\nR:memcached\n\n",
    );
    tree.file("/etc/apk/world", "alpine-base\nmemcached\n");
    tree.file("/usr/bin/memcached", "memcached 1.6.27\n");
    let line = "/usr/bin/memcached -d -p 11211 -U 11211 -l 127.0.0.1 -m 64 -c 1024 -u memcached \
        -P /var/run/memcached/memcached-11211.pid";
    tree.process(&Process {
        argv: &words(line),
        cgroup: "0::/openrc.memcached\n",
        sockets: &[9001, 9002],
        ..Process::default()
    });
    let mut facts = tree.facts();
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.6.27", IDLE);
    facts
}

fn suse() -> Facts {
    let os = "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\n\
        PRETTY_NAME=\"openSUSE Leap 15.6\"\n";
    let tree = Tree::new(os, "systemd").v4("192.0.2.15").listens(LOOPBACK, 11211, 9001, false);
    tree.file(
        "/etc/sysconfig/memcached",
        "MEMCACHED_PARAMS=\"-l 127.0.0.1\"\nMEMCACHED_USER=\"memcached\"\n",
    );
    tree.file(
        "/usr/lib/systemd/system/memcached.service",
        "[Service]\nEnvironmentFile=/etc/sysconfig/memcached\n\
         ExecStart=/usr/sbin/memcached -u $MEMCACHED_USER $MEMCACHED_PARAMS\n",
    );
    tree.link(
        "/etc/systemd/system/multi-user.target.wants/memcached.service",
        "/usr/lib/systemd/system/memcached.service",
    );
    let line = "/usr/sbin/memcached -u memcached -l 127.0.0.1";
    tree.process(&Process {
        argv: &words(line),
        exe: "/usr/sbin/memcached",
        sockets: &[9001],
        ..Process::default()
    });
    let mut facts = tree.facts();
    rpm(&mut facts, "1.5.6-150000.4.17.1", "SUSE LLC <https://www.suse.com/>");
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.5.6", IDLE);
    facts
}

const UBUNTU: &str = "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"22.04\"\nVERSION_CODENAME=jammy\n\
    PRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\n";

fn dpkg(tree: &Tree, version: &str) {
    tree.file(
        "/var/lib/dpkg/status",
        &format!(
            "Package: memcached\nStatus: install ok installed\nArchitecture: amd64\n\
             Version: {version}\n\n"
        ),
    );
    tree.file("/var/lib/dpkg/info/memcached.list", "/.\n/usr/bin/memcached\n/etc/memcached.conf\n");
    tree.file("/var/lib/apt/extended_states", "Package: other\nAuto-Installed: 1\n");
    tree.file("/usr/bin/memcached", "memcached 1.6.14\0ext_path\0");
    tree.file("/usr/lib/systemd/system/memcached.service", UNIT_DEBIAN);
    tree.link(
        "/etc/systemd/system/multi-user.target.wants/memcached.service",
        "/usr/lib/systemd/system/memcached.service",
    );
    tree.file("/etc/default/memcached", "ENABLE_MEMCACHED=no\n");
    tree.file(
        "/var/log/apt/history.log",
        &format!(
            "\nStart-Date: 2018-01-12  03:11:03\nCommandline: apt-get -y install memcached\n\
             Requested-By: admin (1000)\nInstall: memcached:amd64 ({version})\n\
             End-Date: 2018-01-12  03:11:09\n"
        ),
    );
}

fn ubuntu(with_ufw: bool) -> Facts {
    let tree = Tree::new(UBUNTU, "systemd").v4("192.0.2.22").listens(ANY, 11211, 9001, true);
    dpkg(&tree, "1.6.14-1ubuntu0.1");
    let text = MEMCACHED_CONF.replace("-l 127.0.0.1", "-l 0.0.0.0\n-U 11211");
    tree.file("/etc/memcached.conf", &text);
    if with_ufw {
        tree.file("/etc/ufw/ufw.conf", "ENABLED=yes\nLOGLEVEL=low\n");
        tree.file("/etc/default/ufw", "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\n");
        let allow = "-A ufw-user-input -p tcp --dport 22 -j ACCEPT\n";
        tree.file("/etc/ufw/user.rules", &format!("*filter\n{allow}COMMIT\n"));
        tree.file("/proc/modules", "nf_tables 100 0 - Live 0\n");
    }
    let line = "/usr/bin/memcached -m 64 -p 11211 -u memcache -l 0.0.0.0 -U 11211 \
        -P /var/run/memcached/memcached.pid";
    tree.process(&Process { argv: &words(line), sockets: &[9001, 9002], ..Process::default() });
    let mut facts = tree.facts();
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.6.14", IDLE);
    if with_ufw {
        let v4 = "*filter\n:INPUT DROP [0:0]\n:ufw-user-input - [0:0]\n\
            -A INPUT -i lo -j ACCEPT\n\
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
            -A INPUT -j ufw-user-input\n\
            -A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n";
        facts.firewall.iptables_v4 = rules(&["iptables-save"], v4);
        facts.firewall.iptables_v6 = rules(&["ip6tables-save"], v4);
        facts.firewall.nftables = Seen::unseen(Why::Absent, "nft is not installed");
    }
    facts
}

fn docker() -> Facts {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let tree = Tree::new(UBUNTU, "systemd")
        .v4("192.0.2.23")
        .v4("172.17.0.1")
        .listens(ANY, 11211, 9001, false)
        .listens(ANY6, 11211, 9003, false);
    tree.file(
        &format!("/var/lib/docker/containers/{id}/config.v2.json"),
        &format!(
            r#"{{"ID":"{id}","Name":"/cache","Path":"docker-entrypoint.sh","Args":["memcached"],
            "Config":{{"Image":"memcached:1.6","Env":["PASSWORD=hunter2"]}},
            "State":{{"Running":true}}}}"#
        ),
    );
    tree.file(
        &format!("/var/lib/docker/containers/{id}/hostconfig.json"),
        r#"{"PortBindings":{"11211/tcp":[{"HostIp":"","HostPort":"11211"}]},
        "RestartPolicy":{"Name":"always"}}"#,
    );
    tree.file(
        "/srv/blog/docker-compose.yml",
        "services:\n  cache:\n    image: memcached:1.6\n    restart: always\n    ports:\n      \
         - \"11211:11211\"\n",
    );
    for (pid, ip, inode) in [(800, "0.0.0.0", 9001), (801, "::", 9003)] {
        let line = format!(
            "/usr/bin/docker-proxy -proto tcp -host-ip {ip} -host-port 11211 \
             -container-ip 172.17.0.2 -container-port 11211"
        );
        tree.process(&Process {
            pid,
            argv: &words(&line),
            exe: "/usr/bin/docker-proxy",
            cgroup: "0::/system.slice/docker.service\n",
            uid: 0,
            sockets: &[inode],
            ..Process::default()
        });
    }
    tree.process(&Process {
        argv: &["memcached"],
        exe: "/usr/local/bin/memcached",
        cgroup: &format!("0::/system.slice/docker-{id}.scope\n"),
        uid: 11211,
        sockets: &[9005],
        namespace: Some(4_026_532_000),
        inner_pid: Some(1),
        ..Process::default()
    });
    let listen = format!("  sl\n0: {ANY}:2BCB {ANY}:0000 0A 0:0 00:0 0 112 0 9005 2 0 0\n");
    tree.file("/proc/700/net/tcp", &listen);
    tree.file("/proc/700/net/fib_trie", "Local:\n     |-- 172.17.0.2\n        /32 host LOCAL\n");
    tree.file("/proc/modules", "nf_tables 100 0 - Live 0\n");
    let mut facts = tree.facts();
    let v4 = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A DOCKER ! -i docker0 -p tcp -m tcp --dport 11211 -j DNAT \
        --to-destination 172.17.0.2:11211\nCOMMIT\n\
        *filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n\
        -A FORWARD -j DOCKER-USER\n-A FORWARD -o docker0 -j DOCKER\n\
        -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 11211 -j ACCEPT\n\
        -A DOCKER-USER -j RETURN\nCOMMIT\n";
    facts.firewall.iptables_v4 = rules(&["iptables-save"], v4);
    facts.firewall.nftables = Seen::unseen(Why::Absent, "nft is not installed");
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.6.45", IDLE);
    facts
}

fn ipv6_only() -> Facts {
    let tree = Tree::new(UBUNTU, "systemd")
        .v6("2001:db8::22", "eth0", 2)
        .v6("fe80::22", "eth0", 2)
        .listens(ANY6, 11211, 9001, false);
    dpkg(&tree, "1.6.14-1ubuntu0.3");
    tree.file("/etc/memcached.conf", &MEMCACHED_CONF.replace("-l 127.0.0.1", "-l ::"));
    let line = "/usr/bin/memcached -m 64 -p 11211 -u memcache -l :: \
        -P /var/run/memcached/memcached.pid";
    tree.process(&Process { argv: &words(line), sockets: &[9001], ..Process::default() });
    let mut facts = tree.facts();
    answers(&mut facts, 9001, "[::1]:11211", "1.6.14", IDLE);
    facts
}

fn clean() -> Facts {
    let os = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n\
        PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
    let tree = Tree::new(os, "systemd")
        .v4("192.0.2.12")
        .listens(LOOPBACK, 11211, 9001, false)
        .listens(LOOPBACK6, 11211, 9003, false)
        .connection("0100007F:2BCB", "0100007F:A8CA", 9010)
        .connection("0100007F:A8CA", "0100007F:2BCB", 9011);
    dpkg(&tree, "1.6.18-1+deb12u1");
    let text = MEMCACHED_CONF.replace("-l 127.0.0.1", "-l 127.0.0.1\n-l ::1");
    tree.file("/etc/memcached.conf", &text);
    tree.file("/etc/logrotate.d/memcached", "/var/log/memcached.log {\n  weekly\n}\n");
    tree.file(
        "/etc/php/8.2/fpm/conf.d/20-memcached.ini",
        "extension=memcached.so\nsession.save_handler = memcached\n\
         session.save_path = \"127.0.0.1:11211\"\n",
    );
    let line = "/usr/bin/memcached -m 64 -p 11211 -u memcache -l 127.0.0.1 -l ::1 \
        -P /var/run/memcached/memcached.pid";
    tree.process(&Process {
        argv: &words(line),
        sockets: &[9001, 9003, 9010],
        ..Process::default()
    });
    tree.process(&Process {
        pid: 900,
        argv: &["php-fpm:"],
        exe: "/usr/sbin/php-fpm8.2",
        cgroup: "0::/system.slice/php8.2-fpm.service\n",
        uid: 33,
        sockets: &[9011],
        ..Process::default()
    });
    let mut facts = tree.facts();
    answers(&mut facts, 9001, "127.0.0.1:11211", "1.6.18", USED);
    if let Some(usage) = facts.usage.first_mut() {
        usage.settings = Seen::Known([("udpport".to_owned(), "0".to_owned())].into());
        usage.clients = Seen::Known(vec![ClientConnection {
            address: "tcp:127.0.0.1:43210".to_owned(),
            state: "conn_read".to_owned(),
            idle_s: Some(2),
        }]);
        if let Seen::Known(sample) = &mut usage.second {
            sample.values.insert("cmd_get".to_owned(), "4105".to_owned());
        }
    }
    facts
}

const USED: &[(&str, &str)] = &[
    ("pid", "700"),
    ("uptime", "3455940"),
    ("cmd_get", "4002"),
    ("cmd_set", "871"),
    ("curr_items", "212"),
    ("total_connections", "992"),
    ("curr_connections", "3"),
];

/// A disk without a running system.
fn disk() -> Facts {
    let tree = Tree::new(UBUNTU, "systemd");
    dpkg(&tree, "1.6.14-1ubuntu0.1");
    tree.file("/etc/memcached.conf", &MEMCACHED_CONF.replace("-l 127.0.0.1", "-l 0.0.0.0"));
    let mut facts = {
        // Collecting writes the recorded tables of /proc; a disk has none.
        let mut request = tree.request();
        std::fs::remove_dir_all(tree.root().join("proc")).unwrap();
        request.by = "kannuki test".to_owned();
        kannuki_audit::collect::collect(&request).unwrap()
    };
    facts.collection.root = "/".to_owned();
    facts.collection.uid = 0;
    facts.starts.iter_mut().flat_map(|start| &mut start.files).for_each(|file| file.uid = Some(0));
    facts
}
