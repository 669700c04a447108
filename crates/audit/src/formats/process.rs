//! What the kernel says about a process.

use crate::facts::{Container, Starter};

/// Of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) parent: u32,
    /// Clock ticks between boot and start.
    pub(crate) start_ticks: u64,
}

/// Of `/proc/PID/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The effective user.
    pub(crate) uid: Option<u32>,
    /// The id in the innermost namespace, if there is more than one.
    pub(crate) inner_pid: Option<u32>,
    /// Effective capabilities.
    pub(crate) capabilities: Option<u64>,
}

/// Reads `/proc/PID/stat`; the name in brackets may contain brackets and blanks itself.
pub(crate) fn stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { name, parent, start_ticks })
}

/// Reads `/proc/PID/status`.
pub(crate) fn status(text: &str) -> Status {
    let mut status = Status::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let mut words = value.split_ascii_whitespace();
        match key {
            "Uid" => status.uid = words.nth(1).and_then(|uid| uid.parse().ok()),
            "NSpid" if words.clone().count() > 1 => {
                status.inner_pid = words.last().and_then(|pid| pid.parse().ok());
            }
            "CapEff" => {
                let mask = words.next().and_then(|mask| u64::from_str_radix(mask, 16).ok());
                status.capabilities = mask;
            }
            _ => {}
        }
    }
    status
}

/// The inode of a namespace link: `net:[4026531840]`.
pub(crate) fn namespace(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// The inode of a socket's link: `socket:[1234]`.
pub(crate) fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The control group of `/proc/PID/cgroup`: systemd's, else the unified one, else the longest.
pub(crate) fn cgroup(text: &str) -> Option<&str> {
    let groups = || {
        text.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        })
    };
    let of = |name: &str| groups().find(|(kind, _)| *kind == name).map(|(_, path)| path);
    let unified = of("").filter(|path| *path != "/");
    of("name=systemd")
        .filter(|path| *path != "/")
        .or(unified)
        .or_else(|| groups().map(|(_, path)| path).max_by_key(|path| path.len()))
}

/// Who started a process, as far as its control group tells.
pub(crate) fn starter(cgroup: &str) -> Option<Starter> {
    let parts: Vec<&str> = cgroup.split('/').filter(|part| !part.is_empty()).collect();
    if container(cgroup).is_some() {
        return Some(Starter::Container);
    }
    if let Some(service) =
        cgroup.strip_prefix("/openrc.").or_else(|| cgroup.strip_prefix("/openrc/"))
    {
        return Some(Starter::OpenRc { service: service.trim_matches('/').to_owned() });
    }
    let user = parts
        .iter()
        .find_map(|part| part.strip_prefix("user@")?.strip_suffix(".service")?.parse::<u32>().ok());
    // Of nested units the innermost counts, except for the user's own instance.
    let unit = parts.iter().rev().find(|part| part.ends_with(".service"));
    if let Some(unit) = unit.filter(|unit| !unit.starts_with("user@")) {
        if *unit == "cron.service" || *unit == "crond.service" {
            return Some(Starter::Cron);
        }
        return Some(Starter::Systemd { unit: (*unit).to_owned(), user });
    }
    let session = parts.iter().rev().find_map(|part| {
        part.strip_prefix("session-").and_then(|part| part.strip_suffix(".scope"))
    });
    if let Some(session) = session {
        return Some(Starter::Session { session: session.to_owned() });
    }
    let scope = parts.iter().rev().find(|part| part.ends_with(".scope"));
    scope.map(|scope| Starter::Systemd { unit: (*scope).to_owned(), user })
}

/// Digits of a container's id.
const CONTAINER_ID_LEN: usize = 64;

