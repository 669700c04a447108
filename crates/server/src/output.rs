//! What a connection has still to be told: bytes, and values that are written from where they are.
//!
//! Invariants, with `chains[i].at` the number of plain bytes before chain `i`:
//! - `at` never decreases from one chain to the next and never exceeds `bytes.len()`.
//! - `sent <= len()`; what is sent is never sent again.

use std::io::IoSlice;

use kannuki_store::face::Value;

use crate::{
    limits::{CHAIN_COPY_BYTES_MAX, OUTPUT_BYTES_HIGH, OUTPUT_CHAINS_MAX, OUTPUT_KEEP_BYTES},
    memory::Chain,
};

/// Bytes of a value.
#[must_use]
pub(crate) fn value_len(value: &Value<'_, Chain>) -> usize {
    match value {
        Value::Inline(bytes) => bytes.len(),
        Value::Chain(chain) => chain.len() as usize,
    }
}

/// A queue of replies.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    chains: Vec<Shared>,
    chain_bytes: usize,
    sent: usize,
}

#[derive(Debug)]
struct Shared {
    at: usize,
    chain: Chain,
}

impl Output {
    /// The plain bytes, to append to.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a value: copied if it is short or inline, else shared.
    pub(crate) fn push_value(&mut self, value: &Value<'_, Chain>) {
        match value {
            Value::Inline(bytes) => self.bytes.extend_from_slice(bytes),
            Value::Chain(chain) => self.push_chain(chain),
        }
    }

    fn push_chain(&mut self, chain: &Chain) {
        if chain.len() as usize <= CHAIN_COPY_BYTES_MAX {
            for piece in chain.slices() {
                self.bytes.extend_from_slice(piece);
            }
            return;
        }
        self.chain_bytes += chain.len() as usize;
        self.chains.push(Shared { at: self.bytes.len(), chain: chain.clone() });
    }

