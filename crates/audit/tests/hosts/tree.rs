//! A small host made of files: settings, `/proc`, package databases.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use kannuki_audit::{
    collect::{Request, collect},
    facts::{Facts, Package, PackageKind, Ruleset, Seen},
};

/// 2018-02-27 12:00:00 UTC, the day of the incident.
pub(crate) const AT: i64 = 1_519_732_800;
/// The machine was booted this long before.
const UP_S: i64 = 40 * 86_400;
/// Inode of the host's own network namespace.
const OWN: u64 = 4_026_531_840;

/// A host that is being made.
pub(crate) struct Tree {
    folder: tempfile::TempDir,
    tables: [String; 4],
    trie: String,
    v6: String,
}

/// A process of it.
pub(crate) struct Process<'p> {
    pub(crate) pid: u32,
    pub(crate) argv: &'p [&'p str],
    pub(crate) exe: &'p str,
    pub(crate) cgroup: &'p str,
    pub(crate) uid: u32,
    pub(crate) parent: u32,
    /// Inodes of its sockets.
    pub(crate) sockets: &'p [u64],
    /// Inode of its network namespace, if it is not the host's.
    pub(crate) namespace: Option<u64>,
    /// Its id inside a container.
    pub(crate) inner_pid: Option<u32>,
}

impl Default for Process<'_> {
    fn default() -> Self {
        Self {
            pid: 700,
            argv: &[],
            exe: "/usr/bin/memcached",
            cgroup: "0::/system.slice/memcached.service\n",
            uid: 112,
            parent: 1,
            sockets: &[],
            namespace: None,
            inner_pid: None,
        }
    }
}

