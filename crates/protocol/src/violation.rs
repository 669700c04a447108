//! What a peer can do wrong, and what it is told.
//!
//! Invariants:
//! - Every way to be refused here is its own [`Fault`], even where memcached answers two of them
//!   with the same line, so that each can be counted and explained.
//! - The text of an answer is fixed: nothing that a peer sent comes back in it.

use crate::{binary::Status, reply};

/// A breach of the protocol. It knows its own answer and whether the stream can go on.
///
/// Every kind is a named reason, so that refusals can be counted and explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was wrong.
    pub fault: Fault,
    /// The peer said `noreply`: nothing is answered.
    pub silent: bool,
    /// The stream cannot be trusted any further: answer, then close.
    pub closes: bool,
    /// For a binary request: its opcode and opaque, which the response carries.
    pub binary: Option<(u8, [u8; 4], Status)>,
}

impl Violation {
    /// A fault of a text command that leaves the stream usable.
    #[must_use]
    pub const fn text(fault: Fault, silent: bool) -> Self {
        Self { fault, silent, closes: false, binary: None }
    }

    /// A fault after which nothing that follows can be told apart; faults without a text close
    /// without a word.
    pub(crate) const fn fatal(fault: Fault) -> Self {
        Self { fault, silent: false, closes: true, binary: None }
    }

    /// Appends the whole answer: a line, a binary response, or nothing if it is silent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let text = self.fault.text();
        if self.silent || text.is_empty() {
            return;
        }
        if let Some((opcode, opaque, status)) = self.binary {
            return reply::binary::failure_with(out, opcode, opaque, status, text);
        }
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Defines [`Fault`] with name and answer of each variant in one place.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal, $text:expr;)+) => {
        /// The faults, each with a stable name and the answer it gets.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Fault {
            /// Every fault, in the order of declaration: `Fault::ALL[fault as usize] == fault`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Stable kebab-case identifier, for counters and explanations.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What went wrong, in full sentences.
            #[must_use]
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii_start(),)+
                }
            }

            /// memcached's answer without its line end; empty where it closes without a word.
            /// For binary faults this is the body of the response.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

const ERROR: &str = "ERROR";
const FORMAT: &str = "CLIENT_ERROR bad command line format";
const SILENCE: &str = "";

