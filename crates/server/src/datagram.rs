//! UDP: one datagram, one complete request, one framed reply.
//!
//! Invariants:
//! - A request that is not complete in its datagram is dropped; nothing of it is kept.
//! - Toward an address that nobody vouched for, bytes out never exceed bytes in, headers included;
//!   the guard decides, and a reply that is too large is dropped as a whole.
//! - A datagram never blocks the thread: what the socket will not take is lost, as UDP allows.

use std::{
    io::IoSlice,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use kannuki_guard::{ListenerId, Peer};
use kannuki_protocol::{Dialect, udp};
use kannuki_sys::socket::{Datagram, Received, Trouble};

use crate::{
    counters::Counter,
    dispatch::{
        Turn,
        ahead::{Ahead, Piece},
    },
    limits::{DATAGRAM_REPLY_BYTES_MAX, DATAGRAMS_PER_TURN},
    output::Output,
    refusals,
    registry::Registered,
    session::{Next, Session},
};

/// One thread's share of a UDP socket.
#[derive(Debug)]
pub(crate) struct DatagramDoor {
    /// The socket.
    pub socket: Datagram,
    /// Which protocol its requests speak.
    pub dialect: Dialect,
    /// Under which its own terms stand in the policy.
    pub id: ListenerId,
    /// Its entry in the registry, shared by the threads.
    pub registered: Arc<Registered>,
}

impl DatagramDoor {
    /// The socket, to be watched.
    #[must_use]
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket is readable: answers what has come, a bounded number at a time.
    pub(crate) fn readable(&mut self, turn: &Turn<'_>, scratch: &mut [u8], out: &mut Output) {
        for _ in 0..DATAGRAMS_PER_TURN {
            match self.socket.receive(scratch) {
                Ok(received) => {
                    turn.counters.add(Counter::BytesRead, received.bytes as u64);
                    let datagram = scratch.get(..received.bytes).unwrap_or_default();
                    if !received.truncated {
                        self.answer(turn, datagram, &received, out);
                    }
                    out.clear();
                }
                Err(error) => match Trouble::of(&error) {
                    // An error that an earlier reply caused at its receiver.
                    Trouble::Closed | Trouble::Interrupted => {}
                    _ => return,
                },
            }
        }
    }

    fn answer(&self, turn: &Turn<'_>, datagram: &[u8], received: &Received, out: &mut Output) {
        let Some((request_id, request)) = udp::request(datagram) else {
            return turn.counters.add(Counter::DatagramsDropped, 1);
        };
        let access = match turn.rules.guard.admit(&Peer::udp(received.from.ip()).at(self.id)) {
            Ok(access) => access,
            Err(denial) => return turn.counters.add_refusal(refusals::of_denial(&denial)),
        };
        self.registered.facts().commanded(turn.now);
        let mut session = Session::new(self.dialect, access, None);
        // No reply that is larger than this will be sent: it need not be made.
        let trusted = turn.rules.replies.trusts(received.from.ip());
        let bytes_max = if trusted { DATAGRAM_REPLY_BYTES_MAX } else { received.bytes };
        let whole = [Piece { start: 0, end: request.len(), place: session.place() }];
        let ahead = Ahead::new(request, &whole);
        if !converse(&mut session, &turn.with(&ahead), request, bytes_max, out) {
            return turn.counters.add(Counter::DatagramsDropped, 1);
        }
        self.reply(turn, request_id, received, out);
    }

    fn reply(&self, turn: &Turn<'_>, request_id: u16, received: &Received, out: &Output) {
        let payload = out.to_vec();
        if payload.is_empty() {
            return;
        }
        let Some(datagrams) = udp::datagrams(request_id, &payload) else { return };
        let count = datagrams.len();
        let bytes_out = payload.len() + count * kannuki_protocol::limits::DATAGRAM_HEADER_BYTES;
        let budget = &turn.rules.replies;
        let to = received.from;
        if let Err(denial) = budget.reply_allowed(to.ip(), received.bytes, bytes_out, count) {
            return turn.counters.add_refusal(refusals::of_denial(&denial));
        }
        for (head, piece) in datagrams {
            let pieces = [IoSlice::new(&head), IoSlice::new(piece)];
            if self.socket.send(&pieces, to).is_err() {
                return;
            }
            turn.counters.add(Counter::BytesWritten, (head.len() + piece.len()) as u64);
        }
    }
}

/// Runs the whole request; `false` = it was not complete, or asks for too much.
fn converse(
    session: &mut Session,
    turn: &Turn<'_>,
    request: &[u8],
    bytes_max: usize,
    out: &mut Output,
) -> bool {
    let mut rest = request;
    let mut whole = Output::default();
    loop {
        let mut budget = turn.instance.config.reqs_per_event;
        let progress = session.advance(turn, rest, &mut budget, out);
        rest = rest.get(progress.used..).unwrap_or_default();
        let complete = match progress.next {
            Next::Read => rest.is_empty() && session.is_between_commands(),
            Next::Close => true,
            // Nobody logs in by datagrams.
            Next::Hold => return false,
            Next::Yield => continue,
            Next::Flush => {
                whole.bytes().extend_from_slice(&out.to_vec());
                out.clear();
                if whole.len() > bytes_max {
                    return false;
                }
                continue;
            }
        };
        if !whole.is_empty() {
            whole.bytes().extend_from_slice(&out.to_vec());
            std::mem::swap(out, &mut whole);
        }
        return complete;
    }
}