/// The container that a control group belongs to.
pub(crate) fn container(cgroup: &str) -> Option<Container> {
    let made = |engine: &str, id: &str| Container {
        engine: engine.to_owned(),
        id: id.to_owned(),
        name: None,
        image: None,
        restart: None,
    };
    let is_id =
        |id: &&str| id.len() == CONTAINER_ID_LEN && id.bytes().all(|b| b.is_ascii_hexdigit());
    for part in cgroup.split('/').rev() {
        let stem = part.strip_suffix(".scope").unwrap_or(part);
        for (prefix, engine) in [
            ("docker-", "docker"),
            ("libpod-", "podman"),
            ("cri-containerd-", "kubernetes"),
            ("crio-", "kubernetes"),
        ] {
            if let Some(id) = stem.strip_prefix(prefix).filter(is_id) {
                return Some(made(engine, id));
            }
        }
        if let Some(name) = stem.strip_prefix("lxc.payload.") {
            return Some(made("lxc", name));
        }
        if is_id(&stem) {
            let engine = match cgroup {
                path if path.contains("/kubepods") => "kubernetes",
                path if path.contains("/docker") => "docker",
                path if path.contains("libpod") => "podman",
                _ => "containerd",
            };
            return Some(made(engine, stem));
        }
    }
    let nspawn = cgroup.split('/').find_map(|part| part.strip_prefix("machine-"));
    let lxc = cgroup.strip_prefix("/lxc/").and_then(|rest| rest.split('/').next());
    match (nspawn, lxc) {
        (Some(name), _) => Some(made("nspawn", name.strip_suffix(".scope").unwrap_or(name))),
        (None, Some(name)) => Some(made("lxc", name)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_brackets() {
        let text = "7 (a) S (b)) S 1 7 7 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 10 0 998877 1 2 3";
        let expected = Stat { name: "a) S (b)".to_owned(), parent: 1, start_ticks: 998_877 };
        assert_eq!(stat(text), Some(expected));
        assert_eq!(stat("7 (x"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn the_effective_user_and_the_inner_pid() {
        let text = "Name:\tm\nUid:\t0\t112\t112\t112\nNSpid:\t4242\t1\nCapEff:\t0000003fffffffff\n";
        let expected =
            Status { uid: Some(112), inner_pid: Some(1), capabilities: Some(0x3f_ffff_ffff) };
        assert_eq!(status(text), expected);
        assert_eq!(status("NSpid:\t4242\n").inner_pid, None);
    }

    #[test]
    fn control_groups_name_the_starter() {
        let unit = |unit: &str| Starter::Systemd { unit: unit.to_owned(), user: None };
        assert_eq!(starter("/system.slice/memcached.service"), Some(unit("memcached.service")));
        assert_eq!(
            starter("/system.slice/system-memcached.slice/memcached@11212.service"),
            Some(unit("memcached@11212.service"))
        );
        assert_eq!(
            starter("/user.slice/user-1000.slice/session-3.scope"),
            Some(Starter::Session { session: "3".to_owned() })
        );
        assert_eq!(
            starter("/user.slice/user-1000.slice/user@1000.service/app.slice/m.service"),
            Some(Starter::Systemd { unit: "m.service".to_owned(), user: Some(1000) })
        );
        assert_eq!(
            starter("/openrc.memcached"),
            Some(Starter::OpenRc { service: "memcached".into() })
        );
        assert_eq!(starter("/system.slice/cron.service"), Some(Starter::Cron));
        assert_eq!(starter("/"), None);
    }

    #[test]
    fn control_groups_name_the_container() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (path, engine) in [
            (format!("/system.slice/docker-{id}.scope"), "docker"),
            (format!("/docker/{id}"), "docker"),
            (format!("/machine.slice/libpod-{id}.scope/container"), "podman"),
            (format!("/kubepods/burstable/pod1/{id}"), "kubernetes"),
        ] {
            let container = container(&path).unwrap();
            assert_eq!((container.engine.as_str(), container.id.as_str()), (engine, id), "{path}");
            assert_eq!(starter(&path), Some(Starter::Container));
        }
        assert_eq!(container("/lxc/web/x").unwrap().id, "web");
        assert_eq!(container("/system.slice/memcached.service"), None);
    }

    #[test]
    fn the_telling_control_group_is_chosen() {
        let old = "11:memory:/system.slice/m.service\n1:name=systemd:/system.slice/m.service\n";
        assert_eq!(cgroup(old), Some("/system.slice/m.service"));
        assert_eq!(cgroup("0::/system.slice/m.service\n"), Some("/system.slice/m.service"));
        assert_eq!(cgroup("4:cpu:/docker/abc\n1:name=systemd:/\n0::/\n"), Some("/docker/abc"));
        assert_eq!(cgroup(""), None);
    }
}
