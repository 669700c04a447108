//! May this peer do this, now? Pure decisions: exposure, networks, identities, rules, budgets.
#![forbid(unsafe_code)]
