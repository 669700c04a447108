//! The machine.

use kannuki_sys::netlink::{self, Subject};

use super::{CONFIG_BYTES_MAX, View, root::Part};
use crate::{
    facts::{Host, OsRelease, Seen, Why},
    formats::{time::Zone, variables},
};

/// Longest name of a machine, maker or data source that is kept, in bytes.
const NAME_BYTES_MAX: usize = 256;

pub(super) fn collect(view: &View) -> Host {
    let ipv6 = view.word("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    Host {
        name: name(view),
        os: os(view),
        kernel: view.word("/proc/sys/kernel/osrelease"),
        booted: booted(view),
        boot_id: view.word("/proc/sys/kernel/random/boot_id"),
        time_zone: time_zone(view),
        utc_offset_s: zone(view).map_or_else(
            || Seen::unseen(Why::Absent, "/etc/localtime does not tell"),
            |zone| match zone.offset(view.at) {
                Some(offset) => Seen::Known(offset),
                None => Seen::unseen(Why::Malformed, "/etc/localtime ends before this time"),
            },
        ),
        init: init(view),
        maker: maker(view),
        cloud: cloud(view),
        ipv6_disabled: match ipv6 {
            Seen::Known(text) => Seen::Known(text == "1"),
            Seen::Unseen(unseen) if view.proc && unseen.why == Why::Absent => Seen::Known(true),
            Seen::Unseen(unseen) => Seen::Unseen(unseen),
        },
        bind_v6_only: view.word("/proc/sys/net/ipv6/bindv6only").map(|text| text == "1"),
        inside_container: inside_container(view),
        packet_programs: packet_programs(view),
    }
}

/// Process 1; of a disk, what its `/sbin/init` leads to.
fn init(view: &View) -> Seen<String> {
    let told = view.word("/proc/1/comm");
    if view.proc {
        return told;
    }
    match view.root.link("/sbin/init") {
        Seen::Known(target) if target.ends_with("/systemd") => Seen::Known("systemd".to_owned()),
        _ => told,
    }
}

fn name(view: &View) -> Seen<String> {
    match view.word("/proc/sys/kernel/hostname") {
        Seen::Known(name) => Seen::Known(name),
        Seen::Unseen(_) => {
            view.root.quiet_text("/etc/hostname", NAME_BYTES_MAX).map(|name| name.trim().to_owned())
        }
    }
}

fn os(view: &View) -> Seen<OsRelease> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(text) = view.root.text(path, CONFIG_BYTES_MAX) {
            return Seen::Known(os_release(&text, path));
        }
    }
    // Before 2012 each family had a file of its own.
    for (path, id) in [
        ("/etc/centos-release", "centos"),
        ("/etc/redhat-release", "rhel"),
        ("/etc/alpine-release", "alpine"),
        ("/etc/SuSE-release", "suse"),
        ("/etc/debian_version", "debian"),
    ] {
        let Some(text) = view.root.text(path, CONFIG_BYTES_MAX) else { continue };
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        let version = line
            .split_ascii_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        return Seen::Known(OsRelease {
            id: id.to_owned(),
            version_id: version.unwrap_or_default().to_owned(),
            name: line,
            path: path.to_owned(),
            ..OsRelease::default()
        });
    }
    Seen::unseen(Why::Absent, "no os-release and no older file of that kind")
}

fn os_release(text: &str, path: &str) -> OsRelease {
    let all = variables::read(text);
    let value = |name: &str| {
        variables::last(&all, name).map(|variable| variable.value.clone()).unwrap_or_default()
    };
    OsRelease {
        id: value("ID"),
        id_like: value("ID_LIKE").split_ascii_whitespace().map(str::to_owned).collect(),
        version_id: value("VERSION_ID"),
        codename: value("VERSION_CODENAME"),
        name: value("PRETTY_NAME"),
        path: path.to_owned(),
    }
}

fn booted(view: &View) -> Seen<i64> {
    let stat = match view.word("/proc/stat") {
        Seen::Known(stat) => stat,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen),
    };
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    match line.and_then(|time| time.trim().parse().ok()) {
        Some(time) => Seen::Known(time),
        None => Seen::unseen(Why::Malformed, "/proc/stat has no btime"),
    }
}

