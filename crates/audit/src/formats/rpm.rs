//! What `rpm` prints when asked, and the logs of yum and dnf.
//!
//! The database itself is Berkeley DB, SQLite or ndb with binary headers; it is read by asking
//! `rpm`, never by ourselves.

use super::{dpkg::Event, time};

/// The question: fields parted by tabs, one package a line.
pub(crate) const QUERY: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\t\
    %{SOURCERPM}\\t%{VENDOR}\\t%{INSTALLTIME}\\n";

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    pub(crate) source: Option<String>,
    pub(crate) vendor: Option<String>,
    pub(crate) installed_at: Option<i64>,
}

/// Reads the answer to [`QUERY`].
pub(crate) fn installed(text: &str) -> impl Iterator<Item = Installed> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, version, arch, source, vendor, time] = fields.as_slice() else { return None };
        let known = |text: &str| (text != "(none)" && !text.is_empty()).then(|| text.to_owned());
        Some(Installed {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            arch: (*arch).to_owned(),
            source: known(source),
            vendor: known(vendor),
            installed_at: time.trim().parse().ok(),
        })
    })
}

/// Reads `dnf.rpm.log` (`2024-01-12T03:11:04+0900 SUBDEBUG Installed: memcached-1.6.9-7.el9`)
/// and `yum.log` (`Jan 12 03:11:04 Installed: memcached-1.4.15-10.el7_3.1.x86_64`), which names no
/// year.
pub(crate) fn log(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Event> {
    let read = |(line, text): (u32, &str)| {
        let (action, at, word) = [
            ("install", "Installed: "),
            ("upgrade", "Updated: "),
            ("upgrade", "Upgraded: "),
            ("upgrade", "Upgrade: "),
            ("remove", "Erased: "),
            ("remove", "Removed: "),
        ]
        .into_iter()
        .find_map(|(action, word)| text.find(word).map(|at| (action, at, word)))?;
        let (head, package) = (text.get(..at)?, text.get(at + word.len()..)?.trim());
        let (name, version) = name_and_version(package)?;
        let when = head.trim().trim_end_matches("SUBDEBUG").trim_end_matches("INFO").trim();
        wanted(name).then(|| Event {
            when: when.to_owned(),
            clock: time::read(when),
            action,
            package: name.to_owned(),
            version: version.to_owned(),
            command: None,
            requested_by: None,
            automatic: None,
            line,
        })
    };
    super::lines(text).filter_map(read).collect()
}

/// `[EPOCH:]NAME-VERSION-RELEASE.ARCH`: the two last dashes part the name from the rest. Removals
/// may give the name alone.
fn name_and_version(package: &str) -> Option<(&str, &str)> {
    let package = match package.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => package,
    };
    let Some((head, _)) = package.rsplit_once('-') else { return Some((package, "")) };
    let (name, _) = head.rsplit_once('-')?;
    let version = package.get(name.len() + 1..)?;
    let version = version.rsplit_once('.').map_or(version, |(version, _)| version);
    Some((name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_rpm() {
        let text = "memcached\t0:1.4.15-10.el7_3.1\tx86_64\t\
            memcached-1.4.15-10.el7_3.1.src.rpm\tCentOS\t1515726664\n\
            gpg-pubkey\tx-y\t(none)\t(none)\t(none)\t1\nshort\n";
        let all: Vec<_> = installed(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].installed_at, Some(1_515_726_664));
        assert_eq!((all[1].vendor.clone(), all[1].source.clone()), (None, None));
    }

    #[test]
    fn the_logs_of_yum_and_dnf() {
        let text = "Jan 12 03:11:04 Installed: memcached-1.4.15-10.el7_3.1.x86_64\n\
            Jan 12 03:11:05 Installed: libmemcached-1.0.16-5.el7.x86_64\n\
            Feb 01 00:00:00 Erased: memcached-1.4.15-10.el7_3.1.x86_64\n\
            2024-01-12T03:11:04+0900 SUBDEBUG Upgraded: 0:memcached-1.6.9-7.el9.x86_64\n";
        let events = log(text, |name| name == "memcached");
        assert_eq!(events.len(), 3);
        assert_eq!(events[0].version, "1.4.15-10.el7_3.1");
        assert_eq!((events[0].when.as_str(), events[0].clock), ("Jan 12 03:11:04", None));
        assert_eq!(events[1].action, "remove");
        assert_eq!(events[2].clock.unwrap().1, Some(32_400));
    }
}
