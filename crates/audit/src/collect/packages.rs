//! Packages of interest and their history.

use std::io::Read as _;

use super::{
    View, host,
    root::{Part, lossy},
};
use crate::{
    facts::{Package, PackageEvent, PackageKind, Packages, Process, Seen, Unseen, Why},
    formats::{apk, dpkg, known, pacman, rpm, time::Zone},
};

/// Longest package database that is read, in bytes: dpkg's of 5000 packages has 6 MB.
const DATABASE_BYTES_MAX: usize = 32 << 20;
/// Longest part of a log that is read, in bytes; of a longer one the end.
const LOG_BYTES_MAX: usize = 8 << 20;
/// Longest text that a compressed log may become, in bytes.
const UNPACKED_BYTES_MAX: u64 = 16 << 20;
/// Most logs that are read; a year of weekly rotation.
const LOGS_MAX: usize = 64;
/// Most events that stand in the facts.
const EVENTS_MAX: usize = 1000;
/// Longest list of a package's files that is searched, in bytes.
const LIST_BYTES_MAX: usize = 4 << 20;

pub(super) fn collect(view: &View, processes: &[Process]) -> Packages {
    let programs = programs(view, processes);
    let mut found = Packages {
        kinds: Vec::new(),
        installed: Seen::Known(Vec::new()),
        history: Seen::Known(Vec::new()),
    };
    let mut installed = Vec::new();
    let mut unseen = None;
    if view.root.exists("/var/lib/dpkg/status") {
        found.kinds.push(PackageKind::Dpkg);
        take(with_dpkg(view, &programs), &mut installed, &mut unseen);
    }
    let rpm_folders = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"];
    if rpm_folders.iter().any(|folder| !view.root.names(folder).list().is_empty()) {
        found.kinds.push(PackageKind::Rpm);
        take(with_rpm(view, &programs), &mut installed, &mut unseen);
    }
    if view.root.exists("/lib/apk/db/installed") {
        found.kinds.push(PackageKind::Apk);
        take(with_apk(view, &programs), &mut installed, &mut unseen);
    }
    if view.root.exists("/var/lib/pacman/local") {
        found.kinds.push(PackageKind::Pacman);
        take(Seen::Known(with_pacman(view)), &mut installed, &mut unseen);
    }
    let history = history(view, &installed);
    if let Some(unseen) = &unseen {
        view.root.gap("installed packages", unseen);
    }
    found.installed = match unseen {
        Some(unseen) if installed.is_empty() => Seen::Unseen(unseen),
        _ => Seen::Known(installed),
    };
    found.history = history;
    found
}

fn take(seen: Seen<Vec<Package>>, all: &mut Vec<Package>, unseen: &mut Option<Unseen>) {
    match seen {
        Seen::Known(packages) => all.extend(packages),
        Seen::Unseen(reason) => *unseen = Some(reason),
    }
}

