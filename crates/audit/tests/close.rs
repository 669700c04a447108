//! Shutting whole hosts: what is planned for each distribution, and that a change is proved, taken
//! back, and survives being killed anywhere.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "close/bad_input.rs"]
mod bad_input;
#[path = "close/disks.rs"]
mod disks;
#[path = "close/hostile_root.rs"]
mod hostile_root;
#[path = "close/killed.rs"]
mod killed;
#[path = "close/plans.rs"]
mod plans;
#[path = "close/world.rs"]
mod world;

use kannuki_audit::{
    facts::Facts,
    plan::{self, Method, Plan},
    vulnerabilities::Table,
};

fn facts(name: &str) -> Facts {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    Facts::from_json(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap()
}

fn planned(facts: &Facts, method: Option<Method>) -> Plan {
    plan::plan(facts, &Table::embedded(), method)
}
