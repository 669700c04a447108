//! Failures end in a ban of their source, and the ban ends. On a UNIX socket, where the source is
//! the user that the kernel attests: on loopback nobody is ever shut out.

use std::time::Duration;

use kannuki_tests::{Server, clock};

use super::{FAILED, Users, log_in, stat};

const BAN: Duration = Duration::from_secs(3);
/// Longer than the ban, by this machine's slowness.
const BOUND: Duration = Duration::from_secs(30);

fn is_let_in(server: &Server) -> bool {
    let Ok(mut wire) = server.try_connect() else { return false };
    if wire.try_send(b"set auth 0 0 10\r\napp secret\r\n").is_err() {
        return false;
    }
    wire.fill(Duration::from_secs(5)) && wire.unread() == b"STORED\r\n"
}

#[test]
fn failures_shut_out_and_time_lets_in_again() {
    let users = Users::new("app:secret\n");
    let ban = ["--auth-ban-after", "3", "--auth-ban-time", "3s"];
    let server = users.text().flags(ban).on_unix_socket().start();
    let mut inside = server.connect();
    assert_eq!(log_in(&mut inside, "app secret"), "STORED");
    let mut waiting = server.connect();
    for _ in 0..3 {
        assert_eq!(log_in(&mut server.connect(), "app wrong"), FAILED);
    }
    assert!(!is_let_in(&server), "shut out after three failures");
    assert_eq!(log_in(&mut waiting, "app secret"), FAILED, "also who had come before");
    assert!(waiting.closes_within(BOUND));
    assert_eq!(inside.ask("mn\r\n"), "MN", "who is in stays in");
    assert_eq!(stat(&mut inside, "kannuki_banned_sources"), 1);
    assert_eq!(stat(&mut inside, "kannuki_refused_login-failed"), 3);
    assert!(stat(&mut inside, "kannuki_refused_banned") >= 2);
    let said = server.stderr();
    assert!(said.contains("a log-in failed"), "{said}");
    let again = clock::until(BAN + BOUND, || is_let_in(&server).then_some(()));
    assert!(again.is_some(), "the ban ends: {}", server.stderr());
    assert_eq!(stat(&mut inside, "kannuki_banned_sources"), 0);
}

#[test]
fn loopback_is_never_shut_out() {
    let users = Users::new("app:secret\n");
    let server = users.text().flags(["--auth-ban-after", "3"]).start();
    for _ in 0..20 {
        assert_eq!(log_in(&mut server.connect(), "app wrong"), FAILED);
    }
    assert!(is_let_in(&server));
}
