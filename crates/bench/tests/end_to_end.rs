//! The binary against a real server: every number that it prints comes from one.
//!
//! The product's binary is found as the other tests find it: `KANNUKI_BIN`, or beside this test.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kannuki_bench::process::{Server, Sides, Typed};

fn kannuki() -> PathBuf {
    if let Some(path) = std::env::var_os("KANNUKI_BIN") {
        return path.into();
    }
    let bench = PathBuf::from(env!("CARGO_BIN_EXE_kannuki-bench"));
    let path = bench.with_file_name("kannuki");
    assert!(path.is_file(), "build it first: `cargo build -p kannuki`, or set KANNUKI_BIN");
    path
}

fn bench(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kannuki-bench")).args(words).output().unwrap()
}

fn succeeded(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_replay_gives_two_servers_the_same_memory_and_counts_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let serve = format!("'{}' serve -t 1", kannuki().display());
    // Squares modulo a prime: 351 items of 60 kB, of which half the memory cannot hold all.
    let keys: Vec<u8> = (0..1000_u32).flat_map(|at| (at * at % 701).to_le_bytes()).collect();
    std::fs::write(file("circle.trace"), keys).unwrap();
    let (trace, json, svg) = (file("circle.trace"), file("out.json"), file("out.svg"));
    let mut words = vec!["replay", "--trace", &trace, "--value-size", "60000", "--footprint", "64"];
    words.extend(["--memory", "1/2", "--against", &serve, "--against", &serve]);
    words.extend(["--settle", "0", "--json", &json, "--svg", &svg]);
    let table = succeeded(&bench(&words));
    assert!(table.contains("| circle"), "{table}");
    let points: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let points = points.as_array().unwrap();
    assert_eq!(points.len(), 2);
    for point in points {
        let number = |name: &str| point["tally"][name].as_u64().unwrap();
        assert_eq!((number("hits") + number("misses")) % 1000, 0, "{point}");
        assert!(number("hits") > 0 && number("misses") > 0, "{point}");
        assert_eq!((number("sets"), number("refused")), (number("misses"), 0), "{point}");
        assert!(point["items"].as_u64().unwrap() > 0);
    }
    assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg"));
}

