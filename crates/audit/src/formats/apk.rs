//! Alpine's database of installed packages.

/// A package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    pub(crate) source: Option<String>,
    pub(crate) maintainer: Option<String>,
    /// What it depends on, as written.
    pub(crate) depends: Vec<String>,
    /// Its files with their folders.
    pub(crate) files: Vec<String>,
}

/// Reads `/lib/apk/db/installed`.
pub(crate) fn installed(text: &str) -> impl Iterator<Item = Installed> {
    text.split("\n\n").map(package).filter(|package| !package.name.is_empty())
}

fn package(text: &str) -> Installed {
    let mut found = Installed::default();
    let mut folder = "";
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key {
            "P" => found.name = value.to_owned(),
            "V" => found.version = value.to_owned(),
            "A" => found.arch = value.to_owned(),
            "o" => found.source = Some(value.to_owned()),
            "m" => found.maintainer = Some(value.to_owned()),
            "D" => found.depends = value.split_ascii_whitespace().map(str::to_owned).collect(),
            "F" => folder = value,
            "R" => found.files.push(format!("/{folder}/{value}")),
            _ => {}
        }
    }
    found
}

/// Whether a dependency is this package, whatever the version.
pub(crate) fn names(dependency: &str, package: &str) -> bool {
    dependency.split(['<', '>', '=', '~']).next() == Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_with_their_files() {
        let text = "C:Q1\nP:memcached\nV:1.6.32-r0\nA:x86_64\no:memcached\nD:so:libc.musl so:x\n\
            F:usr\nF:usr/bin\nR:memcached\na:0:0:755\n\n\
            P:memcached-openrc\nV:1.6.32-r0\nD:memcached=1\n";
        let all: Vec<_> = installed(text).collect();
        assert_eq!(all[0].files, ["/usr/bin/memcached"]);
        assert_eq!((all[0].name.as_str(), all[0].version.as_str()), ("memcached", "1.6.32-r0"));
        assert!(names(&all[1].depends[0], "memcached") && !names("memcached-x", "memcached"));
    }
}
