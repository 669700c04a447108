//! Starting: names, flags, exit codes, listeners.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use kannuki_tests::launch::free_port;
use kannuki_tests::process::{Doomed, is_root};
use kannuki_tests::{Launch, Program, Wire, clock};

/// A start that refuses does so at once; one that has not by then is running.
const REFUSAL_BOUND: Duration = Duration::from_secs(5);

/// Runs a program that is expected to end by itself; `None` if it does not.
fn run(mut command: Command) -> Option<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let ended = clock::until(REFUSAL_BOUND, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    ended.map(|_| output)
}

/// The exit code of a start with `flags`; `None` if it runs.
fn exit_code(program: Program, flags: &[&str]) -> Option<i32> {
    let mut command = program.command();
    command.args(flags);
    if is_root() && !flags.contains(&"-u") {
        command.args(["-u", "root"]);
    }
    // What starts in spite of all listens where nobody else does.
    command.args(["-l", "127.0.0.1"]);
    if !flags.contains(&"-p") {
        command.args(["-p", &free_port().to_string()]);
    }
    run(command).map(|output| output.status.code().unwrap())
}

/// Refusals that both versions of memcached and Kannuki share.
const REFUSALS: &[(&[&str], i32)] = &[
    (&["-c", "0"], 1),
    (&["-c", "-5"], 1),
    (&["-t", "0"], 1),
    (&["-t", "-1"], 1),
    (&["-R", "0"], 1),
    (&["-f", "1.0"], 1),
    (&["-f", "0"], 1),
    (&["-n", "0"], 1),
    (&["--no-such-flag"], 1),
    (&["-j"], 1),
    (&["-o", "no_such_option"], 1),
    (&["-o", "hashpower=5"], 1),
    (&["-o", "hash_algorithm=md5"], 1),
    (&["-o", "slab_automove_window=2"], 1),
    (&["-o", "idle_timeout"], 1),
    (&["-B", "nonsense"], 64),
    (&["-p", "65536"], 64),
    (&["-I", "1g"], 64),
    (&["-I", "100"], 64),
    (&["-I", "2048m"], 64),
    (&["-o", "hot_lru_pct=50,warm_lru_pct=50"], 64),
];

#[test]
fn refusals_have_the_exit_codes_of_memcached() {
    for (flags, code) in REFUSALS {
        assert_eq!(exit_code(Program::Kannuki, flags), Some(*code), "kannuki serve {flags:?}");
        assert_eq!(exit_code(Program::KannukiAsMemcached, flags), Some(*code), "{flags:?}");
    }
}

#[test]
fn memcached_has_the_exit_codes_we_say() {
    if let Err(why) = Program::Memcached.path() {
        return kannuki_tests::missing("memcached's exit codes", &why);
    }
    for (flags, code) in REFUSALS {
        assert_eq!(exit_code(Program::Memcached, flags), Some(*code), "memcached {flags:?}");
    }
}

#[test]
fn what_protects_refuses_to_start_rather_than_do_nothing() {
    for flags in [&["-Z"][..], &["-o", "ssl_key=/nonexistent"]] {
        let code = exit_code(Program::Kannuki, flags);
        assert!(code.is_some_and(|code| code != 0), "{flags:?}: {code:?}");
    }
}

#[test]
fn an_unknown_user_is_67() {
    if !is_root() {
        return eprintln!("\n*** SKIPPED: -u is ignored without root ***\n");
    }
    let flags = ["-u", "nobody-of-this-name"];
    assert_eq!(exit_code(Program::Kannuki, &flags), Some(67));
    assert_eq!(exit_code(Program::KannukiAsMemcached, &flags), Some(67));
    // Said before the process detaches: afterwards nobody would hear of it.
    assert_eq!(exit_code(Program::Kannuki, &["-d", flags[0], flags[1]]), Some(67));
}

#[test]
fn root_needs_a_user_when_called_memcached() {
    if !is_root() {
        return eprintln!("\n*** SKIPPED: only root is asked for -u ***\n");
    }
    let mut command = Program::KannukiAsMemcached.command();
    command.args(["-p", &free_port().to_string()]);
    let output = run(command).expect("it refuses");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("-u"), "{said}");
}

#[test]
fn a_port_in_use_is_71() {
    let server = Launch::kannuki().start();
    let port = server.port().to_string();
    assert_eq!(exit_code(Program::Kannuki, &["-p", &port]), Some(71));
}

#[test]
fn an_address_that_is_not_ours_is_71() {
    let mut command = Program::Kannuki.command();
    command.args(["-l", "203.0.113.7", "-p", &free_port().to_string()]);
    if is_root() {
        command.args(["-u", "root"]);
    }
    let output = run(command).expect("it refuses");
    assert_eq!(output.status.code(), Some(71));
}

