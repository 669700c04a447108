//! `kannuki news update` against a server of our own: what it takes, and how it is lied to.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::https::{Asked, Reply, Server};

fn kannuki(words: &[&str], state: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kannuki"));
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    {
        command.env_remove(name);
    }
    command.env("STATE_DIRECTORY", state).env("LC_ALL", "C");
    command.args(words).stdin(Stdio::null()).output().unwrap()
}

fn update(server: &Server, state: &Path) -> Output {
    update_with(server, state, &[])
}

fn update_with(server: &Server, state: &Path, more: &[&str]) -> Output {
    let tracker = format!("{}/tracker/data/json", server.url);
    let ca = server.ca.to_str().unwrap();
    let words = ["news", "update", "--osv", &server.url, "--debian", &tracker, "--ca", ca];
    kannuki(&[&words[..], more].concat(), state)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One record for Debian, one of Bitnami with upstream's range, and an old friend of the table.
const RECORD: &str = r#"{"schema_version":"1.7.3","id":"BIT-memcached-2026-99991",
 "modified":"2026-11-25T08:00:00.123456Z","published":"2026-11-24T00:00:00Z",
 "aliases":["CVE-2026-99991"],"summary":"A crash by a long\u001b[2J key",
 "severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
 "references":[{"type":"WEB","url":"https://memcached.example/1"}],
 "affected":[{"package":{"name":"memcached","ecosystem":"Bitnami","purl":"pkg:bitnami/memcached"},
   "ranges":[{"type":"SEMVER","events":[{"introduced":"1.4.0"},{"fixed":"1.6.46"}]}]}]}"#;
const TRACKER: &str = r#"{"0ad":{},"memcached":{"CVE-2026-99991":{
  "description":"A crash by a long key.","scope":"remote","debianbug":1,"releases":{
    "bookworm":{"status":"resolved","repositories":{"bookworm":"1.6.18-1+deb12u1"},
      "fixed_version":"1.6.18-1+deb12u7","urgency":"not yet assigned"},
    "sid":{"status":"resolved","repositories":{"sid":"1.6.46-1"},"fixed_version":"1.6.46-1"}}}}}"#;

fn honest(asked: &Asked, _base: &str) -> Reply {
    match asked.path.as_str() {
        "/v1/querybatch" => batch(asked, "BIT-memcached-2026-99991"),
        "/v1/vulns/BIT-memcached-2026-99991" => Reply::json(RECORD),
        "/tracker/data/json" => Reply::json(TRACKER),
        _ => Reply::status("404 Not Found"),
    }
}

