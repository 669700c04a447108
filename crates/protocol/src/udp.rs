//! The frame of a UDP datagram: request id, sequence, count, reserved; two bytes each, big-endian.
//!
//! Invariants: a request is exactly one datagram; a reply is cut into as few datagrams as carry it,
//! numbered from 0, every one with the same count.

use crate::{
    binary::MAGIC_REQUEST,
    limits::{DATAGRAM_BYTES_MAX, DATAGRAM_HEADER_BYTES, DATAGRAMS_MAX},
};

/// Payload of one datagram of a reply, in bytes.
pub const DATAGRAM_PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - DATAGRAM_HEADER_BYTES;

/// The header of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Chosen by the peer; the reply carries it.
    pub request_id: u16,
    /// Place of this datagram in the message, from 0.
    pub sequence: u16,
    /// Datagrams in the message.
    pub count: u16,
}

impl Frame {
    /// Splits any datagram into header and payload; `None` if it is shorter than a header.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<(Self, &[u8])> {
        let (&[id0, id1, sequence0, sequence1, count0, count1, _, _], payload) =
            datagram.split_first_chunk::<DATAGRAM_HEADER_BYTES>()?;
        let frame = Self {
            request_id: u16::from_be_bytes([id0, id1]),
            sequence: u16::from_be_bytes([sequence0, sequence1]),
            count: u16::from_be_bytes([count0, count1]),
        };
        Some((frame, payload))
    }

    /// The header as sent.
    #[must_use]
    pub const fn encode(self) -> [u8; DATAGRAM_HEADER_BYTES] {
        let [id0, id1] = self.request_id.to_be_bytes();
        let [sequence0, sequence1] = self.sequence.to_be_bytes();
        let [count0, count1] = self.count.to_be_bytes();
        [id0, id1, sequence0, sequence1, count0, count1, 0, 0]
    }
}

/// A request: its id and payload. `None` means drop it silently: not alone, no payload, or one that
/// begins as no command does. Sequence and reserved bytes of a request mean nothing.
///
/// Every command begins with a lower-case letter or the magic byte of binary requests, and no reply
/// does. So a reply is never answered: else one datagram with a forged sender would set two servers
/// on each other, each answering the other's `ERROR` for ever.
#[must_use]
pub fn request(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let (frame, payload) = Frame::parse(datagram)?;
    let first = payload.first()?;
    let is_command = first.is_ascii_lowercase() || *first == MAGIC_REQUEST;
    if frame.count != 1 || !is_command { None } else { Some((frame.request_id, payload)) }
}

/// Cuts a reply into datagrams: header and piece of each, in order. `None` if it needs more than a
/// count of two bytes can say. An empty reply is no datagram.
#[must_use]
pub fn datagrams(request_id: u16, payload: &[u8]) -> Option<Datagrams<'_>> {
    let count = payload.len().div_ceil(DATAGRAM_PAYLOAD_BYTES_MAX);
    if count > DATAGRAMS_MAX {
        return None;
    }
    let count = u16::try_from(count).ok()?;
    Some(Datagrams { next: Frame { request_id, sequence: 0, count }, rest: payload })
}

/// The datagrams of one reply.
#[derive(Clone, Debug)]
pub struct Datagrams<'p> {
    next: Frame,
    rest: &'p [u8],
}

impl<'p> Iterator for Datagrams<'p> {
    type Item = ([u8; DATAGRAM_HEADER_BYTES], &'p [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let cut = self.rest.len().min(DATAGRAM_PAYLOAD_BYTES_MAX);
        let (piece, rest) = self.rest.split_at_checked(cut)?;
        let header = self.next.encode();
        self.rest = rest;
        self.next.sequence = self.next.sequence.saturating_add(1);
        Some((header, piece))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rest.len().div_ceil(DATAGRAM_PAYLOAD_BYTES_MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Datagrams<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::text::Line;

    #[test]
    fn requests_of_several_or_empty_datagrams_are_dropped() {
        assert_eq!(request(&[0, 7, 0, 5, 0, 1, 9, 9, b'm']), Some((7, &b"m"[..])));
        assert_eq!(request(&[0, 7, 0, 0, 0, 2, 0, 0, b'm']), None);
        assert_eq!(request(&[0, 7, 0, 0, 0, 0, 0, 0, b'm']), None);
        assert_eq!(request(&[0, 7, 0, 0, 0, 1, 0, 0]), None);
        assert_eq!(request(&[0, 7, 0]), None);
        assert_eq!(request(&[]), None);
    }

    #[test]
    fn a_reply_is_no_request() {
        let framed = |payload: &[u8]| [&[0, 7, 0, 0, 0, 1, 0, 0], payload].concat();
        for line in Line::ALL {
            assert_eq!(request(&framed(line.bytes())), None, "{line:?}");
        }
        for reply in [&b"VALUE k 0 1\r\n"[..], b"HD\r\n", b"7\r\n", b"\x81\x00", b"\r\n", b" get"] {
            assert_eq!(request(&framed(reply)), None, "{}", reply.escape_ascii());
        }
        for command in [&b"get k\r\n"[..], b"mn\r\n", b"\x80\x0a"] {
            assert!(request(&framed(command)).is_some(), "{}", command.escape_ascii());
        }
    }

    #[test]
    fn a_reply_is_cut_numbered_and_counted() {
        let payload = vec![b'x'; 3025];
        let cut: Vec<_> = datagrams(0x0102, &payload).unwrap().collect();
        assert_eq!(cut.len(), 3);
        assert_eq!(cut[0].0, [1, 2, 0, 0, 0, 3, 0, 0]);
        assert_eq!(cut[2].0, [1, 2, 0, 2, 0, 3, 0, 0]);
        assert_eq!(cut.iter().map(|(_, piece)| piece.len()).collect::<Vec<_>>(), [1392, 1392, 241]);
        assert_eq!(cut.iter().flat_map(|(_, piece)| piece.iter()).count(), payload.len());
    }

    #[test]
    fn bounds_of_a_reply() {
        assert_eq!(datagrams(1, &[]).unwrap().count(), 0);
        let largest = vec![0; DATAGRAMS_MAX * DATAGRAM_PAYLOAD_BYTES_MAX + 1];
        assert!(datagrams(1, &largest).is_none());
        let fits = datagrams(1, &largest[1..]).unwrap();
        assert_eq!(fits.len(), 65_535);
        let (header, _) = fits.last().unwrap();
        assert_eq!(header, [0, 1, 0xff, 0xfe, 0xff, 0xff, 0, 0]);
    }

    #[test]
    fn frames_read_back() {
        let frame = Frame { request_id: 0x1234, sequence: 0x5678, count: 0x9abc };
        assert_eq!(Frame::parse(&frame.encode()), Some((frame, &[][..])));
    }
}