/// Tools ask `memcached -V` and `memcached -h`.
#[test]
fn the_name_memcached_answers_as_memcached() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("memcached");
    std::os::unix::fs::symlink(Program::Kannuki.path().unwrap(), &link).unwrap();
    for flag in ["-V", "--version", "-h", "--help"] {
        let mut command = Command::new(&link);
        command.arg(flag);
        let output = run(command).expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{flag}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.lines().next(), Some("memcached 1.6.45"), "{flag}: {said}");
    }
    let mut command = Command::new(&link);
    command.arg("-i");
    assert_eq!(run(command).expect("it ends").status.code(), Some(0), "-i");
}

#[test]
fn a_login_shell_name_is_still_memcached() {
    let mut command = Command::new(Program::Kannuki.path().unwrap());
    command.arg0("/usr/bin/memcached").arg("-V");
    let output = run(command).expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "memcached 1.6.45");
}

fn setting(wire: &mut Wire, name: &str) -> String {
    let settings = kannuki_tests::stats(wire, "stats settings");
    let found = settings.iter().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("no {name}")).1.clone()
}

/// The spellings that packagings use.
#[test]
fn words_are_read_as_memcached_reads_them() {
    let spellings: [&[&str]; 6] = [
        &["-m 100", "-c 200"],
        &["-m100", "-c200"],
        &["-m", "100", "-c", "200"],
        &["--memory-limit=100", "--conn-limit", "200"],
        &["-m", "64", "-m", "100", "-c", "200"],
        &["-m", "100", "stray", "-c", "200"],
    ];
    for program in [Program::Kannuki, Program::KannukiAsMemcached] {
        for flags in spellings {
            let server = Launch::of(program).flags(flags.iter().copied()).start();
            let mut wire = server.connect();
            assert_eq!(setting(&mut wire, "maxbytes"), "104857600", "{flags:?}");
            assert_eq!(setting(&mut wire, "maxconns"), "200", "{flags:?}");
        }
    }
}

/// Addresses that listen on `port`, from the kernel's tables.
fn listening(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, number) = words[1].split_once(':').unwrap();
            if words[3] == LISTEN && u16::from_str_radix(number, 16).unwrap() == port {
                found.push(address.to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn without_l_only_this_host_can_reach_it() {
    const LOOPBACK_V4: &str = "0100007F";
    const LOOPBACK_V6: &str = "00000000000000000000000001000000";
    for program in [Program::Kannuki, Program::KannukiAsMemcached] {
        let server = Launch::of(program).without_listen().start();
        let addresses = listening(server.port());
        assert!(addresses.contains(&LOOPBACK_V4.to_owned()), "{addresses:?}");
        let shut = addresses.iter().all(|address| address == LOOPBACK_V4 || address == LOOPBACK_V6);
        assert!(shut, "{program:?}: {addresses:?}");
    }
}

#[test]
fn several_addresses_listen() {
    let (one, other) = (free_port(), free_port());
    let lists: [Vec<String>; 4] = [
        vec!["-l".into(), "127.0.0.1,127.0.0.2".into()],
        vec!["-l".into(), "127.0.0.1;127.0.0.2".into()],
        vec!["-l".into(), "127.0.0.2".into(), "-l".into(), "127.0.0.1".into()],
        // One element is the beginning of another.
        vec!["-l".into(), "127.0.0.20,127.0.0.2".into(), "-l".into(), "127.0.0.1".into()],
    ];
    for flags in lists {
        let server = Launch::kannuki().without_listen().flags(flags.clone()).start();
        for host in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            let mut wire = Wire::tcp((host, server.port()).into()).expect("it listens");
            assert!(wire.ask("version\r\n").starts_with("VERSION "), "{flags:?}");
        }
    }
    let ports = format!("127.0.0.1:{one},127.0.0.1:{other},127.0.0.1");
    let server = Launch::kannuki().without_listen().flags(["-l", &ports]).start();
    for port in [one, other, server.port()] {
        let mut wire = Wire::tcp(([127, 0, 0, 1], port).into()).expect("it listens");
        assert!(wire.ask("version\r\n").starts_with("VERSION "), "{port}");
    }
}

#[test]
fn ipv6_listens() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("\n*** SKIPPED: this host has no IPv6 ***\n");
    }
    let server = Launch::kannuki().without_listen().flags(["-l", "127.0.0.1,[::1]"]).start();
    let address = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, server.port()));
    assert!(Wire::tcp(address).unwrap().ask("version\r\n").starts_with("VERSION "));
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_unix_socket_listens_alone_and_with_its_mask() {
    for (flags, wanted) in [(&[][..], 0o700), (&["-a", "777"], 0o777), (&["-a", "0660"], 0o660)] {
        let port = free_port().to_string();
        let more = flags.iter().copied().chain(["-p", &port]);
        let server = Launch::kannuki().on_unix_socket().flags(more).start();
        assert!(server.connect().ask("version\r\n").starts_with("VERSION "));
        assert_eq!(mode(server.socket_path().unwrap()), wanted, "{flags:?}");
        assert_eq!(listening(port.parse().unwrap()), Vec::<String>::new(), "TCP is off");
    }
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file outlives the listener");
    let socket = path.to_str().unwrap().to_owned();
    let mut command = Program::Kannuki.command();
    command.args(["-s", &socket]);
    if is_root() {
        command.args(["-u", "root"]);
    }
    command.stderr(Stdio::null());
    let _child = Doomed::start(&mut command);
    let wire = clock::until(REFUSAL_BOUND, || Wire::unix(&path).ok());
    let answer = wire.map(|mut wire| wire.ask("version\r\n"));
    assert!(answer.is_some_and(|answer| answer.starts_with("VERSION ")));
}

