//! What `kannuki check` says on a real Debian, state after state of the same machine: open, used,
//! filtered in two ways, other settings than the process has, mute, and shut.
//!
//! Each verdict is held against the truth beside it: what the same flood brings to the victim.

use kannuki_tests::machine::Machine;
use serde_json::Value;

use crate::incident::Incident;

/// Strangers are kept out, by a table of the owner's own.
const NFT_SHUT: &str = "\
nft -f - <<'END'
table inet filter {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname != \"lo\" tcp dport 11211 drop
    iifname != \"lo\" udp dport 11211 drop
  }
}
END";

/// Only half of it: the mistake that scanners of UDP alone do not see.
const NFT_HALF: &str = "\
nft -f - <<'END'
table inet filter {
  chain input {
    type filter hook input priority 0; policy accept;
    udp dport 11211 drop
  }
}
END";

/// A program that keeps a connection and asks now and then.
const CLIENT: &str =
    "systemd-run --quiet --unit=shop /bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/11211
while printf \"get cart\\r\\n\" >&3 && read -r -u 3 line; do sleep 0.2; done'";

/// The settings of one who shut it.
const SHUT: &str = "-m 64\n-p 11211\n-u memcache\n-l 127.0.0.1\n-U 0\n";

/// A report of `kannuki check --format json`.
struct Report(Value);

impl Report {
    fn of(machine: &Machine, words: &str) -> Self {
        let output = machine.attempt(&format!("kannuki check --lang en --format json {words}"));
        let said = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_slice(&output.stdout);
        Self(report.unwrap_or_else(|error| panic!("{error}: {}: {said}", output.status)))
    }

