//! Does anything keep what the cache says, and does that stay bounded?

use super::{Case, caches::Cache};
use crate::facts::{FileRole, StartConfig, Starter};
use crate::findings::{Confidence, Finding, RemedyFile, catalogue};

/// Where the remedy keeps the log.
const LOG: &str = "/var/log/memcached.log";

pub(crate) fn judge(case: &Case<'_>, cache: &Cache<'_>, findings: &mut Vec<Finding>) {
    let command = cache.start.and_then(|start| start.commands.first());
    let said = command.and_then(|command| command.standard_error.as_deref());
    let path = said.map(|said| said.trim_start_matches("append:").trim_start_matches("file:"));
    match path {
        Some("null" | "/dev/null") => no_log(cache, "/dev/null", findings),
        Some(path) if path.starts_with('/') => no_rotation(case, path, findings),
        Some(_) => {} // The journal or syslog keep and rotate it.
        None if detaches(cache) => no_log(cache, "-d", findings),
        None => {}
    }
}

/// `-d` closes standard error, where memcached writes everything it has to say.
fn detaches(cache: &Cache<'_>) -> bool {
    let argv = cache.process.and_then(|process| process.argv.known());
    argv.is_some_and(|argv| {
        argv.iter().skip(1).any(|word| {
            let cluster = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            word == "--daemon" || cluster.is_some_and(|letters| letters.starts_with('d'))
        })
    })
}

fn no_log(cache: &Cache<'_>, place: &str, findings: &mut Vec<Finding>) {
    let mut finding = Finding::new(&catalogue::NO_LOG, &cache.title())
        .sure(Confidence::Medium)
        .with("where", place)
        .seen(super::exposure::process_evidence(cache));
    if let Some(Starter::Systemd { unit, user: None }) =
        cache.process.map(|process| &process.starter)
    {
        finding.remedy.files = vec![drop_in(unit), rotation(LOG)];
        finding = finding.mended_by([
            "systemctl daemon-reload".to_owned(),
            format!("systemctl restart {}", super::wording::shell_word(unit)),
        ]);
    }
    findings.push(finding);
}

fn drop_in(unit: &str) -> RemedyFile {
    // A unit's name cannot hold a slash; one that does is not written to.
    let unit = unit.replace('/', "-");
    RemedyFile {
        path: format!("/etc/systemd/system/{unit}.d/zz-kannuki-log.conf"),
        text: format!("[Service]\nStandardOutput=append:{LOG}\nStandardError=append:{LOG}\n"),
    }
}

/// The log is opened by the service manager for appending, so it is copied and cut, not moved.
fn rotation(path: &str) -> RemedyFile {
    RemedyFile {
        path: "/etc/logrotate.d/kannuki-memcached".to_owned(),
        text: format!(
            "{path} {{\n    weekly\n    rotate 8\n    maxsize 50M\n    compress\n    \
             delaycompress\n    missingok\n    notifempty\n    copytruncate\n}}\n"
        ),
    }
}

fn no_rotation(case: &Case<'_>, path: &str, findings: &mut Vec<Finding>) {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let covered = case.facts.starts.iter().flat_map(|start: &StartConfig| {
        start.files.iter().filter(|file| file.role == FileRole::Rotation)
    });
    let mut covered = covered.filter_map(|file| file.text.known());
    let names = |text: &String| {
        text.contains(path) || (!folder.is_empty() && text.contains(&format!("{folder}/*")))
    };
    if covered.any(names) {
        return;
    }
    let mut finding = Finding::new(&catalogue::NO_ROTATION, path).sure(Confidence::Medium);
    let fits = path.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    if fits {
        finding.remedy.files = vec![rotation(path)];
        finding = finding.mended_by(["logrotate --debug /etc/logrotate.d/kannuki-memcached"]);
    }
    findings.push(finding);
}