fn uid_of(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

#[test]
fn root_becomes_the_user_that_was_named() {
    if !is_root() {
        return eprintln!("\n*** SKIPPED: only root can become somebody ***\n");
    }
    for program in [Program::Kannuki, Program::KannukiAsMemcached] {
        let server = Launch::of(program).flags(["-u", "nobody"]).start();
        // It listens before it drops privileges, but answers only after.
        assert!(server.connect().ask("version\r\n").starts_with("VERSION "));
        assert_eq!(uid_of(server.pid()), "65534", "{program:?}");
    }
}

#[test]
fn root_becomes_nobody_by_itself() {
    if !is_root() {
        return eprintln!("\n*** SKIPPED: only root can become somebody ***\n");
    }
    let port = free_port();
    let mut command = Program::Kannuki.command();
    command.args(["-p", &port.to_string(), "-l", "127.0.0.1"]);
    let child = Doomed::start(command.stderr(Stdio::null()));
    let address = ([127, 0, 0, 1], port).into();
    let wire = clock::until(REFUSAL_BOUND, || Wire::tcp(address).ok());
    let answer = wire.map(|mut wire| wire.ask("version\r\n"));
    let uid = uid_of(child.pid());
    assert!(answer.is_some_and(|answer| answer.starts_with("VERSION ")));
    assert_ne!(uid, "0");
}

#[test]
fn stdout_stays_empty() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stdout");
    let port = free_port();
    let mut command = Program::Kannuki.command();
    command.args(["-p", &port.to_string(), "-l", "127.0.0.1", "-vv"]);
    if is_root() {
        command.args(["-u", "root"]);
    }
    command.stdout(std::fs::File::create(&path).unwrap()).stderr(Stdio::null());
    let _child = Doomed::start(&mut command);
    let address = ([127, 0, 0, 1], port).into();
    let wire = clock::until(REFUSAL_BOUND, || Wire::tcp(address).ok());
    wire.expect("it listens").ask("version\r\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn ports_are_written_where_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ports");
    let file = path.to_str().unwrap();
    let udp = free_port();
    let launch = Launch::kannuki().environment("MEMCACHED_PORT_FILENAME", file);
    let server = launch.flags(["-U", &udp.to_string()]).start();
    let text = clock::until(REFUSAL_BOUND, || std::fs::read_to_string(&path).ok()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let wanted = [format!("TCP INET: {}", server.port()), format!("UDP INET: {udp}")];
    assert_eq!(lines, wanted);
    assert!(!directory.path().join("ports.lck").exists());
}

#[test]
fn any_free_port_can_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ports");
    let mut command = Program::Kannuki.command();
    command.args(["-p", "-1", "-l", "127.0.0.1"]).env("MEMCACHED_PORT_FILENAME", &path);
    if is_root() {
        command.args(["-u", "root"]);
    }
    let _child = Doomed::start(command.stderr(Stdio::null()));
    let text = clock::until(REFUSAL_BOUND, || std::fs::read_to_string(&path).ok());
    let port = text.as_deref().and_then(|text| text.strip_prefix("TCP INET: "));
    let port: Option<u16> = port.and_then(|port| port.trim().parse().ok());
    let wire = port.and_then(|port| Wire::tcp(([127, 0, 0, 1], port).into()).ok());
    let answer = wire.map(|mut wire| wire.ask("version\r\n"));
    assert!(answer.is_some_and(|answer| answer.starts_with("VERSION ")), "{text:?}");
}
