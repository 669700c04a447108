//! Settings of local programs that name a cache, in the places where such settings usually stand.

use super::{CONFIG_BYTES_MAX, View, root::Kind};
use crate::{
    facts::{Reference, ReferenceKind as What, Seen, Unseen, Why},
    formats::reference,
};

/// Most files that are read.
const FILES_MAX: usize = 20_000;
/// Most folders that are looked into.
const FOLDERS_MAX: usize = 20_000;
/// Most references that stand in the facts.
const REFERENCES_MAX: usize = 500;

/// Folders of settings: where, how deep, which names, whose.
const SETTINGS: &[(&str, usize, &str, What)] = &[
    ("/etc/php", 4, ".ini", What::Php),
    ("/etc/php.d", 1, ".ini", What::Php),
    ("/etc/php7", 2, ".ini", What::Php),
    ("/etc/php8", 2, ".ini", What::Php),
    ("/etc/php81", 2, ".ini", What::Php),
    ("/etc/php82", 2, ".ini", What::Php),
    ("/etc/php83", 2, ".ini", What::Php),
    ("/etc/php-fpm.d", 1, ".conf", What::Php),
    ("/etc/opt/remi", 4, ".ini", What::Php),
    ("/usr/local/etc", 2, ".ini", What::Php),
    ("/etc/nginx", 3, "", What::Nginx),
    ("/etc/httpd", 3, ".conf", What::Apache),
    ("/etc/apache2", 3, "", What::Apache),
    ("/etc/sogo", 1, ".conf", What::Mail),
    ("/etc/dovecot", 2, "", What::Mail),
    ("/etc/keystone", 1, ".conf", What::OpenStack),
    ("/etc/nova", 1, ".conf", What::OpenStack),
    ("/etc/glance", 1, ".conf", What::OpenStack),
    ("/etc/cinder", 1, ".conf", What::OpenStack),
    ("/etc/neutron", 1, ".conf", What::OpenStack),
    ("/etc/swift", 1, ".conf", What::OpenStack),
    ("/etc/openstack-dashboard", 2, ".py", What::OpenStack),
];

/// Single files.
const FILES: &[(&str, What)] = &[
    ("/etc/php.ini", What::Php),
    ("/etc/mediawiki/LocalSettings.php", What::PhpApplication),
    ("/etc/gitlab/gitlab.rb", What::Ruby),
];

/// Folders in which sites and applications live.
const SITES: &[&str] =
    &["/var/www", "/srv", "/opt", "/home", "/usr/share/nginx", "/usr/share/wordpress"];
/// How deep below them settings are looked for.
const SITE_DEPTH_MAX: usize = 6;

/// Names of applications' files that name a cache if they use one.
const APPLICATION_FILES: &[(&str, What)] = &[
    ("object-cache.php", What::WordPress),
    ("wp-config.php", What::WordPress),
    ("master.php", What::WordPress),
    ("settings.php", What::PhpApplication),
    ("config.php", What::PhpApplication),
    ("LocalSettings.php", What::PhpApplication),
    ("env.php", What::PhpApplication),
    ("cache.php", What::PhpApplication),
    (".user.ini", What::Php),
    (".env", What::DotEnv),
    ("settings.py", What::Python),
    ("local_settings.py", What::Python),
    ("production.rb", What::Ruby),
    ("application.yml", What::Other),
    ("application.properties", What::Other),
];

/// Folders that hold other people's code and never this host's settings.
const SKIPPED: &[&str] = &["node_modules", ".git", "vendor", "cache", "uploads", "site-packages"];

pub(super) fn collect(view: &View) -> Seen<Vec<Reference>> {
    let mut search = Search { view, found: Vec::new(), files: 0, folders: 0, refused: 0 };
    for (path, what) in FILES {
        search.read(path, *what);
    }
    for (folder, depth, ending, what) in SETTINGS {
        search.settings(folder, *depth, ending, *what);
    }
    for folder in SITES {
        search.site(folder);
    }
    if search.refused > 0 {
        let detail = format!("{} files or folders are not readable", search.refused);
        view.root.gap("settings of local programs", &Unseen { why: Why::NotPermitted, detail });
    }
    if search.is_full() {
        let detail = "there are more files, folders or lines than the bounds allow".to_owned();
        view.root.gap("settings of local programs", &Unseen { why: Why::TooLarge, detail });
    }
    Seen::Known(search.found)
}

struct Search<'v> {
    view: &'v View,
    found: Vec<Reference>,
    files: usize,
    folders: usize,
    refused: usize,
}

impl Search<'_> {
    fn is_full(&self) -> bool {
        self.files >= FILES_MAX || self.folders >= FOLDERS_MAX || self.found.len() >= REFERENCES_MAX
    }

    fn read(&mut self, path: &str, what: What) {
        if self.is_full() {
            return;
        }
        self.files += 1;
        match self.view.root.quiet_text(path, CONFIG_BYTES_MAX) {
            Seen::Known(text) => self.found.extend(reference::read(&text, path, what)),
            Seen::Unseen(unseen) => {
                self.refused += usize::from(unseen.why == Why::NotPermitted);
            }
        }
    }

    fn settings(&mut self, folder: &str, depth: usize, ending: &str, what: What) {
        for (path, kind) in self.names(folder) {
            match kind {
                Kind::Folder if depth > 1 => self.settings(&path, depth - 1, ending, what),
                Kind::File if path.ends_with(ending) => self.read(&path, what),
                _ => {}
            }
        }
    }

    fn site(&mut self, top: &str) {
        let mut folders = vec![(top.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for (path, kind) in self.names(&folder) {
                let name = path.rsplit('/').next().unwrap_or_default();
                match kind {
                    Kind::Folder if depth < SITE_DEPTH_MAX && !SKIPPED.contains(&name) => {
                        folders.push((path, depth + 1));
                    }
                    Kind::File => {
                        let known = APPLICATION_FILES.iter().find(|(file, _)| *file == name);
                        if let Some((_, what)) = known {
                            self.read(&path, *what);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn names(&mut self, folder: &str) -> Vec<(String, Kind)> {
        if self.is_full() {
            return Vec::new();
        }
        self.folders += 1;
        match self.view.root.names(folder) {
            Seen::Known(names) => names
                .into_iter()
                .map(|name| (format!("{folder}/{}", name.text), name.kind))
                .collect(),
            Seen::Unseen(unseen) => {
                self.refused += usize::from(unseen.why == Why::NotPermitted);
                Vec::new()
            }
        }
    }
}

/// Folders by which control panels and kits are recognised.
const PANELS: &[&str] = &[
    "/etc/kusanagi.d",
    "/opt/kusanagi",
    "/usr/local/psa",
    "/usr/local/cpanel",
    "/usr/local/cwpsrv",
    "/usr/local/directadmin",
    "/usr/local/CyberCP",
    "/usr/local/lsws",
    "/usr/local/lsmcd",
    "/opt/zimbra",
    "/opt/bitnami",
];

/// The control panels of this host, which may rewrite settings.
pub(super) fn panels(view: &View) -> Vec<String> {
    PANELS.iter().filter(|path| view.root.exists(path)).map(|path| (*path).to_owned()).collect()
}
