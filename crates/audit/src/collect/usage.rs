//! Asks each cache of this host for its statistics, twice.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    thread,
    time::Duration,
};

use super::{
    View,
    clock::{self, Deadline, Stopwatch},
    talk::{self, Stream},
};
use crate::facts::{
    ClientConnection, Facts, Protocol, Seen, Socket, SocketState, StatsSample, Usage, Why,
};

/// Longest answer to a command, in bytes: `stats conns` of ten thousand clients.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Longest wait for a whole answer.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Most lines of statistics, and most clients, that stand in the facts.
const LINES_MAX: usize = 2000;

/// One sample of each cache, a wait, another one.
pub(super) fn collect(view: &View, facts: &Facts, window: Duration) -> Vec<Usage> {
    let sockets: Vec<&Socket> = one_of_each(facts);
    let watch = Stopwatch::start();
    let mut all: Vec<Usage> = sockets.iter().map(|socket| first_look(socket)).collect();
    if !all.is_empty() {
        thread::sleep(window);
    }
    for (usage, socket) in all.iter_mut().zip(&sockets) {
        usage.second = sample(socket);
        usage.window_ms = watch.ms();
        if let Seen::Unseen(unseen) = &usage.second {
            view.root.gap(format!("statistics of socket {}", usage.inode), unseen);
        }
    }
    all
}

/// One socket of each cache that answered: its others would tell the same.
fn one_of_each(facts: &Facts) -> Vec<&Socket> {
    let mut seen: Vec<&[u32]> = Vec::new();
    let mut found = Vec::new();
    for socket in facts.sockets.list() {
        let answered = facts
            .talk(socket)
            .is_some_and(|talk| matches!(talk.server, Seen::Known(Some(_))) && !talk.wants_login);
        let stream = socket.protocol != Protocol::Udp && socket.state == SocketState::Listening;
        let pids = socket.pids.list();
        if answered && stream && (pids.is_empty() || !seen.contains(&pids)) {
            seen.push(pids);
            found.push(socket);
        }
    }
    found
}

fn first_look(socket: &Socket) -> Usage {
    let first = sample(socket);
    Usage {
        inode: socket.inode,
        pid: socket.pids.list().first().copied(),
        window_ms: 0,
        first,
        second: Seen::unseen(Why::NotAsked, "not asked yet"),
        // The second look itself, and the two below.
        own_connections: 3,
        settings: lines(socket, b"stats settings\r\n").map(settings),
        clients: lines(socket, b"stats conns\r\n").map(|lines| clients(&lines)),
    }
}

fn sample(socket: &Socket) -> Seen<StatsSample> {
    let at = clock::now();
    lines(socket, b"stats\r\n").map(|lines| StatsSample { at, values: settings(lines) })
}

/// `STAT name value` to names and values.
fn settings(lines: Vec<String>) -> BTreeMap<String, String> {
    let pair = |line: &String| {
        let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
        Some((name.to_owned(), value.to_owned()))
    };
    lines.iter().take(LINES_MAX).filter_map(pair).collect()
}

/// `STAT 28:addr tcp:127.0.0.1:38018`, `STAT 28:state conn_read`,
/// `STAT 28:secs_since_last_cmd 4`. Listeners are left
/// out; so is the connection that asks, which is the one that reads a command now.
fn clients(lines: &[String]) -> Vec<ClientConnection> {
    let mut all: BTreeMap<u64, ClientConnection> = BTreeMap::new();
    for line in lines {
        let Some((key, value)) = line.strip_prefix("STAT ").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let Some((number, field)) = key.split_once(':') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        let client = all.entry(number).or_insert_with(|| ClientConnection {
            address: String::new(),
            state: String::new(),
            idle_s: None,
        });
        match field {
            "addr" => client.address = value.to_owned(),
            "state" => client.state = value.to_owned(),
            "secs_since_last_cmd" => client.idle_s = value.parse().ok(),
            _ => {}
        }
    }
    let is_peer = |client: &ClientConnection| {
        client.state != "conn_listening" && !client.address.starts_with("udp")
    };
    // The one that asks is in the middle of a command; memcached calls that `conn_parse_cmd`.
    let mut peers: Vec<_> = all.into_values().filter(is_peer).collect();
    if let Some(own) = peers.iter().rposition(|client| client.state == "conn_parse_cmd") {
        peers.remove(own);
    }
    peers.truncate(LINES_MAX);
    peers
}

