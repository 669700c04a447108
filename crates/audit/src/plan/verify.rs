//! What must be true after a plan was carried out, asked of facts that were gathered again.

use serde::{Deserialize, Serialize};

use super::{Method, Plan, Target};
use crate::facts::{AtBoot, Facts, Protocol, Seen, SocketState};
use crate::findings::{Verdict, catalogue};
use crate::rules::{Cache, Case, Running, installations, waiting};
use crate::texts::{Lang, Texts};
use crate::vulnerabilities::Table;

/// One thing that was looked at afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name in the group `close` of the texts: `close.check-sockets`.
    pub key: String,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

impl Check {
    /// A check.
    #[must_use]
    pub fn new(key: &str, ok: bool, seen: &str) -> Self {
        Self { key: key.to_owned(), ok, seen: crate::findings::quoted(seen) }
    }
}

/// Every check that facts can answer.
#[must_use]
pub fn checks(plan: &Plan, facts: &Facts, table: &Table) -> Vec<Check> {
    let texts = Texts::of(Lang::En);
    let case = Case { facts, table, texts: &texts };
    let mut checks = Vec::new();
    for target in &plan.targets {
        checks.push(sockets(plan.method, target, &case));
        if plan.method == Method::Bind {
            checks.extend(command_line(target, facts));
        }
        if plan.method == Method::Firewall {
            continue;
        }
        if let Some(start) = &target.start {
            checks.push(next_start(plan.method, start, facts));
        }
    }
    if plan.method == Method::Firewall && !plan.targets.is_empty() {
        checks.push(filter_comes_back(facts));
    } else {
        checks.push(probes(plan, facts));
    }
    checks.push(others(plan, &case));
    checks
}

/// No door of these ports lets strangers in.
fn sockets(method: Method, target: &Target, case: &Case<'_>) -> Check {
    let listens = |protocol: Protocol, port: u16| {
        target.ports.iter().any(|opening| opening.protocol == protocol && opening.port == port)
    };
    let mut seen = Vec::new();
    let mut ok = true;
    for (cache, judged, _) in installations(case) {
        let of_target = cache.title() == target.title
            || cache.sockets.iter().any(|socket| {
                socket.local.is_some_and(|local| listens(socket.protocol, local.port()))
            });
        if !of_target {
            continue;
        }
        for door in &judged.doors {
            seen.push(format!("{} {} {}", door.transport, door.bound, door.verdict.name()));
            ok &= match method {
                Method::Bind => door.verdict == Verdict::Local,
                Method::Firewall => matches!(door.verdict, Verdict::Local | Verdict::Filtered),
                Method::Stop => cache.title() != target.title,
            };
        }
    }
    // A process that is gone may have left its socket to another.
    let bound = case.facts.sockets.list().iter().filter(|socket| {
        let port = socket.local.map_or(0, |local| local.port());
        socket.state == SocketState::Listening
            && socket.net_namespace.is_none()
            && listens(socket.protocol, port)
            && socket.local.is_some_and(|local| !local.ip().is_loopback())
    });
    if method != Method::Firewall {
        for socket in bound {
            ok = false;
            seen.push(format!("{:?} {:?}", socket.protocol, socket.local));
        }
    }
    ok &= case.facts.sockets.known().is_some();
    let seen = if seen.is_empty() { "-".to_owned() } else { seen.join(", ") };
    Check::new("close.check-sockets", ok, &format!("{}: {seen}", target.title))
}

fn of_start<'f>(facts: &'f Facts, id: &str) -> Option<Cache<'f>> {
    let caches = crate::rules::caches_of(facts).into_iter();
    { caches }.find(|cache| cache.start.is_some_and(|start| start.id == id))
}

/// The running process says `-l` with local addresses and speaks no UDP; it runs if it ran.
fn command_line(target: &Target, facts: &Facts) -> Option<Check> {
    target.pid?;
    let start = target.start.as_deref()?;
    let Some(cache) = of_start(facts, start) else {
        return Some(Check::new("close.check-runs", false, &target.title));
    };
    let command = cache.command();
    let running = Running::new(command.split(' '), cache.version.as_deref());
    let ok =
        !cache.sockets.is_empty() && running.is_local() == Some(true) && running.udp_port() == 0;
    Some(Check::new("close.check-argv", ok, &command))
}

/// What the next boot does, by the settings as they stand now.
fn next_start(method: Method, id: &str, facts: &Facts) -> Check {
    let start = facts.starts.iter().find(|start| start.id == id);
    let Some(start) = start else {
        // Settings that are not there any more start nothing.
        return Check::new("close.check-boot", method == Method::Stop, id);
    };
    if method == Method::Stop {
        let ok = matches!(
            &start.at_boot,
            Seen::Known(AtBoot::Masked | AtBoot::Disabled | AtBoot::OnDemand { .. })
        );
        let word = match &start.at_boot {
            Seen::Known(AtBoot::Masked) => "masked",
            Seen::Known(AtBoot::Disabled) => "disabled",
            Seen::Known(AtBoot::OnDemand { .. }) => "on demand",
            Seen::Known(AtBoot::Enabled { .. }) => "enabled",
            Seen::Unseen(_) => "?",
        };
        return Check::new("close.check-boot", ok, &format!("{id}: {word}"));
    }
    let line: Vec<&str> = start.commands.first().map(|c| c.argv().collect()).unwrap_or_default();
    // The oldest default of UDP is the one to be proved off.
    let running = Running::new(line.iter().copied(), Some("1.5.5"));
    let ok = running.is_local() == Some(true) && running.udp_port() == 0;
    Check::new("close.check-boot", ok, &line.join(" "))
}

/// The unit that loads our rules is enabled, and its table is in the kernel.
fn filter_comes_back(facts: &Facts) -> Check {
    let unit = "kannuki-firewall.service";
    let enabled = facts
        .firewall
        .services
        .iter()
        .any(|(name, at_boot)| name == unit && *at_boot == Seen::Known(true));
    Check::new("close.check-filter", enabled, unit)
}

/// Nobody answered the probe over UDP, which goes to own addresses only.
fn probes(plan: &Plan, facts: &Facts) -> Check {
    let of_plan = |port: u16| {
        let openings = plan.targets.iter().flat_map(|target| &target.ports);
        { openings }.any(|opening| opening.port == port)
    };
    let answered = facts.probes.iter().filter(|probe| {
        of_plan(probe.address.port())
            && !probe.address.ip().is_loopback()
            && probe.answer.known().is_some()
    });
    let seen: Vec<String> = answered.map(|probe| probe.address.to_string()).collect();
    let text = if seen.is_empty() { "-".to_owned() } else { seen.join(", ") };
    Check::new("close.check-udp", seen.is_empty(), &text)
}

/// Nothing else opens it after the next boot.
fn others(plan: &Plan, case: &Case<'_>) -> Check {
    let mut seen: Vec<String> =
        waiting(case.facts).iter().map(|(start, _)| start.id.clone()).collect();
    for (_, _, findings) in installations(case) {
        let bad = findings.iter().filter(|finding| finding.id == catalogue::BOOT_OPENS.id);
        seen.extend(bad.map(|finding| finding.subject.clone()));
    }
    // What the plan could not shut was said before it was carried out; and settings that would open
    // a port do not matter where the filter is before it.
    seen.retain(|title| plan.left.iter().all(|left| left.title != *title));
    if plan.method == Method::Firewall {
        seen.retain(|title| plan.targets.iter().all(|target| target.title != *title));
    }
    let text = if seen.is_empty() { "-".to_owned() } else { seen.join(", ") };
    Check::new("close.check-others", seen.is_empty(), &text)
}
