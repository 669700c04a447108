//! The command as people and tools meet it: words in, streams and exit codes out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for a line of a started server: its start takes milliseconds, but the machine that
/// tests may be busy.
const LINE_WAIT: Duration = Duration::from_secs(20);

fn kannuki() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kannuki"))
}

/// The program under the name `memcached`.
fn memcached(folder: &Path) -> PathBuf {
    let link = folder.join("memcached");
    symlink(kannuki(), &link).unwrap();
    link
}

fn run(program: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(words).env_remove("MEMCACHED_PORT_FILENAME").env_remove("LISTEN_FDS");
    command.stdin(Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Compares with a page kept beside this test; `KANNUKI_GOLDEN=write` writes it anew.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("KANNUKI_GOLDEN").is_some_and(|way| way == "write") {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{name} differs; look at it, then set KANNUKI_GOLDEN=write:\n{text}");
}

#[test]
fn help_is_as_kept() {
    golden("help.txt", &stdout(&run(kannuki(), &["--help"])));
    let serve = run(kannuki(), &["serve", "--help"]);
    assert_eq!((code(&serve), stderr(&serve).as_str()), (0, ""));
    golden("serve-help.txt", &stdout(&serve));
    assert_eq!(stdout(&run(kannuki(), &["help", "serve"])).trim(), stdout(&serve).trim());
    let folder = tempfile::tempdir().unwrap();
    golden("memcached-help.txt", &stdout(&run(&memcached(folder.path()), &["-h"])));
}

#[test]
fn every_command_shows_examples() {
    let commands: [&[&str]; 6] = [
        &["serve"],
        &["config"],
        &["config", "show"],
        &["config", "check"],
        &["explain"],
        &["completion"],
    ];
    for words in commands {
        let output = run(kannuki(), &[words, &["--help"]].concat());
        assert_eq!(code(&output), 0, "{words:?}");
        assert!(stdout(&output).contains("Examples:"), "{words:?}");
    }
}

#[test]
fn under_the_name_of_memcached_it_answers_as_tools_expect() {
    let folder = tempfile::tempdir().unwrap();
    let memcached = memcached(folder.path());
    for words in [&["-V"][..], &["--version"], &["--enable-ssl", "--version"], &["-u", "x", "-V"]] {
        let output = run(&memcached, words);
        assert_eq!((code(&output), stdout(&output).as_str()), (0, "memcached 1.6.45\n"));
    }
    let help = stdout(&run(&memcached, &["-h"]));
    assert_eq!(help.lines().next(), Some("memcached 1.6.45"));
    assert_eq!(code(&run(&memcached, &["-i"])), 0);
    // Words that are no options are ignored: there are no subcommands under this name.
    let output = run(&memcached, &["serve", "-V"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "memcached 1.6.45\n"));
}

#[test]
fn memcached_insists_on_a_user_when_started_as_root() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = run(&memcached(folder.path()), &["-p", "0"]);
    assert_eq!(code(&output), 64);
    assert!(stderr(&output).contains("must add '-u root' to start as root"));
}

#[test]
fn serve_ends_with_the_codes_of_memcached() {
    let cases: [(&[&str], i32); 10] = [
        (&["-c", "0"], 1),
        (&["-Q"], 1),
        (&["-o", "foo"], 1),
        (&["-m", "abc"], 64),
        (&["-p", "70000"], 64),
        (&["-B", "foo"], 64),
        (&["-S"], 1),
        (&["-Y", "/dev/null"], 1),
        (&["-l", "mtls:127.0.0.1"], 71),
        (&["-l", "127.0.0.1:abc"], 71),
    ];
    for (words, expected) in cases {
        let output = run(kannuki(), &[&["serve"], words].concat());
        assert_eq!(code(&output), expected, "{words:?}");
        assert_eq!(stdout(&output), "", "{words:?}");
        assert!(stderr(&output).contains("error: "), "{words:?}: {}", stderr(&output));
    }
}

#[test]
fn other_commands_end_with_their_own_codes() {
    for (words, expected) in [
        (&["--version"][..], 0),
        (&[], 2),
        (&["nonsense"], 2),
        (&["explain", "nonsense"], 2),
        (&["explain", "-m"], 0),
        (&["completion", "bash"], 0),
        (&["config"], 2),
        (&["config", "check", "-m", "128"], 0),
        (&["config", "check", "-m", "0"], 1),
        (&["config", "check", "--config", "/nowhere/kannuki.toml"], 3),
        (&["config", "show", "--udp-trusted", "10.0.0.0/33"], 1),
    ] {
        assert_eq!(code(&run(kannuki(), words)), expected, "{words:?}");
    }
}

#[test]
fn settings_of_three_places_and_their_sources() {
    let folder = tempfile::tempdir().unwrap();
    let toml =
        write(folder.path(), "kannuki.toml", "memory-limit = \"1GiB\"\nthreads = 2\nport = 1\n");
    let conf = write(folder.path(), "memcached.conf", "-d\nlogfile /x.log\n-p 2\n-t 3\nfoo bar\n");
    let words = [
        "config",
        "show",
        "--config",
        &toml,
        "--memcached-conf",
        &conf,
        "-t",
        "4",
        "-o",
        "hashpower=20",
    ];
    let output = run(kannuki(), &words);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let page = stdout(&output);
    for line in [
        format!("memory-limit = 1024 # {toml}:1:16"),
        format!("port = 2 # {conf}:3"),
        "threads = 4 # argument 7".to_owned(),
        format!("log-file = \"/x.log\" # {conf}:2"),
        "conn-limit = 1024 # default".to_owned(),
        "hashpower = 20 # argument 9; accepted, no effect: the index has its own keyed hash and \
         grows by itself within -m"
            .to_owned(),
    ] {
        let found = page.lines().any(|shown| shown.split_whitespace().eq(line.split_whitespace()));
        assert!(found, "{line}\n{page}");
    }
    assert!(
        stderr(&output).contains(&format!("unknown directive \"foo\" is ignored\n --> {conf}:5"))
    );

    // What was shown is a file that means the same.
    let shown = write(folder.path(), "shown.toml", &page);
    let again = run(kannuki(), &["config", "show", "--config", &shown]);
    let values = |page: &str| -> Vec<String> {
        page.lines().map(|line| line.split(" # ").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&stdout(&again)), values(&page));
}

#[test]
fn errors_in_a_file_show_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let toml = write(folder.path(), "kannuki.toml", "port = 1\nmax-item-sise = \"2m\"\n");
    let output = run(kannuki(), &["config", "check", "--config", &toml]);
    let expected = format!(
        "error: unknown key `max-item-sise`; did you mean `max-item-size`?\n --> {toml}:2:1\n  \
         |\n2 | max-item-sise = \"2m\"\n  | ^\n"
    );
    assert_eq!((code(&output), stderr(&output)), (1, expected));
}

