//! The binary against a real server: every number that it prints comes from one.
//!
//! The product's binary is found as the other tests find it: `KANNUKI_BIN`, or beside this test.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output};

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
    words.extend(["--json", &json, "--svg", &svg]);
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
fn every_synthetic_workload_plays_and_a_load_is_measured() {
    let serve = format!("'{}' serve -t 1", kannuki().display());
    // A server's own pages are up to 12 MiB here: what is asked for must be well above them.
    let mut words = vec!["replay", "--footprint", "28", "--requests", "30000", "--memory", "1/1"];
    words.extend(["--twitter", "22", "--zipf", "1.1", "--churn", "0.01", "--keys", "5000"]);
    words.extend(["--kvcache", "--pace", "1000000", "--value-size", "2000"]);
    words.extend(["--against", &serve, "--against", &serve]);
    let table = succeeded(&bench(&words));
    for name in ["twitter22", "zipf 1.1", "kvcache"] {
        assert!(table.matches(name).count() >= 2, "{name} in {table}");
    }
    let mut words = vec!["compare", "--pairs", "1", "--requests", "2000", &serve, &serve];
    words.extend(["--preset", "standard"]);
    let table = succeeded(&bench(&words));
    assert!(table.contains("get of 100 keys") && !table.contains("NaN"), "{table}");
}

#[test]
fn what_cannot_be_done_is_told_by_name() {
    let cases: [(&[&str], &str); 6] = [
        (&["replay"], "nothing to play"),
        (&["replay", "--trace", "/nowhere.xz"], "/nowhere.xz"),
        (&["replay", "--twitter", "1"], "presets are 12, 17"),
        (&["compare", "/nowhere/server", "true"], "/nowhere/server"),
        (&["load", "--address", "127.0.0.1:1", "--depth", "0"], "depth"),
        (&["load", "--pid", "4000000000"], "4000000000"),
    ];
    for (words, expected) in cases {
        let output = bench(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}
