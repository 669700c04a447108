//! Disks of others, given to `close --root`: nothing is followed out of them, waited for, or printed
//! raw, and what is planned for them is what `patch` takes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kannuki_audit::{
    apply,
    collect::{Request, collect},
    facts::Facts,
    plan::{Method, Plan, pages::Page},
    texts::{Lang, Texts},
};

use super::planned;

const WRAPPER: &str = "[Unit]\nDescription=memcached\n[Service]\n\
    ExecStart=/usr/share/memcached/scripts/systemd-memcached-wrapper /etc/memcached.conf\n";
const WANTS: &str = "etc/systemd/system/multi-user.target.wants";
const SECRET: &str = "outside of the disk";

/// A folder with a disk in it, and a secret beside that.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(disk.folder.path().join("secret"), format!("-l 0.0.0.0\n# {SECRET}\n")).unwrap();
        disk.link("/lib/systemd/systemd", "sbin/init");
        disk.write("etc/hostname", "victim\n");
        disk.write("etc/os-release", "ID=debian\nNAME=Debian\n");
        disk.write("lib/systemd/system/memcached.service", WRAPPER);
        disk.link("/lib/systemd/system/memcached.service", &format!("{WANTS}/memcached.service"));
        disk.write("etc/memcached.conf", "# mine\n-m 64\n-l 0.0.0.0\n-U 11211\n");
        disk
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.root().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&place);
        place
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.place(path), text).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.place(path)).unwrap();
    }

    fn fifo(&self, path: &str) {
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, self.place(path), kind, mode, 0).unwrap();
    }

    fn facts(&self) -> Facts {
        let request = Request {
            root: self.root(),
            talk: false,
            probe: false,
            every_port: false,
            window: Duration::ZERO,
            by: "test".to_owned(),
            at: Some(1_519_732_800),
        };
        collect(&request).unwrap()
    }

    fn plan(&self, method: Option<Method>) -> Plan {
        planned(&self.facts(), method)
    }

    fn page(&self, plan: &Plan, lang: Lang) -> String {
        let texts = Texts::of(lang);
        Page { texts: &texts, columns: 80, root: &self.root().to_string_lossy() }.preview(plan)
    }
}

fn must_be_clean(shown: &str) {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!shown.contains(steers), "{shown:?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn links_out_of_the_disk_are_not_followed() {
    let disk = Disk::new();
    let secret = disk.folder.path().join("secret");
    let out = ["../../secret".to_owned(), secret.to_string_lossy().into_owned()];
    for target in out {
        disk.link(&target, "etc/memcached.conf");
        for method in [None, Some(Method::Bind), Some(Method::Stop), Some(Method::Firewall)] {
            let plan = disk.plan(method);
            let json = serde_json::to_string(&plan).unwrap();
            assert!(!json.contains(SECRET), "{target}: {json}");
            must_be_clean(&disk.page(&plan, Lang::En));
        }
    }
    // A folder of drop-ins too, and the folder of the records.
    disk.link("../../../..", "etc/systemd/system/memcached.service.d");
    disk.link(disk.folder.path().to_str().unwrap(), "var/lib/kannuki-close");
    let run = disk.folder.path().join("20180227T000000Z-bind");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("manifest.json"), "{").unwrap();
    assert!(apply::listed_on_disk(&disk.root()).unwrap().is_empty());
    must_be_clean(&disk.page(&disk.plan(None), Lang::En));
    assert_eq!(fs::read_to_string(secret).unwrap(), format!("-l 0.0.0.0\n# {SECRET}\n"));
}

#[test]
fn fifos_and_devices_are_not_waited_for() {
    let disk = Disk::new();
    disk.fifo("etc/memcached.conf");
    disk.fifo("etc/systemd/system/memcached.service.d/a.conf");
    disk.link("/dev/zero", "etc/systemd/system/memcached.service.d/b.conf");
    disk.fifo("etc/kannuki/firewall.nft");
    disk.fifo("var/lib/kannuki-close/20180227T000000Z-bind/manifest.json");
    for method in [None, Some(Method::Bind), Some(Method::Stop), Some(Method::Firewall)] {
        must_be_clean(&disk.page(&disk.plan(method), Lang::En));
    }
    let refused = apply::listed_on_disk(&disk.root()).unwrap_err().to_string();
    assert!(refused.contains("no regular file"), "{refused}");
}

