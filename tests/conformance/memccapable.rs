//! libmemcached's own protocol tests against Kannuki, line by line.

use std::process::Command;

use kannuki_tests::{Launch, missing};

/// What memccapable 1.1.4 runs. A list, so that a test that is no longer run is noticed.
const TEXT: &[&str] = &[
    "version",
    "quit",
    "verbosity",
    "set",
    "set noreply",
    "get",
    "gets",
    "mget",
    "flush",
    "flush noreply",
    "add",
    "add noreply",
    "replace",
    "replace noreply",
    "cas",
    "cas noreply",
    "delete",
    "delete noreply",
    "incr",
    "incr noreply",
    "decr",
    "decr noreply",
    "append",
    "append noreply",
    "prepend",
    "prepend noreply",
    "stat",
];
/// See [`TEXT`].
const BINARY: &[&str] = &[
    "noop", "quit", "quitq", "set", "setq", "flush", "flushq", "add", "addq", "replace",
    "replaceq", "delete", "deleteq", "get", "getq", "getk", "getkq", "incr", "incrq", "decr",
    "decrq", "version", "append", "appendq", "prepend", "prependq", "stat",
];

#[test]
fn memccapable_passes() {
    if Command::new("memccapable").arg("-h").output().is_err() {
        return missing("memccapable", "`apt-get install libmemcached-tools`");
    }
    let server = Launch::kannuki().start();
    let port = server.port().to_string();
    let mut command = Command::new("memccapable");
    let output = command.args(["-h", "127.0.0.1", "-p", &port, "-t", "10"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = |protocol: &str, test: &str| {
        let name = format!("{protocol} {test}");
        let mut lines = text.lines().filter_map(|line| line.trim_end().strip_suffix("[pass]"));
        lines.any(|line| line.trim_end() == name)
    };
    for test in TEXT {
        assert!(passed("ascii", test), "ascii {test}:\n{said}");
    }
    for test in BINARY {
        assert!(passed("binary", test), "binary {test}:\n{said}");
    }
    assert!(text.contains("All tests passed"), "{said}");
    assert!(output.status.success(), "{said}");
}
