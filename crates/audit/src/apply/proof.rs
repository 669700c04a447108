//! Whether it is shut: looks at the host again until everything is as it must be, or for the last
//! time.

use std::net::SocketAddr;

use super::{Stage, Surroundings};
use crate::facts::{Facts, Scope};
use crate::plan::verify::{self, Check};
use crate::plan::{Method, Plan};
use crate::vulnerabilities::Table;

/// How often it is looked whether the change has come into effect; a service of a busy host needs
/// some seconds until it listens.
const LOOKS_MAX: u32 = 10;
/// Most own addresses that are asked afterwards.
const ADDRESSES_MAX: usize = 32;

/// Looks until everything is as it must be, or for the last time.
pub(super) fn prove(plan: &Plan, table: &Table, around: &mut dyn Surroundings) -> Vec<Check> {
    let mut checks = Vec::new();
    for look in 0..LOOKS_MAX {
        if look > 0 {
            around.pause();
        }
        around.tell(Stage::Looking { look: look + 1, looks_max: LOOKS_MAX });
        checks = match around.look() {
            Ok(facts) => {
                let mut checks = verify::checks(plan, &facts, table);
                checks.extend(units(plan, around));
                checks.extend(answers(plan, &facts, around));
                checks
            }
            Err(error) => vec![Check::new("close.check-sockets", false, &error)],
        };
        if checks.iter().all(|check| check.ok) || around.is_unwanted() {
            break;
        }
    }
    checks
}

/// What systemd itself says of the units.
fn units(plan: &Plan, around: &mut dyn Surroundings) -> Vec<Check> {
    let mut checks = Vec::new();
    for target in &plan.targets {
        let unit = target.start.as_deref().and_then(|start| start.strip_prefix("systemd:"));
        let Some(unit) = unit.filter(|_| plan.method != Method::Firewall) else { continue };
        let properties = "ActiveState,UnitFileState,NeedDaemonReload";
        let Some(said) = around.ask(&["systemctl", "show", "-p", properties, unit]) else {
            checks.push(Check::new("close.check-unit", false, unit));
            continue;
        };
        let is = |line: &str| said.lines().any(|other| other == line);
        let stopped = is("ActiveState=inactive") || is("ActiveState=failed");
        let ok = match plan.method {
            Method::Stop => stopped && !is("UnitFileState=enabled"),
            _ => is("NeedDaemonReload=no") && (target.pid.is_none() || is("ActiveState=active")),
        };
        let seen: Vec<&str> = said.lines().collect();
        checks.push(Check::new("close.check-unit", ok, &format!("{unit}: {}", seen.join(" "))));
    }
    if plan.method == Method::Firewall && !plan.targets.is_empty() {
        let unit = "kannuki-firewall.service";
        let said = around.ask(&["systemctl", "is-active", unit]).unwrap_or_default();
        let ok = said.trim() == "active";
        checks.push(Check::new("close.check-unit", ok, &format!("{unit}: {}", said.trim())));
    }
    checks
}

/// Own addresses are asked from here, which a filter on the outside interfaces does not see; so
/// this proves methods 1 and 2 only.
fn answers(plan: &Plan, facts: &Facts, around: &mut dyn Surroundings) -> Option<Check> {
    if plan.method == Method::Firewall {
        return None;
    }
    let own = facts.interfaces_of(None).flat_map(|interface| &interface.addresses);
    let own = own.filter(|address| {
        let is_link = matches!(address.scope, Scope::Link);
        !address.ip.is_loopback() && !is_link
    });
    let mut seen = Vec::new();
    for address in own.take(ADDRESSES_MAX) {
        for target in &plan.targets {
            for opening in &target.ports {
                let at = SocketAddr::new(address.ip, opening.port);
                if around.answers(opening.protocol, at) {
                    seen.push(format!("{:?} {at}", opening.protocol).to_lowercase());
                }
            }
        }
    }
    let text = if seen.is_empty() { "-".to_owned() } else { seen.join(", ") };
    Some(Check::new("close.check-answers", seen.is_empty(), &text))
}
