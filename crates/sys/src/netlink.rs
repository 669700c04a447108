//! Questions to the kernel over netlink: sockets, interfaces, addresses. No unsafe is needed.
//!
//! One question is one dump: a message out, messages back until the kernel says that it is done.
//!
//! Invariants: only dumps are asked for, which change nothing; the kernel's answer is bounded in
//! bytes and in time, and only messages of the kernel (port 0) count.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{self, SocketAddrNetlink},
    recvfrom, sendto, socket_with, sockopt,
};

/// Whom in the kernel to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Interfaces, addresses and routes.
    Route,
    /// Sockets.
    Sockets,
}

/// One message of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: u16,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// Longest answer that is taken, in bytes: fifty thousand sockets of about 150 bytes each.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Room for one datagram; the kernel fills at most 32 KiB of what a dump offers.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Longest silence of the kernel before it counts as no answer.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_millis(500);

const HEADER_BYTES: usize = 16;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Asks for everything of a kind; `body` narrows it.
///
/// # Errors
///
/// The kernel's own error; `TimedOut` when it says nothing, `FileTooLarge` beyond
/// [`ANSWER_BYTES_MAX`].
pub fn dump(subject: Subject, kind: u16, body: &[u8]) -> io::Result<Vec<Message>> {
    let protocol: Option<Protocol> = match subject {
        // The route subject is protocol 0, for which there is no number that is not zero.
        Subject::Route => None,
        Subject::Sockets => Some(netlink::SOCK_DIAG),
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(SILENCE_MAX))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &question(kind, body), SendFlags::empty(), &kernel)?;
    receive(&socket)
}

fn question(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    let len = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    out.extend(1u32.to_ne_bytes()); // sequence
    out.extend(0u32.to_ne_bytes()); // the kernel fills in our port
    out.extend(body);
    out
}

fn receive(socket: &OwnedFd) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut total = 0;
    let mut room = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (len, _, from) = match recvfrom(socket.as_fd(), &mut room[..], RecvFlags::empty()) {
            Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        if from.is_none_or(|from| from.pid() != 0) {
            continue;
        }
        total += len;
        if total > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if take(room.get(..len).unwrap_or_default(), &mut messages)? {
            return Ok(messages);
        }
    }
}

/// Takes the messages of one datagram; `true` = the answer is complete.
fn take(datagram: &[u8], messages: &mut Vec<Message>) -> io::Result<bool> {
    let mut rest = datagram;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let [a, b, c, d, e, f, ..] = *header;
        let len = u32::from_ne_bytes([a, b, c, d]) as usize;
        let kind = u16::from_ne_bytes([e, f]);
        let Some(body) = len.checked_sub(HEADER_BYTES).and_then(|len| after.get(..len)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_NOOP => {}
            NLMSG_ERROR => return Err(error(body)),
            _ => messages.push(Message { kind, body: body.to_vec() }),
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn error(body: &[u8]) -> io::Error {
    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(code.saturating_neg())
}

/// The attributes of a message: type and value, in their order; what is cut short ends them.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [a, b, c, d] = *rest.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        // The two highest bits are flags of the type.
        let kind = u16::from_ne_bytes([c, d]) & 0x3fff;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RTM_GETLINK`.
    const GETLINK: u16 = 18;
    /// `IFLA_IFNAME`.
    const NAME: u16 = 3;

    #[test]
    fn the_loopback_interface_is_listed() {
        let links = dump(Subject::Route, GETLINK, &[0; 16]).unwrap();
        let named = |name: &[u8]| {
            links.iter().any(|link| attributes(&link.body[16..]).any(|a| a == (NAME, name)))
        };
        assert!(named(b"lo\0"), "{links:?}");
    }

    #[test]
    fn an_error_of_the_kernel_is_told() {
        // No such question: the kernel answers with an error instead of silence.
        let error = dump(Subject::Sockets, 20, &[255; 56]).unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    }

    #[test]
    fn what_is_cut_short_ends_the_attributes() {
        let whole = [8, 0, 3, 0, b'l', b'o', 0, 0, 5, 0, 1, 0, 9, 0, 0, 0];
        let all: Vec<_> = attributes(&whole).collect();
        assert_eq!(all, [(3, &b"lo\0\0"[..]), (1, &[9][..])]);
        for cut in 0..whole.len() {
            assert!(attributes(&whole[..cut]).count() <= 2);
        }
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0, "shorter than its own header");
        assert_eq!(attributes(&[0, 0, 0, 0]).count(), 0, "an empty one must not loop");
    }

    #[test]
    fn a_message_longer_than_its_datagram_is_refused() {
        let mut messages = Vec::new();
        let mut datagram = question(99, b"abcd");
        assert!(!take(&datagram, &mut messages).unwrap());
        assert_eq!(messages, [Message { kind: 99, body: b"abcd".to_vec() }]);
        datagram.pop();
        assert!(take(&datagram, &mut messages).is_err());
        let mut short = question(99, b"");
        short[0] = 3;
        assert!(take(&short, &mut messages).is_err());
    }
}
