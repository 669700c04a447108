//! Killed with SIGKILL at every step, forth and back: always the old state or the new one, and the
//! next run finishes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use kannuki_audit::{apply::State, vulnerabilities::Table};

use super::world::{CONF, World};

/// More points than a run has; the test says so if it ever has more.
const POINTS_MAX: u32 = 60;

/// What is killed: the tests below start it as a process of its own, and say where and when. By
/// itself it has nothing to do.
#[test]
fn victim() {
    let Ok(folder) = std::env::var("KANNUKI_TEST_FOLDER") else { return };
    let point = std::env::var("KANNUKI_TEST_POINT").unwrap().parse().unwrap();
    let mut world = World::again(Path::new(&folder));
    let work = std::env::var("KANNUKI_TEST_WORK").unwrap();
    let held = world.held();
    match work.as_str() {
        "apply" => {
            let (facts, plan) = world.plan(kannuki_audit::plan::Method::Bind);
            world.kill_after = Some(point);
            held.apply(plan, &facts, &Table::embedded(), &mut world).unwrap();
        }
        "fail" => {
            // The restart fails, so the way back is what is killed as well.
            let (facts, plan) = world.plan(kannuki_audit::plan::Method::Bind);
            world.kill_after = Some(point);
            world.broken = vec!["restart"];
            held.apply(plan, &facts, &Table::embedded(), &mut world).unwrap();
        }
        _ => {
            world.kill_after = Some(point);
            let id = world.ledger().runs().unwrap()[0].id.clone();
            held.undo(&id, &mut world).unwrap();
        }
    }
}

/// Runs it in a process of its own; whether that was killed.
fn killed(folder: &Path, work: &str, point: u32) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::victim", "--nocapture"])
        .env("KANNUKI_TEST_FOLDER", folder)
        .env("KANNUKI_TEST_POINT", point.to_string())
        .env("KANNUKI_TEST_WORK", work)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stderr);
    assert!(status.status.code().is_none_or(|code| code == 0), "{said}");
    status.status.code().is_none()
}

/// Text, mode and time of the settings.
fn state_of(folder: &Path) -> (String, u32, i64) {
    let path: PathBuf = folder.join(CONF);
    let meta = fs::metadata(&path).unwrap();
    (fs::read_to_string(&path).unwrap(), meta.mode(), meta.mtime())
}

/// A host whose file has a mode and a time of its own.
fn prepared(folder: &Path) -> (String, u32, i64) {
    World::new(folder);
    let path = folder.join(CONF);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
    file.set_modified(then).unwrap();
    state_of(folder)
}

/// What is left beside the file would be read by nobody, and must still be gone in the end.
fn must_be_tidy(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder.join("etc")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn killed_on_the_way_forth_the_next_run_goes_back_and_shuts_it() {
    for work in ["apply", "fail"] {
        let mut points = 0;
        for point in 0..=POINTS_MAX {
            assert!(point < POINTS_MAX, "more points than expected");
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path();
            let before = prepared(folder);
            if !killed(folder, work, point) {
                break;
            }
            points += 1;
            let (text, mode, _) = state_of(folder);
            let is_new = text.contains("-l 127.0.0.1") && !text.contains("-l 0.0.0.0");
            assert!(text == before.0 || is_new, "{work} {point}: half written: {text}");
            assert_eq!(mode, before.1, "{work} {point}");
            let mut world = World::again(folder);
            let runs = world.ledger().runs().unwrap();
            let was_midway = runs.iter().any(|run| run.state.is_midway());
            let was_applied = runs.iter().any(|run| run.state == State::Applied);
            let finished = world.held().finish(&mut world).unwrap();
            assert_eq!(finished.len(), usize::from(was_midway), "{work} {point}");
            if was_applied {
                assert!(is_new, "{work} {point}");
                continue;
            }
            for run in &finished {
                assert_eq!(run.state, State::RolledBack, "{work} {point}: {run:?}");
            }
            assert_eq!(state_of(folder), before, "{work} {point}");
            assert_eq!(world.read("running"), before.0, "{work} {point}");
            must_be_tidy(folder);
            assert_eq!(world.apply().state, State::Applied, "{work} {point}");
        }
        assert!(points > 8, "{work}: killed at {points} points only");
        println!("{work}: killed at {points} points");
    }
}

#[test]
fn killed_while_it_is_taken_back_the_next_run_finishes() {
    let mut points = 0;
    for point in 0..=POINTS_MAX {
        assert!(point < POINTS_MAX, "more points than expected");
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let before = prepared(folder);
        let applied = World::again(folder).apply();
        assert_eq!(applied.state, State::Applied);
        if !killed(folder, "undo", point) {
            assert_eq!(state_of(folder), before);
            break;
        }
        points += 1;
        let mut world = World::again(folder);
        let now = world.ledger().run(&applied.id).unwrap().state;
        if now != State::Undone {
            // Half of the points by name, half by whatever comes next: both must do.
            let run = if point % 2 == 0 {
                world.held().undo(&applied.id, &mut world).unwrap()
            } else {
                world.held().finish(&mut world).unwrap().remove(0)
            };
            assert_eq!(run.state, State::Undone, "{point}");
        }
        assert_eq!(state_of(folder), before, "{point}");
        assert_eq!(world.read("running"), before.0, "{point}");
        must_be_tidy(folder);
    }
    assert!(points > 4, "killed at {points} points only");
    println!("undo: killed at {points} points");
}