#[test]
fn files_that_are_no_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let latin = folder.path().join("latin.toml");
    fs::write(&latin, b"port = 1 # \xe9\n").unwrap();
    let huge = write(folder.path(), "huge.conf", &"#".repeat((1 << 20) + 1));
    for (words, expected) in [
        (["--config", latin.to_str().unwrap()], 1),
        (["--config", folder.path().to_str().unwrap()], 3),
        (["--memcached-conf", &huge], 3),
        (["--memcached-conf", "/dev/zero"], 3),
    ] {
        let output = run(kannuki(), &[&["config", "check"], &words[..]].concat());
        assert_eq!(code(&output), expected, "{words:?}: {}", stderr(&output));
    }
}

#[test]
fn pages_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man");
    assert_eq!(code(&run(kannuki(), &["man", man.to_str().unwrap()])), 0);
    let page = fs::read_to_string(man.join("kannuki-serve.1")).unwrap();
    for word in ["idle_timeout", "memory\\-limit", "no_lru_crawler"] {
        assert!(page.contains(word), "{word}");
    }
    assert!(stdout(&run(kannuki(), &["man"])).starts_with(".ie"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&run(kannuki(), &["completion", shell]));
        assert!(script.contains("memory-limit"), "{shell}");
    }
    let reason = stdout(&run(kannuki(), &["explain", "bad-data-terminator"]));
    assert!(reason.contains("CLIENT_ERROR bad data chunk"), "{reason}");
}

/// A started server; killed when the test ends in whatever way.
struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Server {
    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(kannuki())
            .arg("serve")
            .args(words)
            .env_remove("LISTEN_FDS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LINE_WAIT).unwrap()
    }

    /// Reads up to the line that holds `wanted`.
    fn line_with(&self, wanted: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(wanted) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_says_six_lines_serves_and_stops() {
    let mut server = Server::start(&["-p", "-1", "-m", "16", "-I", "1m"]);
    let lines: Vec<String> = (0..6).map(|_| server.line()).collect();
    assert!(lines[0].starts_with("kannuki listens on   127.0.0.1:"), "{lines:?}");
    assert!(lines[1].contains("programs on this machine"), "{lines:?}");
    assert!(lines[3].contains("16 MiB"), "{lines:?}");

    // The line to try is true: the address that it names answers what it asks.
    let (_, command) = lines[5].split_once("printf '").unwrap();
    let (asked, nc) = command.split_once("' | nc ").unwrap();
    let asked = asked.replace("\\r\\n", "\r\n");
    let mut peer = TcpStream::connect(nc.replace(' ', ":")).unwrap();
    peer.set_read_timeout(Some(LINE_WAIT)).unwrap();
    peer.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "STORED\r\nVALUE hello 0 5\r\nworld\r\nEND\r\n");

    server.signal(Signal::TERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let mut data = String::new();
    server.child.stdout.take().unwrap().read_to_string(&mut data).unwrap();
    assert_eq!(data, "");
}

#[test]
fn a_reload_names_what_failed_and_what_waits_and_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // The server may have become another user, who must still be able to read the file.
    let toml = write(folder.path(), "kannuki.toml", "port = -1\nverbose = 1\n");
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    open(folder.path());
    open(Path::new(&toml));
    let server = Server::start(&["--config", &toml]);
    let try_line = server.line_with("printf '");
    fs::write(&toml, "port = -1\nverbos = 1\n").unwrap();
    server.signal(Signal::HUP);
    let line = server.line_with("unknown key `verbos`");
    assert!(line.contains(&toml), "{line}");
    fs::write(&toml, "port = -1\nverbose = 2\nmemory-limit = 128\n").unwrap();
    server.signal(Signal::HUP);
    let line = server.line_with("only count after a restart");
    assert!(line.contains("memory-limit") && !line.contains("verbose"), "{line}");

    let address = try_line.rsplit(" nc ").next().unwrap().replace(' ', ":");
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(LINE_WAIT)).unwrap();
    peer.write_all(b"version\r\nquit\r\n").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "VERSION 1.6.45\r\n");
}

