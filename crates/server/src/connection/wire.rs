//! What lies between a connection's socket and its session: nothing, or TLS.
//!
//! Invariants:
//! - Sealed bytes leave in the order in which they were sealed, each once; while some wait for the
//!   socket, nothing more is sealed, so that a peer which does not read holds little.
//! - Between turns an idle connection holds no buffer here.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
};

use kannuki_guard::CertificateNames;
use kannuki_sys::socket::{Stream, Trouble};

use crate::{
    arithmetic::Toll,
    limits::{SEAL_BYTES_MAX, WRITE_PIECES_MAX},
    output::Output,
    tls::{Endpoint, Opened, Tls, TlsFault, TlsMachine},
};

/// The socket of one connection, and TLS where its listener speaks it.
pub(super) struct Wire {
    stream: Stream,
    tls: Option<Box<Secured>>,
}

struct Secured {
    machine: TlsMachine,
    /// Sealed bytes that the socket would not take; the first `sent` of them are gone.
    unsent: Vec<u8>,
    sent: usize,
}

/// What one read brought.
#[derive(Debug)]
pub(super) enum Got {
    /// So many bytes for the session; none while TLS has something to do first.
    Bytes(usize),
    /// The handshake is done, and so many bytes came behind it.
    Established(Proven, usize),
    /// Nothing now.
    Nothing,
    /// The peer sends no more, or is gone.
    End,
    /// TLS turned the peer away.
    Refused(TlsFault),
}

/// What a handshake has shown.
#[derive(Debug)]
pub(super) struct Proven {
    /// The names in the client's certificate.
    pub(super) names: Option<CertificateNames>,
    /// An earlier session goes on.
    pub(super) resumed: bool,
}

/// What one attempt to send did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Bytes of replies that are on their way.
    pub(super) bytes: usize,
    /// The socket took something.
    pub(super) moved: bool,
}

/// The connection cannot send any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

impl Wire {
    /// In clear, or by TLS from the first byte on; `None` where TLS cannot begin.
    pub(super) fn new(stream: Stream, endpoint: Option<Arc<Endpoint>>) -> Option<Self> {
        let Some(endpoint) = endpoint else { return Some(Self { stream, tls: None }) };
        let machine = TlsMachine::new(endpoint).ok()?;
        let secured = Secured { machine, unsent: Vec::new(), sent: 0 };
        Some(Self { stream, tls: Some(Box::new(secured)) })
    }

    /// The socket, to be watched.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Reads once and leaves what is meant for the session at the start of `room`.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Got {
        // What is opened may be longer than what is read now by what was read before.
        let partial = self.tls.as_ref().map_or(0, |secured| secured.machine.partial_bytes());
        let readable = room.len().saturating_sub(partial).max(1).min(room.len());
        let length = match self.stream.read(room.get_mut(..readable).unwrap_or_default()) {
            Ok(0) => return Got::End,
            Ok(length) => length,
            Err(error) => {
                return match Trouble::of(&error) {
                    Trouble::WouldBlock | Trouble::Interrupted => Got::Nothing,
                    _ => Got::End,
                };
            }
        };
        let Some(secured) = &mut self.tls else { return Got::Bytes(length) };
        let mut plain = Vec::with_capacity(length);
        let received = room.get_mut(..length).unwrap_or_default();
        let opened = secured.machine.open(received, &mut plain, &mut secured.unsent);
        let filled = match room.get_mut(..plain.len()) {
            Some(start) => {
                start.copy_from_slice(&plain);
                plain.len()
            }
            // Opening never makes bytes more; a machine that does is not to be trusted.
            None => return Got::Refused(TlsFault::Protocol),
        };
        match opened {
            Ok(Opened::Established { names, resumed }) => {
                Got::Established(Proven { names, resumed }, filled)
            }
            Ok(Opened::Handshaking | Opened::Data) => Got::Bytes(filled),
            Err(fault) => {
                // The peer learns why if it still fits into the socket.
                let _ = self.stream.write(&secured.unsent);
                Got::Refused(fault)
            }
        }
    }

    /// Judges the client's certificate again if certificates were reloaded.
    ///
    /// # Errors
    /// When it is good no more.
    pub(super) fn renew_trust(&mut self, tls: Option<&Tls>) -> Result<(), TlsFault> {
        match (&mut self.tls, tls) {
            (Some(secured), Some(tls)) => secured.machine.renew_trust(tls),
            _ => Ok(()),
        }
    }

    /// Sends as much as the socket takes.
    pub(super) fn send(&mut self, out: &mut Output) -> Result<Sent, Broken> {
        match &mut self.tls {
            Some(secured) => secured.send(&self.stream, out),
            None => send_plain(&self.stream, out),
        }
    }

    /// Tries to get a last line through, in clear or sealed; what does not fit is lost.
    pub(super) fn send_last(&mut self, line: &[u8]) {
        let mut bytes = Vec::new();
        match &mut self.tls {
            Some(secured) if !secured.is_clear() || secured.machine.is_handshaking() => return,
            Some(secured) => {
                if secured.machine.seal(line, &mut bytes).is_err() {
                    return;
                }
            }
            None => bytes.extend_from_slice(line),
        }
        let _ = self.stream.write(&bytes);
    }

    /// The connection is given up: TLS says so, lest the peer think it was cut off.
    pub(super) fn farewell(&mut self) {
        let Some(secured) = self.tls.as_mut().filter(|secured| secured.is_clear()) else { return };
        let mut bytes = Vec::new();
        secured.machine.close(&mut bytes);
        if !bytes.is_empty() {
            let _ = self.stream.write(&bytes);
        }
    }

    /// Sealed bytes wait for the socket.
    pub(super) fn is_blocked(&self) -> bool {
        self.tls.as_ref().is_some_and(|secured| !secured.is_clear())
    }

    /// The peer has not proven yet who it is, and may send no command.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|secured| secured.machine.is_handshaking())
    }

    /// What the next bytes may cost before they are looked at.
    pub(super) fn toll(&self, tls: Option<&Tls>) -> Toll {
        match (&self.tls, tls) {
            (Some(secured), _) if secured.machine.is_handshaking() => Toll::Handshake,
            (Some(secured), Some(tls)) if secured.machine.lacks_trust(tls) => Toll::Verification,
            _ => Toll::None,
        }
    }

    /// The peer has said, in TLS, that it sends no more.
    pub(super) fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|secured| secured.machine.has_ended())
    }

    /// Nothing of a command is on its way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.tls.as_ref().is_none_or(|secured| {
            let machine = &secured.machine;
            machine.is_handshaking() || (secured.is_clear() && machine.partial_bytes() == 0)
        })
    }

    /// Bytes of memory held between turns.
    pub(super) fn held(&self) -> u64 {
        self.tls
            .as_ref()
            .map_or(0, |secured| (secured.machine.held() + secured.unsent.capacity()) as u64)
    }
}

