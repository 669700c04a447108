//! Killed at every step that its journal counts, by each method: what stands is the old or the new
//! state, `--list` says which, and the next run makes it whole.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use kannuki_tests::clock::{self, Since};
use kannuki_tests::machine::Machine;
use rustix::process::Signal;
use serde_json::Value;

use crate::incident::Incident;
use crate::shut::{SETTINGS, applied, close, must_be_shut, must_be_the_same};

/// Where runs are kept.
const JOURNAL: &str = "var/lib/kannuki-close";

/// A run takes seconds; this is for a busy machine.
const STEP_BOUND: Duration = Duration::from_secs(120);

/// A step that takes a millisecond may be over before the kill arrives. It is tried again so often;
/// what was hit is counted, whichever it was.
const TRIES_MAX: u32 = 3;

#[test]
fn killed_at_every_step_of_bind_it_is_old_or_new_and_the_list_says_which() {
    killed_at_every_step("bind");
}

#[test]
fn killed_at_every_step_of_stop_it_is_old_or_new_and_the_list_says_which() {
    killed_at_every_step("stop");
}

#[test]
fn killed_at_every_step_of_firewall_it_is_old_or_new_and_the_list_says_which() {
    killed_at_every_step("firewall");
}

/// The owner sits at the other end of a connection, or changes their mind.
#[test]
fn a_lost_connection_ends_no_run_and_ctrl_c_takes_it_back() {
    let Some(incident) = Incident::happens() else { return };
    let machine = &incident.machine;
    let before = machine.run(SETTINGS);
    for (signal, code) in [(Signal::HUP, 0), (Signal::INT, 7), (Signal::TERM, 7)] {
        let old = newest(machine).map(|run| run["id"].clone());
        let run = machine.begin("kannuki close --method bind --apply");
        let is_new = || newest(machine).filter(|run| Some(&run["id"]) != old.as_ref());
        let is_under_way = || is_new().filter(|run| begun(run) > 0).map(|_| ());
        assert!(clock::until(STEP_BOUND, is_under_way).is_some(), "{signal:?}: it never began");
        assert!(run.signal(signal), "{signal:?}: it was done before");
        assert_eq!(run.code(), Some(code), "{signal:?}");
        incident.wait_for_memcached();
        if code == 0 {
            must_be_shut(&incident, "a lost connection");
        } else {
            assert!(incident.flood().factor() > 100.0, "{signal:?}: as it was");
        }
        is_taken_back(&incident, "bind", &before);
    }
}

fn killed_at_every_step(method: &str) {
    let Some(incident) = Incident::happens() else { return };
    let before = incident.machine.run(SETTINGS);
    let steps = steps_of(&incident, method);
    let mut hit = BTreeSet::new();
    for step in 0..=steps {
        for _ in 0..TRIES_MAX {
            if hit.contains(&step) {
                break;
            }
            let run = killed(&incident.machine, method, step);
            hit.extend(run.filter(|run| run["state"] == "applying").map(|run| begun(&run)));
            is_made_whole(&incident, method, &before);
        }
    }
    println!("{method}: killed after {hit:?} of {steps} steps were begun");
    assert!(hit.len() > steps / 2, "{method}: only {hit:?} of {steps}");
    killed_on_the_way_back(&incident, method, &before);
}

/// How many steps a whole run has; it is taken back again.
fn steps_of(incident: &Incident, method: &str) -> usize {
    let machine = &incident.machine;
    let done = close(machine, &format!("--method {method} --apply"));
    assert_eq!(done.code, Some(0), "{method}: {}", done.text);
    let steps = newest(machine).map(|run| steps(&run)).expect("a run");
    let undone = close(machine, &format!("--undo {}", applied(machine)[0]));
    assert_eq!(undone.code, Some(0), "{method}: {}", undone.text);
    incident.wait_for_memcached();
    steps
}

/// Begins a run and kills it when its journal says that so many steps were begun, or is past that.
/// The journal as it stands then.
fn killed(machine: &Machine, method: &str, step: usize) -> Option<Value> {
    let old = newest(machine).map(|run| run["id"].clone());
    let words = format!("--method {method} --apply");
    watched(machine, &words, |run| {
        let is_new = Some(&run["id"]) != old.as_ref();
        is_new && (begun(run) >= step || run["state"] != "applying")
    })
}

