//! The text log-in beside Debian's memcached: the same bytes to both, the same answers from both,
//! but for the differences that are listed with their reason.

use std::time::Duration;

use kannuki_tests::wire::show;
use kannuki_tests::{Launch, Program, Server, missing};

use super::Users;

/// What has not been answered by then is not answered: both servers answer within a millisecond.
const QUIET: Duration = Duration::from_millis(400);

/// One connection: what is sent, a write at a time.
struct Case {
    name: &'static str,
    writes: &'static [&'static str],
}

/// Where Kannuki answers differently on purpose: the case, its answers, and why.
struct Difference {
    case: &'static str,
    kannuki: &'static [&'static str],
    why: &'static str,
}

const LOGIN: &str = "set auth 0 0 10\r\napp secret\r\n";
const VERSION: &str = "verbosity 0\r\n";

const CASES: &[Case] = &[
    Case { name: "right", writes: &["get a\r\n", LOGIN, "get a\r\n", LOGIN, "get auth\r\n"] },
    Case { name: "words do not matter", writes: &["set auth zz yy 10\r\napp secret\r\n", VERSION] },
    Case { name: "blanks", writes: &["  set  a  0  0  10 \r\napp secret\r\n", VERSION] },
    Case { name: "more words", writes: &["set a 0 0 10 noreply\r\napp secret\r\n", VERSION] },
    Case { name: "a plus", writes: &["set a 0 0 +10\r\napp secret\r\n", VERSION] },
    Case { name: "a line feed alone", writes: &["set a 0 0 10\napp secret\r\n", VERSION] },
    Case { name: "wrong password", writes: &["set a 0 0 9\r\napp wrong\r\n", VERSION, LOGIN] },
    Case { name: "unknown user", writes: &["set a 0 0 8\r\neve evil\r\n", VERSION] },
    Case { name: "no blank", writes: &["set a 0 0 9\r\nappsecret\r\n", VERSION] },
    Case { name: "no name", writes: &["set a 0 0 7\r\n secret\r\n", VERSION] },
    Case { name: "no password", writes: &["set a 0 0 4\r\napp \r\n", VERSION] },
    Case { name: "nothing", writes: &["set a 0 0 0\r\n\r\n", VERSION] },
    Case { name: "too few words", writes: &["set a 0 0\r\n", VERSION] },
    Case { name: "no number", writes: &["set a 0 0 ten\r\n", VERSION] },
    Case { name: "half a number", writes: &["set a 0 0 10x\r\n", VERSION] },
    Case { name: "a negative number", writes: &["set a 0 0 -1\r\n", VERSION] },
    Case { name: "another command", writes: &["add a 0 0 10\r\n", VERSION] },
    Case { name: "a longer word", writes: &["settle a 0 0 10\r\n", VERSION] },
    Case { name: "meta", writes: &["mg key v\r\n", "ms key 2\r\n", VERSION] },
    Case { name: "quit", writes: &["quit now\r\n", VERSION] },
    Case { name: "longer than said", writes: &["set a 0 0 9\r\napp secret\r\n", VERSION, VERSION] },
    Case { name: "in pieces", writes: &["set a 0 ", "0 10\r\napp", " secret", "\r\n", VERSION] },
    Case { name: "blanks in a password", writes: &["set a 0 0 12\r\nbob pass word\r\n", VERSION] },
    Case { name: "blanks around", writes: &["set a 0 0 12\r\napp  secret \r\n", VERSION] },
    Case { name: "a short line", writes: &["mn\r\n"] },
    Case { name: "http", writes: &["GET / HTTP/1.1\r\n"] },
    Case { name: "too long", writes: &["set a 0 0 16385\r\n"] },
];

const TOO_EARLY: &str = "CLIENT_ERROR unauthenticated\r\n";

const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "blanks around",
        kannuki: &["CLIENT_ERROR authentication failure\r\n", TOO_EARLY],
        why: "1.6.45: the password is all behind the first blank; 1.6.18 cuts it at blanks",
    },
    Difference {
        case: "a short line",
        kannuki: &["", "closed"],
        why: "1.6.45 closes before log-in on lines under six bytes",
    },
    Difference {
        case: "http",
        kannuki: &["", "closed"],
        why: "what speaks HTTP is closed without a word, as after log-in",
    },
    Difference {
        case: "too long",
        kannuki: &["CLIENT_ERROR auth token too long\r\n", "closed"],
        why: "1.6.45 answers at once and reads on in the block; Kannuki answers at once and closes",
    },
];

/// The answers to each write, and whether the server has closed in the end.
fn answers(server: &Server, case: &Case) -> Vec<String> {
    let mut wire = server.connect();
    let mut said = Vec::new();
    for write in case.writes {
        if wire.try_send(write.as_bytes()).is_err() {
            break;
        }
        said.push(show(&wire.drain(QUIET)).replace("\\r\\n", "\r\n"));
        if wire.has_ended() {
            said.push("closed".to_owned());
            break;
        }
    }
    said
}

#[test]
fn text_logins_are_answered_as_memcached_answers_them() {
    if let Err(why) = Program::Memcached.path() {
        return missing("the comparison of log-ins", &why);
    }
    let users = Users::new("app:secret\nbob:pass word\n");
    let path = users.path().to_str().unwrap().to_owned();
    let memcached = Launch::memcached().flags(["-Y", &path]).start();
    let kannuki = users.text().flags(["--auth-ban-after", "0"]).start();
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        let pairs: Vec<_> = CASES
            .iter()
            .map(|case| {
                let (memcached, kannuki) = (&memcached, &kannuki);
                let theirs = scope.spawn(move || answers(memcached, case));
                (case, theirs, scope.spawn(move || answers(kannuki, case)))
            })
            .collect();
        for (case, theirs, ours) in pairs {
            let (theirs, ours) = (theirs.join().unwrap(), ours.join().unwrap());
            let known = DIFFERENCES.iter().find(|known| known.case == case.name);
            match known {
                None if ours == theirs => {}
                Some(known) if ours == known.kannuki && ours != theirs => {}
                Some(known) => wrong.push(format!(
                    "{}: {ours:?}, memcached {theirs:?}, listed {:?} ({})",
                    case.name, known.kannuki, known.why
                )),
                None => wrong.push(format!("{}: {ours:?}, memcached {theirs:?}", case.name)),
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for known in DIFFERENCES {
        assert!(CASES.iter().any(|case| case.name == known.case), "{}", known.case);
    }
}

#[test]
fn log_ins_are_counted_as_memcached_counts_them() {
    if let Err(why) = Program::Memcached.path() {
        return missing("the comparison of log-ins", &why);
    }
    let users = Users::new("app:secret\n");
    let path = users.path().to_str().unwrap().to_owned();
    let counts = |server: &Server| {
        for writes in [
            &["set a 0 0 9\r\napp wrong\r\n"][..],
            &["set a 0 0 9\r\nappsecret\r\n"],
            &["get a\r\n"],
            &[LOGIN, LOGIN],
        ] {
            answers(server, &Case { name: "", writes });
        }
        let mut wire = server.connect();
        assert_eq!(super::log_in(&mut wire, "app secret"), "STORED");
        [super::stat(&mut wire, "auth_cmds"), super::stat(&mut wire, "auth_errors")]
    };
    let memcached = Launch::memcached().flags(["-Y", &path]).start();
    let kannuki = users.text().start();
    assert_eq!(counts(&kannuki), counts(&memcached));
}
