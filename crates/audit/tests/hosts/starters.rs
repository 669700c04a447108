//! Starters of users and of podman: found, named apart from the system's, and judged by what they
//! publish.

use kannuki_audit::{
    facts::{AtBoot, Facts, Seen, StartConfig, StartKind},
    findings::Report,
    rules,
    texts::{Lang, Texts},
    vulnerabilities::Table,
};

use crate::tree::{Process, Tree};

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n\
    bob:x:1001:1001::/home/bob/:/bin/sh\n";
const USER_UNIT: &str =
    "[Service]\nExecStart=/usr/bin/memcached -l 0.0.0.0\n[Install]\nWantedBy=default.target\n";

fn tree() -> Tree {
    let tree = Tree::new("ID=debian\n", "systemd");
    tree.file("/etc/passwd", PASSWD);
    tree
}

fn of<'f>(facts: &'f Facts, id: &str) -> &'f StartConfig {
    let found = facts.starts.iter().find(|start| start.id == id);
    assert!(found.is_some(), "{id}: {:?}", facts.starts);
    found.unwrap()
}

fn opens(facts: &Facts) -> Vec<String> {
    let report: Report = rules::judge(facts, &Table::embedded(), &Texts::of(Lang::En));
    let opens = report.findings.into_iter().filter(|finding| finding.id == "MC-BOOT-001");
    opens.map(|finding| finding.subject).collect()
}

#[test]
fn units_of_users_start_at_their_log_in_or_at_boot_if_they_linger() {
    let tree = tree();
    for home in ["/home/alice", "/home/bob"] {
        let folder = format!("{home}/.config/systemd/user");
        tree.file(&format!("{folder}/cache.service"), USER_UNIT);
        tree.link(&format!("{folder}/default.target.wants/cache.service"), "../cache.service");
    }
    tree.file("/var/lib/systemd/linger/bob", "");
    tree.file("/usr/lib/systemd/user/memcached.service", "[Service]\nExecStart=memcached\n");
    tree.process(&Process {
        argv: &["/usr/bin/memcached", "-l", "0.0.0.0"],
        cgroup: "0::/user.slice/user-1001.slice/user@1001.service/app.slice/cache.service\n",
        ..Process::default()
    });
    let facts = tree.facts();
    let alice = of(&facts, "systemd-user:alice:cache.service");
    assert_eq!(alice.kind, StartKind::SystemdUser);
    let Seen::Known(AtBoot::OnDemand { by }) = &alice.at_boot else { panic!("{alice:?}") };
    assert!(by.starts_with("the log-in of user alice"), "{by}");
    assert_eq!(of(&facts, "systemd-user:bob:cache.service").comes_back(), Some(true));
    assert_eq!(of(&facts, "systemd-user:*:memcached.service").comes_back(), Some(false));
}

#[test]
fn a_users_unit_that_lingers_opens_at_the_next_boot() {
    let tree = tree();
    let folder = "/home/bob/.config/systemd/user";
    tree.file(&format!("{folder}/cache.service"), USER_UNIT);
    tree.link(&format!("{folder}/default.target.wants/cache.service"), "../cache.service");
    assert_eq!(opens(&tree.facts()), [""; 0], "it waits for a log-in");
    tree.file("/var/lib/systemd/linger/bob", "");
    assert_eq!(opens(&tree.facts()), ["systemd-user:bob:cache.service"]);
}

#[test]
fn quadlets_publish_ports() {
    let tree = tree();
    let quadlet = "[Container]\nImage=docker.io/library/memcached:1.6\nPublishPort=11211:11211\n\
        PublishPort=127.0.0.1:11212:11211/udp\nPublishPort=?\nExec=-m 128\n\
        [Install]\nWantedBy=multi-user.target\n";
    tree.file("/etc/containers/systemd/cache.container", quadlet);
    tree.file("/etc/containers/systemd/web.container", "[Container]\nImage=nginx\n");
    tree.file("/home/alice/.config/containers/systemd/c.container", quadlet);
    let facts = tree.facts();
    let id = "quadlet:/etc/containers/systemd/cache.container";
    let start = of(&facts, id);
    assert_eq!(start.opened_for_it, ["0.0.0.0:11211/tcp", "127.0.0.1:11212/udp"]);
    assert_eq!(start.commands[0].argv().collect::<Vec<_>>(), ["memcached", "-m", "128"]);
    assert!(start.problems[0].contains("this port is not understood: ?"));
    let home = of(&facts, "quadlet:/home/alice/.config/containers/systemd/c.container");
    assert_eq!(home.comes_back(), Some(false), "alice does not linger");
    assert_eq!(facts.starts.len(), 2, "nginx is no cache");
    assert_eq!(opens(&facts), [id]);
}

#[test]
fn units_that_podman_made_are_containers() {
    let tree = tree();
    let unit = "[Service]\nExecStart=/usr/bin/podman run --rm --name memcached -d -p \
        203.0.113.7:11211:11211 --publish=11299:11211/udp docker.io/library/memcached:1.6 \
        memcached -m 64\n[Install]\nWantedBy=default.target\n";
    tree.file("/etc/systemd/system/container-cache.service", unit);
    let link = "/etc/systemd/system/default.target.wants/container-cache.service";
    tree.link(link, "../container-cache.service");
    let facts = tree.facts();
    let start = of(&facts, "systemd:container-cache.service");
    assert_eq!(start.kind, StartKind::Container);
    assert_eq!(start.opened_for_it, ["203.0.113.7:11211/tcp", "0.0.0.0:11299/udp"]);
    assert_eq!(start.commands[0].argv().collect::<Vec<_>>(), ["memcached", "-m", "64"]);
    assert_eq!(opens(&facts), ["systemd:container-cache.service"]);
}

#[test]
fn sockets_of_another_namespace_are_named_with_it() {
    let tree = tree();
    let namespace = 4_026_532_777;
    tree.file(
        "/proc/800/net/tcp",
        "  sl  local_address rem_address   st\n   0: 00000000:2BCB 00000000:0000 0A \
         00000000:00000000 00:00000000 00000000   112        0 9009 1 0000000000000000 100 0 0 10 \
         0\n",
    );
    tree.process(&Process {
        pid: 800,
        argv: &["memcached"],
        sockets: &[9009],
        namespace: Some(namespace),
        ..Process::default()
    });
    let report = rules::judge(&tree.facts(), &Table::embedded(), &Texts::of(Lang::En));
    let doors: Vec<_> = report.caches.iter().flat_map(|cache| &cache.doors).collect();
    assert!(!doors.is_empty());
    assert!(doors.iter().all(|door| door.namespace == Some(namespace)), "{doors:?}");
}