/// Paths of caches' programs: of processes, and where such programs usually stand.
fn programs(view: &View, processes: &[Process]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for process in processes.iter().filter(|process| process.container.is_none()) {
        if let Seen::Known(executable) = &process.executable
            && known::is_cache(&executable.path)
        {
            found.push(executable.path.clone());
        }
    }
    for folder in ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/zimbra/common/bin"] {
        for program in ["memcached", "kannuki", "nutcracker", "yrmcdsd", "lsmcd", "mcrouter"] {
            let path = format!("{folder}/{program}");
            if view.root.exists(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn with_dpkg(view: &View, programs: &[String]) -> Seen<Vec<Package>> {
    let path = "/var/lib/dpkg/status";
    let text = match view.root.quiet_text(path, DATABASE_BYTES_MAX) {
        Seen::Known(text) => text,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen),
    };
    let owners = dpkg_owners(view, programs);
    let states = view.root.quiet_text("/var/lib/apt/extended_states", DATABASE_BYTES_MAX);
    let states =
        states.map(|text| dpkg::automatic(&text).map(str::to_owned).collect::<Vec<String>>());
    let is_wanted = |name: &str| known::is_cache_package(name) || owners.iter().any(|o| o == name);
    let mut found = Vec::new();
    for paragraph in dpkg::status(&text).filter(|paragraph| is_wanted(&paragraph.name)) {
        let (files, installed_at) = dpkg_files(view, &paragraph);
        let name = &paragraph.name;
        found.push(Package {
            kind: PackageKind::Dpkg,
            version: paragraph.version,
            source: paragraph.source,
            arch: paragraph.arch,
            vendor: paragraph.maintainer,
            status: paragraph.status,
            files,
            installed_at,
            automatic: states.clone().map(|states| states.contains(name)),
            wanted_by: dpkg_wanted_by(&text, name),
            name: paragraph.name,
        });
    }
    Seen::Known(found)
}

fn dpkg_wanted_by(text: &str, name: &str) -> Vec<String> {
    let installed = dpkg::status(text).filter(|other| other.status.ends_with(" installed"));
    let mut found = Vec::new();
    for other in installed {
        for (field, relations) in &other.wants {
            if dpkg::names(relations, name) {
                found.push(format!("{} ({field})", other.name));
            }
        }
    }
    found
}

fn dpkg_files(view: &View, package: &dpkg::Paragraph) -> (Vec<String>, Seen<i64>) {
    for name in [package.name.clone(), format!("{}:{}", package.name, package.arch)] {
        let path = format!("/var/lib/dpkg/info/{name}.list");
        let Some(stat) = view.root.stat(&path) else { continue };
        let text = view.root.quiet_text(&path, LIST_BYTES_MAX);
        let files = text.known().map(|text| of_interest(text.lines())).unwrap_or_default();
        return (files, Seen::Known(stat.st_mtime));
    }
    (Vec::new(), Seen::unseen(Why::Absent, "dpkg has no list of its files"))
}

/// Programs, settings and units.
fn of_interest<'t>(files: impl Iterator<Item = &'t str>) -> Vec<String> {
    let wanted = |file: &&str| {
        file.contains("/bin/")
            || file.contains("/sbin/")
            || file.starts_with("/etc/")
            || file.contains("/systemd/system/")
    };
    files.filter(wanted).take(100).map(str::to_owned).collect()
}

/// The packages that own programs which no package of a known name brings.
fn dpkg_owners(view: &View, programs: &[String]) -> Vec<String> {
    let folder = "/var/lib/dpkg/info";
    let lists = view.root.names_in(folder);
    let owns = |list: &str, program: &str| {
        let text = view.root.quiet_text(&format!("{folder}/{list}"), LIST_BYTES_MAX);
        // Merged systems have `/bin` as a link to `/usr/bin`; lists may name either.
        let short = program.strip_prefix("/usr");
        text.known()
            .is_some_and(|text| text.lines().any(|line| line == program || Some(line) == short))
    };
    let mut owners = Vec::new();
    for program in programs {
        let stem = program.rsplit('/').next().unwrap_or_default();
        let likely = |name: &&super::root::Name| {
            name.text.ends_with(".list") && known::is_cache_package(base(&name.text))
        };
        let usual = lists.iter().filter(likely).any(|name| owns(&name.text, program));
        if usual || stem.is_empty() {
            continue;
        }
        let all = lists.iter().filter(|name| name.text.ends_with(".list"));
        let owner = all.into_iter().find(|name| owns(&name.text, program));
        owners.extend(owner.map(|name| base(&name.text).to_owned()));
    }
    owners
}

/// `memcached:amd64.list` belongs to memcached.
fn base(list: &str) -> &str {
    let stem = list.strip_suffix(".list").unwrap_or(list);
    stem.split(':').next().unwrap_or(stem)
}

fn with_rpm(view: &View, programs: &[String]) -> Seen<Vec<Package>> {
    if !view.host {
        let detail = "rpm's database is binary and is read by rpm only, on the running host";
        return Seen::unseen(Why::NotRunning, detail);
    }
    let text = match view.run(&["rpm", "-qa", "--qf", rpm::QUERY]) {
        Seen::Known(text) => text,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen),
    };
    let mut owners = Vec::new();
    for program in programs {
        let owner = view.run(&["rpm", "-qf", "--qf", "%{NAME}\\n", program]);
        owners.extend(owner.known().and_then(|text| text.lines().next()).map(str::to_owned));
    }
    let is_wanted = |name: &str| known::is_cache_package(name) || owners.iter().any(|o| o == name);
    let wanted = rpm::installed(&text).filter(|package| is_wanted(&package.name));
    Seen::Known(wanted.map(|package| rpm_package(view, package)).collect())
}

