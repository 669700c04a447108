//! Pages that the product writes about itself: written again by `cargo xtask docs`, compared by
//! `cargo xtask test`.
//!
//! The product's hidden command `kannuki docs DIR` writes most of them; nothing here knows what they
//! say. [`limits`] is read from the sources, because no program knows the reason of a number.

mod limits;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;
use crate::tidy::tree::Tree;

/// Where the generated pages are kept, below the root.
const PAGES: &str = "docs";

/// Builds the product and writes its pages into the tree.
pub(crate) fn write() -> Result<()> {
    shell::run(shell::cargo().args(["build", "--locked", "--package", "kannuki"]))?;
    let pages = shell::root().join(PAGES);
    generate(&pages)
}

/// Fails where a page of the tree is not what the product (already built) would write.
pub(crate) fn compare() -> Result<()> {
    let fresh = shell::target().join("generated");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    generate(&fresh)?;
    let pages = files_below(&fresh)?;
    ensure!(!pages.is_empty(), "kannuki docs wrote no page");
    let kept = shell::root().join(PAGES);
    let differs =
        |page: &&PathBuf| fs::read(fresh.join(page)).ok() != fs::read(kept.join(page)).ok();
    let stale: Vec<String> =
        pages.iter().filter(differs).map(|page| page.display().to_string()).collect();
    if !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask docs`", stale.join(", "));
    }
    println!("{} pages are as the product writes them", pages.len());
    Ok(())
}

fn generate(folder: &Path) -> Result<()> {
    let product = shell::target().join("debug/kannuki");
    shell::run(Command::new(product).arg("docs").arg(folder))?;
    let page = limits::page(&Tree::read(&shell::root())?);
    fs::write(folder.join("limits.md"), page).context("limits.md")
}

/// Every file below `folder`, relative to it.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder)?.to_path_buf());
            }
        }
    }
    files.sort();
    Ok(files)
}
