//! `cargo xtask pictures`: what the HTML page of `check` looks like, drawn by a real browser.
//!
//! One host of the fixtures, in both languages on a desk, in one on a telephone, and its first
//! printed page. They are looked at by people and shown in the docs; nothing compares them, since
//! another browser or another font draws other points.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::shell;

/// The host that is drawn: an open memcached of the year of the incident.
const HOST: &str = "crates/audit/tests/fixtures/centos-7.json";
/// Largest picture that is kept, in bytes: a repository is no album.
const PICTURE_BYTES_MAX: u64 = 150 << 10;
/// The programs, with the Debian packages that bring them.
const NEEDS: [(&str, &str); 3] =
    [("chromium", "chromium"), ("pdftoppm", "poppler-utils"), ("pngquant", "pngquant")];

/// Draws all and puts them into `docs/pictures`.
pub(crate) fn draw() -> Result<()> {
    for (program, package) in NEEDS {
        ensure!(
            shell::find(program).is_some(),
            "{program} is not there: apt-get install {package} fonts-noto-cjk"
        );
    }
    shell::run(shell::cargo().args(["build", "--locked", "--package", "kannuki"]))?;
    let folder = shell::target().join("pictures");
    fs::create_dir_all(&folder)?;
    for lang in ["en", "ja"] {
        let page = page(&folder, lang)?;
        let picture = folder.join(format!("check-{lang}.png"));
        browse(&folder, "1000,1150", &format!("--screenshot={}", picture.display()), &page)?;
        keep(&picture)?;
    }
    // A window of a browser has a least width; a frame inside it has not.
    let frame = folder.join("narrow.html");
    let style = "width:360px;height:1150px;border:0;background:#fff";
    let narrow = format!("<body style=\"margin:0\"><iframe src=\"ja.html\" style=\"{style}\">");
    fs::write(&frame, format!("<!doctype html>{narrow}</iframe>"))?;
    let picture = folder.join("check-narrow.png");
    browse(&folder, "500,1150", &format!("--screenshot={}", picture.display()), &frame)?;
    keep(&picture)?;
    print(&folder)
}

/// The first printed page.
fn print(folder: &Path) -> Result<()> {
    let pdf = folder.join("check.pdf");
    let to = format!("--print-to-pdf={}", pdf.display());
    browse(folder, "1000,1150", &to, &folder.join("en.html"))?;
    let picture = folder.join("check-print");
    let words = ["-r", "70", "-png", "-f", "1", "-l", "1", "-singlefile"];
    shell::run(Command::new("pdftoppm").args(words).arg(&pdf).arg(&picture))?;
    keep(&picture.with_extension("png"))
}

fn page(folder: &Path, lang: &str) -> Result<PathBuf> {
    let page = folder.join(format!("{lang}.html"));
    let facts = shell::root().join(HOST);
    let words = ["--format", "html", "--fail-on", "critical", "--lang", lang];
    let mut command = Command::new(shell::target().join("debug/kannuki"));
    command.arg("check").args(words).arg("--facts").arg(facts).arg("--output").arg(&page);
    // The host is open: 1 is what it has to say.
    ensure!(command.status()?.code() == Some(1), "{} was not judged", page.display());
    Ok(page)
}

fn browse(folder: &Path, size: &str, what: &str, page: &Path) -> Result<()> {
    let profile = folder.join("profile");
    if profile.exists() {
        fs::remove_dir_all(&profile)?;
    }
    let mut command = Command::new("chromium");
    command.args(["--headless", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update"]);
    command.args(["--disable-sync", "--hide-scrollbars", "--no-pdf-header-footer"]);
    if shell::is_root() {
        command.arg("--no-sandbox");
    }
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("--window-size={size}")).arg(what);
    shell::run(command.arg(format!("file://{}", page.display())))
}

/// Makes it small and puts it where the docs show it.
fn keep(picture: &Path) -> Result<()> {
    let kept = shell::root().join("docs/pictures").join(picture.file_name().unwrap_or_default());
    let words = ["--force", "--strip", "--speed", "1", "--output"];
    shell::run(Command::new("pngquant").args(words).arg(&kept).args(["32", "--"]).arg(picture))?;
    let bytes = fs::metadata(&kept)?.len();
    ensure!(bytes <= PICTURE_BYTES_MAX, "{} has {bytes} bytes", kept.display());
    println!("{} ({bytes} bytes)", kept.display());
    Ok(())
}
