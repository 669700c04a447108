//! Plays a script against one server.

use std::collections::BTreeMap;
use std::time::Duration;

use kannuki_tests::clock::{self, Since};
use kannuki_tests::{Server, Wire};

use super::frame;
use super::notation::Surroundings;
use super::reply::{self, Asked, CasTable, Token};
use super::script::{End, Script, Step};
use super::stat_policy;

/// A server that does not finish an answer by then is taken not to finish it at all.
const REPLY_BOUND: Duration = Duration::from_secs(20);

/// Where no barrier can be sent and no end is known: long enough for any answer that is due.
const QUIET: Duration = Duration::from_secs(1);

/// What one server did with a script.
#[derive(Debug)]
pub struct Transcript {
    pub replies: Vec<Played>,
    pub counters: BTreeMap<String, String>,
}

/// What was sent in one step and what came back.
#[derive(Debug)]
pub struct Played {
    pub sent: Vec<u8>,
    pub raw: Vec<u8>,
    pub tokens: Vec<Token>,
    /// When the reply was complete, in seconds since the script began: a busy machine may hold up
    /// one server and not the other.
    pub at_seconds: u64,
}

/// Plays `script`; the error names the step that could not be played.
pub fn play(script: &Script, server: &Server) -> Result<Transcript, String> {
    let (wires, cas) = (BTreeMap::new(), CasTable::default());
    let mut player = Player { server, wires, cas, since: Since::now() };
    let mut replies = Vec::new();
    for step in &script.steps {
        let played = player.step(step);
        replies.push(played.map_err(|why| format!("{}: {:?}: {why}", script.name, step.label))?);
    }
    let all = statistics(script, server).map_err(|why| format!("{}: {why}", script.name))?;
    let counted = |key: &str| stat_policy::COUNTED.contains(&key);
    let counters = all.into_iter().filter(|(key, _)| counted(key)).collect();
    Ok(Transcript { replies, counters })
}

/// What `stats` says, asked in a protocol the server speaks.
fn statistics(script: &Script, server: &Server) -> Result<Vec<(String, String)>, String> {
    let mut wire = server.try_connect()?;
    if !script.server_flags.join(" ").contains("-B binary") {
        return Ok(kannuki_tests::stats(&mut wire, "stats"));
    }
    let mut request = frame::barrier();
    request[1] = 0x10;
    wire.send([request, frame::barrier()].concat());
    until(&mut wire, REPLY_BOUND, |bytes| barrier_response(bytes).is_some());
    let raw = take_all(&mut wire);
    let mut found = Vec::new();
    let mut rest = raw.as_slice();
    while let Some(response) = frame::response(rest) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !response.key.is_empty() {
            found.push((text(response.key), text(response.value)));
        }
        rest = &rest[response.bytes..];
    }
    Ok(found)
}

struct Player<'s> {
    server: &'s Server,
    wires: BTreeMap<String, Wire>,
    cas: CasTable,
    since: Since,
}

impl Surroundings for CasTable {
    fn cas(&self, nth: usize) -> Option<u64> {
        self.get(nth)
    }

    fn now(&self) -> u64 {
        clock::unix_seconds()
    }
}

impl Player<'_> {
    fn step(&mut self, step: &Step) -> Result<Played, String> {
        std::thread::sleep(Duration::from_secs_f64(step.wait_seconds));
        let sent = step.bytes(&self.cas)?;
        let wire = match self.wires.entry(step.connection.clone()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(self.server.try_connect()?)
            }
        };
        // A closed connection shows in the reply.
        let _ = wire.try_send(&sent);
        if step.shut {
            wire.finish_sending();
        }
        let (raw, ended) = match &step.end {
            End::Barrier => until_barrier(wire, step, &sent),
            End::Quiet => {
                until(wire, QUIET, |_| false);
                (take_all(wire), true)
            }
            End::Close => {
                let closed = until(wire, REPLY_BOUND, |_| false);
                (take_all(wire), closed)
            }
            End::Until(end) => {
                let ended = until(wire, REPLY_BOUND, |bytes| bytes.ends_with(end));
                (take_all(wire), ended)
            }
        };
        let mut tokens = reply::tokens(&raw, step.sorted, &Asked::of(&sent), &mut self.cas);
        if wire.has_ended() {
            tokens.push(Token::Closed);
        } else if !ended {
            tokens.push(Token::Unended);
        }
        let at_seconds = self.since.elapsed().as_secs();
        Ok(Played { sent, raw, tokens, at_seconds })
    }
}

fn until_barrier(wire: &mut Wire, step: &Step, sent: &[u8]) -> (Vec<u8>, bool) {
    if step.is_binary() {
        let _ = wire.try_send(&frame::barrier());
        let mut end = 0;
        let ended = until(wire, REPLY_BOUND, |bytes| match barrier_response(bytes) {
            Some(at) => {
                end = at;
                true
            }
            None => false,
        });
        let mut raw = take_all(wire);
        if ended {
            raw.drain(end..end + frame::HEADER_BYTES);
        }
        return (raw, ended);
    }
    // The script's own `mn` commands answer as the barrier does.
    let own = sent.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"mn")).count();
    let _ = wire.try_send(b"mn\r\n");
    let ended = until(wire, REPLY_BOUND, |bytes| {
        let at_line_start = bytes.ends_with(b"\nMN\r\n") || bytes == b"MN\r\n";
        at_line_start && bytes.split(|byte| *byte == b'\n').filter(|l| *l == b"MN\r").count() > own
    });
    let mut raw = take_all(wire);
    if ended {
        raw.truncate(raw.len() - b"MN\r\n".len());
    }
    (raw, ended)
}

/// Where the barrier's response starts, once it is there.
fn barrier_response(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(response) = bytes.get(at..).and_then(frame::response) {
        if response.opcode == 0x0a && response.opaque == frame::BARRIER_OPAQUE {
            return Some(at);
        }
        at += response.bytes;
    }
    None
}

/// Reads until `done`, the end of the stream or the bound.
fn until(wire: &mut Wire, bound: Duration, mut done: impl FnMut(&[u8]) -> bool) -> bool {
    let since = Since::now();
    loop {
        if done(wire.unread()) {
            return true;
        }
        let left = bound.saturating_sub(since.elapsed());
        if wire.has_ended() || left.is_zero() {
            return false;
        }
        wire.fill(left);
    }
}

fn take_all(wire: &mut Wire) -> Vec<u8> {
    wire.take(usize::MAX)
}
