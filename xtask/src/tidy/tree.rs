//! The files of the tree, read once. The only file of `tidy` that touches the disk.
//!
//! Works without git: what is not ours is named in [`FOREIGN`] instead.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::source::Source;

/// Folders that hold no file of the project: builds, installed packages, fuzzing by-products.
const FOREIGN: [&str; 7] =
    [".git", "target", "node_modules", "__pycache__", "fuzz/corpus", "fuzz/artifacts", ".venv"];

/// Everything that was read.
pub(crate) struct Tree {
    /// In the order of their paths.
    pub(crate) files: Vec<File>,
}

/// One file and what the rules need of it.
pub(crate) struct File {
    /// Relative to the root, with `/` between folders.
    pub(crate) path: String,
    /// The raw bytes.
    pub(crate) bytes: Vec<u8>,
    /// Present for Rust sources.
    pub(crate) source: Option<Source>,
}

impl Tree {
    /// Reads everything below `root` that is the project's own.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for name in names_in(&root.join(&folder))? {
                let path =
                    if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                let full = root.join(&path);
                let kind = fs::symlink_metadata(&full).with_context(|| path.clone())?.file_type();
                if FOREIGN.contains(&name.as_str()) || FOREIGN.contains(&path.as_str()) {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let bytes = fs::read(&full).with_context(|| path.clone())?;
                    files.push(File::of(&path, bytes));
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The text of one file, if it is there and is text.
    pub(crate) fn text_of(&self, path: &str) -> Option<&str> {
        let file = self.files.iter().find(|file| file.path == path)?;
        std::str::from_utf8(&file.bytes).ok()
    }
}

impl File {
    /// A file of this path and content.
    pub(crate) fn of(path: &str, bytes: Vec<u8>) -> Self {
        let source = path.ends_with(".rs").then(|| Source::new(&String::from_utf8_lossy(&bytes)));
        Self { path: path.to_owned(), bytes, source }
    }

    /// True for sources that exist to test others, where the rules about production do not bind.
    pub(crate) fn is_test(&self) -> bool {
        let inside = |folder: &str| self.path.contains(folder);
        self.path.starts_with("tests/") || inside("/tests/") || self.path.ends_with("/tests.rs")
    }
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()
}
