//! The load: pipelined text requests over many connections, each reply known in advance.
//!
//! Invariants: keys and values have one length each, so every reply has one too; a connection never
//! has more than one batch under way; every loop ends after its number of requests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// Keys in use; far more than a processor caches, far less than memory.
const KEYS: u64 = 200_000;
/// A common size in published traces of caches.
const VALUE_BYTES: usize = 100;
/// Keys in one multi-get.
const MULTI_KEYS: usize = 100;
/// Connections, and the threads that drive them; two leave room for the server on a small machine.
const CONNECTIONS: usize = 50;
const THREADS: usize = 2;
/// A server silent for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Items stored per batch while filling.
const FILL_BATCH: u64 = 1000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// `get` of one key, always a hit.
    Get,
    /// `set` over a value that is there.
    Set,
    /// Nine `get` to one `set`.
    Mixed,
    /// `get` of a hundred keys, all hits.
    MultiGet,
}

/// A load, how deep it is pipelined, how much of it there is.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is asked.
    pub(super) load: Load,
    /// Requests sent together on one connection.
    pub(super) depth: usize,
    /// Requests in all; rounded down to whole batches on every connection.
    pub(super) requests: usize,
}

impl Plan {
    /// For people.
    pub(super) fn name(&self) -> String {
        let what = match self.load {
            Load::Get => "get",
            Load::Set => "set",
            Load::Mixed => "90 % get, 10 % set",
            Load::MultiGet => "get of 100 keys",
        };
        format!("{what}, pipeline {}", self.depth)
    }
}

/// Stores every key once.
pub(super) fn fill(port: u16) -> Result<()> {
    let mut connection = Connection::open(port, 0)?;
    for first in (0..KEYS).step_by(FILL_BATCH as usize) {
        for key in first..KEYS.min(first + FILL_BATCH) {
            connection.add_set(key);
        }
        connection.exchange()?;
    }
    Ok(())
}

/// Drives `requests` of the plan's load and returns how many were answered, all of them correctly.
pub(super) fn drive(port: u16, plan: &Plan, requests: usize) -> Result<usize> {
    let batches = requests / plan.depth / CONNECTIONS;
    ensure!(batches > 0, "{} requests are less than one batch each", requests);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || drive_share(port, plan, batches, thread)))
            .collect();
        let mut answered = 0;
        for thread in threads {
            let share = thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))?;
            answered += share?;
        }
        Ok(answered)
    })
}

/// One thread's connections: a batch out on each, then the answers of each.
fn drive_share(port: u16, plan: &Plan, batches: usize, thread: usize) -> Result<usize> {
    let mut connections = Vec::new();
    for number in (thread..CONNECTIONS).step_by(THREADS) {
        connections.push(Connection::open(port, number as u64)?);
    }
    for _ in 0..batches {
        for connection in &mut connections {
            for at in 0..plan.depth {
                connection.add(plan.load, at);
            }
            connection.send()?;
        }
        for connection in &mut connections {
            connection.receive()?;
        }
    }
    Ok(batches * plan.depth * connections.len())
}

struct Connection {
    stream: TcpStream,
    /// State of a xorshift generator: which key comes next.
    random: u64,
    out: Vec<u8>,
    /// The bytes that must come back for what is in `out`.
    expected: Vec<u8>,
    received: Vec<u8>,
}

impl Connection {
    fn open(port: u16, number: u64) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let random = 0x9e37_79b9_7f4a_7c15 ^ (number + 1);
        Ok(Self { stream, random, out: vec![], expected: vec![], received: vec![] })
    }

    fn add(&mut self, load: Load, at: usize) {
        match load {
            Load::Set => {
                let key = self.next_key();
                self.add_set(key);
            }
            Load::Mixed if at % 10 == 9 => {
                let key = self.next_key();
                self.add_set(key);
            }
            Load::Get | Load::Mixed => self.add_get(1),
            Load::MultiGet => self.add_get(MULTI_KEYS),
        }
    }

    fn add_get(&mut self, keys: usize) {
        self.out.extend_from_slice(b"get");
        for _ in 0..keys {
            let key = self.next_key();
            self.out.push(b' ');
            push_key(&mut self.out, key);
            self.expected.extend_from_slice(b"VALUE ");
            push_key(&mut self.expected, key);
            self.expected.extend_from_slice(format!(" 0 {VALUE_BYTES}\r\n").as_bytes());
            push_value(&mut self.expected, key);
        }
        self.out.extend_from_slice(b"\r\n");
        self.expected.extend_from_slice(b"END\r\n");
    }

    fn add_set(&mut self, key: u64) {
        self.out.extend_from_slice(b"set ");
        push_key(&mut self.out, key);
        self.out.extend_from_slice(format!(" 0 0 {VALUE_BYTES}\r\n").as_bytes());
        push_value(&mut self.out, key);
        self.expected.extend_from_slice(b"STORED\r\n");
    }

    fn next_key(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % KEYS
    }

    fn exchange(&mut self) -> Result<()> {
        self.send()?;
        self.receive()
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).context("sending")?;
        self.out.clear();
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        self.received.resize(self.expected.len(), 0);
        self.stream.read_exact(&mut self.received).context("receiving")?;
        ensure!(self.received == self.expected, "a reply is not what it has to be");
        self.expected.clear();
        Ok(())
    }
}

/// 32 bytes: a prefix as applications use, and the number.
fn push_key(bytes: &mut Vec<u8>, key: u64) {
    bytes.extend_from_slice(format!("app:session:{key:020}").as_bytes());
}

/// Bytes that differ from key to key, and the terminator of a data block.
fn push_value(bytes: &mut Vec<u8>, key: u64) {
    let byte = b'a' + (key % 26) as u8;
    bytes.resize(bytes.len() + VALUE_BYTES, byte);
    bytes.extend_from_slice(b"\r\n");
}
