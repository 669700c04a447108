//! Whole hosts: what is collected of them, kept as `fixtures/*.json`, and what of it must be right.
//!
//! Each host is a small tree of files as a distribution has them, with a recorded `/proc`. What
//! only commands can tell (packages of rpm, rules in force) is put in as those commands print it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "hosts/made.rs"]
mod made;
#[path = "hosts/parsing_rules.rs"]
mod parsing_rules;
#[path = "hosts/starters.rs"]
mod starters;
#[path = "hosts/tree.rs"]
mod tree;

use std::{fs, path::Path};

use kannuki_audit::facts::{AtBoot, Facts, Seen, SocketState, StartKind, Starter, Why};

fn host(name: &str) -> Facts {
    made::ALL.iter().find(|(other, _)| *other == name).unwrap().1()
}

fn line(facts: &Facts, id: &str) -> String {
    let start = facts.starts.iter().find(|start| start.id == id);
    assert!(start.is_some(), "{id}: {:?}", ids(facts));
    start.unwrap().commands[0].argv().collect::<Vec<_>>().join(" ")
}

fn ids(facts: &Facts) -> Vec<&str> {
    facts.starts.iter().map(|start| start.id.as_str()).collect()
}

/// `KANNUKI_GOLDEN=write` writes the fixtures anew.
#[test]
fn what_is_collected_is_as_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (name, make) in made::ALL {
        let facts = make();
        let text = facts.to_json().unwrap();
        let path = folder.join(format!("{name}.json"));
        if std::env::var_os("KANNUKI_GOLDEN").is_some_and(|way| way == "write") {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{name} differs; look at it, then set KANNUKI_GOLDEN=write");
        assert_eq!(Facts::from_json(text.as_bytes()).unwrap(), facts, "{name}");
    }
}

#[test]
fn centos_6_starts_by_its_script_with_shell_variables() {
    let facts = host("centos-6");
    assert_eq!(ids(&facts), ["sysv:memcached"]);
    assert_eq!(line(&facts, "sysv:memcached"), "memcached -p 11211 -u memcached -m 64 -c 1024");
    let Seen::Known(AtBoot::Enabled { by }) = &facts.starts[0].at_boot else { panic!() };
    assert_eq!(by, "/etc/rc.d/rc3.d/S55memcached");
    let process = facts.process(700).unwrap();
    assert_eq!(process.starter, Starter::SysV { script: "/etc/init.d/memcached".to_owned() });
    assert_eq!(facts.host.os.known().unwrap().version_id, "6.9");
}

#[test]
fn centos_7_starts_by_its_unit_with_the_files_variables() {
    let facts = host("centos-7");
    let expected = "/usr/bin/memcached -p 11211 -u memcached -m 64 -c 1024";
    assert_eq!(line(&facts, "systemd:memcached.service"), expected);
    assert_eq!(facts.starts[0].comes_back(), Some(true));
    let listening = |s: &&kannuki_audit::facts::Socket| s.state == SocketState::Listening;
    assert_eq!(facts.sockets.list().iter().filter(listening).count(), 4);
    assert!(facts.sockets.list().iter().all(|socket| socket.pids.list() == [700]));
    // Its log names no year, so no time is made up.
    assert_eq!(facts.packages.history.list()[0].at, None);
}

#[test]
fn alpine_expands_its_variables_and_has_instances() {
    let facts = host("alpine");
    assert_eq!(ids(&facts), ["openrc:memcached", "openrc:memcached.blog"]);
    assert!(line(&facts, "openrc:memcached").contains("-U 11211"));
    assert_eq!(facts.starts[0].comes_back(), Some(true));
    assert_eq!(facts.starts[1].comes_back(), Some(false));
    assert_eq!(facts.packages.installed.list()[0].version, "1.6.27-r0");
    assert_eq!(facts.packages.installed.list()[0].automatic, Seen::Known(false));
    let starter = &facts.process(700).unwrap().starter;
    assert_eq!(*starter, Starter::OpenRc { service: "memcached".to_owned() });
}

#[test]
fn suse_has_other_names_at_the_same_path() {
    let facts = host("suse");
    let expected = "/usr/sbin/memcached -u memcached -l 127.0.0.1";
    assert_eq!(line(&facts, "systemd:memcached.service"), expected);
    assert_eq!(facts.starts[0].comes_back(), Some(true));
}

#[test]
fn debians_wrapper_reads_its_file_and_ignores_the_switch() {
    let facts = host("ubuntu");
    let expected = "/usr/bin/memcached -m 64 -p 11211 -u memcache -l 0.0.0.0 -U 11211 \
        -P /var/run/memcached/memcached.pid";
    assert_eq!(line(&facts, "systemd:memcached.service"), expected);
    // ENABLE_MEMCACHED=no stops the init script only.
    assert_eq!(facts.starts[0].comes_back(), Some(true));
    let word = &facts.starts[0].commands[0].words[7];
    assert_eq!(
        (word.text.as_str(), word.path.as_str(), word.line),
        ("-l", "/etc/memcached.conf", 7)
    );
    let event = &facts.packages.history.list()[0];
    assert_eq!(event.command.as_deref(), Some("apt-get -y install memcached"));
    assert_eq!(event.at, Some(1_515_726_663));
    assert_eq!(facts.owner("/usr/bin/memcached").unwrap().version, "1.6.14-1ubuntu0.1");
}

#[test]
fn docker_publishes_for_a_container_with_its_own_network() {
    let facts = host("docker-published");
    assert_eq!(facts.firewall.published.len(), 2);
    let container = facts.starts.iter().find(|s| s.kind == StartKind::Container).unwrap();
    assert_eq!(container.opened_for_it, ["0.0.0.0:11211/tcp"]);
    assert_eq!(container.comes_back(), Some(true));
    let compose = facts.starts.iter().find(|s| s.kind == StartKind::Compose).unwrap();
    assert_eq!(compose.id, "compose:/srv/blog/docker-compose.yml#cache");
    let process = facts.process(700).unwrap();
    assert_eq!((process.inner_pid, &process.starter), (Some(1), &Starter::Container));
    let inner = facts.sockets.list().iter().find(|s| s.inode == 9005).unwrap();
    assert_eq!((inner.net_namespace, inner.pids.list()), (Some(4_026_532_000), &[700][..]));
    assert_eq!(facts.interfaces_of(Some(4_026_532_000)).count(), 1);
    assert!(!facts.to_json().unwrap().contains("hunter2"), "secrets of containers stay there");
}

#[test]
fn a_used_cache_shows_its_clients_and_references() {
    let facts = host("clean");
    let established = |s: &&kannuki_audit::facts::Socket| s.state == SocketState::Established;
    assert_eq!(facts.sockets.list().iter().filter(established).count(), 2);
    let sessions = facts.references.list().iter().filter(|r| r.sessions).count();
    assert_eq!(sessions, 2);
    assert!(facts.starts[0].files.iter().any(|file| file.path == "/etc/logrotate.d/memcached"));
}

#[test]
fn a_disk_has_settings_and_no_sockets() {
    let facts = host("disk");
    assert!(!facts.collection.live);
    assert_eq!(facts.sockets.why().unwrap().why, Why::NotRunning);
    assert!(line(&facts, "systemd:memcached.service").contains("-l 0.0.0.0"));
}
