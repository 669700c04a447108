//! dpkg's database and log, apt's history.

use super::time;

/// A package of `/var/lib/dpkg/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paragraph {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) source: Option<String>,
    pub(crate) arch: String,
    pub(crate) maintainer: Option<String>,
    pub(crate) status: String,
    /// `Depends`, `Pre-Depends` and `Recommends`, each with its field's name.
    pub(crate) wants: Vec<(&'static str, String)>,
}

/// Reads the paragraphs; of each only the fields above are kept.
pub(crate) fn status(text: &str) -> impl Iterator<Item = Paragraph> {
    text.split("\n\n").map(paragraph).filter(|paragraph| !paragraph.name.is_empty())
}

fn paragraph(text: &str) -> Paragraph {
    let mut found = Paragraph::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        let value = value.trim().to_owned();
        match key {
            "Package" => found.name = value,
            "Version" => found.version = value,
            "Source" => found.source = Some(value),
            "Architecture" => found.arch = value,
            "Maintainer" => found.maintainer = Some(value),
            "Status" => found.status = value,
            "Depends" => found.wants.push(("Depends", value)),
            "Pre-Depends" => found.wants.push(("Pre-Depends", value)),
            "Recommends" => found.wants.push(("Recommends", value)),
            _ => {}
        }
    }
    found
}

/// Whether a list of relations names a package.
pub(crate) fn names(relations: &str, package: &str) -> bool {
    relations.split([',', '|']).any(|relation| {
        let name = relation.trim().split([' ', '(', ':', '[']).next();
        name == Some(package)
    })
}

/// The packages that `apt` marked as installed automatically (`extended_states`).
pub(crate) fn automatic(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").filter_map(|paragraph| {
        let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key));
        (field("Auto-Installed:")?.trim() == "1").then_some(field("Package:")?.trim())
    })
}

/// An event of a log, before the host's time zone is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) when: String,
    /// As if the clock showed UTC, and the offset if the log tells it.
    pub(crate) clock: Option<(i64, Option<i32>)>,
    pub(crate) action: &'static str,
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) command: Option<String>,
    pub(crate) requested_by: Option<String>,
    pub(crate) automatic: Option<bool>,
    pub(crate) line: u32,
}

/// Reads `dpkg.log`: `2018-01-12 03:11:04 install memcached:amd64 <none> 1.4.14-0ubuntu9`.
pub(crate) fn log(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Event> {
    let read = |(line, text): (u32, &str)| {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [date, clock, action, package, old, new, ..] = fields.as_slice() else { return None };
        let action = match *action {
            "install" => "install",
            "upgrade" => "upgrade",
            "remove" => "remove",
            "purge" => "purge",
            _ => return None,
        };
        let package = package.split(':').next().unwrap_or_default();
        let removed = action == "remove" || action == "purge";
        wanted(package).then(|| Event {
            when: format!("{date} {clock}"),
            clock: time::read(&format!("{date} {clock}")),
            action,
            package: package.to_owned(),
            version: if removed { (*old).to_owned() } else { (*new).to_owned() },
            command: None,
            requested_by: None,
            automatic: None,
            line,
        })
    };
    super::lines(text).filter_map(read).collect()
}

/// Reads apt's `history.log`, which knows the command and who asked.
pub(crate) fn history(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    let mut head = Head::default();
    for (number, line) in super::lines(text) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        match key {
            "Start-Date" => head = Head { when: value.trim().to_owned(), ..Head::default() },
            "Commandline" => head.command = Some(value.to_owned()),
            "Requested-By" => head.requested_by = Some(value.to_owned()),
            _ => {
                let action = match key {
                    "Install" => "install",
                    "Upgrade" => "upgrade",
                    "Remove" => "remove",
                    "Purge" => "purge",
                    "Reinstall" => "reinstall",
                    "Downgrade" => "downgrade",
                    _ => continue,
                };
                for item in items(value).filter(|item| wanted(item.package)) {
                    events.push(head.event(action, &item, number));
                }
            }
        }
    }
    events
}

#[derive(Default)]
struct Head {
    when: String,
    command: Option<String>,
    requested_by: Option<String>,
}

impl Head {
    fn event(&self, action: &'static str, item: &Item<'_>, line: u32) -> Event {
        Event {
            when: self.when.clone(),
            clock: time::read(&self.when),
            action,
            package: item.package.to_owned(),
            version: item.version.to_owned(),
            command: self.command.clone(),
            requested_by: self.requested_by.clone(),
            automatic: matches!(action, "install" | "reinstall").then_some(item.automatic),
            line,
        }
    }
}

struct Item<'t> {
    package: &'t str,
    version: &'t str,
    automatic: bool,
}

/// `memcached:amd64 (1.6.18-1), libx:amd64 (1.0, automatic), y:amd64 (1.0, 1.1)`.
fn items(value: &str) -> impl Iterator<Item = Item<'_>> {
    value.split("),").filter_map(|item| {
        let (name, inside) = item.split_once(" (")?;
        let package = name.trim().split(':').next().unwrap_or_default();
        let mut parts = inside.trim_end_matches(')').split(", ");
        let first = parts.next().unwrap_or_default();
        let second = parts.next();
        let automatic = second == Some("automatic");
        let version = second.filter(|_| !automatic).unwrap_or(first);
        Some(Item { package, version, automatic })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_and_relations() {
        let text = "Package: memcached\nStatus: install ok installed\nArchitecture: amd64\n\
            Version: 1.6.18-1+deb12u1\nDescription: x\n y\n\nPackage: sogo\n\
            Depends: libc6 (>= 2.34), memcached | kannuki, x\nVersion: 5\n";
        let all: Vec<_> = status(text).collect();
        assert_eq!(all[0].version, "1.6.18-1+deb12u1");
        let (field, wants) = &all[1].wants[0];
        assert_eq!(*field, "Depends");
        assert!(names(wants, "memcached") && names(wants, "x") && !names(wants, "mem"));
        let states = "Package: a\nAuto-Installed: 1\n\nPackage: b\nAuto-Installed: 0\n";
        assert_eq!(automatic(states).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn both_logs() {
        let text = "2018-01-12 03:11:04 startup archives unpack\n\
            2018-01-12 03:11:04 install memcached:amd64 <none> 1.4.14-0ubuntu9\n\
            2018-01-12 03:11:05 status installed memcached:amd64 1.4.14-0ubuntu9\n\
            2019-01-12 03:11:04 remove memcached:amd64 1.4.14-0ubuntu9 <none>\n";
        let events = log(text, |name| name == "memcached");
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].action, events[0].line), ("install", 2));
        assert_eq!(events[1].version, "1.4.14-0ubuntu9");
        let text = "\nStart-Date: 2018-01-12  03:11:03\nCommandline: apt-get -y install sogo\n\
            Requested-By: admin (1000)\n\
            Install: libx:amd64 (1.0, automatic), \
            memcached:amd64 (1.4.14-0ubuntu9, automatic), sogo:amd64 (3)\n\
            End-Date: 2018-01-12  03:11:09\n\n\
            Start-Date: 2018-02-12  03:11:03\nUpgrade: memcached:amd64 (1, 2)\n";
        let events = history(text, |name| name == "memcached");
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].automatic, Some(true));
        assert_eq!(events[0].command.as_deref(), Some("apt-get -y install sogo"));
        assert_eq!((events[1].version.as_str(), &events[1].command), ("2", &None));
    }
}
