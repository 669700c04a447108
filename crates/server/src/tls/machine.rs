//! One TLS conversation, without a socket: sealed bytes in, plain bytes out, and the other way.
//!
//! Built on rustls' unbuffered connections, so that between turns nothing is held but the keys and
//! an unfinished record.
//!
//! Invariants:
//! - No plain byte comes out before the handshake is done and the client's certificate was judged.
//! - `partial` holds at most [`PARTIAL_BYTES_MAX`] bytes: one handshake message or one record.
//! - What is appended to `sealed` is to be sent in that order, once.
//! - The machine is always shown every byte that it has not let go of, and none other: it keeps
//!   places in them. After a failure it is not asked again.

use std::sync::Arc;

use kannuki_guard::CertificateNames;
use rustls::{
    HandshakeKind,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus},
};

use super::{Endpoint, Tls, TlsFault, certificate};
use crate::clock;

/// Sealed bytes of an unfinished message that one connection holds: the longest handshake message
/// is 64 KiB (a chain of certificates), in records that have headers.
const PARTIAL_BYTES_MAX: usize = 80 * 1024;
/// The first byte of every TLS conversation: a record of the handshake.
const RECORD_HANDSHAKE: u8 = 22;
/// What a text client is told that speaks in clear.
const TLS_REQUIRED: &[u8] = b"CLIENT_ERROR TLS is required here\r\n";
/// Bytes that the seal of one record adds at the most: header, explicit nonce, type, tag.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// One side of a TLS conversation: the server's.
pub(crate) struct TlsMachine {
    inner: UnbufferedServerConnection,
    endpoint: Arc<Endpoint>,
    partial: Vec<u8>,
    begun: bool,
    established: bool,
    ended: bool,
    /// The last second of the client's certificate, since 1970.
    expires: u64,
    /// The number of the endpoints by which the client's certificate was judged last.
    judged: u64,
    /// Nothing may be asked of `inner` any more: it may count on bytes that are gone.
    failed: bool,
}

/// What came of some sealed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The handshake goes on.
    Handshaking,
    /// The handshake is done.
    Established {
        /// The names in the client's certificate, if it showed one.
        names: Option<CertificateNames>,
        /// An earlier session goes on.
        resumed: bool,
    },
    /// Plain bytes, perhaps none.
    Data,
}

impl TlsMachine {
    /// A conversation that nobody has begun yet.
    ///
    /// # Errors
    /// Only what no correct configuration causes.
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Result<Self, rustls::Error> {
        let inner = UnbufferedServerConnection::new(Arc::clone(&endpoint.config))?;
        let partial = Vec::new();
        Ok(Self {
            inner,
            judged: endpoint.number,
            endpoint,
            partial,
            expires: u64::MAX,
            begun: false,
            established: false,
            ended: false,
            failed: false,
        })
    }

    /// Takes received bytes; appends what they hold to `plain` and what is to be sent to `sealed`.
    ///
    /// # Errors
    /// The conversation is over; `sealed` says so to the peer.
    pub(crate) fn open(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        sealed: &mut Vec<u8>,
    ) -> Result<Opened, TlsFault> {
        if self.failed {
            return Err(self.fault_now());
        }
        let before = plain.len();
        if let (false, Some(&first)) = (self.begun, received.first()) {
            self.begun = true;
            if first != RECORD_HANDSHAKE {
                if first.is_ascii_alphabetic() {
                    sealed.extend_from_slice(TLS_REQUIRED);
                }
                self.failed = true;
                return Err(TlsFault::Plaintext);
            }
        }
        self.take(received, plain, sealed)?;
        if self.established {
            // Most show no certificate, and no clock is read for them.
            if self.expires != u64::MAX && self.expires < clock::unix_now() {
                self.failed = true;
                plain.truncate(before);
                return Err(TlsFault::Certificate);
            }
            return Ok(Opened::Data);
        }
        if self.inner.is_handshaking() {
            return Ok(Opened::Handshaking);
        }
        // What came together with the end of the handshake is nobody's before it is judged.
        self.establish().inspect_err(|_| {
            self.failed = true;
            plain.truncate(before);
        })
    }

    /// Runs the machine over what is unfinished and what came; keeps what is unfinished now.
    fn take(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        sealed: &mut Vec<u8>,
    ) -> Result<(), TlsFault> {
        if self.partial.is_empty() {
            let used = self.process(received, plain, sealed)?;
            self.partial.extend_from_slice(received.get(used..).unwrap_or_default());
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(received);
            let used = self.process(&mut partial, plain, sealed)?;
            if used < partial.len() {
                partial.drain(..used);
                self.partial = partial;
            }
        }
        if self.partial.len() > PARTIAL_BYTES_MAX {
            self.failed = true;
            return Err(self.fault_now());
        }
        Ok(())
    }

