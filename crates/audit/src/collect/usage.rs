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
    talk::{self, OwnEnds, Stream},
};
use crate::facts::{
    ClientConnection, Facts, Protocol, Seen, Socket, SocketState, StatsSample, Unseen, Usage, Why,
};

/// Longest answer to a command, in bytes: `stats conns` of ten thousand clients.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Longest wait for a whole answer.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Most lines of statistics, and most clients, that stand in the facts.
const LINES_MAX: usize = 2000;

/// One sample of each cache, a wait, another one.
pub(super) fn collect(view: &View, facts: &Facts, window: Duration, own: &OwnEnds) -> Vec<Usage> {
    let sockets: Vec<&Socket> = one_of_each(facts);
    let watch = Stopwatch::start();
    let mut all: Vec<Usage> = sockets.iter().map(|socket| first_look(socket, own)).collect();
    if !all.is_empty() {
        thread::sleep(window);
    }
    for (usage, socket) in all.iter_mut().zip(&sockets) {
        second_look(usage, socket, own);
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

fn first_look(socket: &Socket, own: &OwnEnds) -> Usage {
    let mut talk = Conversation::with(socket, own);
    Usage {
        inode: socket.inode,
        pid: socket.pids.list().first().copied(),
        window_ms: 0,
        first: talk.sample(),
        second: Seen::unseen(Why::NotAsked, "not asked yet"),
        // That of the second look.
        own_connections: 1,
        settings: talk.lines(b"stats settings\r\n").map(settings),
        clients: Seen::unseen(Why::NotAsked, "not asked yet"),
    }
}

/// Clients are asked for now: what we closed before the wait, the server has noticed by now, which
/// is all that tells our own connections to a UNIX socket from those of others.
fn second_look(usage: &mut Usage, socket: &Socket, own: &OwnEnds) {
    let mut talk = Conversation::with(socket, own);
    usage.second = talk.sample();
    usage.clients = talk.lines(b"stats conns\r\n").map(|lines| clients(&lines, own));
}

/// A connection that is asked one thing after another.
struct Conversation(io::Result<Box<dyn Stream>>);

impl Conversation {
    fn with(socket: &Socket, own: &OwnEnds) -> Self {
        Self(talk::connect(socket, own))
    }

    fn sample(&mut self) -> Seen<StatsSample> {
        let at = clock::now();
        self.lines(b"stats\r\n").map(|lines| StatsSample { at, values: settings(lines) })
    }

    fn lines(&mut self, command: &[u8]) -> Seen<Vec<String>> {
        let answer = match &mut self.0 {
            Ok(stream) => ask(stream, command).map_err(|error| unseen(&error)),
            Err(error) => Err(unseen(error)),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(unseen) => return Seen::Unseen(unseen),
        };
        let text = String::from_utf8_lossy(&answer);
        // Bounded by the answer's bytes; the last line tells whether it is whole.
        let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
        match lines.last().map(String::as_str) {
            Some("END") => Seen::Known(lines),
            Some(other) => Seen::unseen(Why::Malformed, format!("it answered: {other}")),
            None => Seen::unseen(Why::TimedOut, "it closed without an answer"),
        }
    }
}

fn unseen(error: &io::Error) -> Unseen {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => Why::NotPermitted,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Why::TimedOut,
        _ => Why::Failed,
    };
    Unseen { why, detail: error.to_string() }
}

fn ask(stream: &mut Box<dyn Stream>, command: &[u8]) -> io::Result<Vec<u8>> {
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
/// out; so are our own, the one that asks and those that the server has not yet seen closed.
fn clients(lines: &[String], own: &OwnEnds) -> Vec<ClientConnection> {
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
    let is_own = |client: &ClientConnection| {
        let end = client.address.split_once(':').and_then(|(_, end)| end.parse().ok());
        end.is_some_and(|end| own.contains(end))
    };
    let is_client = |client: &ClientConnection| {
        client.state != "conn_listening" && !client.address.starts_with("udp")
    };
    let known = all.values().any(is_own);
    let mut peers: Vec<_> = all.into_values().filter(is_client).collect();
    peers.retain(|client| !is_own(client));
    // Over a UNIX socket, or through a proxy, the one that asks has no address of ours: it is in
    // the middle of a command, which memcached calls `conn_parse_cmd`.
    let asks = |client: &ClientConnection| client.state == "conn_parse_cmd";
    if let Some(own) = peers.iter().rposition(asks).filter(|_| !known) {
        peers.remove(own);
    }
    peers.truncate(LINES_MAX);
    peers
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
        let own = OwnEnds::default();
        let seen = Conversation::with(&socket, &own).lines(b"stats conns\r\n");
        serving.join().unwrap();
        assert_eq!(clients(seen.known().expect("a whole answer"), &own).len(), LINES_MAX);
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
        let peers = clients(&lines, &OwnEnds::default());
        assert_eq!(peers.len(), 1);
        assert_eq!((peers[0].address.as_str(), peers[0].idle_s), ("tcp:192.0.2.7:38018", Some(4)));
        assert_eq!(settings(vec!["STAT pid 7".into(), "END".into()])["pid"], "7");
    }
    /// Ours were once counted as users of a cache that nobody uses, when its threads had not yet
    /// come to see that they were closed.
    #[test]
    fn what_we_have_closed_is_no_client() {
        let own = OwnEnds::default();
        own.remember("127.0.0.1:38020".parse().unwrap());
        own.remember("[::1]:38022".parse().unwrap());
        let lines = [
            "STAT 27:addr tcp6:[::ffff:127.0.0.1]:38020",
            "STAT 27:state conn_read",
            "STAT 28:addr tcp6:[::1]:38022",
            "STAT 28:state conn_parse_cmd",
            "STAT 29:addr tcp:127.0.0.1:38024",
            "STAT 29:state conn_parse_cmd",
            "END",
        ];
        let peers = clients(&lines.map(str::to_owned), &own);
        let addresses: Vec<_> = peers.iter().map(|client| client.address.as_str()).collect();
        assert_eq!(addresses, ["tcp:127.0.0.1:38024"]);
    }
}
