//! PROXY headers: arbitrary bytes, and arbitrary bytes behind either signature.
//!
//! What is heard must not depend on when: more bytes never change a verdict, and while there is
//! none, every byte belongs to the header.
#![no_main]
#![forbid(unsafe_code)]

use kannuki_protocol::{
    limits::PROXY_V2_BYTES_MAX,
    proxy_header::{Heard, hear},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&form, rest)) = input.split_first() else { return };
    let signature: &[u8] = match form % 4 {
        0 => b"",
        1 => b"PROXY TCP4 ",
        2 => b"PROXY TCP6 ",
        _ => b"\r\n\r\n\0\r\nQUIT\n",
    };
    let bytes = [signature, rest].concat();
    let last = hear(&bytes);
    for length in 0..bytes.len().min(PROXY_V2_BYTES_MAX) {
        match hear(&bytes[..length]) {
            Heard::Incomplete => {
                if let Heard::Whole { used, .. } = last {
                    assert!(used > length, "all of it belonged to the header");
                }
            }
            settled => assert_eq!(settled, last, "more bytes change nothing"),
        }
    }
    if let Heard::Whole { used, .. } = last {
        assert!(used <= bytes.len() && used <= PROXY_V2_BYTES_MAX);
    }
    if bytes.len() > PROXY_V2_BYTES_MAX {
        assert_ne!(last, Heard::Incomplete, "a header has a bound");
    }
});