fn time_zone(view: &View) -> Seen<String> {
    let link = view.root.link("/etc/localtime");
    if let Some(zone) = link.known().and_then(|link| Some(link.split_once("zoneinfo/")?.1)) {
        return Seen::Known(zone.to_owned());
    }
    let text = view.root.quiet_text("/etc/timezone", NAME_BYTES_MAX);
    text.map(|text| text.trim().to_owned())
}

/// The host's compiled time zone; a host without one keeps UTC.
pub(super) fn zone(view: &View) -> Option<Zone> {
    match view.root.read("/etc/localtime", Part::Whole, CONFIG_BYTES_MAX) {
        Seen::Known(file) => Zone::read(&file.bytes),
        Seen::Unseen(unseen) => (unseen.why == Why::Absent).then(Zone::default),
    }
}

fn maker(view: &View) -> Seen<String> {
    let vendor = view.word("/sys/class/dmi/id/sys_vendor");
    let product = view.word("/sys/class/dmi/id/product_name");
    match (vendor, product) {
        (Seen::Known(vendor), Seen::Known(product)) => Seen::Known(format!("{vendor} {product}")),
        (Seen::Known(one), _) | (_, Seen::Known(one)) => Seen::Known(one),
        (Seen::Unseen(unseen), _) => Seen::Unseen(unseen),
    }
}

fn cloud(view: &View) -> Seen<String> {
    let text = view.root.quiet_text("/var/lib/cloud/instance/datasource", CONFIG_BYTES_MAX);
    text.map(|text| text.trim().chars().take(NAME_BYTES_MAX).collect())
}

fn inside_container(view: &View) -> Option<String> {
    for (path, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if view.root.exists(path) {
            return Some(kind.to_owned());
        }
    }
    view.root.quiet_text("/run/systemd/container", NAME_BYTES_MAX).known().map(|s| s.trim().into())
}

/// `RTM_GETLINK` and `RTM_GETQDISC`, with the sizes of what narrows them.
const GET_LINK: (u16, usize) = (18, 16);
const GET_QDISC: (u16, usize) = (38, 20);
/// `IFLA_IFNAME`, `IFLA_XDP`, `IFLA_XDP_ATTACHED`, `TCA_KIND`.
const LINK_NAME: u16 = 3;
const LINK_XDP: u16 = 43;
const XDP_ATTACHED: u16 = 1;
const QDISC_KIND: u16 = 1;

fn packet_programs(view: &View) -> Seen<Vec<String>> {
    if !view.host {
        return Seen::unseen(Why::NotRunning, "only the running kernel tells");
    }
    let mut found = Vec::new();
    let links = match netlink::dump(Subject::Route, GET_LINK.0, &[0; GET_LINK.1]) {
        Ok(links) => links,
        Err(error) => return Seen::unseen(Why::Failed, format!("netlink: {error}")),
    };
    let mut names = Vec::new();
    for link in &links {
        let rest = link.body.get(GET_LINK.1..).unwrap_or_default();
        let value = |kind| netlink::attributes(rest).find(|(k, _)| *k == kind).map(|(_, v)| v);
        let name = text(value(LINK_NAME).unwrap_or_default());
        let xdp = value(LINK_XDP).unwrap_or_default();
        let mut xdp = netlink::attributes(xdp).filter(|(kind, _)| *kind == XDP_ATTACHED);
        if xdp.any(|(_, value)| value.first().is_some_and(|mode| *mode != 0)) {
            found.push(format!("XDP on {name}"));
        }
        let index = link.body.get(4..).and_then(<[u8]>::first_chunk).copied();
        names.push((index.map(i32::from_ne_bytes), name));
    }
    // Without these there are no tc programs; a kernel without tc refuses the question.
    let qdiscs = netlink::dump(Subject::Route, GET_QDISC.0, &[0; GET_QDISC.1]).unwrap_or_default();
    for qdisc in &qdiscs {
        let rest = qdisc.body.get(GET_QDISC.1..).unwrap_or_default();
        let mut kinds = netlink::attributes(rest).filter(|(kind, _)| *kind == QDISC_KIND);
        let kind = text(kinds.next().map(|(_, value)| value).unwrap_or_default());
        if kind == "clsact" || kind == "ingress" {
            let index = qdisc.body.get(4..).and_then(<[u8]>::first_chunk).copied();
            let index = index.map(i32::from_ne_bytes);
            let name = names.iter().find(|(i, _)| *i == index).map(|(_, name)| name.as_str());
            found.push(format!("tc {kind} on {}", name.unwrap_or("?")));
        }
    }
    Seen::Known(found)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}
