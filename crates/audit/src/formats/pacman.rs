//! Arch's database and log.

use super::{dpkg::Event, time};

/// The value below a heading of `/var/lib/pacman/local/*/desc` (`%NAME%`).
pub(crate) fn value<'t>(text: &'t str, heading: &str) -> Option<&'t str> {
    let mut lines = text.lines();
    lines.find(|line| line.trim().trim_matches('%') == heading && line.starts_with('%'))?;
    lines.next().map(str::trim).filter(|value| !value.is_empty())
}

/// Reads `pacman.log`: `[2018-01-12T03:11:04+0000] [ALPM] installed memcached (1.6.18-1)`; the
/// command stands in a line of its own before.
pub(crate) fn log(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Event> {
    let mut command: Option<String> = None;
    let mut events = Vec::new();
    for (line, text) in super::lines(text) {
        let Some((when, rest)) = text.strip_prefix('[').and_then(|text| text.split_once("] "))
        else {
            continue;
        };
        if let Some(ran) = rest.strip_prefix("[PACMAN] Running '") {
            command = Some(ran.trim_end_matches('\'').to_owned());
        }
        let Some(rest) = rest.strip_prefix("[ALPM] ") else { continue };
        let mut words = rest.split_ascii_whitespace();
        let action = match words.next() {
            Some("installed") => "install",
            Some("upgraded") => "upgrade",
            Some("reinstalled") => "reinstall",
            Some("removed") => "remove",
            _ => continue,
        };
        let Some(package) = words.next().filter(|name| wanted(name)) else { continue };
        let version = words.last().unwrap_or_default().trim_matches(['(', ')']);
        events.push(Event {
            when: when.to_owned(),
            clock: time::read(when),
            action,
            package: package.to_owned(),
            version: version.to_owned(),
            command: command.clone(),
            requested_by: None,
            automatic: None,
            line,
        });
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_and_the_log() {
        let desc = "%NAME%\nmemcached\n\n%VERSION%\n1.6.45-1\n\n%REASON%\n1\n";
        assert_eq!(value(desc, "VERSION"), Some("1.6.45-1"));
        assert_eq!(value(desc, "NONE"), None);
        let text = "[2018-01-12T03:11:00+0000] [PACMAN] Running 'pacman -S memcached'\n\
            [2018-01-12T03:11:04+0000] [ALPM] installed memcached (1.6.18-1)\n\
            [2018-01-13T03:11:04+0000] [ALPM] upgraded memcached (1.6.18-1 -> 1.6.19-1)\n";
        let events = log(text, |name| name == "memcached");
        assert_eq!(events[0].command.as_deref(), Some("pacman -S memcached"));
        assert_eq!((events[1].action, events[1].version.as_str()), ("upgrade", "1.6.19-1"));
    }
}
