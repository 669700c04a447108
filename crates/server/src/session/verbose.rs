//! `-vv`: what comes and what is answered, a line each, in the log.
//!
//! Invariant: what a peer sent is escaped and cut, so no line can be forged.

use super::Session;
use crate::limits::LOGGED_BYTES_MAX;

impl Session {
    /// The line as it came, without its data block, escaped.
    #[cold]
    pub(super) fn log_command(&self, head: &[u8]) {
        let command = shown(head);
        tracing::debug!(peer = ?self.access.peer().address(), %command, "received");
    }

    /// The first line of what is answered, escaped.
    #[cold]
    pub(super) fn log_reply(&self, reply: &[u8]) {
        if !reply.is_empty() {
            let line = reply.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let reply = shown(line);
            tracing::debug!(peer = ?self.access.peer().address(), %reply, "answered");
        }
    }
}

/// The start of a line, safe to print.
fn shown(line: &[u8]) -> String {
    let (line, rest) = line.split_at_checked(LOGGED_BYTES_MAX).unwrap_or((line, &[]));
    let more = if rest.is_empty() { "" } else { "..." };
    format!("{}{more}", line.trim_ascii_end().escape_ascii())
}
