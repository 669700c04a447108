//! The PROXY protocol, versions 1 and 2: what a proxy sends before the bytes of its client, to tell
//! whose they are.
//!
//! ```text
//!  v1  PROXY TCP4 203.0.113.7 10.0.0.5 51234 11211 CR LF          at most 107 bytes
//!  v2  signature(12) version+command(1) family+transport(1) length(2) addresses, TLVs(length)
//! ```
//!
//! Invariants: bytes that cannot become a header are refused at the first that shows it; a header
//! is bounded; while it is incomplete every byte looked at belongs to it, so whoever reads can take
//! exactly its bytes and none of the client's. Nothing here allocates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::{PROXY_V1_BYTES_MAX, PROXY_V2_BYTES_MAX};

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// The beginning of a header; every byte belongs to it.
    Incomplete,
    /// A whole header in the first `used` bytes.
    Whole {
        /// What it says.
        header: Header,
        /// How long it is.
        used: usize,
    },
    /// No header, and no beginning of one.
    Malformed,
}

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// The proxy speaks for itself, as its health checks do.
    Local,
    /// The connection is a client's.
    Client {
        /// Where the client is, as the proxy says.
        address: IpAddr,
        /// The client's port.
        port: u16,
    },
    /// The connection is somebody's, and the proxy cannot or will not say whose.
    Unknown,
}

/// Looks at everything that has come so far.
#[must_use]
pub fn hear(bytes: &[u8]) -> Heard {
    if begins(bytes, SIGNATURE_V2) {
        return version_2(bytes);
    }
    if begins(bytes, SIGNATURE_V1) { version_1(bytes) } else { Heard::Malformed }
}

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// One of them is the beginning of the other.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(one, other)| one == other)
}

fn version_1(bytes: &[u8]) -> Heard {
    let within = bytes.get(..PROXY_V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', within) else {
        let full = within.len() == PROXY_V1_BYTES_MAX;
        return if full { Heard::Malformed } else { Heard::Incomplete };
    };
    let line = within.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    match line.and_then(|line| std::str::from_utf8(line).ok()).and_then(line_1) {
        Some(header) => Heard::Whole { header, used: end + 1 },
        None => Heard::Malformed,
    }
}

fn line_1(line: &str) -> Option<Header> {
    let rest = line.strip_prefix("PROXY ")?;
    // Behind UNKNOWN anything may stand, and means nothing.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Header::Unknown);
    }
    let mut words = rest.split(' ');
    let family = words.next()?;
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, _destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let address: IpAddr = match family {
        "TCP4" => {
            let _: Ipv4Addr = destination.parse().ok()?;
            source.parse::<Ipv4Addr>().ok()?.into()
        }
        "TCP6" => {
            let _: Ipv6Addr = destination.parse().ok()?;
            source.parse::<Ipv6Addr>().ok()?.into()
        }
        _ => return None,
    };
    Some(Header::Client { address, port: source_port })
}

/// Digits alone, and no leading zero.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let plain = word.len() == 1 || !word.starts_with('0');
    if digits && plain { word.parse().ok() } else { None }
}

/// Bytes before the addresses.
const HEAD_V2_BYTES: usize = 16;

