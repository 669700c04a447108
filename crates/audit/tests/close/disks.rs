//! Disks that are full, fill up on the way, or may not be written: a small disk of its own for each
//! case, in a mount namespace that goes with it.

use std::{fs, path::Path, process::Command};

use kannuki_audit::{
    apply::{CloseError, State, Surroundings as _},
    plan::Method,
    vulnerabilities::Table,
};

use super::world::{CONF, FILLER, World, fill};

/// Runs this test alone on a disk of its own, mounted at the folder that the variable names.
const FOLDER: &str = "KANNUKI_TEST_DISK";
/// Large enough for a run and its notes.
const DISK: &str = "size=1m";

/// On its own disk: the folder. Else it starts itself there, and is done.
fn disk(test: &str) -> Option<World> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(World::new(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o {DISK},mode=755 disk \"${FOLDER}\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "--", "sh", "-c", &mount, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("disks::{test}"), "--nocapture"])
        .env(FOLDER, folder.path())
        .output();
    let said = match &output {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let is_refused = ["not permitted", "No such file", "denied"].iter().any(|no| said.contains(no));
    if output.as_ref().is_ok_and(|output| output.status.success()) {
        let printed = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        assert!(printed.is_ok_and(|text| text.contains("1 passed")), "{test} ran on its disk");
    } else if is_refused && !rustix::process::geteuid().is_root() {
        eprintln!("*** SKIPPED: only root mounts a disk: {said} ***");
    } else {
        panic!("{said}");
    }
    None
}

fn free_again(world: &World) {
    let _ = fs::remove_file(world.folder.join(FILLER));
}

/// Whatever room is left when it begins: it is done, or nothing was begun.
#[test]
fn a_disk_that_is_nearly_full_is_found_out_before_anything_is_done() {
    let Some(mut world) = disk("a_disk_that_is_nearly_full_is_found_out_before_anything_is_done")
    else {
        return;
    };
    let before = world.read(CONF);
    let (mut refused, mut done) = (0, 0);
    for room in (0..120).map(|blocks| blocks * 4096) {
        fill(&world.folder);
        let filler = fs::File::options().write(true).open(world.folder.join(FILLER)).unwrap();
        let length = filler.metadata().unwrap().len();
        filler.set_len(length - room).unwrap();
        let (facts, plan) = world.plan(Method::Bind);
        let ended = match world.ledger().hold() {
            Ok(held) => held.apply(plan, &facts, &Table::embedded(), &mut world),
            Err(error) => Err(error),
        };
        match ended {
            Err(CloseError::Ledger { error, .. } | CloseError::NotWritable { error, .. }) => {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{room}: {error}");
                assert_eq!(world.read(CONF), before, "{room}");
                free_again(&world);
                assert!(world.ledger().runs().unwrap().is_empty(), "{room}");
                refused += 1;
            }
            Ok(run) => {
                assert_eq!(run.state, State::Applied, "{room}: {run:?}");
                done += 1;
                break;
            }
            Err(other) => panic!("{room}: {other:?}"),
        }
    }
    assert!(refused > 3 && done == 1, "refused {refused} times, done {done} times");
}

/// It fills up at any moment of the run: what was begun is done, or taken back in full, with the
/// room that was kept for that.
#[test]
fn a_disk_that_fills_up_on_the_way_is_no_half_done_work() {
    let Some(first) = disk("a_disk_that_fills_up_on_the_way_is_no_half_done_work") else { return };
    let moments = ["begun", "step noted", "file made", "file filled", "file in place", "step done"];
    for moment in moments {
        free_again(&first);
        let _ = fs::remove_dir_all(first.folder.join("ledger"));
        let mut world = World::new(&first.folder);
        let before = world.read(CONF);
        world.fill_at = Some(moment);
        let run = world.apply();
        let conf = world.read(CONF);
        match run.state {
            State::Applied => assert!(conf.contains("-l 127.0.0.1"), "{moment}: {conf}"),
            State::RolledBack => assert_eq!(conf, before, "{moment}: {run:?}"),
            _ => panic!("{moment}: {run:?}"),
        }
        println!("full at {moment}: {}", run.state.name());
    }
}

/// The worst: full, and the room that was kept is taken too. It says what is to be done by hand,
/// and the next run does it.
#[test]
fn a_disk_that_takes_the_kept_room_too_is_told_and_mended_by_the_next_run() {
    let name = "a_disk_that_takes_the_kept_room_too_is_told_and_mended_by_the_next_run";
    let Some(mut world) = disk(name) else { return };
    let before = world.read(CONF);
    world.broken = vec!["restart"];
    world.fill_at = Some("rolling-back");
    let run = world.apply();
    assert_eq!(run.state, State::RollBackFailed, "{run:?}");
    assert!(run.by_hand.iter().any(|line| line.starts_with("install -m ")), "{:?}", run.by_hand);
    assert!(run.failure.contains("No space left"), "{}", run.failure);
    free_again(&world);
    world.broken.clear();
    world.fill_at = None;
    let finished = world.held().finish(&mut world).unwrap();
    assert_eq!((finished.len(), finished[0].state), (1, State::RolledBack), "{finished:?}");
    assert_eq!(world.read(CONF), before);
}

fn make_read_only(folder: &Path) {
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    let status = Command::new("sh").args(["-c", script]).arg(folder).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_read_only_etc_is_refused_before_anything_is_done() {
    let Some(mut world) = disk("a_read_only_etc_is_refused_before_anything_is_done") else {
        return;
    };
    let (facts, plan) = world.plan(Method::Bind);
    make_read_only(&world.folder.join("etc"));
    let refused = world.held().apply(plan, &facts, &Table::embedded(), &mut world);
    let Err(CloseError::NotWritable { error, path }) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{path}: {error}");
    assert!(world.ledger().runs().unwrap().is_empty());
}

/// And one that becomes so while it works: the service keeps what it had.
#[test]
fn a_read_only_etc_before_undo_is_refused() {
    let Some(mut world) = disk("a_read_only_etc_before_undo_is_refused") else { return };
    let run = world.apply();
    make_read_only(&world.folder.join("etc"));
    let refused = world.held().undo(&run.id, &mut world);
    assert!(matches!(refused, Err(CloseError::NotWritable { .. })), "{refused:?}");
    assert_eq!(world.ledger().run(&run.id).unwrap().state, State::Applied);
    assert!(world.read("running").contains("-l 127.0.0.1"));
}

#[test]
fn a_read_only_journal_is_refused_before_anything_is_done() {
    let Some(mut world) = disk("a_read_only_journal_is_refused_before_anything_is_done") else {
        return;
    };
    drop(world.held());
    let before = world.read(CONF);
    make_read_only(&world.folder.join("ledger"));
    let refused = world.ledger().hold();
    let Err(CloseError::Ledger { error, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error}");
    assert_eq!(world.read(CONF), before);
    assert!(world.look().is_ok());
}

#[test]
fn a_file_that_is_marked_as_immutable_is_refused() {
    let Some(mut world) = disk("a_file_that_is_marked_as_immutable_is_refused") else { return };
    let conf = world.folder.join(CONF);
    let status = Command::new("chattr").arg("+i").arg(&conf).output();
    if !status.is_ok_and(|output| output.status.success()) {
        return eprintln!("*** SKIPPED: this file system has no such mark ***");
    }
    let (facts, plan) = world.plan(Method::Bind);
    let refused = world.held().apply(plan, &facts, &Table::embedded(), &mut world);
    let _ = Command::new("chattr").arg("-i").arg(&conf).status();
    let Err(CloseError::NotWritable { error, .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("chattr"), "{error}");
}