    /// Runs the machine over `input`; returns how many bytes of it are done with.
    fn process(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        sealed: &mut Vec<u8>,
    ) -> Result<usize, TlsFault> {
        let mut used = 0;
        loop {
            let rest = input.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.inner.process_tls_records(rest);
            let mut waits = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, sealed),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                // Early data is never offered; anything else waits for more bytes.
                Ok(_) => waits = true,
                Err(error) => {
                    let fault = TlsFault::of(&error, !self.established);
                    tracing::debug!(%error, fault = fault.name(), "TLS failed");
                    self.last_words(sealed);
                    return Err(fault);
                }
            }
            used += discard;
            if waits {
                return Ok(used);
            }
        }
    }

    /// The alert that tells the peer what was wrong, and what waited before it. As long as there is
    /// such, the machine looks at no input; it must not be made to look at the bad bytes again.
    fn last_words(&mut self, sealed: &mut Vec<u8>) {
        self.failed = true;
        while self.inner.wants_write() {
            let UnbufferedStatus { state, .. } = self.inner.process_tls_records(&mut []);
            match state {
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, sealed),
                _ => return,
            }
        }
    }

    fn establish(&mut self) -> Result<Opened, TlsFault> {
        let resumed = self.inner.handshake_kind() == Some(HandshakeKind::Resumed);
        let chain = self.inner.peer_certificates().unwrap_or_default();
        if resumed && !self.endpoint.still_trusts(chain) {
            return Err(TlsFault::Certificate);
        }
        let names = match chain.first() {
            Some(leaf) => {
                // What was verified and still cannot be read whole cannot be held against rules.
                let (_, expires) = certificate::validity(leaf).ok_or(TlsFault::Certificate)?;
                self.expires = expires;
                certificate::names(leaf).map_err(|unnamed| {
                    tracing::info!(%unnamed, "a client's certificate is not accepted");
                    TlsFault::Certificate
                })?
            }
            None => None,
        };
        self.established = true;
        Ok(Opened::Established { names, resumed })
    }

    /// Whether the client has shown a certificate that was not judged by the endpoints in force.
    #[must_use]
    pub(crate) fn lacks_trust(&self, tls: &Tls) -> bool {
        let changed = self.established && self.judged != tls.in_force();
        changed && self.inner.peer_certificates().is_some_and(|chain| !chain.is_empty())
    }

    /// Judges the client's certificate again if the endpoints in force are others than before.
    ///
    /// # Errors
    /// When no authority vouches for it any more: the connection is over.
    pub(crate) fn renew_trust(&mut self, tls: &Tls) -> Result<(), TlsFault> {
        let in_force = tls.in_force();
        if !self.established || self.judged == in_force {
            return Ok(());
        }
        if !tls.trusts(self.inner.peer_certificates().unwrap_or_default()) {
            self.failed = true;
            return Err(TlsFault::Certificate);
        }
        self.judged = in_force;
        Ok(())
    }

    /// Seals `plain` into records and appends them to `sealed`.
    ///
    /// # Errors
    /// The keys are used up, or the handshake is not done.
    pub(crate) fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), TlsFault> {
        self.write(sealed, |traffic, room| traffic.encrypt(plain, room), plain.len())
    }

    /// Tells the peer that nothing follows.
    pub(crate) fn close(&mut self, sealed: &mut Vec<u8>) {
        if self.established && !self.failed {
            // It fails where the stream is broken already, and the peer knows.
            let _ = self.write(sealed, |traffic, room| traffic.queue_close_notify(room), 0);
        }
    }

    fn write(
        &mut self,
        sealed: &mut Vec<u8>,
        mut seal: impl FnMut(&mut WriteTraffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
        plain_bytes: usize,
    ) -> Result<(), TlsFault> {
        let fault = self.fault_now();
        if self.failed {
            return Err(fault);
        }
        let before = sealed.len();
        loop {
            let status = self.inner.process_tls_records(&mut self.partial);
            match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let records = 1 + plain_bytes.div_ceil(super::RECORD_BYTES_MAX);
                    let mut room = plain_bytes + records * RECORD_OVERHEAD_BYTES;
                    // The second time the machine has said how much it wants.
                    for _ in 0..2 {
                        sealed.resize(before + room, 0);
                        match seal(&mut traffic, sealed.get_mut(before..).unwrap_or_default()) {
                            Ok(length) => {
                                sealed.truncate(before + length);
                                return Ok(());
                            }
                            Err(EncryptError::InsufficientSize(size)) => room = size.required_size,
                            Err(EncryptError::EncryptExhausted) => break,
                        }
                    }
                    sealed.truncate(before);
                    return Err(TlsFault::Exhausted);
                }
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, sealed),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return Err(fault),
            }
        }
    }

    /// The handshake is not done.
    #[must_use]
    pub(crate) const fn is_handshaking(&self) -> bool {
        !self.established
    }

    /// The peer has said that nothing follows.
    #[must_use]
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes of an unfinished record or message.
    #[must_use]
    pub(crate) const fn partial_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Bytes of memory held between turns, the machine itself apart.
    #[must_use]
    pub(crate) const fn held(&self) -> usize {
        self.partial.capacity()
    }

    const fn fault_now(&self) -> TlsFault {
        if self.established { TlsFault::Protocol } else { TlsFault::Handshake }
    }
}

type WriteTraffic<'c> = rustls::unbuffered::WriteTraffic<'c, rustls::server::ServerConnectionData>;

/// Appends what the machine wants to say.
fn append(mut data: EncodeTlsData<'_, rustls::server::ServerConnectionData>, sealed: &mut Vec<u8>) {
    let before = sealed.len();
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { return };
    sealed.resize(before + size.required_size, 0);
    let written = data.encode(sealed.get_mut(before..).unwrap_or_default()).unwrap_or(0);
    sealed.truncate(before + written);
}

#[cfg(test)]
mod tests;