fn lines(socket: &Socket, command: &[u8]) -> Seen<Vec<String>> {
    match ask(socket, command) {
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer);
            // Bounded by the answer's bytes; the last line tells whether it is whole.
            let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
            match lines.last().map(String::as_str) {
                Some("END") => Seen::Known(lines),
                Some(other) => Seen::unseen(Why::Malformed, format!("it answered: {other}")),
                None => Seen::unseen(Why::TimedOut, "it closed without an answer"),
            }
        }
        Err(error) => Seen::unseen(
            match error.kind() {
                io::ErrorKind::PermissionDenied => Why::NotPermitted,
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Why::TimedOut,
                _ => Why::Failed,
            },
            error.to_string(),
        ),
    }
}

fn ask(socket: &Socket, command: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream: Box<dyn Stream> = talk::connect(socket)?;
    stream.write_all(command)?;
    let deadline = Deadline::after(WAIT_MAX);
    let mut answer = Vec::new();
    let mut room = vec![0; 16 * 1024];
    while deadline.left().is_some() {
        let len = stream.read(&mut room)?;
        answer.extend_from_slice(room.get(..len).unwrap_or_default());
        let ends = answer.ends_with(b"END\r\n") || answer.ends_with(b"ERROR\r\n");
        if len == 0 || ends || answer.starts_with(b"CLIENT_ERROR") {
            return Ok(answer);
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Five lines for each of three thousand clients: the end of the answer was once cut off, and
    /// a busy cache was then one that does not answer.
    #[test]
    fn thousands_of_clients_are_a_whole_answer() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let socket = Socket {
            protocol: Protocol::Tcp,
            state: SocketState::Listening,
            local: Some(server.local_addr().unwrap()),
            remote: None,
            path: None,
            mode: Seen::unseen(Why::Absent, ""),
            v6_only: Seen::unseen(Why::Absent, ""),
            device: None,
            inode: 0,
            uid: None,
            net_namespace: None,
            pids: Seen::Known(Vec::new()),
            drops: None,
        };
        let serving = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            // A server that leaves a request unread resets the connection, and the answer with it.
            let mut request = [0; 64];
            assert!(stream.read(&mut request).unwrap() > 0);
            let mut answer = String::new();
            for client in 0..3_000 {
                answer += &format!(
                    "STAT {client}:addr tcp:192.0.2.7:{client}\r\n\
                     STAT {client}:listen_addr tcp:192.0.2.9:11211\r\n\
                     STAT {client}:state conn_read\r\nSTAT {client}:secs_since_last_cmd 4\r\n"
                );
            }
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(b"END\r\n").unwrap();
        });
        let seen = lines(&socket, b"stats conns\r\n");
        serving.join().unwrap();
        assert_eq!(clients(seen.known().expect("a whole answer")).len(), LINES_MAX);
    }

    #[test]
    fn clients_without_listeners_and_ourselves() {
        let text = "\
STAT 24:addr tcp:127.0.0.1:11211
STAT 24:state conn_listening
STAT 24:secs_since_last_cmd 10
STAT 28:addr tcp:192.0.2.7:38018
STAT 28:listen_addr tcp:192.0.2.9:11211
STAT 28:state conn_read
STAT 28:secs_since_last_cmd 4
STAT 29:addr tcp:127.0.0.1:38020
STAT 29:state conn_parse_cmd
STAT 29:secs_since_last_cmd 0
END";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let peers = clients(&lines);
        assert_eq!(peers.len(), 1);
        assert_eq!((peers[0].address.as_str(), peers[0].idle_s), ("tcp:192.0.2.7:38018", Some(4)));
        assert_eq!(settings(vec!["STAT pid 7".into(), "END".into()])["pid"], "7");
    }
}