    /// Bytes queued, sent ones included.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.chain_bytes
    }

    /// The plain bytes behind the first `before` ones queued, as long as no value was shared.
    #[must_use]
    pub(crate) fn since(&self, before: usize) -> &[u8] {
        self.bytes.get(before.saturating_sub(self.chain_bytes)..).unwrap_or_default()
    }

    /// Nothing is left to send.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.len()
    }

    /// So much is queued that nothing more should be executed before some of it is sent.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.len() - self.sent >= OUTPUT_BYTES_HIGH || self.chains.len() >= OUTPUT_CHAINS_MAX
    }

    /// Bytes that this queue holds in memory of its own. Shared values are the store's, which
    /// bounds what its readers keep pinned: counted here too, a value longer than the bound on
    /// buffers could never be sent.
    #[must_use]
    pub(crate) fn held(&self) -> u64 {
        self.bytes.capacity() as u64
    }

    /// The unsent pieces in order, as many as fit.
    #[must_use]
    pub(crate) fn gather<'s>(&'s self, pieces: &mut [IoSlice<'s>]) -> usize {
        let mut filled = 0;
        let mut skip = self.sent;
        for piece in self.pieces() {
            if piece.len() <= skip {
                skip -= piece.len();
                continue;
            }
            let (Some(slot), Some(rest)) = (pieces.get_mut(filled), piece.get(skip..)) else {
                break;
            };
            *slot = IoSlice::new(rest);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// So many bytes of what [`Output::gather`] showed have been sent.
    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent = (self.sent + sent).min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes what is unsent out, in buffers of its own size.
    #[must_use]
    pub(crate) fn take_unsent(&mut self) -> Self {
        let mut unsent = Self::default();
        let plain_sent = if self.chains.is_empty() { self.sent } else { 0 };
        unsent.bytes.reserve_exact(self.bytes.len().saturating_sub(plain_sent));
        // Where in the stream the next plain byte or chain begins.
        let (mut at, mut plain) = (0, 0);
        for shared in self.chains.drain(..) {
            unsent.append_plain(
                self.bytes.get(plain..shared.at).unwrap_or_default(),
                at,
                self.sent,
            );
            at += shared.at - plain;
            plain = shared.at;
            let length = shared.chain.len() as usize;
            if at + length > self.sent {
                // Of all pieces only the first can be partly sent.
                unsent.sent += self.sent.saturating_sub(at);
                unsent.chain_bytes += length;
                unsent.chains.push(Shared { at: unsent.bytes.len(), chain: shared.chain });
            }
            at += length;
        }
        unsent.append_plain(self.bytes.get(plain..).unwrap_or_default(), at, self.sent);
        unsent.bytes.shrink_to_fit();
        self.clear();
        unsent
    }

    /// Appends what of these bytes, `at` in the stream, is not among the first `sent`.
    fn append_plain(&mut self, bytes: &[u8], at: usize, sent: usize) {
        let bytes = bytes.get(sent.saturating_sub(at)..).unwrap_or_default();
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets everything; keeps a bounded capacity.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > OUTPUT_KEEP_BYTES {
            self.bytes.shrink_to(OUTPUT_KEEP_BYTES);
        }
        self.chains.clear();
        self.chain_bytes = 0;
        self.sent = 0;
    }

    /// All that is queued and unsent, in one piece: for a datagram's reply.
    #[must_use]
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.len());
        for piece in self.pieces() {
            whole.extend_from_slice(piece);
        }
        whole
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        let shared = self.chains.iter().flat_map(move |shared| {
            let plain = self.bytes.get(from..shared.at).unwrap_or_default();
            from = shared.at;
            std::iter::once(plain).chain(shared.chain.slices())
        });
        let tail = self.chains.last().map_or(0, |shared| shared.at);
        shared.chain(std::iter::once(self.bytes.get(tail..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use kannuki_store::{
        face::{StoreConfig, Write},
        time::Now,
    };

    use super::*;
    use crate::memory::{Pages, Store};

    /// A value that the store shares.
    fn chain_of(bytes: usize) -> Chain {
        let settings = StoreConfig {
            memory_bytes: 8 << 20,
            item_bytes_max: 1 << 20,
            evict: true,
            cas: true,
            threads: 1,
            seed: [0; 16],
        };
        let pages = Pages::new(settings.memory_bytes);
        let store = Store::new(settings, pages).unwrap();
        let now = Now(1);
        let value: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        store.write(store.hashed(b"k"), now, &Write::PLAIN, &value);
        let shown = store.peek(store.hashed(b"k"), now, |hit| match hit.value {
            Value::Chain(chain) => Some(chain.clone()),
            Value::Inline(_) => None,
        });
        shown.unwrap().unwrap()
    }

    fn sent_by(output: &mut Output, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while !output.is_empty() {
            let mut pieces = [IoSlice::new(&[]); 2];
            let filled = output.gather(&mut pieces);
            let mut taken = 0;
            for piece in &pieces[..filled] {
                let part = &piece[..piece.len().min(step - taken)];
                wire.extend_from_slice(part);
                taken += part.len();
            }
            assert!(taken > 0, "no progress");
            output.advance(taken);
        }
        wire
    }

    #[test]
    fn whatever_the_kernel_takes_the_stream_is_the_same() {
        for step in 1..8 {
            let mut output = Output::default();
            output.bytes().extend_from_slice(b"VALUE a 0 3\r\nabc\r\nEND\r\n");
            assert_eq!(sent_by(&mut output, step), b"VALUE a 0 3\r\nabc\r\nEND\r\n");
            assert_eq!(output.len(), 0);
        }
    }

    #[test]
    fn a_burst_does_not_keep_its_memory() {
        let mut output = Output::default();
        output.bytes().resize(8 * OUTPUT_KEEP_BYTES, 0);
        assert!(output.is_full());
        output.advance(usize::MAX - OUTPUT_KEEP_BYTES * 8);
        assert!(output.is_empty());
        assert!(output.held() <= OUTPUT_KEEP_BYTES as u64);
    }

    /// A connection that waits for its peer keeps what it has to send, not the room that its
    /// thread has for the answers of others.
    #[test]
    fn what_is_unsent_is_kept_in_buffers_of_its_own_size() {
        for sent in 0..18 {
            let mut output = Output::default();
            output.bytes().reserve(OUTPUT_KEEP_BYTES);
            output.bytes().extend_from_slice(b"VALUE a 0 3\r\nabc\r\n");
            output.advance(sent);
            let room = output.held();
            let unsent = output.take_unsent();
            assert_eq!(unsent.to_vec(), &b"VALUE a 0 3\r\nabc\r\n"[sent..]);
            assert_eq!(unsent.held(), 18 - sent as u64);
            assert!(output.is_empty() && output.held() == room, "the thread keeps its own");
        }
    }

    /// The same for values that are shared: whatever was sent of the stream, the rest is whole.
    #[test]
    fn shared_values_are_taken_along() {
        let chain = chain_of(100_000);
        let whole = || {
            let mut output = Output::default();
            output.bytes().extend_from_slice(b"head");
            output.push_value(&Value::Chain(&chain));
            output.bytes().extend_from_slice(b"between");
            output.push_value(&Value::Chain(&chain));
            output.push_value(&Value::Chain(&chain));
            output.bytes().extend_from_slice(b"end");
            output
        };
        let stream = sent_by(&mut whole(), 1000);
        for sent in (0..stream.len()).step_by(997).chain([3, 4, 5]) {
            let mut output = whole();
            output.advance(sent);
            let mut unsent = output.take_unsent();
            assert!(output.is_empty());
            assert_eq!(sent_by(&mut unsent, 1000), &stream[sent..], "{sent}");
        }
    }
}
