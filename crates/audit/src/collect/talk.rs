//! Asks the host's own sockets whether they speak memcached's protocol.
//!
//! Invariants: only addresses of this host are connected to; only `version`, `mn` and the binary
//! no-op are sent; every answer is bounded in bytes and in time.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use memchr::memmem;

use super::{View, clock::Deadline, sockets::is_likely};
use crate::{
    facts::{Facts, Protocol, Seen, Server, Socket, SocketState, Talk, Unseen, Why},
    formats::{known, reference::cut},
};

/// Longest wait for an answer; a local server needs microseconds.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Longest answer that is read here, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Longest part of it that stands in the facts, in bytes.
const KEPT_BYTES_MAX: usize = 120;
/// Most sockets that are asked; a host with more caches has somebody who knows them.
const TALKS_MAX: usize = 64;
/// The same when every port was asked for.
const TALKS_EVERY_PORT_MAX: usize = 1024;
/// How many are asked at one time: silent ones must not add up their waits.
const AT_ONCE_MAX: usize = 32;

/// A connection to one of the host's own sockets.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Our ends of the connections made here. A busy server counts them among its clients until it has
/// seen that they were closed.
#[derive(Default)]
pub(super) struct OwnEnds(Mutex<Vec<SocketAddr>>);

impl OwnEnds {
    pub(super) fn remember(&self, end: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(end);
    }

    pub(super) fn contains(&self, end: SocketAddr) -> bool {
        let end = SocketAddr::new(end.ip().to_canonical(), end.port());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&end)
    }
}

/// Talks to every likely socket.
pub(super) fn collect(view: &View, facts: &Facts, every_port: bool, own: &OwnEnds) -> Vec<Talk> {
    let listens = |socket: &&Socket| {
        socket.state == SocketState::Listening
            && socket.protocol != Protocol::Udp
            && socket.net_namespace.is_none()
            && (is_likely(facts, socket) || (every_port && socket.protocol == Protocol::Tcp))
    };
    let wanted: Vec<&Socket> = facts.sockets.list().iter().filter(listens).collect();
    let max = if every_port { TALKS_EVERY_PORT_MAX } else { TALKS_MAX };
    if wanted.len() > max {
        let detail = format!("{} sockets; {max} were asked", wanted.len());
        view.root.gap("talking to sockets", &Unseen { why: Why::TooLarge, detail });
    }
    let wanted: Vec<&Socket> = wanted.into_iter().take(max).collect();
    wanted.chunks(AT_ONCE_MAX).flat_map(|some| at_once(facts, some, own)).collect()
}

fn at_once(facts: &Facts, sockets: &[&Socket], own: &OwnEnds) -> Vec<Talk> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            sockets.iter().map(|socket| scope.spawn(|| talk(facts, socket, own))).collect();
        // A thread that panicked has no answer; nothing in `talk` can.
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

fn talk(facts: &Facts, socket: &Socket, own: &OwnEnds) -> Talk {
    let address = own_address(socket);
    let mut talk = Talk {
        inode: socket.inode,
        protocol: socket.protocol,
        address,
        server: Seen::Known(None),
        answer: None,
        wants_login: false,
    };
    match ask(socket, own) {
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer);
            let line = text.lines().next().unwrap_or_default();
            talk.answer = Some(cut(line, KEPT_BYTES_MAX)).filter(|line| !line.is_empty());
            talk.wants_login = line.starts_with("CLIENT_ERROR unauthenticated");
            let server = recognise(&answer);
            talk.server = Seen::Known(server.map(|server| told_apart(facts, socket, server, own)));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            talk.server = Seen::unseen(Why::NotPermitted, error.to_string());
        }
        Err(error) if is_silence(&error) => {
            talk.server = Seen::unseen(Why::TimedOut, "it did not answer in 200 ms");
        }
        Err(error) => talk.server = Seen::unseen(Why::Failed, error.to_string()),
    }
    talk
}