#[test]
fn every_synthetic_workload_comes_back_to_its_items() {
    let serve = Typed::parse(&format!("'{}' serve -t 1 -m 64", kannuki().display())).unwrap();
    let workloads: [(&str, &[&str]); 4] = [
        ("twitter22", &["--twitter", "22", "--pace", "1000000"]),
        ("twitter53", &["--twitter", "53"]),
        ("zipf 1.1", &["--zipf", "1.1", "--churn", "0.01", "--keys", "100"]),
        ("kvcache", &["--kvcache", "--keys", "100"]),
    ];
    for (name, chosen) in workloads {
        let server = Server::start(&serve, &Sides::halves().unwrap()).unwrap();
        let (address, pid) = (server.address().to_string(), server.account().pid().to_string());
        let mut words = vec!["replay", "--footprint", "1", "--requests", "20000"];
        words.extend(["--address", &address, "--pid", &pid]);
        words.extend(chosen);
        let output = bench(&words);
        let table = succeeded(&output);
        let row = table.lines().find(|row| row.contains(name)).unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let number = |at: usize| cells[at].parse::<u64>().unwrap();
        let (hits, misses, resident) = (number(3), number(4), cells[7].parse::<f64>().unwrap());
        // With room for all items, most requests of a workload that repeats are hits.
        assert!(hits > misses && misses > 0 && hits + misses <= 20_000, "{row}");
        assert!(resident > 0.0 && number(6) > 0, "{row}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_short = said.contains("instead of the 1 asked for");
        assert_eq!(is_short, name == "twitter22", "{name}: {said}");
        server.stop().unwrap();
    }
}

#[test]
fn two_servers_are_compared_under_every_standard_load() {
    let serve = format!("'{}' serve -t 1", kannuki().display());
    let mut words = vec!["compare", "--pairs", "1", "--requests", "300", &serve, &serve];
    words.extend(["--preset", "standard", "--keep", "--keys", "2000"]);
    let table = succeeded(&bench(&words));
    assert!(table.contains("get of 100 keys") && !table.contains("NaN"), "{table}");
}

#[test]
fn what_cannot_be_done_is_told_by_name() {
    let cases: [(&[&str], &str); 13] = [
        (&["replay"], "nothing to play"),
        (&["replay", "--trace", "/nowhere.xz"], "/nowhere.xz"),
        (
            &["replay", "--zipf", "1", "--kvcache", "--keys", "9", "--requests", "9"],
            "one at a time",
        ),
        (&["replay", "--twitter", "1"], "presets are 12, 17"),
        (&["compare", "/nowhere/server", "true"], "/nowhere/server"),
        (&["load", "--address", "127.0.0.1:1", "--depth", "0"], "depth"),
        (&["load", "--pid", "4000000000"], "4000000000"),
        (&["load", "--address", "127.0.0.1:1", "--json", "/nowhere/x.json"], "/nowhere/x.json"),
        (&["compare", "true", "true", "--json", "/nowhere/x.json"], "/nowhere/x.json"),
        (&["compare", "true", "true", "--requests", "0"], "no requests"),
        (&["compare", "true", "true", "--connections", "9"], "--preset tls alone"),
        (&["compare", "true", "true", "--keep", "--preset", "tls"], "not for --preset tls"),
        (&["locks", "--items", "0"], "no items"),
    ];
    for (words, expected) in cases {
        let output = bench(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}

/// A small law against two servers, of which the last may be a wrong one.
fn against<'w>(first: &'w str, last: &'w str, more: &[&'w str]) -> Vec<&'w str> {
    let mut words = vec!["replay", "--zipf", "1", "--keys", "1000", "--requests", "5000"];
    words.extend(["--value-size", "60000", "--footprint", "64", "--memory", "1/2"]);
    words.extend(["--settle", "0", "--against", first, "--against", last]);
    words.extend(more);
    words
}

#[test]
fn a_server_that_cannot_start_is_told_before_others_are_measured() {
    let serve = format!("'{}' serve -t 1", kannuki().display());
    let output = bench(&against("/nowhere/server", &serve, &[]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot start /nowhere/server"), "{said}");
    assert!(!said.contains("resident"), "no `-m` was tried: {said}");
}

#[test]
fn a_server_that_fails_while_it_is_played_to_is_no_memory_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("k.toml");
    let rule = "[[rule]]\nnetwork = [\"127.0.0.0/8\"]\ndeny = [\"read\"]\n";
    std::fs::write(&config, rule).unwrap();
    let serve = format!("'{}' serve -t 1", kannuki().display());
    // It takes what fills it, but answers no question.
    let deaf = format!("{serve} --config '{}'", config.display());
    let output = bench(&against(&serve, &deaf, &["--ask", "mg"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("access denied") && !said.contains("left out"), "{said}");
}

/// What a process has started.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let numbers = std::fs::read_to_string(path).unwrap_or_default();
    numbers.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Looks until something is so; a minute at most.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never came to pass: {what}");
}

/// The bench, so that it ends with the test whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_bench_that_is_killed_leaves_no_server_behind() {
    let serve = format!("'{}' serve -t 1", kannuki().display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_kannuki-bench"));
    command.args(["compare", "--pairs", "100", &serve, &serve]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let bench = running.0.id();
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let server = || children(bench).into_iter().find(|&pid| name(pid) == "kannuki\n");
    until("a server", || server().is_some());
    let server = server().unwrap();
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    // Gone, or a corpse that whoever inherited it has not buried yet.
    let is_gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" Z"))
    };
    until("the end of the server", is_gone);
}
