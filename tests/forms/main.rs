//! The forms of `kannuki check` against their schemas, and its exit codes.
//!
//! Every host of the fixtures is told in JSON and SARIF, in both languages, with and without a
//! baseline; JSON is held against the committed schema, SARIF against the published one.
#![forbid(unsafe_code)]

mod recognised;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kannuki_tests::missing;

/// Debian's python3-jsonschema belongs to Debian's own Python.
const PYTHON: &str = "/usr/bin/python3";

fn kannuki(words: &[&str]) -> Output {
    let program = std::env::var_os("KANNUKI_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/kannuki"),
        PathBuf::from,
    );
    let state = std::env::temp_dir().join("kannuki-forms-has-no-state");
    let mut command = Command::new(program);
    command.env("STATE_DIRECTORY", state).args(words).stdin(Stdio::null());
    command.output().expect("the product starts")
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/audit/tests/fixtures");
    let files = fs::read_dir(folder).expect("the fixtures are there");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("readable").path()).collect();
    files.sort();
    assert!(files.len() >= 11, "{files:?}");
    files
}

/// Tells every fixture in this form; the files.
fn told(folder: &Path, form: &str) -> Vec<PathBuf> {
    let baseline = folder.join("baseline.json");
    let mut files = Vec::new();
    for (index, fixture) in fixtures().iter().enumerate() {
        let facts = fixture.to_str().expect("UTF-8");
        for lang in ["en", "ja"] {
            let name = format!("{}-{lang}.{form}", fixture.file_stem().unwrap().display());
            let file = folder.join(name);
            let output = file.to_str().expect("UTF-8");
            let mut words = vec!["check", "--facts", facts, "--format", form, "--lang", lang];
            words.extend(["--output", output, "--fail-on", "critical"]);
            let old = baseline.display().to_string();
            if index > 0 {
                words.extend(["--baseline", &old]);
            }
            let done = kannuki(&words);
            let code = done.status.code();
            assert!(matches!(code, Some(0 | 1)), "{}", String::from_utf8_lossy(&done.stderr));
            files.push(file);
        }
        let words = ["check", "--facts", facts, "--format", "json", "--output"];
        kannuki(&[&words[..], &[baseline.to_str().expect("UTF-8")]].concat());
    }
    files
}

fn held(schema: &Path, files: &[PathBuf], strict: bool) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("forms/validate.py");
    let mut command = Command::new(PYTHON);
    command.arg(script).args(strict.then_some("--strict")).arg(schema).args(files);
    let output = command.output().expect("Python starts");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}");
    let count = told.lines().filter(|line| line.starts_with("held ")).count();
    assert_eq!(count, files.len(), "{told}");
}

fn has_validator() -> bool {
    let mut command = Command::new(PYTHON);
    command.args(["-c", "import jsonschema"]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn json_is_as_its_schema_says() {
    if !has_validator() {
        return missing("JSON against its schema", "python3-jsonschema is not there");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let files = told(folder.path(), "json");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/check.schema.json");
    held(&schema, &files, true);
}

#[test]
fn sarif_is_as_the_published_schema_says() {
    let schema = std::env::var_os("KANNUKI_SARIF_SCHEMA").map(PathBuf::from);
    let Some(schema) = schema.filter(|schema| schema.is_file() && has_validator()) else {
        let why = "`cargo xtask test` fetches the schema; python3-jsonschema";
        return missing("SARIF against its schema", why);
    };
    let folder = tempfile::tempdir().expect("a folder");
    held(&schema, &told(folder.path(), "sarif"), false);
}

/// The worst finding of each host decides at which level it fails.
#[test]
fn every_level_decides_the_exit_code() {
    const LEVELS: [&str; 5] = ["info", "low", "medium", "high", "critical"];
    let folder = tempfile::tempdir().expect("a folder");
    let mut worsts = std::collections::BTreeSet::new();
    for fixture in fixtures() {
        let facts = fixture.to_str().expect("UTF-8");
        let report = kannuki(&["check", "--facts", facts, "--format", "json"]);
        let text = String::from_utf8_lossy(&report.stdout).into_owned();
        let worst = text.split("\"worst\": \"").nth(1).and_then(|rest| rest.split('"').next());
        let worst = worst.and_then(|worst| LEVELS.iter().position(|level| *level == worst));
        worsts.insert(worst);
        let old = folder.path().join("old.json");
        fs::write(&old, &text).expect("a file");
        for (index, level) in LEVELS.iter().enumerate() {
            let words = ["check", "--facts", facts, "--fail-on", level];
            let expected = i32::from(worst.is_some_and(|worst| worst >= index));
            let code = kannuki(&words).status.code();
            assert_eq!(code, Some(expected), "{facts} {level}");
            let old = ["--baseline", old.to_str().expect("UTF-8")];
            let code = kannuki(&[&words[..], &old].concat()).status.code();
            assert_eq!(code, Some(0), "nothing is new: {facts} {level}");
        }
    }
    assert!(worsts.len() >= 3, "hosts of several kinds: {worsts:?}");
    let clean = folder.path().join("old.json");
    let words = ["check", "--fail-on", "high", "--facts"];
    let fixtures = fixtures();
    let facts = |name: &str| {
        let found = fixtures.iter().find(|file| file.file_stem().is_some_and(|stem| stem == name));
        found.and_then(|file| file.to_str()).expect("a fixture").to_owned()
    };
    let report = kannuki(&["check", "--facts", &facts("clean"), "--format", "json"]);
    fs::write(&clean, report.stdout).expect("a file");
    let open = facts("centos-7");
    let old = [open.as_str(), "--baseline", clean.to_str().expect("UTF-8")];
    assert_eq!(kannuki(&[&words[..], &old].concat()).status.code(), Some(1), "it became worse");
    assert_eq!(kannuki(&["check", "--fail-on", "loud"]).status.code(), Some(2), "usage");
    assert_eq!(kannuki(&["check", "--root", "/no/such"]).status.code(), Some(3), "incomplete");
    fs::write(&clean, "{}").expect("a file");
    assert_eq!(kannuki(&[&words[..], &old].concat()).status.code(), Some(3), "no baseline");
}