fn rpm_package(view: &View, package: rpm::Installed) -> Package {
    let files = view.run(&["rpm", "-ql", &package.name]);
    let wanted_by = view.run(&["rpm", "-q", "--whatrequires", "--qf", "%{NAME}\\n", &package.name]);
    Package {
        kind: PackageKind::Rpm,
        version: package.version,
        source: package.source,
        arch: package.arch,
        vendor: package.vendor,
        status: String::new(),
        files: files.known().map(|text| of_interest(text.lines())).unwrap_or_default(),
        installed_at: match package.installed_at {
            Some(at) => Seen::Known(at),
            None => Seen::unseen(Why::Malformed, "rpm told no time"),
        },
        automatic: Seen::unseen(Why::Absent, "rpm does not record it"),
        // Without a match rpm says so in a sentence and ends with 1.
        wanted_by: wanted_by
            .known()
            .map(|text| text.lines().map(|name| format!("{name} (Requires)")).collect())
            .unwrap_or_default(),
        name: package.name,
    }
}

fn with_apk(view: &View, programs: &[String]) -> Seen<Vec<Package>> {
    let path = "/lib/apk/db/installed";
    let text = match view.root.quiet_text(path, DATABASE_BYTES_MAX) {
        Seen::Known(text) => text,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen),
    };
    let world = view.root.quiet_text("/etc/apk/world", DATABASE_BYTES_MAX);
    let all: Vec<apk::Installed> = apk::installed(&text).collect();
    let is_wanted = |package: &&apk::Installed| {
        known::is_cache_package(&package.name)
            || package.files.iter().any(|file| programs.contains(file))
    };
    let package = |package: &apk::Installed| Package {
        kind: PackageKind::Apk,
        name: package.name.clone(),
        version: package.version.clone(),
        source: package.source.clone(),
        arch: package.arch.clone(),
        vendor: package.maintainer.clone(),
        status: String::new(),
        files: of_interest(package.files.iter().map(String::as_str)),
        installed_at: Seen::unseen(Why::Absent, "apk does not record it"),
        automatic: world.clone().map(|world| {
            !world.split_ascii_whitespace().any(|word| apk::names(word, &package.name))
        }),
        wanted_by: all
            .iter()
            .filter(|other| other.depends.iter().any(|d| apk::names(d, &package.name)))
            .map(|other| format!("{} (depends)", other.name))
            .collect(),
    };
    Seen::Known(all.iter().filter(is_wanted).map(package).collect())
}

fn with_pacman(view: &View) -> Vec<Package> {
    let folder = "/var/lib/pacman/local";
    let mut found = Vec::new();
    for name in view.root.names_in(folder) {
        let stem = name.text.rsplitn(3, '-').nth(2).unwrap_or_default();
        if !known::is_cache_package(stem) {
            continue;
        }
        let text = view.root.text(&format!("{folder}/{}/desc", name.text), LIST_BYTES_MAX);
        let Some(text) = text else { continue };
        let value = |heading| pacman::value(&text, heading).unwrap_or_default().to_owned();
        let time = value("INSTALLDATE").parse();
        let files = view.root.text(&format!("{folder}/{}/files", name.text), LIST_BYTES_MAX);
        let files: Vec<String> =
            files.unwrap_or_default().lines().map(|line| format!("/{line}")).collect();
        found.push(Package {
            kind: PackageKind::Pacman,
            name: value("NAME"),
            version: value("VERSION"),
            source: Some(value("BASE")).filter(|base| !base.is_empty()),
            arch: value("ARCH"),
            vendor: Some(value("PACKAGER")).filter(|packager| !packager.is_empty()),
            status: String::new(),
            files: of_interest(files.iter().map(String::as_str)),
            installed_at: time
                .map_or_else(|_| Seen::unseen(Why::Absent, "desc does not tell"), Seen::Known),
            automatic: Seen::Known(value("REASON") == "1"),
            wanted_by: Vec::new(),
        });
    }
    found
}