#[test]
fn names_with_escapes_are_shown_as_text() {
    let disk = Disk::new();
    let evil = "memcached@\u{1b}[2J\u{9b}31m\u{202e}'$(reboot)'.service";
    disk.write("lib/systemd/system/memcached@.service", WRAPPER);
    disk.link("/lib/systemd/system/memcached@.service", &format!("{WANTS}/{evil}"));
    disk.write("etc/hostname", "\u{1b}[31mroot\n");
    disk.write("etc/memcached.conf", "# \u{1b}]0;owned\u{7}\n-l 0.0.0.0\n-U 11211\n");
    for method in [None, Some(Method::Bind), Some(Method::Stop), Some(Method::Firewall)] {
        for lang in Lang::ALL {
            let shown = disk.page(&disk.plan(method), lang);
            must_be_clean(&shown);
            assert!(!shown.contains('\u{202e}'), "{shown:?}");
        }
    }
    let stops = disk.page(&disk.plan(Some(Method::Stop)), Lang::En);
    assert!(stops.contains("memcached@"), "the unit is found: {stops}");
}

/// What the last line says is done: the disk gets exactly what was planned.
#[test]
fn what_is_shown_for_a_disk_is_what_patch_takes() {
    for lang in Lang::ALL {
        let disk = Disk::new();
        let plan = disk.plan(Some(Method::Bind));
        let shown = disk.page(&plan, lang);
        let last = shown.lines().last().unwrap().trim();
        let root = disk.root();
        let root = root.to_str().unwrap();
        let line = format!("kannuki close --root {root} --method bind | patch -d {root} -p1");
        assert_eq!(last, line, "{shown}");
        let Some(()) = patched(&root, &shown) else { return };
        let conf = fs::read_to_string(disk.root().join("etc/memcached.conf")).unwrap();
        assert_eq!(conf, plan.files[0].after);
        assert!(disk.plan(Some(Method::Bind)).is_empty(), "and it is shut");
    }
}

fn patched(root: &impl AsRef<Path>, shown: &str) -> Option<()> {
    use std::io::Write as _;
    let mut command = Command::new("patch");
    command.arg("-d").arg(root.as_ref()).args(["-p1", "--batch"]);
    let child = command.stdin(std::process::Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CI").is_none(), "`apt-get install patch`");
        eprintln!("not patched: patch is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(shown.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{shown}");
    Some(())
}

#[test]
fn commands_for_a_disk_say_which_disk() {
    let disk = Disk::new();
    let root = disk.root();
    let root = root.to_str().unwrap();
    let stops = disk.page(&disk.plan(Some(Method::Stop)), Lang::En);
    assert!(stops.contains(&format!("$ systemctl --root={root} mask memcached.service")));
    assert!(!stops.contains("systemctl stop"), "nothing of it runs: {stops}");
    let last = stops.lines().last().unwrap().trim();
    assert_eq!(last, format!("kannuki close --root {root} --method stop"));
    let filter = disk.page(&disk.plan(Some(Method::Firewall)), Lang::En);
    let enable = format!("$ systemctl --root={root} enable kannuki-firewall.service");
    assert!(filter.contains(&enable) && filter.contains("dport 11211 counter drop"), "{filter}");
    assert!(!filter.contains("daemon-reload") && !filter.contains("restart kannuki"), "{filter}");
}

#[test]
fn the_records_of_a_disk_are_listed() {
    let disk = Disk::new();
    let world = super::world::World::new(disk.folder.path());
    let run = { world }.apply();
    let place = disk.place(&format!("var/lib/kannuki-close/{}/manifest.json", run.id));
    let ledger = disk.folder.path().join("ledger").join(&run.id);
    fs::copy(ledger.join("manifest.json"), place).unwrap();
    let listed = apply::listed_on_disk(&disk.root()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].run, run);
    // The disk's settings are neither text of that run.
    assert_eq!(listed[0].standing, [Some(apply::Standing::Theirs)]);
}