#[test]
fn verbose_serving_lists_what_has_no_effect() {
    let server = Server::start(&["-p", "-1", "-vv", "-f", "1.5", "-o", "no_lru_crawler"]);
    let line = server.line_with("accepted, no effect: -f");
    assert!(line.contains("argument 5"), "{line}");
    server.line_with("accepted, no effect: -o lru_crawler (argument 7)");
}

/// Runs with a password on stdin.
fn with_password(words: &[&str], password: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(kannuki())
        .args(words)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever complains about its words before it reads has closed the pipe.
    let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn passwd_makes_changes_and_deletes_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let file = path.to_str().unwrap();
    let check = || run(kannuki(), &["config", "check", "-Y", file]);
    assert_eq!(code(&with_password(&["passwd", "--stdin", file, "app"], "s3cret\n")), 0);
    let first = fs::read_to_string(&path).unwrap();
    assert!(first.starts_with("app:$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
    assert!(!first.contains("s3cret"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&check()), 0, "{}", stderr(&check()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(code(&with_password(&["passwd", "--scram", "--stdin", file, "bob"], "x")), 0);
    let second = fs::read_to_string(&path).unwrap();
    assert!(second.starts_with(&first) && second.contains("\nbob:SCRAM-SHA-256$4096:"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640, "is kept");
    assert_eq!(code(&with_password(&["passwd", "--stdin", file, "app"], "other\n")), 0);
    let third = fs::read_to_string(&path).unwrap();
    assert_eq!((third.lines().count(), third == second), (2, false));
    assert_eq!(code(&run(kannuki(), &["passwd", "--delete", file, "bob"])), 0);
    assert_eq!(code(&run(kannuki(), &["passwd", "--delete", file, "bob"])), 1);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    let printed = with_password(&["passwd", "--print", "--stdin", "eve"], "x\n");
    assert!(stdout(&printed).starts_with("eve:$argon2id$") && code(&printed) == 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn passwd_changes_nothing_when_something_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let file = path.to_str().unwrap();
    fs::write(&path, "app:x\nbroken\n").unwrap();
    let words = ["passwd", "--stdin", file, "bob"];
    let output = with_password(&words, "hunter2\n");
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("line 2: is not `name:password`"), "{}", stderr(&output));
    fs::write(&path, "app:x\n").unwrap();
    for (words, password, expected) in [
        (&["passwd", "--stdin", file, "a:b"][..], "x\n", 2),
        (&["passwd", "--stdin", file, "bob"], "\n", 2),
        (&["passwd", "--scram", "--stdin", file, "bob"], "\u{e9}\n", 2),
        (&["passwd", "--stdin", file], "x\n", 2),
        (&["passwd", file, "bob"], "x\n", 3),
        (&["passwd", "--stdin", "/nonexistent/users", "bob"], "x\n", 3),
    ] {
        assert_eq!(code(&with_password(words, password)), expected, "{words:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "app:x\n");
    }
    fs::write(folder.path().join("users.new"), "").unwrap();
    let output = with_password(&words, "x\n");
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("users.new is there"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "app:x\n");
}

#[test]
fn a_broken_file_of_users_is_told_by_its_line_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "users", "app:x\nbob:$2y$05$hunter2\n");
    for words in [&["config", "check", "-Y", &file][..], &["serve", "-p", "0", "-Y", &file]] {
        let output = run(kannuki(), words);
        assert_eq!(code(&output), 1, "{words:?}");
        let told = stderr(&output);
        assert!(
            told.contains(&format!("{file}: line 2: this looks like a password hash")),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
    }
    let missing = run(kannuki(), &["serve", "-Y", "/nonexistent/users"]);
    assert!(stderr(&missing).contains("/nonexistent/users"));
    let alone = run(kannuki(), &["serve", "-S"]);
    assert!(stderr(&alone).contains("-S without users"), "{}", stderr(&alone));
}