/// How a log is read.
type Reader = fn(&str, &dyn Fn(&str) -> bool) -> Vec<dpkg::Event>;

/// Folder, beginning of the names, and the format.
const LOGS: &[(&str, &str, Reader)] = &[
    ("/var/log/apt", "history.log", |text, wanted| dpkg::history(text, wanted)),
    ("/var/log", "dpkg.log", |text, wanted| dpkg::log(text, wanted)),
    ("/var/log", "yum.log", |text, wanted| rpm::log(text, wanted)),
    ("/var/log", "dnf.rpm.log", |text, wanted| rpm::log(text, wanted)),
    ("/var/log", "pacman.log", |text, wanted| pacman::log(text, wanted)),
];

fn history(view: &View, installed: &[Package]) -> Seen<Vec<PackageEvent>> {
    let zone = host::zone(view);
    let wanted = |name: &str| {
        known::is_cache_package(name) || installed.iter().any(|package| package.name == name)
    };
    let mut events = Vec::new();
    let mut logs = 0;
    for (folder, prefix, read) in LOGS {
        for name in view.root.names(folder).list() {
            if !name.text.starts_with(prefix) || logs >= LOGS_MAX {
                continue;
            }
            logs += 1;
            let path = format!("{folder}/{}", name.text);
            let Some(text) = log(view, &path) else { continue };
            let found = read(&text, &wanted);
            events.extend(found.into_iter().map(|event| placed(event, &path, zone.as_ref())));
        }
    }
    if logs == 0 {
        return Seen::unseen(Why::Absent, "no log of a package manager was found");
    }
    // Logs without a year come in the order of their lines.
    events.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.path.cmp(&b.path)));
    if events.len() > EVENTS_MAX {
        let detail = format!("{} events; the newest {EVENTS_MAX} are kept", events.len());
        view.root.gap("package history", &Unseen { why: Why::TooLarge, detail });
        events.drain(..events.len() - EVENTS_MAX);
    }
    Seen::Known(events)
}

/// Reads a log, unpacked if it was rotated; of a long one the end.
fn log(view: &View, path: &str) -> Option<String> {
    let packed = path.ends_with(".gz");
    let part = if packed { Part::Whole } else { Part::Tail };
    let file = match view.root.read(path, part, LOG_BYTES_MAX) {
        Seen::Known(file) => file,
        Seen::Unseen(unseen) => {
            view.root.gap(path, &unseen);
            return None;
        }
    };
    if !file.whole {
        let detail = format!("only its last {LOG_BYTES_MAX} bytes were read");
        view.root.gap(path, &Unseen { why: Why::TooLarge, detail });
    }
    if !packed {
        return Some(lossy(file.bytes));
    }
    let mut bytes = Vec::new();
    let unpacked = flate2::read::MultiGzDecoder::new(&file.bytes[..]);
    match unpacked.take(UNPACKED_BYTES_MAX).read_to_end(&mut bytes) {
        Ok(_) => Some(lossy(bytes)),
        Err(error) => {
            let detail = format!("{path}: {error}");
            view.root.gap(path, &Unseen { why: Why::Malformed, detail });
            // What could be unpacked before the fault counts.
            Some(lossy(bytes))
        }
    }
}

fn placed(event: dpkg::Event, path: &str, zone: Option<&Zone>) -> PackageEvent {
    let at = event.clock.and_then(|(clock, offset)| match offset {
        Some(offset) => Some(clock - i64::from(offset)),
        None => zone.and_then(|zone| zone.utc(clock)),
    });
    PackageEvent {
        when: event.when,
        at,
        action: event.action.to_owned(),
        package: event.package,
        version: event.version,
        command: event.command,
        requested_by: event.requested_by,
        automatic: event.automatic,
        path: path.to_owned(),
        line: event.line,
    }
}
