//! One client connection on which nothing blocks for ever.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::clock::Since;

/// A server that stays silent this long where an answer is due is broken, even on a busy machine.
pub const ANSWER_BOUND: Duration = Duration::from_secs(15);

/// One read from the socket.
const READ_BYTES: usize = 64 * 1024;

/// A connection with a read buffer.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    unread: Vec<u8>,
    ended: bool,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    /// Connects over TCP.
    ///
    /// # Errors
    ///
    /// When the connection is refused.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        Self::tcp_within(address, ANSWER_BOUND)
    }

    /// Connects over TCP, waiting at most for `bound`.
    ///
    /// # Errors
    ///
    /// When the connection is refused or not taken in time.
    pub fn tcp_within(address: SocketAddr, bound: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, bound)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_BOUND))?;
        Ok(Self { stream: Stream::Tcp(stream), unread: Vec::new(), ended: false })
    }

    /// Connects over TCP from an address of this host: loopback has many.
    ///
    /// # Errors
    ///
    /// When the connection is refused.
    pub fn tcp_from(local: IpAddr, address: SocketAddr) -> io::Result<Self> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(local, 0).into())?;
        socket.connect_timeout(&address.into(), ANSWER_BOUND)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_BOUND))?;
        Ok(Self { stream: Stream::Tcp(stream), unread: Vec::new(), ended: false })
    }

    /// Connects to a UNIX socket.
    ///
    /// # Errors
    ///
    /// When the connection is refused.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(ANSWER_BOUND))?;
        Ok(Self { stream: Stream::Unix(stream), unread: Vec::new(), ended: false })
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    ///
    /// When the peer does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("the server takes what it is sent");
    }

    /// Sends all of `bytes`, unless the peer has closed.
    ///
    /// # Errors
    ///
    /// When the peer has closed or takes nothing for [`ANSWER_BOUND`].
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Ends our sending side; the peer may go on answering.
    pub fn finish_sending(&self) {
        // It fails only when the peer has closed already, which the next read tells.
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Sends `request` and reads one reply line; the line comes back without its CRLF.
    ///
    /// # Panics
    ///
    /// When no line comes.
    pub fn ask(&mut self, request: &str) -> String {
        self.send(request);
        self.line()
    }

    /// One line without its CRLF.
    ///
    /// # Panics
    ///
    /// When none comes within [`ANSWER_BOUND`].
    pub fn line(&mut self) -> String {
        let bytes = self.until(b"\r\n");
        String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()
    }

    /// Everything up to and including `end`.
    ///
    /// # Panics
    ///
    /// When it does not come within [`ANSWER_BOUND`].
    pub fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let since = Since::now();
        let mut searched = 0;
        loop {
            let from = searched.min(self.unread.len());
            if let Some(at) = find(&self.unread[from..], end) {
                return self.take(from + at + end.len());
            }
            searched = self.unread.len().saturating_sub(end.len());
            let left = ANSWER_BOUND.saturating_sub(since.elapsed());
            let more = self.fill(left);
            assert!(more, "wanted {:?}, got {:?}", show(end), show(&self.unread));
        }
    }

    /// Exactly `count` bytes.
    ///
    /// # Panics
    ///
    /// When they do not come within [`ANSWER_BOUND`].
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let since = Since::now();
        while self.unread.len() < count {
            let left = ANSWER_BOUND.saturating_sub(since.elapsed());
            let more = self.fill(left);
            assert!(more, "wanted {count} bytes, got {:?}", show(&self.unread));
        }
        self.take(count)
    }

    /// Everything that comes until the peer closes or `bound` has passed.
    pub fn drain(&mut self, bound: Duration) -> Vec<u8> {
        let since = Since::now();
        while let Some(left) = bound.checked_sub(since.elapsed()) {
            if !self.fill(left) && (self.ended || since.elapsed() >= bound) {
                break;
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// True once the peer has closed and everything before that was read; waits at most for
    /// `bound`.
    pub fn closes_within(&mut self, bound: Duration) -> bool {
        let since = Since::now();
        while !self.ended {
            let Some(left) = bound.checked_sub(since.elapsed()) else { return false };
            self.fill(left);
        }
        self.unread.is_empty()
    }

    /// True when the peer has closed, as far as reads have shown.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes read and not yet taken.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Takes the first `count` unread bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.unread.split_off(count.min(self.unread.len()));
        std::mem::replace(&mut self.unread, rest)
    }

    /// Reads once, waiting at most for `bound`. False when nothing came or the peer closed.
    pub fn fill(&mut self, bound: Duration) -> bool {
        if self.ended {
            return false;
        }
        let timeout = Some(bound.max(Duration::from_millis(1)));
        let mut buffer = [0; READ_BYTES];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.read(&mut buffer))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.read(&mut buffer))
            }
        };
        match read {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                return true;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            // A reset is an end too.
            Err(_) => self.ended = true,
        }
        false
    }
}

/// The `STAT` lines of a `stats` command, in order.
///
/// # Panics
///
/// When the answer is not a list of `STAT` lines with an `END`.
pub fn stats(wire: &mut Wire, request: &str) -> Vec<(String, String)> {
    wire.send(format!("{request}\r\n"));
    let mut found = Vec::new();
    loop {
        let line = wire.line();
        if line == "END" {
            return found;
        }
        let pair = line.strip_prefix("STAT ").and_then(|rest| rest.split_once(' '));
        let (key, value) = pair.unwrap_or_else(|| panic!("`{request}` answered {line:?}"));
        found.push((key.to_owned(), value.to_owned()));
    }
}

/// Bytes as readable text, long runs cut.
pub fn show(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 400;
    let head = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let mut text = head.escape_ascii().to_string();
    if bytes.len() > SHOWN_BYTES_MAX {
        text.push_str(&format!("... ({} bytes)", bytes.len()));
    }
    text
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
