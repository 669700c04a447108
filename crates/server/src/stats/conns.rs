//! `stats conns`: every open descriptor and what it is doing.

use super::Row;
use crate::dispatch::Turn;

pub(super) fn show(turn: &Turn<'_>, row: &mut Row<'_, '_>) {
    for facts in turn.instance.registry.all() {
        let descriptor = facts.descriptor;
        let mut show = |key: &str, value: &str| row.show(&format!("{descriptor}:{key}"), value);
        if facts.datagram {
            show("UDP", "UDP");
        }
        show("addr", &facts.address);
        if let Some(listen) = &facts.listen_address {
            show("listen_addr", listen);
        }
        show("state", facts.state().name());
        let since = turn.now.0.saturating_sub(facts.last_command());
        show("secs_since_last_cmd", &since.to_string());
    }
}