fn version_2(bytes: &[u8]) -> Heard {
    let what = bytes.get(SIGNATURE_V2.len()).copied();
    // Said at once, not when the rest has come.
    if what.is_some_and(|byte| byte >> 4 != 2 || byte & 0x0f > 1) {
        return Heard::Malformed;
    }
    let Some(([.., command, family, high, low], rest)) = bytes.split_first_chunk::<HEAD_V2_BYTES>()
    else {
        return Heard::Incomplete;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let used = HEAD_V2_BYTES + length;
    if used > PROXY_V2_BYTES_MAX {
        return Heard::Malformed;
    }
    let Some(block) = rest.get(..length) else { return Heard::Incomplete };
    let header = if command & 0x0f == 0 { Some(Header::Local) } else { client_2(*family, block) };
    header.map_or(Heard::Malformed, |header| Heard::Whole { header, used })
}

/// The client of a version 2 header; what follows its addresses are TLVs, which say nothing that
/// decides here.
fn client_2(family: u8, block: &[u8]) -> Option<Header> {
    match family {
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let (addresses, _) = block.split_first_chunk::<12>()?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            Some(Header::Client { address: Ipv4Addr::new(a, b, c, d).into(), port })
        }
        // TCP over IPv6.
        0x21 => {
            let (source, rest) = block.split_first_chunk::<16>()?;
            let (_destination, ports) = rest.split_first_chunk::<16>()?;
            let ([high, low, ..], _) = ports.split_first_chunk::<4>()?;
            let port = u16::from_be_bytes([*high, *low]);
            Some(Header::Client { address: Ipv6Addr::from(*source).into(), port })
        }
        // Unspecified, datagrams (which this connection is not), UNIX sockets of the proxy's host.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Some(Header::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(address: &str, port: u16) -> Header {
        Header::Client { address: address.parse().unwrap(), port }
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE_V2.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend(block);
        bytes
    }

    fn tcp4() -> Vec<u8> {
        v2(0x21, 0x11, &[203, 0, 113, 7, 10, 0, 0, 5, 0xc8, 0x22, 0x2b, 0xcb])
    }

    /// The header alone, with a client's bytes behind it, and in every beginning.
    fn whole(bytes: &[u8]) -> Header {
        let Heard::Whole { header, used } = hear(bytes) else { panic!("{bytes:?}") };
        assert_eq!(used, bytes.len());
        let more = [bytes, b"get key\r\n"].concat();
        assert_eq!(hear(&more), Heard::Whole { header, used }, "the client's bytes stay");
        for length in 0..bytes.len() {
            assert_eq!(hear(&bytes[..length]), Heard::Incomplete, "{length} of {bytes:?}");
        }
        header
    }

    #[test]
    fn version_1_headers() {
        let four = b"PROXY TCP4 203.0.113.7 10.0.0.5 51234 11211\r\n";
        assert_eq!(whole(four), client("203.0.113.7", 51234));
        assert_eq!(whole(b"PROXY TCP6 2001:db8::1 ::1 1 0\r\n"), client("2001:db8::1", 1));
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Header::Unknown);
        assert_eq!(whole(b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n"), Header::Unknown);
    }

    #[test]
    fn version_1_mistakes_are_refused() {
        let cases: &[&[u8]] = &[
            b"get key\r\n",
            b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP6 1.2.3.4 ::1 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 ::1 1 1\r\n",
            b"PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY \xff\r\n",
            b"PROXY\r\n",
        ];
        for bytes in cases {
            assert_eq!(hear(bytes), Heard::Malformed, "{:?}", bytes.escape_ascii().to_string());
        }
        let mut long = b"PROXY UNKNOWN ".to_vec();
        long.resize(PROXY_V1_BYTES_MAX - 1, b'x');
        assert_eq!(hear(&long), Heard::Incomplete);
        long.push(b'x');
        assert_eq!(hear(&long), Heard::Malformed, "no line end within the bound");
    }

    #[test]
    fn version_2_headers() {
        assert_eq!(whole(&tcp4()), client("203.0.113.7", 51234));
        let mut six = [0; 36];
        six[15] = 1;
        six[33] = 9;
        assert_eq!(whole(&v2(0x21, 0x21, &six)), client("::1", 9));
        let mut with_tlvs = tcp4()[16..].to_vec();
        with_tlvs.extend([0x02, 0, 3, b'a', b'b', b'c']);
        assert_eq!(whole(&v2(0x21, 0x11, &with_tlvs)), client("203.0.113.7", 51234));
        assert_eq!(whole(&v2(0x20, 0x00, &[])), Header::Local);
        assert_eq!(whole(&v2(0x20, 0xff, &[1, 2, 3])), Header::Local, "the rest is ignored");
        assert_eq!(whole(&v2(0x21, 0x00, &[])), Header::Unknown);
        assert_eq!(whole(&v2(0x21, 0x31, &[0; 216])), Header::Unknown);
        assert_eq!(whole(&v2(0x21, 0x12, &[0; 12])), Header::Unknown);
    }

    #[test]
    fn version_2_mistakes_are_refused() {
        assert_eq!(hear(&v2(0x11, 0x11, &[0; 12])), Heard::Malformed, "version 1 in binary");
        assert_eq!(hear(&v2(0x22, 0x11, &[0; 12])), Heard::Malformed, "unknown command");
        assert_eq!(hear(&v2(0x21, 0x41, &[0; 12])), Heard::Malformed, "unknown family");
        assert_eq!(hear(&v2(0x21, 0x11, &[0; 11])), Heard::Malformed, "too short for IPv4");
        assert_eq!(hear(&v2(0x21, 0x21, &[0; 35])), Heard::Malformed, "too short for IPv6");
        let most = PROXY_V2_BYTES_MAX - HEAD_V2_BYTES;
        assert!(matches!(hear(&v2(0x21, 0x11, &vec![0; most])), Heard::Whole { .. }));
        assert_eq!(hear(&v2(0x21, 0x11, &vec![0; most + 1])), Heard::Malformed);
        let mut odd = tcp4();
        odd[11] ^= 1;
        assert_eq!(hear(&odd[..12]), Heard::Malformed, "at the first wrong byte");
        assert_eq!(hear(b"\r\n"), Heard::Incomplete);
        assert_eq!(hear(b"\r\nx"), Heard::Malformed);
    }

    proptest! {
        #[test]
        fn what_is_heard_does_not_depend_on_when(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                (any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..60))
                    .prop_map(|(command, family, block)| v2(command, family, &block)),
                "PROXY (TCP[46]|UNKNOWN) [0-9a-f.:]{0,12} [0-9.:]{0,12} [0-9]{1,5} [0-9]{1,5}\r?\n"
                    .prop_map(String::into_bytes),
            ],
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(bytes.len() + 1);
            let (early, late) = (hear(&bytes[..cut]), hear(&bytes));
            match early {
                Heard::Incomplete => {
                    if let Heard::Whole { used, .. } = late {
                        prop_assert!(used > cut, "all of it belonged to the header");
                    }
                }
                settled => prop_assert_eq!(late, settled, "more bytes change nothing"),
            }
            if let Heard::Whole { used, .. } = late {
                prop_assert!(used <= bytes.len() && used <= PROXY_V2_BYTES_MAX);
            }
        }
    }
}
