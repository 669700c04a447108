//! SIGHUP reads the users again, and decides about those who are in.

use std::time::Duration;

use kannuki_tests::{Server, Wire, clock};
use rustix::process::Signal;

use super::{FAILED, Users, log_in, stat};

/// A reload takes milliseconds; the rest is this machine's slowness.
const BOUND: Duration = Duration::from_secs(20);

/// Sends SIGHUP and waits until the server has said so, for the `times`th time.
fn reload(server: &Server, words: &str, times: usize) {
    server.signal(Signal::HUP);
    let said =
        clock::until(BOUND, || (server.stderr().matches(words).count() >= times).then_some(()));
    assert!(said.is_some(), "{}", server.stderr());
}

fn user(server: &Server, token: &str) -> Wire {
    let mut wire = server.connect();
    assert_eq!(log_in(&mut wire, token), "STORED");
    wire
}

#[test]
fn a_reload_admits_the_new_and_ends_the_removed() {
    let users = Users::new("app:secret\nold:gone\nmoved:before\n");
    let server = users.text().flags(["-v", "-v"]).start();
    let mut app = user(&server, "app secret");
    let mut old = user(&server, "old gone");
    let mut moved = user(&server, "moved before");

    users.write("app:secret\nbroken\n");
    reload(&server, "the old settings, users and certificates stay", 1);
    assert!(server.stderr().contains("line 2: is not `name:password`"), "{}", server.stderr());
    assert_eq!(old.ask("mn\r\n"), "MN", "a bad file changes nothing");
    user(&server, "old gone");

    users.write("app:secret\nnew:here\nmoved:after\n");
    reload(&server, "read the users again", 1);
    assert_eq!(app.ask("mn\r\n"), "MN");
    old.send("get a\r\n");
    assert!(old.closes_within(BOUND), "who is gone is out");
    moved.send("get a\r\n");
    assert!(moved.closes_within(BOUND), "and who has another password");
    user(&server, "new here");
    user(&server, "moved after");
    for token in ["old gone", "moved before"] {
        assert_eq!(log_in(&mut server.connect(), token), FAILED);
    }
    assert_eq!(stat(&mut app, "kannuki_users"), 3);
    assert_eq!(stat(&mut app, "auth_errors"), 2);
}

#[test]
fn a_thousand_users_log_in_and_a_reload_of_them_drops_nobody() {
    let mut file: String = (0..1000).map(|n| format!("user{n}:secret{n}\n")).collect();
    let users = Users::new(&file);
    let server = users.text().flags(["-v", "-v", "-c", "2000"]).start();
    let mut all: Vec<Wire> =
        (0..1000).map(|n| user(&server, &format!("user{n} secret{n}"))).collect();
    file.push_str("user1000:secret1000\n");
    users.write(&file);
    reload(&server, "read the users again", 1);
    for wire in &mut all {
        assert_eq!(wire.ask("mn\r\n"), "MN");
    }
    assert_eq!(log_in(&mut server.connect(), "user1 secret2"), FAILED);
    let mut last = user(&server, "user1000 secret1000");
    assert_eq!(stat(&mut last, "kannuki_users"), 1001);
}