/// As many lists as questions, the first with one record.
fn batch(asked: &Asked, id: &str) -> Reply {
    let queries = asked.body.matches("\"package\"").count();
    let first = format!(r#"{{"vulns":[{{"id":"{id}","modified":"2026-11-25T08:00:00Z"}}]}}"#);
    let lists: Vec<&str> =
        std::iter::once(first.as_str()).chain(std::iter::repeat("{}")).take(queries).collect();
    Reply::json(&format!(r#"{{"results":[{}]}}"#, lists.join(",")))
}

#[test]
fn a_refreshed_table_is_used_and_its_day_is_told() {
    let server = Server::start(honest);
    let state = tempfile::tempdir().unwrap();
    let output = update(&server, state.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = state.path().join("news.json");
    let table = fs::read_to_string(&file).unwrap();
    let day = table.split("\"data_as_of\": \"").nth(1).unwrap().get(..10).unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains(day) && told.contains(file.to_str().unwrap()), "{told}");
    assert!(table.contains("CVE-2026-99991") && table.contains("1.6.18-1+deb12u7"));
    assert!(table.contains("\"latest_upstream\": \"1.6.46\""), "as in Debian's sid");
    assert!(!table.contains('\u{1b}') && !table.contains("\\u001b"), "an escape went through");
    let left: Vec<_> = fs::read_dir(state.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");

    let asked = server.asked();
    assert!(asked[0].method == "POST" && asked[0].body.contains("\"Debian:12\""), "{asked:?}");
    let hosts = fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "?".into());
    let hosts = hosts.trim();
    assert!(hosts.len() < 4 || asked.iter().all(|asked| !asked.body.contains(hosts)));

    let facts = concat!(env!("CARGO_MANIFEST_DIR"), "/../audit/tests/fixtures/clean.json");
    let news = kannuki(&["news", "--facts", facts], state.path());
    let text = String::from_utf8_lossy(&news.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("CVE-2026-99991"));
    assert!(line.is_some_and(|line| line.contains("  vulnerable  ")), "{text}");
    assert!(text.contains(day), "{text}");
    let check = kannuki(&["check", "--facts", facts], state.path());
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(text.contains(&format!("Flaws known as of {day}")), "{text}");
    assert!(text.contains("CVE-2026-99991"), "{text}");

    let again = update(&server, state.path());
    assert_eq!(again.status.code(), Some(0), "the same data again: {}", stderr(&again));
}

#[test]
fn without_a_network_the_shipped_table_is_used() {
    let state = tempfile::tempdir().unwrap();
    let facts = concat!(env!("CARGO_MANIFEST_DIR"), "/../audit/tests/fixtures/clean.json");
    let news = kannuki(&["news", "--facts", facts], state.path());
    assert_eq!(news.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&news.stdout).contains("MC-NOCVE-"));
    fs::write(state.path().join("news.json"), "{\"broken\"").unwrap();
    let news = kannuki(&["news", "--facts", facts], state.path());
    assert_eq!(news.status.code(), Some(0));
    assert!(stderr(&news).contains("the program's own table is used"), "{}", stderr(&news));
}

#[test]
fn only_tls_and_only_whom_is_trusted() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(honest);
    let plain = kannuki(&["news", "update", "--osv", "http://127.0.0.1:9/SECRET"], state.path());
    assert_eq!(plain.status.code(), Some(3));
    let told = stderr(&plain);
    assert!(told.contains("https://") && !told.contains("SECRET"), "{told}");
    let other = Server::start(honest);
    let other_ca = other.ca.to_str().unwrap();
    let words = ["news", "update", "--osv", &server.url, "--ca", other_ca];
    let untrusted = kannuki(&words, state.path());
    assert_eq!(untrusted.status.code(), Some(3));
    assert!(stderr(&untrusted).contains("certificate"), "{}", stderr(&untrusted));
    assert!(server.asked().is_empty(), "nothing was asked of who is not trusted");
    let to_plain = Server::start(|_, _| Reply::redirect("http://127.0.0.1:9/x"));
    let told = stderr(&update(&to_plain, state.path()));
    assert!(told.contains("nothing is asked or told without TLS"), "{told}");
    let endless = Server::start(|asked, base| match asked.method.as_str() {
        "GET" => Reply::redirect(&format!("{base}/again")),
        _ => honest(asked, base),
    });
    let told = stderr(&update(&endless, state.path()));
    assert!(told.contains("redirect"), "{told}");
    assert!(endless.asked().len() < 10, "{}", endless.asked().len());
    assert!(!state.path().join("news.json").exists());
}

type Liar = fn(&Asked, &str) -> Reply;

/// What is wrong, who does it, and what the error says.
fn liars() -> [(&'static str, Liar, &'static str); 11] {
    [
        ("no JSON", |_, _| Reply::json("<html>"), "is not what OSV answers"),
        ("an error", |_, _| Reply::status("500 Oops"), "status 500"),
        ("too few lists", |_, _| Reply::json("{\"results\":[]}"), "answers 0 questions"),
        ("a huge list", |_, _| Reply::json(&" ".repeat(5 << 20)), "more than 4194304 bytes"),
        ("an id that climbs", |asked, _| batch(asked, "../../admin"), "which is no id"),
        (
            "another record",
            |asked, base| match asked.path.as_str() {
                "/v1/querybatch" => batch(asked, "DEBIAN-CVE-2026-99991"),
                "/v1/vulns/DEBIAN-CVE-2026-99991" => Reply::json(RECORD),
                _ => honest(asked, base),
            },
            "not \"DEBIAN-CVE-2026-99991\"",
        ),
        (
            "an older record",
            |asked, base| match asked.path.as_str() {
                "/v1/vulns/BIT-memcached-2026-99991" => {
                    Reply::json(&RECORD.replace("2026-11-25", "2026-11-23"))
                }
                _ => honest(asked, base),
            },
            "is of 2026-11-23",
        ),
        (
            "an older tracker",
            |asked, base| {
                let reply = honest(asked, base);
                if asked.method == "POST" {
                    return reply;
                }
                reply.with_head("Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")
            },
            "it is of 2020-01-01",
        ),
        (
            "a tracker without a held flaw",
            |asked, base| match asked.path.as_str() {
                "/tracker/data/json" => Reply::json(&TRACKER.replace("99991", "99992")),
                _ => honest(asked, base),
            },
            "debian lacks CVE-2026-99991",
        ),
        (
            "a cut tracker",
            |asked, base| match asked.path.as_str() {
                "/tracker/data/json" => Reply::json(&TRACKER[..TRACKER.len() - 9]),
                _ => honest(asked, base),
            },
            "is not what Debian's tracker publishes",
        ),
        (
            "lists that never end",
            |asked, _| {
                let list = r#"{"vulns":[{"id":"A-1"}],"next_page_token":"on"}"#;
                let queries = asked.body.matches("\"package\"").count();
                Reply::json(&format!(r#"{{"results":[{}]}}"#, vec![list; queries].join(",")))
            },
            "go on after 10 pages",
        ),
    ]
}

/// A held table, and what each liar leaves of it.
#[test]
fn a_lying_server_changes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let output = update(&Server::start(honest), state.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let held = fs::read(state.path().join("news.json")).unwrap();
    for (what, liar, told) in liars() {
        let output = update(&Server::start(liar), state.path());
        assert_eq!(output.status.code(), Some(3), "{what}");
        assert!(stderr(&output).contains(told), "{what}: {}", stderr(&output));
        assert_eq!(fs::read(state.path().join("news.json")).unwrap(), held, "{what}");
    }
}

#[test]
fn a_body_that_never_ends_costs_the_deadline_only() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(|asked, base| {
        let mut reply = honest(asked, base);
        if asked.path == "/tracker/data/json" {
            reply.head = "Content-Length: 60000000\r\n".into();
            reply.then_hangs = true;
        }
        reply
    });
    let output = update_with(&server, state.path(), &["--timeout", "3"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("the held table stays"), "{}", stderr(&output));
    assert!(!state.path().join("news.json").exists());
}
