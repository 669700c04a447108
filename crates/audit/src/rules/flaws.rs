//! Known flaws of what runs here, and whether the running program is the installed one.

use super::{Case, caches, caches::Cache, wording};
use crate::facts::{Facts, PackageKind};
use crate::findings::{Confidence, Door, Evidence, Finding, Severity, Verdict, catalogue, quoted};
use crate::vulnerabilities::{Installed, Status, Table, Vulnerability, status};

/// One flaw and how it stands to this cache.
#[derive(Debug, Clone, Copy)]
pub struct Flaw<'t> {
    /// The flaw.
    pub flaw: &'t Vulnerability,
    /// How it stands here.
    pub status: Status,
}

/// Every flaw of the table, judged for this cache.
#[must_use]
pub fn flaws<'t>(facts: &Facts, cache: &Cache<'_>, table: &'t Table) -> Vec<Flaw<'t>> {
    let installed = caches::installed(facts, cache);
    let judged = table
        .vulnerabilities
        .iter()
        .map(|flaw| Flaw { flaw, status: status(flaw, &installed, &cache.running) });
    judged.collect()
}

pub(crate) fn judge(
    case: &Case<'_>,
    cache: &Cache<'_>,
    doors: &[Door],
    findings: &mut Vec<Finding>,
) {
    let flaws = flaws(case.facts, cache, case.table);
    // Where no stranger comes in, a flaw waits for a local program or for the next mistake.
    let local = doors.iter().all(|door| door.verdict <= Verdict::Filtered);
    let mut unknown = Vec::new();
    let mut unnumbered = Vec::new();
    for Flaw { flaw, status } in flaws {
        let has_number = flaw.kind == "cve";
        match (status, has_number) {
            (Status::Vulnerable, true) => findings.push(present(case, cache, flaw, local)),
            (Status::Vulnerable | Status::Unknown, false) => unnumbered.push(flaw),
            // A flaw whose feature alone decides, and that feature was not seen to be on.
            (Status::Unknown, true) if !flaw.decided_by_condition() => unknown.push(flaw),
            _ => {}
        }
    }
    if cache.version.is_some() {
        several(case, cache, &catalogue::FLAW_UNKNOWN, &unknown, local, findings);
        several(case, cache, &catalogue::FLAW_WITHOUT_NUMBER, &unnumbered, local, findings);
    }
    not_restarted(case, cache, findings);
}

fn present(case: &Case<'_>, cache: &Cache<'_>, flaw: &Vulnerability, local: bool) -> Finding {
    let severity = if local { flaw.severity().min(Severity::Low) } else { flaw.severity() };
    let unsure = flaw
        .requires
        .iter()
        .any(|name| crate::vulnerabilities::Conditions::holds(&cache.running, name).is_none());
    let confidence = match (flaw.confirmed, unsure) {
        (true, false) => Confidence::High,
        (true, true) => Confidence::Medium,
        (false, _) => Confidence::Low,
    };
    let mut finding = Finding::new(&catalogue::FLAW, &flaw.id)
        .graded(severity)
        .sure(confidence)
        .with("summary", &flaw.summary)
        .with("impact", &flaw.impact)
        .with("version", &version_words(cache))
        .seen(package_evidence(cache))
        .seen(super::exposure::process_evidence(cache))
        .mended_by(if flaw.decided_by_condition() && !local {
            super::remedies::shut_cache(case, cache)
        } else {
            update(case.facts, cache)
        });
    finding.references.clone_from(&flaw.references);
    finding
}

fn several(
    case: &Case<'_>,
    cache: &Cache<'_>,
    definition: &catalogue::Definition,
    flaws: &[&Vulnerability],
    local: bool,
    findings: &mut Vec<Finding>,
) {
    if flaws.is_empty() {
        return;
    }
    let severity = definition.severity;
    let ids: Vec<&str> = flaws.iter().map(|flaw| flaw.id.as_str()).collect();
    let finding = Finding::new(definition, &version_words(cache))
        .graded(if local { severity.min(Severity::Low) } else { severity })
        .sure(Confidence::Low)
        .with("count", &flaws.len().to_string())
        .with("ids", &wording::list(&ids))
        .with("latest", &case.table.latest_upstream)
        .seen(package_evidence(cache))
        .seen(
            flaws.iter().map(|flaw| Evidence::measured(&format!("{}: {}", flaw.id, flaw.summary))),
        )
        .mended_by(update(case.facts, cache));
    findings.push(finding);
}

pub(crate) fn version_words(cache: &Cache<'_>) -> String {
    match (cache.package, &cache.version) {
        (Some(package), _) => format!("{} {}", package.name, package.version),
        (None, Some(version)) => format!("{} {version}", cache.name),
        (None, None) => cache.name.clone(),
    }
}

fn package_evidence(cache: &Cache<'_>) -> Option<Evidence> {
    let package = cache.package?;
    Some(Evidence::Package { text: quoted(&format!("{} {}", package.name, package.version)) })
}

/// How the package is updated and the service restarted.
fn update(facts: &Facts, cache: &Cache<'_>) -> Vec<String> {
    let Some(package) = cache.package else { return Vec::new() };
    let name = wording::shell_word(&package.name);
    let id = facts.host.os.known().map(|os| os.id.as_str()).unwrap_or_default();
    let update = match package.kind {
        PackageKind::Dpkg => {
            format!("apt-get update && apt-get install --only-upgrade {name}")
        }
        PackageKind::Rpm if id.contains("suse") || id == "sles" => format!("zypper update {name}"),
        PackageKind::Rpm => format!("yum update {name}"),
        PackageKind::Apk => format!("apk upgrade {name}"),
        PackageKind::Pacman => "pacman -Syu".to_owned(),
    };
    let mut commands = vec![update];
    commands.extend(super::remedies::restart(cache));
    commands
}

fn not_restarted(case: &Case<'_>, cache: &Cache<'_>, findings: &mut Vec<Finding>) {
    let Some(process) = cache.process else { return };
    let deleted = process.executable.known().is_some_and(|executable| executable.deleted);
    let installed = caches::installed(case.facts, cache);
    let packaged = matches!(installed, Installed::Packaged { .. });
    let other = match (installed.upstream(), &cache.version) {
        (Some(installed), Some(running)) => packaged && installed != running,
        _ => false,
    };
    if deleted || other {
        let running = cache.version.as_deref().unwrap_or("?");
        let finding = Finding::new(&catalogue::NOT_RESTARTED, &cache.title())
            .with("running", running)
            .with("installed", installed.upstream().unwrap_or("?"))
            .seen(super::exposure::process_evidence(cache))
            .seen(package_evidence(cache))
            .mended_by(super::remedies::restart(cache));
        findings.push(finding);
    }
}
