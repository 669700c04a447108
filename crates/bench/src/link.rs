//! One client connection: nonblocking, so that what is still to be sent never keeps from reading
//! what has come. Two ends that both only send would wait for each other for ever. In clear or by TLS.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConnection, HandshakeKind};

use crate::reply::{Reply, cut};
use crate::tls::Target;

/// A server silent for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Read at once: a batch's replies, mostly.
const READ_BYTES: usize = 256 * 1024;

/// A connection with what is still to be sent and what has been received but not read.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Commands; what is before `sent` is on its way already.
    pub out: Vec<u8>,
    sent: usize,
    /// Replies; what is before `read` is done with, what is behind `filled` is not there yet.
    received: Vec<u8>,
    read: usize,
    filled: usize,
}

impl Link {
    /// Connects, in clear.
    ///
    /// # Errors
    /// When nothing listens there.
    pub fn open(address: SocketAddr) -> Result<Self> {
        Self::reach(&address.into())
    }

    /// Connects; over TLS, until the handshake is done.
    ///
    /// # Errors
    /// When nothing listens there, or it does not speak TLS as it should.
    pub fn reach(target: &Target) -> Result<Self> {
        let address = target.address;
        let mut stream = TcpStream::connect_timeout(&address, SILENCE_MAX)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut tls = None;
        if let Some(terms) = &target.tls {
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            let mut machine = Box::new(terms.begin(address)?);
            while machine.is_handshaking() {
                machine.complete_io(&mut stream).with_context(|| format!("TLS to {address}"))?;
            }
            tls = Some(machine);
        }
        stream.set_nonblocking(true)?;
        let received = vec![0; READ_BYTES];
        Ok(Self { stream, tls, out: Vec::new(), sent: 0, received, read: 0, filled: 0 })
    }

    /// Whether the handshake went on with an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|machine| machine.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// Says that nothing follows: a TLS server may hold a session for broken that just ends.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn close(mut self) -> Result<()> {
        if let Some(machine) = &mut self.tls {
            machine.send_close_notify();
        }
        self.send()
    }

    /// Sends all of `out`, reading meanwhile what comes.
    ///
    /// # Errors
    /// When the connection breaks or the server is silent for too long.
    pub fn send(&mut self) -> Result<()> {
        while !self.push()? {
            self.wait(PollFlags::IN | PollFlags::OUT)?;
            self.pull()?;
        }
        Ok(())
    }

    /// Hands the next reply to `read`, waiting for it if need be.
    ///
    /// # Errors
    /// When the connection breaks, the server is silent for too long, says what no memcached says,
    /// or `read` refuses the reply.
    pub fn reply<R>(&mut self, read: impl FnOnce(Reply<'_>) -> Result<R>) -> Result<R> {
        loop {
            if let Some((reply, used)) = cut(self.unread())? {
                let result = read(reply);
                self.read += used;
                return result;
            }
            if !self.pull()? {
                self.wait(PollFlags::IN)?;
            }
        }
    }

    /// The next reply if it is here already. Does not touch the socket.
    ///
    /// # Errors
    /// As [`Self::reply`].
    pub fn reply_here<R>(
        &mut self,
        read: impl FnOnce(Reply<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some((reply, used)) = cut(self.unread())? else { return Ok(None) };
        let result = read(reply)?;
        self.read += used;
        Ok(Some(result))
    }

    /// Sends what the socket takes now; whether `out` is empty afterwards.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn push(&mut self) -> Result<bool> {
        if self.tls.is_some() {
            return self.push_sealed();
        }
        while let Some(unsent) = self.out.get(self.sent..).filter(|unsent| !unsent.is_empty()) {
            match self.stream.write(unsent) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending to the server"),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(true)
    }

    fn push_sealed(&mut self) -> Result<bool> {
        let Some(machine) = &mut self.tls else { return Ok(true) };
        loop {
            while machine.wants_write() {
                match machine.write_tls(&mut self.stream) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error).context("sending to the server"),
                }
            }
            let unsent = self.out.get(self.sent..).unwrap_or_default();
            if unsent.is_empty() {
                break;
            }
            // It takes what it has room for.
            self.sent += machine.writer().write(unsent).context("sealing")?;
        }
        self.out.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Reads once; whether anything came.
    ///
    /// # Errors
    /// When the connection breaks or the server closes it.
    pub fn pull(&mut self) -> Result<bool> {
        if self.tls.is_some() {
            return self.pull_sealed();
        }
        self.make_room();
        let room = self.received.get_mut(self.filled..).unwrap_or_default();
        match self.stream.read(room) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => {
                self.filled += count;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error).context("receiving from the server"),
        }
    }

    fn pull_sealed(&mut self) -> Result<bool> {
        let Some(machine) = &mut self.tls else { return Ok(false) };
        match machine.read_tls(&mut self.stream) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error).context("receiving from the server"),
        }
        let state = machine.process_new_packets().context("what the server sealed")?;
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            self.make_room();
            let Some(machine) = &mut self.tls else { return Ok(false) };
            let room = self.received.get_mut(self.filled..).unwrap_or_default();
            let count = machine.reader().read(room).context("receiving from the server")?;
            ensure!(count > 0, "the server closed the connection");
            self.filled += count;
            left = left.saturating_sub(count);
        }
        // A half record has come, or more: what there is of it is not lost.
        Ok(true)
    }

    /// At least [`READ_BYTES`] behind `filled`: by moving what is unread to the front, or, for a
    /// reply larger than that, by growing.
    fn make_room(&mut self) {
        if self.read == self.filled {
            (self.read, self.filled) = (0, 0);
        }
        if self.received.len() - self.filled >= READ_BYTES {
            return;
        }
        self.received.copy_within(self.read..self.filled, 0);
        self.filled -= self.read;
        self.read = 0;
        if self.received.len() - self.filled < READ_BYTES {
            self.received.resize(self.filled + READ_BYTES + self.filled / 2, 0);
        }
    }

    fn unread(&self) -> &[u8] {
        self.received.get(self.read..self.filled).unwrap_or_default()
    }

    fn wait(&self, events: PollFlags) -> Result<()> {
        let timeout = Timespec { tv_sec: SILENCE_MAX.as_secs().cast_signed(), tv_nsec: 0 };
        let mut waiting = [PollFd::new(&self.stream, events)];
        match poll(&mut waiting, Some(&timeout)) {
            Ok(ready) => {
                ensure!(ready > 0, "the server is silent for {} s", SILENCE_MAX.as_secs());
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("waiting for the server"),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
