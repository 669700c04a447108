//! The owner shuts it: each of the three methods is previewed, applied, proved by the same flood,
//! kept over a restart, and taken back byte for byte.

use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::time::Duration;

use kannuki_tests::machine::Machine;

use crate::incident::{ATTACKER, Incident, PORT, SERVER};

/// Every file and link of the settings: text, owner, mode, time.
const SETTINGS: &str = "find /etc -xdev -type f -printf '%p %m %U %G %T@\\n' | sort; \
                        find /etc -xdev -type l -printf '%p -> %l\\n' | sort; \
                        find /etc -xdev -type f -print0 | sort -z | xargs -0 sha256sum";

/// Longest wait for a connection that is dropped; an answer comes within milliseconds.
const CONNECT_BOUND: Duration = Duration::from_secs(2);

/// Delays after which a run is killed, in seconds as `timeout` takes them: from before its first
/// step to about its end, wherever that falls on this machine.
const KILLED_AFTER: [&str; 5] = ["0.05", "0.4", "0.9", "1.3", "1.8"];

struct Said {
    code: Option<i32>,
    text: String,
}

fn close(machine: &Machine, words: &str) -> Said {
    let output: Output = machine.attempt(&format!("kannuki close --lang en {words}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Said { code: output.status.code(), text }
}

/// The runs that are done and not taken back, as `--list` names them.
fn applied(machine: &Machine) -> Vec<String> {
    let said = close(machine, "--list");
    let lines = said.text.lines().filter(|line| line.ends_with("  applied"));
    lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Whether a stranger gets a connection.
fn connects(incident: &Incident) -> bool {
    let server = SocketAddr::new(incident.network.host(SERVER).address(true), PORT);
    let connect = || TcpStream::connect_timeout(&server, CONNECT_BOUND).is_ok();
    incident.network.host(ATTACKER).inside(connect)
}

fn must_be_shut(incident: &Incident, when: &str) {
    let flood = incident.flood();
    assert_eq!(flood.arrived, 0, "{when}: {flood:?}");
    assert!(!connects(incident), "{when}: a stranger connects");
}

#[test]
fn each_method_shuts_it_over_a_restart_and_is_taken_back() {
    let Some(mut incident) = Incident::happens() else { return };
    let flood = incident.flood();
    println!("before: the victim gets {:.0} times what was sent", flood.factor());
    let checked = incident.machine.attempt("kannuki check --probe --lang en");
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    for said in ["OPEN", "MC-AMP-001", "MC-NET-001", "MC-ORIGIN-001", "MC-USE-001"] {
        assert!(checked.contains(said), "{said}: {checked}");
    }
    for method in ["bind", "stop", "firewall"] {
        shut_and_open_again(&mut incident, method);
    }
    survives_being_killed(&incident);
}

fn shut_and_open_again(incident: &mut Incident, method: &str) {
    assert!(incident.flood().factor() > 100.0, "{method}: open before");
    assert!(connects(incident), "{method}: open before");
    let before = incident.machine.run(SETTINGS);
    let preview = close(&incident.machine, &format!("--method {method}"));
    assert_eq!(preview.code, Some(1), "{}", preview.text);
    assert_eq!(incident.machine.run(SETTINGS), before, "a preview changes nothing");
    // Exactly what the preview says is what its owner types.
    let line = preview.text.lines().find(|line| line.ends_with("--apply")).expect("a command");
    let words = line.trim().trim_start_matches("kannuki close ");
    let done = close(&incident.machine, words);
    assert_eq!(done.code, Some(0), "{method}: {}", done.text);
    must_be_shut(incident, method);
    let again = close(&incident.machine, &format!("--method {method} --apply"));
    assert_eq!(again.code, Some(0), "{method}: {}", again.text);
    let runs = applied(&incident.machine);
    assert_eq!(runs.len(), 1, "{method}: nothing to do the second time: {runs:?}");
    incident.machine.restart();
    if method == "stop" {
        let sockets = incident.machine.run("ss -Hlntu 'sport = :11211'");
        assert_eq!(sockets, "", "{method}: nothing listens");
    } else {
        incident.wait_for_memcached();
    }
    must_be_shut(incident, &format!("{method}, restarted"));
    let undone = close(&incident.machine, &format!("--undo {}", runs[0]));
    assert_eq!(undone.code, Some(0), "{method}: {}", undone.text);
    incident.wait_for_memcached();
    must_be_the_same(&before, &incident.machine.run(SETTINGS), method);
    let flood = incident.flood();
    assert!(flood.factor() > 100.0, "{method}: open again: {flood:?}");
    println!("{method}: 0 bytes after it and after a restart; taken back byte for byte");
}

fn must_be_the_same(before: &str, after: &str, when: &str) {
    let gone: Vec<&str> = before.lines().filter(|l| !after.lines().any(|o| o == *l)).collect();
    let new: Vec<&str> = after.lines().filter(|l| !before.lines().any(|o| o == *l)).collect();
    assert!(gone.is_empty() && new.is_empty(), "{when}: gone {gone:#?}, new {new:#?}");
}

/// Killed somewhere: the list says what stands, and the next run makes it whole.
fn survives_being_killed(incident: &Incident) {
    let machine = &incident.machine;
    let before = machine.run(SETTINGS);
    for delay in KILLED_AFTER {
        // Four restarts in some seconds, five times over: systemd takes that for a unit gone mad.
        machine.run("systemctl reset-failed memcached");
        let line = format!("timeout -s KILL {delay} kannuki close --method bind --apply");
        let ended = machine.attempt(&line).status;
        let settings = machine.read("/etc/memcached.conf");
        let is_new = settings.contains("-l 127.0.0.1") && !settings.contains("-l 0.0.0.0");
        let is_old = settings.contains("-l 0.0.0.0") && !settings.contains("-l 127.0.0.1");
        assert!(is_new || is_old, "{delay}: {settings}");
        let list = close(machine, "--list");
        println!("killed after {delay} s ({ended}): {}", list.text.lines().last().unwrap_or("-"));
        let whole = close(machine, "--method bind --apply");
        assert_eq!(whole.code, Some(0), "{delay}: {}", whole.text);
        incident.wait_for_memcached();
        must_be_shut(incident, delay);
        for run in applied(machine) {
            let undone = close(machine, &format!("--undo {run}"));
            assert_eq!(undone.code, Some(0), "{delay}: {}", undone.text);
        }
        incident.wait_for_memcached();
        must_be_the_same(&before, &machine.run(SETTINGS), delay);
    }
}