faults! {
    /// No such command.
    UnknownCommand => "unknown-command", ERROR;
    /// A command line that speaks HTTP: another protocol's client was sent here, perhaps by a web
    /// page that must not learn anything.
    HttpRequest => "http-request", SILENCE;
    /// An administrative command of a wrong shape.
    AdminShape => "admin-shape", ERROR;
    /// Fewer than four bytes, line end included: too short for any command.
    LineTooShort => "line-too-short", FORMAT;
    /// A command line without end, `LINE_BYTES_MAX`.
    LineTooLong => "line-too-long", SILENCE;
    /// A `get` without end, `GET_LINE_BYTES_MAX`.
    GetLineTooLong => "get-line-too-long", "SERVER_ERROR out of memory reading request";
    /// A command without key, number or length that it needs.
    MissingArgument => "missing-argument", FORMAT;
    /// More words than the command has any use for.
    TooManyArguments => "too-many-arguments", FORMAT;
    /// A key above `KEY_BYTES_MAX`.
    KeyTooLong => "key-too-long", FORMAT;
    /// A number that is none, or out of its range.
    BadNumber => "bad-number", FORMAT;
    /// The length of a data block is missing, no number, or out of range: nobody knows where the
    /// next command starts.
    BadLength => "bad-length", FORMAT;
    /// A data block not ended by CR LF.
    BadTerminator => "bad-data-terminator", "CLIENT_ERROR bad data chunk";
    /// No line end within `RESYNC_BYTES_MAX` behind a wrong terminator.
    ResyncTooLong => "resync-too-long", SILENCE;
    /// The expiry time of `touch`, `gat`, `gats`, `flush_all`.
    BadExptime => "bad-exptime", "CLIENT_ERROR invalid exptime argument";
    /// The delta of `incr`, `decr`.
    BadDelta => "bad-delta", "CLIENT_ERROR invalid numeric delta argument";

    /// More than `META_TOKENS_MAX` tokens.
    MetaTooManyTokens => "meta-too-many-tokens", "CLIENT_ERROR options flags are too long";
    /// The same flag twice.
    MetaDuplicateFlag => "meta-duplicate-flag", "CLIENT_ERROR duplicate flag";
    /// No such flag.
    MetaUnknownFlag => "meta-unknown-flag", "CLIENT_ERROR invalid flag";
    /// A flag that starts with a byte that can be no flag at all.
    MetaFlagByte => "meta-flag-byte", FORMAT;
    /// Anything wrong among the flags of `ma`.
    MetaArithmeticFlags => "meta-arithmetic-flags", "CLIENT_ERROR invalid or duplicate flag";
    /// A key of `ma` above `KEY_BYTES_MAX`.
    MetaArithmeticKeyTooLong => "meta-arithmetic-key-too-long",
        "CLIENT_ERROR invalid or duplicate flag";
    /// The number of `N`, `T`, `R`, `C` or `E`.
    MetaBadToken => "meta-bad-token", "CLIENT_ERROR bad token in command line format";
    /// The number of `F`.
    MetaBadClientFlags => "meta-bad-client-flags", FORMAT;
    /// The number of `J`.
    MetaBadInitial => "meta-bad-initial", "CLIENT_ERROR invalid numeric initial value";
    /// The number of `D`.
    MetaBadDelta => "meta-bad-delta", "CLIENT_ERROR invalid numeric delta value";
    /// A base64 key that does not decode to a legal key.
    MetaBadBase64 => "meta-bad-base64", "CLIENT_ERROR error decoding key";
    /// The same of `me`.
    MetaDebugBadBase64 => "meta-debug-bad-base64", FORMAT;
    /// An opaque above `META_OPAQUE_BYTES_MAX`.
    MetaOpaqueTooLong => "meta-opaque-too-long", "CLIENT_ERROR opaque token too long";
    /// No such mode of `ms`.
    MetaBadSetMode => "meta-bad-set-mode", "CLIENT_ERROR invalid mode for ms M token";
    /// No such mode of `ma`.
    MetaBadArithmeticMode => "meta-bad-arithmetic-mode", "CLIENT_ERROR invalid mode for ma M token";

    /// `shutdown` with a word other than `graceful`.
    ShutdownMode => "shutdown-mode", "CLIENT_ERROR invalid shutdown mode";
    /// `slabs automove window` outside 3..=1800.
    AutomoveWindow => "automove-window", "CLIENT_ERROR automove window too low or too high";
    /// `lru tune` whose shares leave too little for COLD.
    LruShares => "lru-shares", "ERROR hot and warm pcts must not exceed 80";
    /// `lru tune` with a factor of 0 or less.
    LruFactors => "lru-factors", "ERROR hot/warm age factors must be greater than 0";
    /// `lru_crawler sleep` above a second.
    CrawlerSleep => "crawler-sleep", "CLIENT_ERROR sleep must be one second or less";
    /// `stats detail` without on, off or dump.
    StatsDetailUsage => "stats-detail-usage", "CLIENT_ERROR usage: stats detail on|off|dump";
    /// `stats cachedump` without its two numbers.
    StatsCachedumpArguments => "stats-cachedump-arguments", "CLIENT_ERROR bad command line";
    /// `stats cachedump` of a slab class that cannot exist.
    StatsIllegalSlab => "stats-illegal-slab", "CLIENT_ERROR Illegal slab id";

    /// Anything but a log-in before the log-in that is demanded (`-Y`).
    LoginExpected => "login-expected", "CLIENT_ERROR unauthenticated";
    /// A line too short for any log-in, before log-in.
    LoginLineTooShort => "login-line-too-short", SILENCE;
    /// A log-in above `LOGIN_BYTES_MAX`.
    LoginTooLong => "login-too-long", "CLIENT_ERROR auth token too long";
    /// A log-in not ended by CR LF.
    LoginTerminator => "login-bad-terminator", "CLIENT_ERROR bad command line termination";
    /// A log-in that is not a name, a blank and a password.
    LoginShape => "login-shape", "CLIENT_ERROR bad authentication token format";

    /// A binary connection whose next request does not begin with the magic byte.
    BinaryMagic => "binary-magic", SILENCE;
    /// Key and extras longer than the body that holds them.
    BinaryLengths => "binary-lengths", Status::UnknownCommand.text();
    /// A body above `BINARY_BODY_BYTES_MAX`.
    BinaryBodyTooLarge => "binary-body-too-large", Status::InvalidArguments.text();
    /// A key above `KEY_BYTES_MAX`.
    BinaryKeyTooLong => "binary-key-too-long", Status::InvalidArguments.text();
    /// Key, extras or value where the opcode has none, or the other way round.
    BinaryShape => "binary-shape", Status::InvalidArguments.text();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let mut names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Fault::ALL.len());
        let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(names.iter().all(|name| name.bytes().all(kebab)));
    }

    #[test]
    fn all_is_indexed_by_the_discriminant() {
        for (index, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, index);
        }
    }

    #[test]
    fn answers_are_one_line_or_silence() {
        let mut out = Vec::new();
        Violation::text(Fault::BadDelta, false).encode(&mut out);
        assert_eq!(out, b"CLIENT_ERROR invalid numeric delta argument\r\n");
        out.clear();
        Violation::text(Fault::BadDelta, true).encode(&mut out);
        Violation::fatal(Fault::HttpRequest).encode(&mut out);
        assert_eq!(out, b"");
        assert!(Fault::ALL.iter().all(|fault| !fault.text().contains(['\r', '\n'])));
    }

    #[test]
    fn a_binary_fault_answers_a_frame() {
        let mut out = Vec::new();
        let binary = Some((0x01, [1, 2, 3, 4], Status::InvalidArguments));
        Violation { fault: Fault::BinaryShape, silent: false, closes: true, binary }
            .encode(&mut out);
        let mut frame = vec![0x81, 0x01, 0, 0, 0, 0, 0, 4, 0, 0, 0, 17, 1, 2, 3, 4];
        frame.extend([0; 8]);
        frame.extend(b"Invalid arguments");
        assert_eq!(out, frame);
    }
}
