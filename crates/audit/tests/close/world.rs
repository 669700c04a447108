//! A small host to change: files below a folder, and a service that reads them when it is started.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use kannuki_audit::{
    apply::{Held, Ledger, Manifest, Ran, Surroundings},
    facts::{Facts, Protocol, Seen, StartWord},
    plan::{Method, Plan},
    vulnerabilities::Table,
};

use super::{facts, planned};

/// The file that is edited.
pub(crate) const CONF: &str = "etc/memcached.conf";

/// The host. What it must not forget when its program is killed is in its folder.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    /// Commands that fail from now on.
    pub(crate) broken: Vec<&'static str>,
    /// Steps until the program is killed.
    pub(crate) kill_after: Option<u32>,
    /// Changes the file beside us when this is reached.
    pub(crate) disturb_at: Option<&'static str>,
    /// Somebody asks it to stop when this is reached.
    pub(crate) stop_at: Option<&'static str>,
    /// Fills the disk up when this is reached.
    pub(crate) fill_at: Option<&'static str>,
    is_stopped: bool,
    time: i64,
}

impl World {
    /// A host that is open as the fixture is.
    pub(crate) fn new(folder: &Path) -> Self {
        let world = Self::again(folder);
        fs::create_dir_all(folder.join("etc")).unwrap();
        let text = world.fixture().starts[0].files[1].text.known().cloned().unwrap();
        fs::write(folder.join(CONF), &text).unwrap();
        fs::write(folder.join("running"), &text).unwrap();
        world
    }

    /// The same host, seen by another program.
    pub(crate) fn again(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self {
            folder,
            broken: Vec::new(),
            kill_after: None,
            disturb_at: None,
            stop_at: None,
            fill_at: None,
            is_stopped: false,
            time: 1_519_732_800,
        }
    }

    fn fixture(&self) -> Facts {
        facts("ubuntu")
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::at(self.folder.join("ledger"), &self.folder)
    }

    pub(crate) fn held(&self) -> Held {
        self.ledger().hold().unwrap()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    pub(crate) fn plan(&mut self, method: Method) -> (Facts, Plan) {
        let facts = self.look().unwrap();
        let plan = planned(&facts, Some(method));
        (facts, plan)
    }

    pub(crate) fn apply(&mut self) -> Manifest {
        let (facts, plan) = self.plan(Method::Bind);
        self.held().apply(plan, &facts, &Table::embedded(), self).unwrap()
    }

    fn words(text: &str) -> Vec<String> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| line.starts_with('-') && !line.starts_with("-d"));
        let words = lines.flat_map(str::split_whitespace).map(str::to_owned);
        std::iter::once("/usr/bin/memcached".to_owned()).chain(words).collect()
    }
}

impl Surroundings for World {
    fn run(&mut self, argv: &[String]) -> Ran {
        let line = argv.join(" ");
        let broken = self.broken.iter().any(|word| line.contains(word));
        if !broken && line == "systemctl restart memcached.service" {
            fs::copy(self.folder.join(CONF), self.folder.join("running")).unwrap();
        }
        let said = if broken { "exit 1: no" } else { "" };
        Ran { at: self.time, argv: argv.to_vec(), ok: !broken, said: said.to_owned() }
    }

    fn has(&self, program: &str) -> bool {
        !self.broken.contains(&program)
    }

    fn ask(&mut self, _words: &[&str]) -> Option<String> {
        Some("ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n".to_owned())
    }

    fn look(&mut self) -> Result<Facts, String> {
        let mut facts = self.fixture();
        let (conf, running) = (self.read(CONF), self.read("running"));
        let file = &mut facts.starts[0].files[1];
        file.sha256 = Some(hash(&self.folder.join(CONF)));
        file.text = Seen::Known(conf.clone());
        let word = |text| StartWord { text, path: "/etc/memcached.conf".to_owned(), line: 1 };
        facts.starts[0].commands[0].words = Self::words(&conf).into_iter().map(word).collect();
        let (Seen::Known(processes), Seen::Known(sockets)) =
            (&mut facts.processes, &mut facts.sockets)
        else {
            return Err("the fixture shows both".to_owned());
        };
        processes[0].argv = Seen::Known(Self::words(&running));
        if running.contains("-l 127.0.0.1") {
            sockets.retain(|socket| socket.protocol == Protocol::Tcp);
            let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 11_211);
            sockets.iter_mut().for_each(|socket| socket.local = Some(local));
        }
        facts.talks.clear();
        facts.usage.clear();
        facts.probes.clear();
        Ok(facts)
    }

    fn answers(&mut self, _protocol: Protocol, _address: SocketAddr) -> bool {
        !self.read("running").contains("-l 127.0.0.1")
    }

    fn now(&mut self) -> i64 {
        self.time += 1;
        self.time
    }

    fn pause(&mut self) {}

    fn is_unwanted(&mut self) -> bool {
        self.is_stopped
    }

    fn reached(&mut self, what: &str) {
        if self.disturb_at == Some(what) {
            let text = self.read(CONF) + "# somebody else\n";
            fs::write(self.folder.join(CONF), text).unwrap();
            self.disturb_at = None;
        }
        self.is_stopped |= self.stop_at == Some(what);
        if self.fill_at == Some(what) {
            fill(&self.folder);
        }
        let Some(left) = &mut self.kill_after else { return };
        if *left == 0 {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        *left -= 1;
    }
}

/// The file that fills a disk up.
pub(crate) const FILLER: &str = "filler";

/// Takes what is left of the disk, to the last byte.
pub(crate) fn fill(folder: &Path) {
    use std::io::Write as _;
    let path = folder.join(FILLER);
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    for size in [4096, 1] {
        let block = vec![b'x'; size];
        while file.write_all(&block).is_ok() {}
    }
}

fn hash(path: &Path) -> String {
    use sha2::Digest as _;
    let bytes = fs::read(path).unwrap();
    sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
