//! Checks of files and programs.

use super::{Case, Found, Grade, Sign};
use crate::{
    facts::{Seen, Why},
    findings::Evidence,
    traces::{FileTrace, Owner, Place},
};

/// What a walk did not reach: an intruder can fill a folder until nobody looks at the rest.
pub(super) fn cut(case: &Case<'_>, found: &mut Found, folders: &[&str]) {
    for gap in &case.traces.gaps {
        let too_much = matches!(gap.unseen.why, Why::TooLarge | Why::TimedOut);
        if too_much && folders.iter().any(|folder| gap.what.starts_with(folder)) {
            found.unseen(&format!("{}: {}", gap.what, gap.unseen.detail));
            found.blind = true;
        }
    }
}

fn of(case: &Case<'_>, place: Place) -> Vec<FileTrace> {
    case.traces.files.iter().filter(|file| file.place == place).cloned().collect()
}

fn sign(grade: Grade, text: &str, file: &FileTrace) -> Sign {
    let what = format!("mode {:o}, uid {}, {} bytes", file.mode, file.uid, file.bytes);
    let sign = Sign::new(grade, text, Evidence::file(&file.path, 0, &what)).at(Some(file.changed));
    sign.with("path", &file.path).supporting()
}

pub(super) fn raising(case: &Case<'_>) -> Found {
    let all = of(case, Place::SetUser);
    let mut found = Found::among(all.len());
    cut(case, &mut found, &["/bin", "/sbin", "/usr", "/opt", "/home", "/tmp", "/var/tmp"]);
    for file in &all {
        let open = ["/tmp/", "/var/tmp/", "/dev/shm/", "/home/"];
        let open = open.iter().any(|folder| file.path.starts_with(folder));
        let grade = match (open, file.uid == 0, file.owner) {
            (true, true, _) => Grade::Strong,
            (true, ..) | (_, true, Owner::Nobody) => Grade::Suspicious,
            _ => Grade::Note,
        };
        found.sign(sign(grade, "sign.set-user", file));
    }
    found
}

pub(super) fn packages(case: &Case<'_>) -> Found {
    let verification = match &case.traces.verification {
        Seen::Known(verification) => verification,
        Seen::Unseen(unseen) => return Found::blind(unseen),
    };
    let compared = usize::try_from(verification.compared).unwrap_or(usize::MAX);
    let mut found = Found::among(compared);
    for file in &verification.changed {
        let missing = file.how == "missing";
        // Containers and small images leave out what they do not need.
        let (grade, text) = match missing {
            true => (Grade::Note, "sign.program-missing"),
            false => (Grade::Strong, "sign.program-differs"),
        };
        let evidence = Evidence::file(&file.path, 0, &verification.by);
        let sign = Sign::new(grade, text, evidence).at(file.changed);
        found.sign(sign.with("path", &file.path).with("package", &file.package));
    }
    if verification.packages.is_empty() {
        found.unseen("no package with digests was found");
        found.blind = true;
    }
    found
}

pub(super) fn hidden(case: &Case<'_>) -> Found {
    let (names, programs) = (of(case, Place::HiddenName), of(case, Place::Program));
    let devices = of(case, Place::AmongDevices);
    let mut found = Found::among(names.len() + programs.len() + devices.len());
    let folders = ["/tmp", "/var/tmp", "/dev"];
    cut(case, &mut found, &folders);
    for gap in case.traces.gaps.iter().filter(|gap| gap.unseen.why == Why::Malformed) {
        if folders.iter().any(|folder| gap.what.starts_with(folder)) {
            let evidence = Evidence::file(&gap.what, 0, &gap.unseen.detail);
            let sign = Sign::new(Grade::Note, "sign.hidden-name", evidence).supporting();
            found.sign(sign.with("path", &gap.what));
        }
    }
    for file in &names {
        found.sign(sign(Grade::Note, "sign.hidden-name", file));
    }
    for file in &programs {
        found.sign(sign(Grade::Note, "sign.program-in-tmp", file));
    }
    for file in &devices {
        found.sign(sign(Grade::Note, "sign.among-devices", file));
    }
    found
}

pub(super) fn recent(case: &Case<'_>) -> Found {
    if case.incident.is_none() {
        let mut found = Found::default();
        found.unseen("--incident was not given: there is no time to look around");
        found.blind = true;
        return found;
    }
    let all = of(case, Place::Recent);
    let mut found = Found::among(all.len());
    cut(case, &mut found, &["/etc", "/usr/local", "/root", "/opt"]);
    for file in all.iter().filter(|file| super::accounts::is_later(case, file.changed)) {
        let what = super::show::utc(file.changed);
        found.sign(sign(Grade::Note, "sign.recent", file).with("when", &what));
    }
    found
}
