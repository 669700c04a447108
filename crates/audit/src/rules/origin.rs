//! How the cache came here: the package's history, or nothing that tells.

use super::{Case, caches::Cache, wording};
use crate::findings::{Confidence, Evidence, Finding, catalogue, quoted};

pub(crate) fn judge(case: &Case<'_>, cache: &Cache<'_>, findings: &mut Vec<Finding>) {
    match cache.name.as_str() {
        "kannuki" => findings.push(Finding::new(&catalogue::KANNUKI, &cache.title())),
        "memcached" => {}
        name => {
            let finding = Finding::new(&catalogue::OTHER_SERVER, &cache.title())
                .with("name", name)
                .with("because", &cache.because)
                .seen(super::exposure::process_evidence(cache));
            findings.push(finding);
        }
    }
    if cache.name != "kannuki" && cache.process.is_some() {
        findings.push(origin(case, cache));
    }
    as_root(cache, findings);
}

fn origin(case: &Case<'_>, cache: &Cache<'_>) -> Finding {
    let mut story = Vec::new();
    let mut finding = Finding::new(&catalogue::ORIGIN, &cache.title());
    match cache.package {
        None => {
            story.push(case.texts.get("text.by-hand").to_owned());
            finding = finding.sure(Confidence::Medium);
        }
        Some(package) => {
            let history = case.facts.packages.history.list();
            let install = history
                .iter()
                .find(|event| event.package == package.name && event.action == "install");
            if let Some(event) = install {
                finding = finding.seen([Evidence::file(
                    &event.path,
                    event.line,
                    &format!("{} {} {}", event.when, event.action, event.version),
                )]);
            }
            let when = install
                .map(|event| event.when.clone())
                .or_else(|| package.installed_at.known().map(|at| wording::utc(*at)));
            let when = when.as_deref().unwrap_or("?");
            story.push(match install.and_then(|event| event.command.as_deref()) {
                Some(command) => {
                    let values = [("when", when), ("command", command)];
                    case.texts.fill("text.installed", &values)
                }
                None => case.texts.fill("text.installed-plain", &[("when", when)]),
            });
            let automatic = install.and_then(|event| event.automatic);
            if automatic.or_else(|| package.automatic.known().copied()) == Some(true) {
                story.push(case.texts.get("text.installed-as-dependency").to_owned());
            }
            if !package.wanted_by.is_empty() {
                let list = quoted(&wording::list(&package.wanted_by));
                story.push(case.texts.fill("text.wanted-by", &[("list", &list)]));
            }
        }
    }
    if let Some(started) = cache.process.and_then(|process| process.started.known()) {
        let when = wording::utc(*started);
        story.push(case.texts.fill("text.running-since", &[("when", &when)]));
    }
    finding.with("story", &story.join(" ")).seen(super::exposure::process_evidence(cache))
}

fn as_root(cache: &Cache<'_>, findings: &mut Vec<Finding>) {
    let Some(process) = cache.process.filter(|process| process.uid == 0) else { return };
    if process.container.is_some() {
        return; // Its root is the container's.
    }
    let finding = Finding::new(&catalogue::RUNS_AS_ROOT, &cache.title())
        .seen([Evidence::Process { pid: process.pid, text: quoted(&cache.command()) }]);
    findings.push(finding);
}