/// Several servers answer `version` with memcached's numbers only; their statistics or the name of
/// their program tells them apart.
fn told_apart(facts: &Facts, socket: &Socket, mut server: Server, own: &OwnEnds) -> Server {
    if server.name != "memcached" && server.name != "unknown" {
        return server;
    }
    let stats = exchange(socket, b"stats\r\n", own).unwrap_or_default();
    if memmem::find(&stats, b"STAT kannuki_version ").is_some() {
        server.name = "kannuki".to_owned();
        server.because = "says so in its statistics".to_owned();
        return server;
    }
    let processes = socket.pids.list().iter().filter_map(|pid| facts.process(*pid));
    let paths = processes.filter_map(|process| Some(process.executable.known()?.path.as_str()));
    let stems =
        paths.filter(|path| known::is_cache(path)).filter_map(|path| path.rsplit('/').next());
    if let Some(stem) = stems.into_iter().find(|stem| !stem.starts_with("memcached")) {
        server.name = stem.to_owned();
        server.because = "the name of its program".to_owned();
    }
    server
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn ask(socket: &Socket, own: &OwnEnds) -> io::Result<Vec<u8>> {
    let text = exchange(socket, b"version\r\n", own)?;
    if !text.is_empty() {
        return Ok(text);
    }
    // A server that speaks only binary closes on text.
    let mut no_operation = [0; 24];
    no_operation[..2].copy_from_slice(&[0x80, 0x0a]);
    exchange(socket, &no_operation, own)
}

fn exchange(socket: &Socket, request: &[u8], own: &OwnEnds) -> io::Result<Vec<u8>> {
    let mut stream = connect(socket, own)?;
    stream.write_all(request)?;
    let deadline = Deadline::after(WAIT_MAX);
    let mut answer = Vec::new();
    let mut room = [0; ANSWER_BYTES_MAX];
    while deadline.left().is_some() && answer.len() < ANSWER_BYTES_MAX {
        match stream.read(&mut room) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(room.get(..len).unwrap_or_default()),
            Err(error) if is_silence(&error) && !answer.is_empty() => break,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
        if is_whole(request, &answer) {
            break;
        }
    }
    Ok(answer)
}

/// Whether an answer has all that was asked for: one line, or statistics with their end.
fn is_whole(request: &[u8], answer: &[u8]) -> bool {
    let statistics = request.starts_with(b"stats") && answer.starts_with(b"STAT ");
    let ended = if statistics { answer.ends_with(b"END\r\n") } else { answer.contains(&b'\n') };
    ended || answer.first() == Some(&0x81)
}

/// Connects with the deadlines of this module.
pub(super) fn connect(socket: &Socket, own: &OwnEnds) -> io::Result<Box<dyn Stream>> {
    if let Some(path) = &socket.path {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        return Ok(Box::new(stream));
    }
    let address = own_address(socket).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
    own.remember(stream.local_addr()?);
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    Ok(Box::new(stream))
}

/// Where a socket is reached from here: as bound, or over loopback if it takes every address.
pub(super) fn own_address(socket: &Socket) -> Option<SocketAddr> {
    let local = socket.local?;
    let ip = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // A link-local address is nothing without its link.
    let link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    (!link).then(|| SocketAddr::new(ip, local.port()))
}

/// Who answers like this.
pub(super) fn recognise(answer: &[u8]) -> Option<Server> {
    let made = |name: &str, version: Option<&str>, because: &str| {
        let version = version.filter(|version| !version.is_empty()).map(str::to_owned);
        Some(Server { name: name.to_owned(), version, because: because.to_owned() })
    };
    if answer.first() == Some(&0x81) {
        return made("unknown", None, "answers the binary no-op");
    }
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().next().unwrap_or_default().trim_end();
    if line.starts_with("CLIENT_ERROR unauthenticated") {
        return made("memcached", None, "wants a login in memcached's words");
    }
    if line.starts_with("CLIENT_ERROR access denied") {
        return made("kannuki", None, "refuses in Kannuki's words");
    }
    if line == "ERROR" {
        // Many line protocols say this; memcached before 1.2 would not know the command either.
        return None;
    }
    let version = line.strip_prefix("VERSION ")?.trim();
    let lower = version.to_ascii_lowercase();
    for (word, name) in [
        ("nutcracker", "nutcracker"),
        ("twemproxy", "nutcracker"),
        ("yrmcds", "yrmcds"),
        ("lsmcd", "lsmcd"),
        ("mcrouter", "mcrouter"),
        ("kannuki", "kannuki"),
        ("kyoto", "kyototycoon"),
        ("twemcache", "twemcache"),
        ("pelikan", "pelikan"),
        ("dragonfly", "dragonfly"),
        ("df-", "dragonfly"),
        ("infinispan", "infinispan"),
        ("hazelcast", "hazelcast"),
        ("innodb", "mysql"),
        ("tarantool", "tarantool"),
    ] {
        if lower.contains(word) {
            // `yrmcds version 1.1.9`: the number alone, where there is one.
            let number = version.split(' ').find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
            return made(name, number.or(Some(version)), "says so in its version");
        }
    }
    // Whether it is memcached itself or Kannuki, which gives memcached's version, `stats` tells.
    let number = version.starts_with(|c: char| c.is_ascii_digit());
    made(if number { "memcached" } else { "unknown" }, Some(version), "answers `version`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(answer: &[u8]) -> Option<String> {
        recognise(answer).map(|server| server.name)
    }

    #[test]
    fn servers_are_recognised_by_their_answers() {
        assert_eq!(name(b"VERSION 1.6.18\r\n").as_deref(), Some("memcached"));
        assert_eq!(recognise(b"VERSION 1.6.18\r\n").unwrap().version.as_deref(), Some("1.6.18"));
        assert_eq!(name(b"VERSION yrmcds version 1.1.13\r\n").as_deref(), Some("yrmcds"));
        let yrmcds = recognise(b"VERSION yrmcds version 1.1.13\r\n").unwrap();
        assert_eq!(yrmcds.version.as_deref(), Some("1.1.13"));
        assert_eq!(name(b"VERSION nutcracker 0.5\r\n").as_deref(), Some("nutcracker"));
        assert_eq!(name(b"VERSION df-1.0\r\n").as_deref(), Some("dragonfly"));
        assert_eq!(name(b"VERSION x\r\n").as_deref(), Some("unknown"));
        assert_eq!(name(b"\x81\x0a\0\0").as_deref(), Some("unknown"));
        assert_eq!(name(b"CLIENT_ERROR unauthenticated\r\n").as_deref(), Some("memcached"));
        for other in [&b"ERROR\r\n"[..], b"", b"HTTP/1.1 400 Bad Request\r\n", b"-ERR\r\n", b"\xff"]
        {
            assert_eq!(name(other), None);
        }
    }
}