/// Runs `close` and kills it when `is_there` says so.
fn watched(machine: &Machine, words: &str, is_there: impl Fn(&Value) -> bool) -> Option<Value> {
    let mut run = machine.begin(&format!("kannuki close {words}"));
    let since = Since::now();
    loop {
        if newest(machine).is_some_and(|run| is_there(&run)) {
            run.kill();
            break;
        }
        if run.has_ended() {
            break;
        }
        assert!(since.elapsed() < STEP_BOUND, "{words}: it never came so far");
        std::thread::yield_now();
    }
    let run = newest(machine)?;
    must_be_old_or_new(machine, &run);
    must_be_listed(machine, &run);
    Some(run)
}

/// The journal that was written last.
fn newest(machine: &Machine) -> Option<Value> {
    let runs = std::fs::read_dir(machine.root().join(JOURNAL)).ok()?;
    let manifests = runs.flatten().map(|run| run.path().join("manifest.json"));
    let written = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let newest = manifests.filter(|path| path.is_file()).max_by_key(written)?;
    serde_json::from_str(&std::fs::read_to_string(newest).ok()?).ok()
}

fn begun(run: &Value) -> usize {
    run["begun"].as_u64().and_then(|begun| begun.try_into().ok()).expect("a number")
}

fn steps(run: &Value) -> usize {
    run["plan"]["forward"].as_array().expect("steps").len()
}

/// Each file of the plan is wholly what it was, or wholly what it was to be.
fn must_be_old_or_new(machine: &Machine, run: &Value) {
    for file in run["plan"]["files"].as_array().expect("files") {
        let path = file["path"].as_str().expect("a path");
        let place: PathBuf = machine.root().join(path.trim_start_matches('/'));
        let now = std::fs::read_to_string(place).ok();
        let old = file["before"].as_str();
        let is_whole = now.as_deref() == old || now.as_deref() == file["after"].as_str();
        assert!(is_whole, "{path}: {now:?}");
    }
}

/// `--list` says how far it came, in words and by its exit code.
fn must_be_listed(machine: &Machine, run: &Value) {
    let list = close(machine, "--list");
    let id = run["id"].as_str().expect("a name");
    let lines: Vec<&str> = list.text.lines().skip_while(|line| !line.starts_with(id)).collect();
    let state = run["state"].as_str().expect("a state");
    assert!(lines.first().is_some_and(|line| line.ends_with(state)), "{state}: {}", list.text);
    let said = match state {
        "applying" => format!("Broken off at step {} of {}", begun(run), steps(run)),
        "undoing" => "Broken off while it was taken back".to_owned(),
        _ => return,
    };
    let text = lines.join(" ");
    assert!(text.contains(&said), "{said}: {}", list.text);
    assert_eq!(list.code, Some(1), "{}", list.text);
}

/// Whatever a killed run left: the next one shuts it, and that is taken back byte for byte.
fn is_made_whole(incident: &Incident, method: &str, before: &str) {
    let machine = &incident.machine;
    let whole = close(machine, &format!("--method {method} --apply"));
    assert_eq!(whole.code, Some(0), "{method}: {}", whole.text);
    if method != "stop" {
        incident.wait_for_memcached();
    }
    must_be_shut(incident, method);
    is_taken_back(incident, method, before);
}

fn is_taken_back(incident: &Incident, method: &str, before: &str) {
    let machine = &incident.machine;
    for run in applied(machine).iter().rev() {
        let undone = close(machine, &format!("--undo {run}"));
        assert_eq!(undone.code, Some(0), "{method}: {}", undone.text);
    }
    incident.wait_for_memcached();
    must_be_the_same(before, &machine.run(SETTINGS), method);
}

/// Killed while it is taken back, it is finished by its name.
fn killed_on_the_way_back(incident: &Incident, method: &str, before: &str) {
    let machine = &incident.machine;
    let done = close(machine, &format!("--method {method} --apply"));
    assert_eq!(done.code, Some(0), "{method}: {}", done.text);
    let id = applied(machine)[0].clone();
    let run = watched(machine, &format!("--undo {id}"), |run| run["state"] != "applied");
    let state = run.map(|run| run["state"].clone()).expect("a run");
    println!("{method}: killed on the way back, {state}");
    if state == "undoing" {
        let undone = close(machine, &format!("--undo {id}"));
        assert_eq!(undone.code, Some(0), "{method}: {}", undone.text);
    }
    incident.wait_for_memcached();
    must_be_the_same(before, &machine.run(SETTINGS), method);
}
