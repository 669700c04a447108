//! A refusal: what the peer is told, and why. Two enums, because one answer has many reasons and
//! the operator needs the reason while the peer gets the answer.
//!
//! The words on the wire are the protocol's; this crate says only which of them.

catalogue! {
    /// What the peer is told.
    Response {
        AccessDenied, "access-denied",
            "The command is refused: CLIENT_ERROR access denied in text and meta, status 0x20 in \
            binary.";
        Close, "close", "The connection is closed without a word.";
        Drop, "drop", "The datagram is dropped without an answer.";
        DumpNotAllowed, "dump-not-allowed",
            "memcached's answer to key dumps that are switched off.";
        FlushNotAllowed, "flush-not-allowed",
            "memcached's answer to a flush_all that is switched off.";
        Miss, "miss", "The key is reported as missing, so that a multi-get goes on.";
        ShutdownNotEnabled, "shutdown-not-enabled",
            "memcached's answer to a shutdown that was not enabled.";
        Unauthenticated, "unauthenticated",
            "The command is refused before log-in: CLIENT_ERROR unauthenticated in text and meta, \
            status 0x20 in binary.";
        WatchNotAllowed, "watch-not-allowed", "memcached's answer to a watch that is switched off.";
    }
}

catalogue! {
    /// Why a peer is refused, with the way out.
    Reason {
        Banned, "banned",
            "Too many log-ins from this address (an IPv6 network of 64 bits, a local user) have \
            failed; for auth-ban-time nobody there may connect or log in. Mend the password that \
            is wrong there; a restart forgets bans.";
        DumpDisabled, "dump-disabled",
            "Listing keys is switched off (-X, disable-dumping); start without it to allow dumps.";
        FlushDisabled, "flush-disabled",
            "flush_all is switched off (-F, disable-flush-all); start without it to allow \
            flushes.";
        LoginFailed, "login-failed",
            "The name or the password is wrong; it is not told which. The name has to stand in \
            the file of users as it was sent; after a change of the file, send SIGHUP.";
        LoginOverflow, "login-overflow",
            "More log-ins wait to be checked than the queue holds; try again, keep connections \
            open instead of logging in for each command, or use cheaper hashes.";
        LoginTimeout, "login-timeout",
            "The peer had to log in and did not in time, so its place was given to others; log in \
            right after connecting.";
        PeerDenied, "peer-denied",
            "The peer's address lies in a denied network; take the network out of `deny`, or allow \
            a narrower one.";
        PeerNotAllowed, "peer-not-allowed",
            "The peer's address is outside the exposure and outside the allowed networks; allow \
            its network (--allow NET, `allow`), or widen the exposure (--exposure).";
        ProxiedLoopback, "proxied-loopback",
            "A proxy says that its client is on loopback, which from another host means that host; \
            set `proxy-trust-loopback` if the proxy runs here and is to be believed.";
        ProxyHeader, "proxy-header",
            "A connection to a listener that takes PROXY headers did not begin with a valid one in \
            time, or with one that names no address; configure the proxy to send it \
            (send-proxy, send-proxy-v2).";
        ProxyNotListed, "proxy-not-listed",
            "The listener takes connections from listed proxies alone; list this proxy in \
            `proxy-from`, or give direct clients another listener.";
        RemoteDefault, "remote-default",
            "Peers of other hosts may not flush, dump, watch or administer unless a rule allows \
            it; write a `[[rule]]`, or do it on this host.";
        RuleDenied, "rule-denied",
            "A rule keeps this peer from this action or this key; change the rule, or the key's \
            prefix.";
        ShutdownDisabled, "shutdown-disabled",
            "The shutdown command is not enabled; start with -A (enable-shutdown) to allow it.";
        TlsRequired, "tls-required",
            "The peer came without TLS where TLS is required; connect with TLS, or to a listener \
            that does without.";
        UdpUntrusted, "udp-untrusted",
            "The reply is larger than the request and the sender's address, which UDP does not \
            prove, is not trusted; list its network in udp-trusted or use TCP.";
        Unauthenticated, "unauthenticated",
            "The peer has not logged in, and nothing is allowed before; log in first.";
        WatchDisabled, "watch-disabled",
            "watch is switched off (-W, disable-watch); start without it to allow watchers.";
    }
}

/// A refusal. To be counted exactly once, by (response, reason).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Denial {
    /// What the peer is told.
    pub response: Response,
    /// Why.
    pub reason: Reason,
}

impl Denial {
    /// A refusal with this answer for this reason.
    pub const fn new(response: Response, reason: Reason) -> Self {
        Self { response, reason }
    }

    /// The same refusal told as a miss: for one key among several.
    pub const fn as_miss(self) -> Self {
        Self { response: Response::Miss, reason: self.reason }
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.response, self.reason)
    }
}