    fn findings(&self) -> &[Value] {
        self.0["findings"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Everything that it says under this id.
    fn of_id(&self, id: &str) -> Option<&Value> {
        self.findings().iter().find(|finding| finding["id"] == id)
    }

    /// What was found, without the reasons: the whole report is long, and may be cut off.
    fn ids(&self) -> String {
        let ids = self
            .findings()
            .iter()
            .map(|finding| format!("{} {}", finding["id"], finding["values"]));
        ids.collect::<Vec<_>>().join("\n")
    }

    fn has(&self, id: &str) -> &Value {
        self.of_id(id).unwrap_or_else(|| panic!("no {id} among {}\nin {:#}", self.ids(), self.0))
    }

    fn lacks(&self, ids: &[&str]) {
        for id in ids {
            assert!(self.of_id(id).is_none(), "{id} among {}\nin {:#}", self.ids(), self.0);
        }
    }

    /// The verdict on every door of memcached, by transport.
    fn verdicts(&self, transport: &str) -> Vec<&str> {
        let caches = self.0["caches"].as_array().expect("caches");
        let doors = caches.iter().flat_map(|cache| cache["doors"].as_array().expect("doors"));
        let doors = doors.filter(|door| door["transport"] == transport);
        doors.map(|door| door["verdict"].as_str().expect("a word")).collect()
    }

    fn is(&self, transport: &str, verdict: &str) {
        let verdicts = self.verdicts(transport);
        let is_open = verdicts.contains(&"OPEN") && verdict != "OPEN";
        let is_so = verdicts.contains(&verdict) && !is_open;
        assert!(is_so, "{transport} is {verdicts:?}, not {verdict}, in {:#}", self.0);
    }

    fn factor(&self) -> f64 {
        let doors = self.0["caches"][0]["doors"].as_array().expect("doors");
        doors.iter().filter_map(|door| door["factor"].as_f64()).fold(0.0, f64::max)
    }
}

#[test]
fn every_state_of_a_real_debian_gets_its_verdict() {
    let Some(incident) = Incident::happens() else { return };
    let open = is_open(&incident);
    is_in_use(&incident);
    is_filtered(&incident);
    differs_from_its_settings(&incident);
    gets_a_log(&incident);
    is_shut(&incident);
    println!("check measured a factor of {open:.0} in a booted Debian 12");
}

/// OPEN, with the measured factor, how it came, and that nobody uses it.
fn is_open(incident: &Incident) -> f64 {
    let machine = &incident.machine;
    let flood = incident.flood();
    let report = Report::of(machine, "--probe");
    report.is("tcp", "OPEN");
    report.is("udp", "OPEN");
    report.has("MC-NET-001");
    report.has("MC-AMP-001");
    let (measured, factor) = (report.factor(), flood.factor());
    // Both ask for `stats`; its numbers have a digit more or less from one time to the next.
    assert!((measured / factor - 1.0).abs() < 0.2, "check says {measured}, the victim {factor}");
    let origin = report.has("MC-ORIGIN-001").to_string();
    assert!(origin.contains("apt-get install --yes --no-install-recommends memcached"), "{origin}");
    report.has("MC-USE-001");
    report.lacks(&["MC-USE-003", "MC-NET-004", "MC-BOOT-002"]);
    measured
}

/// A program is connected: nobody may call that unused.
fn is_in_use(incident: &Incident) {
    let machine = &incident.machine;
    machine.run(CLIENT);
    machine.run(
        "until ss -Hnt state established '( dport = :11211 )' | grep -q .; do sleep 0.1; done",
    );
    let report = Report::of(machine, "");
    report.is("tcp", "OPEN");
    report.has("MC-USE-003");
    report.lacks(&["MC-USE-001"]);
    machine.run("systemctl stop shop");
}

/// Rules of the owner, and Debian's own front for them.
fn is_filtered(incident: &Incident) {
    let machine = &incident.machine;
    machine.run(NFT_HALF);
    let report = Report::of(machine, "");
    report.is("tcp", "OPEN");
    report.is("udp", "FILTERED");
    report.has("MC-NET-001");
    machine.run("nft flush ruleset");
    for (shut, opened) in [
        (NFT_SHUT, "nft flush ruleset"),
        ("ufw allow 22/tcp && ufw --force enable", "ufw --force disable"),
    ] {
        machine.run(shut);
        let report = Report::of(machine, "");
        report.is("tcp", "FILTERED");
        report.is("udp", "FILTERED");
        report.lacks(&["MC-NET-001", "MC-AMP-001", "MC-NET-004"]);
        assert_eq!(incident.flood().arrived, 0, "the filter is real: {shut}");
        machine.run(opened);
        assert!(incident.flood().arrived > 0, "and gone: {opened}");
    }
}

/// What runs and what would start are two questions.
fn differs_from_its_settings(incident: &Incident) {
    let machine = &incident.machine;
    let as_it_was = machine.read("/etc/memcached.conf");
    machine.write("/etc/memcached.conf", SHUT);
    let report = Report::of(machine, "");
    report.is("tcp", "OPEN");
    report.has("MC-BOOT-002");
    machine.run("systemctl restart memcached");
    incident.wait_for_memcached();
    machine.write("/etc/memcached.conf", &as_it_was);
    let report = Report::of(machine, "");
    report.is("tcp", "LOCAL");
    report.has("MC-BOOT-001");
    report.lacks(&["MC-NET-001", "MC-AMP-001"]);
}

/// The remedy for a lost log, taken word by word from the report, keeps one that is rotated.
fn gets_a_log(incident: &Incident) {
    let machine = &incident.machine;
    let mute = "/etc/systemd/system/memcached.service.d/10-mute.conf";
    machine.write(mute, "[Service]\nStandardOutput=null\nStandardError=null\n");
    machine.write("/etc/memcached.conf", &format!("{SHUT}-vv\n"));
    machine.run("systemctl daemon-reload && systemctl restart memcached");
    incident.wait_for_memcached();
    let report = Report::of(machine, "");
    let remedy = &report.has("MC-LOG-001")["remedy"];
    for file in remedy["files"].as_array().expect("files") {
        let text = |part: &str| file[part].as_str().expect("a text");
        machine.write(text("path"), text("text"));
    }
    for command in remedy["commands"].as_array().expect("commands") {
        machine.run(command.as_str().expect("a command"));
    }
    incident.wait_for_memcached();
    let log = "/var/log/memcached.log";
    let ask = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/11211; \
               printf \"get witness\\r\\nquit\\r\\n\" >&3; cat <&3'";
    machine.run(ask);
    assert!(machine.read(log).contains("get witness"), "the log is kept");
    machine.run("logrotate --force /etc/logrotate.d/kannuki-memcached");
    assert!(machine.read(&format!("{log}.1")).contains("get witness"), "it was rotated");
    assert!(!machine.read(log).contains("get witness"), "the new one began empty");
    machine.run(ask);
    assert!(machine.read(log).contains("get witness"), "it goes on after the rotation");
    Report::of(machine, "").lacks(&["MC-LOG-001", "MC-LOG-002"]);
}

/// Nothing to mend: everything below `medium`, LOCAL, and no packet comes back.
fn is_shut(incident: &Incident) {
    let machine = &incident.machine;
    machine.write("/etc/memcached.conf", SHUT);
    machine.run("systemctl restart memcached");
    incident.wait_for_memcached();
    let report = Report::of(machine, "--probe");
    report.is("tcp", "LOCAL");
    assert!(report.verdicts("udp").is_empty(), "{:#}", report.0);
    report.lacks(&["MC-NET-001", "MC-AMP-001", "MC-AMP-002", "MC-BOOT-001", "MC-BOOT-002"]);
    assert_eq!(incident.flood().arrived, 0);
}