impl Tree {
    pub(crate) fn new(os_release: &str, init: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree =
            Self { folder, tables: Default::default(), trie: String::new(), v6: String::new() };
        tree.file("/etc/os-release", os_release);
        tree.file("/etc/hostname", "host.example\n");
        tree.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nmemcache:x:112:112::/:/bin/false\n");
        tree.file("/proc/stat", &format!("cpu 1\nbtime {}\n", AT - UP_S));
        tree.file("/proc/sys/kernel/hostname", "host.example\n");
        tree.file("/proc/sys/kernel/osrelease", "3.10.0-693.el7.x86_64\n");
        tree.file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0\n");
        tree.file("/proc/sys/net/ipv6/bindv6only", "0\n");
        tree.file("/proc/modules", "");
        tree.file("/lib/modules/3.10.0-693.el7.x86_64/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
        tree.process(&Process {
            pid: 1,
            argv: &["/sbin/init"],
            exe: &format!("/usr/lib/systemd/{init}"),
            cgroup: "0::/init.scope\n",
            uid: 0,
            parent: 0,
            ..Process::default()
        });
        tree.file("/proc/1/comm", &format!("{init}\n"));
        tree.v4("127.0.0.1").v6("::1", "lo", 1)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// The root of the host.
    pub(crate) fn root(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, text).unwrap();
        let is_script = path.contains("/init.d/") || path.contains("/bin/");
        let mode = if is_script { 0o755 } else { 0o644 };
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(AT - UP_S).unwrap());
        fs::File::open(&place).unwrap().set_modified(time).unwrap();
        self
    }

    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        symlink(target, place).unwrap();
        self
    }

    pub(crate) fn v4(mut self, ip: &str) -> Self {
        self.trie.push_str(&format!("     |-- {ip}\n        /32 host LOCAL\n"));
        self
    }

    pub(crate) fn v6(mut self, ip: &str, name: &str, index: u32) -> Self {
        let ip: std::net::Ipv6Addr = ip.parse().unwrap();
        self.v6.push_str(&format!("{:032x} {index:02x} 40 00 80 {name}\n", u128::from(ip)));
        self
    }

    /// Adds a socket: table 0 to 3 (tcp, tcp6, udp, udp6), state, ends, inode.
    fn socket(&mut self, table: usize, state: &str, local: &str, remote: &str, inode: u64) {
        let line = format!("0: {local} {remote} {state} 0:0 00:0 0 112 0 {inode} 2 0 0\n");
        self.tables[table].push_str(&line);
    }

    /// A listening TCP socket and, on request, a UDP one, both at an address in the kernel's
    /// spelling ("0100007F", or 32 digits of IPv6).
    pub(crate) fn listens(mut self, address: &str, port: u16, inode: u64, udp: bool) -> Self {
        let six = usize::from(address.len() == 32);
        let none = "0".repeat(address.len());
        let local = format!("{address}:{port:04X}");
        let remote = format!("{none}:0000");
        self.socket(six, "0A", &local, &remote, inode);
        if udp {
            self.socket(2 + six, "07", &local, &remote, inode + 1);
        }
        self
    }

    /// An established connection between two IPv4 ends.
    pub(crate) fn connection(mut self, local: &str, remote: &str, inode: u64) -> Self {
        self.socket(0, "01", local, remote, inode);
        self
    }

    pub(crate) fn process(&self, process: &Process<'_>) -> &Self {
        let pid = process.pid;
        let name = process.argv[0].rsplit('/').next().unwrap();
        let name = &name[..name.len().min(15)];
        let stat = format!(
            "{pid} ({name}) S {} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 6000 0 0\n",
            process.parent
        );
        self.file(&format!("/proc/{pid}/stat"), &stat);
        let inner = process.inner_pid.map(|inner| format!("\t{inner}")).unwrap_or_default();
        let status = format!(
            "Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{pid}{inner}\n\
             CapEff:\t0000000000000000\n",
            uid = process.uid
        );
        self.file(&format!("/proc/{pid}/status"), &status);
        self.file(&format!("/proc/{pid}/cmdline"), &(process.argv.join("\0") + "\0"));
        self.file(&format!("/proc/{pid}/environ"), "PATH=/usr/bin\0LANG=C\0");
        self.file(&format!("/proc/{pid}/cgroup"), process.cgroup);
        self.link(&format!("/proc/{pid}/exe"), process.exe);
        let namespace = process.namespace.unwrap_or(OWN);
        self.link(&format!("/proc/{pid}/ns/net"), &format!("net:[{namespace}]"));
        fs::create_dir_all(self.path(&format!("/proc/{pid}/fd"))).unwrap();
        for (at, inode) in process.sockets.iter().enumerate() {
            let path = format!("/proc/{pid}/fd/{}", at + 3);
            self.link(&path, &format!("socket:[{inode}]"));
        }
        self
    }

    /// Collects, and takes out what only this run has.
    pub(crate) fn facts(&self) -> Facts {
        for (name, rows) in ["tcp", "tcp6", "udp", "udp6"].iter().zip(&self.tables) {
            self.file(&format!("/proc/net/{name}"), &format!("  sl\n{rows}"));
        }
        self.file("/proc/net/unix", "Num\n");
        self.file("/proc/net/fib_trie", &format!("Local:\n{}", self.trie));
        self.file("/proc/net/if_inet6", &self.v6);
        let mut facts = collect(&self.request()).unwrap();
        facts.collection.root = "/".to_owned();
        facts.collection.uid = 0;
        let owners = facts.starts.iter_mut().flat_map(|start| &mut start.files);
        owners.for_each(|file| file.uid = Some(0));
        let filters = facts.firewall.at_boot.iter_mut();
        filters.for_each(|file| file.uid = Some(0));
        if let Seen::Known(firewalld) = &mut facts.firewall.firewalld {
            firewalld.files.iter_mut().for_each(|file| file.uid = Some(0));
        }
        if let Seen::Known(ufw) = &mut facts.firewall.ufw {
            ufw.files.iter_mut().for_each(|file| file.uid = Some(0));
        }
        facts
    }

    pub(crate) fn request(&self) -> Request {
        Request {
            root: self.root().to_owned(),
            talk: true,
            probe: true,
            every_port: false,
            window: Duration::ZERO,
            by: "kannuki test".to_owned(),
            at: Some(AT),
        }
    }
}

/// What rpm would have said: it is asked on running hosts only.
pub(crate) fn rpm(facts: &mut Facts, version: &str, vendor: &str) {
    facts.packages.kinds = vec![PackageKind::Rpm];
    facts.packages.installed = Seen::Known(vec![Package {
        kind: PackageKind::Rpm,
        name: "memcached".to_owned(),
        version: version.to_owned(),
        source: None,
        arch: "x86_64".to_owned(),
        vendor: Some(vendor.to_owned()),
        status: String::new(),
        files: vec!["/usr/bin/memcached".to_owned(), "/etc/sysconfig/memcached".to_owned()],
        installed_at: Seen::Known(AT - UP_S),
        automatic: Seen::unseen(kannuki_audit::facts::Why::Absent, "rpm does not record it"),
        wanted_by: Vec::new(),
    }]);
}

/// Rules as a tool would have printed them.
pub(crate) fn rules(command: &[&str], text: &str) -> Seen<Ruleset> {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Seen::Known(Ruleset { command, text: text.to_owned() })
}