impl Secured {
    fn is_clear(&self) -> bool {
        self.sent >= self.unsent.len()
    }

    fn send(&mut self, stream: &Stream, out: &mut Output) -> Result<Sent, Broken> {
        let mut sent = Sent::default();
        loop {
            while let Some(waiting) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match stream.write(waiting) {
                    Ok(0) => return Err(Broken),
                    Ok(taken) => {
                        self.sent += taken;
                        sent.moved = true;
                    }
                    Err(error) if is_blocked(&error)? => return Ok(sent),
                    Err(_) => {}
                }
            }
            (self.unsent, self.sent) = (Vec::new(), 0);
            if out.is_empty() {
                return Ok(sent);
            }
            let taken = self.seal(out)?;
            out.advance(taken);
            sent.bytes += taken;
        }
    }

    /// Seals the next bytes of `out`, whose replies share records, and says how many they were.
    fn seal(&mut self, out: &Output) -> Result<usize, Broken> {
        let mut pieces = [IoSlice::new(&[]); WRITE_PIECES_MAX];
        let filled = out.gather(&mut pieces);
        let pieces = pieces.get(..filled).unwrap_or_default();
        let first: &[u8] = pieces.first().ok_or(Broken)?;
        let mut staged = Vec::new();
        let plain = if pieces.len() == 1 || first.len() >= SEAL_BYTES_MAX {
            first.get(..SEAL_BYTES_MAX).unwrap_or(first)
        } else {
            for piece in pieces {
                let room = SEAL_BYTES_MAX - staged.len();
                staged.extend_from_slice(piece.get(..room).unwrap_or(piece));
            }
            &staged
        };
        self.machine.seal(plain, &mut self.unsent).map_err(|_| Broken)?;
        Ok(plain.len())
    }
}

fn send_plain(stream: &Stream, out: &mut Output) -> Result<Sent, Broken> {
    let mut sent = Sent::default();
    while !out.is_empty() {
        let mut pieces = [IoSlice::new(&[]); WRITE_PIECES_MAX];
        let filled = out.gather(&mut pieces);
        let result = match pieces.get(..filled) {
            Some([only]) => stream.write(only),
            Some(pieces) => stream.write_vectored(pieces),
            None => return Err(Broken),
        };
        match result {
            Ok(0) => return Err(Broken),
            Ok(taken) => {
                sent.bytes += taken;
                sent.moved = true;
                out.advance(taken);
            }
            Err(error) if is_blocked(&error)? => return Ok(sent),
            Err(_) => {}
        }
    }
    Ok(sent)
}

/// Whether to wait for the socket, or to try again at once.
fn is_blocked(error: &io::Error) -> Result<bool, Broken> {
    match Trouble::of(error) {
        Trouble::WouldBlock => Ok(true),
        Trouble::Interrupted => Ok(false),
        _ => Err(Broken),
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("stream", &self.stream)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}
