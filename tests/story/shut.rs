//! The owner shuts it: each of the three methods is previewed, applied, proved by the same flood,
//! kept over a restart, and taken back byte for byte.

use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::time::Duration;

use kannuki_tests::machine::Machine;

use crate::incident::{ATTACKER, Incident, PORT, SERVER};
use crate::reply::Reply;

/// Every file and link of the settings: text, owner, mode, time.
pub(crate) const SETTINGS: &str = "find /etc -xdev -type f -printf '%p %m %U %G %T@\\n' | sort; \
                        find /etc -xdev -type l -printf '%p -> %l\\n' | sort; \
                        find /etc -xdev -type f -print0 | sort -z | xargs -0 sha256sum";

/// As the hosting provider lists them: 1, 2, 3.
pub(crate) const METHODS: [&str; 3] = ["bind", "stop", "firewall"];

/// Longest wait for a connection that is dropped; an answer comes within milliseconds.
const CONNECT_BOUND: Duration = Duration::from_secs(2);

/// What `close` said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

pub(crate) fn close(machine: &Machine, words: &str) -> Said {
    let output: Output = machine.attempt(&format!("kannuki close --lang en {words}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Said { code: output.status.code(), text }
}

/// The runs that are done and not taken back, as `--list` names them.
pub(crate) fn applied(machine: &Machine) -> Vec<String> {
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

pub(crate) fn must_be_shut(incident: &Incident, when: &str) {
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
    for method in METHODS {
        shut_and_open_again(&mut incident, method);
    }
}

fn shut_and_open_again(incident: &mut Incident, method: &str) {
    assert!(incident.flood().factor() > 100.0, "{method}: open before");
    assert!(connects(incident), "{method}: open before");
    let before = incident.machine.run(SETTINGS);
    let mut reply = Reply::before(incident);
    let preview = close(&incident.machine, &format!("--method {method}"));
    assert_eq!(preview.code, Some(1), "{}", preview.text);
    assert_eq!(incident.machine.run(SETTINGS), before, "a preview changes nothing");
    // Exactly what the preview says is what its owner types.
    let line = preview.text.lines().find(|line| line.ends_with("--apply")).expect("a command");
    let words = line.trim().trim_start_matches("kannuki close ");
    let done = reply.timed(incident, || close(&incident.machine, words));
    assert_eq!(done.code, Some(0), "{method}: {}", done.text);
    must_be_shut(incident, method);
    reply.is_written(incident, method);
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

pub(crate) fn must_be_the_same(before: &str, after: &str, when: &str) {
    let gone: Vec<&str> = before.lines().filter(|l| !after.lines().any(|o| o == *l)).collect();
    let new: Vec<&str> = after.lines().filter(|l| !before.lines().any(|o| o == *l)).collect();
    assert!(gone.is_empty() && new.is_empty(), "{when}: gone {gone:#?}, new {new:#?}");
}
