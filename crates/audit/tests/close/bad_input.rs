//! Hosts that resist: every case ends with the old state and a word about what is wrong.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use kannuki_audit::{
    apply::{CloseError, State, Surroundings as _},
    plan::{Action, Method},
    vulnerabilities::Table,
};

use super::world::{CONF, World};

fn world() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    (folder, world)
}

#[test]
fn it_shuts_proves_and_is_taken_back_byte_for_byte() {
    let (_folder, mut world) = world();
    let before = world.read(CONF);
    let run = world.apply();
    assert_eq!(run.state, State::Applied, "{run:?}");
    assert!(run.checks.iter().all(|check| check.ok) && run.checks.len() >= 6);
    assert!(world.read("running").contains("-l 127.0.0.1"));
    assert!(world.plan(Method::Bind).1.is_empty(), "a second time there is nothing to do");
    let undone = world.held().undo(&run.id, &mut world).unwrap();
    assert_eq!(undone.state, State::Undone);
    assert_eq!((world.read(CONF), world.read("running")), (before.clone(), before));
    let again = world.held().undo(&run.id, &mut world);
    assert!(matches!(again, Err(CloseError::NothingToUndo { .. })), "{again:?}");
}

#[test]
fn a_restart_that_fails_is_rolled_back() {
    let (_folder, mut world) = world();
    let before = world.read(CONF);
    let (facts, plan) = world.plan(Method::Bind);
    // It fails with the new settings and works with the old ones, as a service would.
    world.broken = vec!["restart"];
    let run = world.held().apply(plan, &facts, &Table::embedded(), &mut world).unwrap();
    // The restart of the way back fails too, and is left to a person, with its words.
    assert_eq!(run.state, State::RollBackFailed);
    assert_eq!(run.by_hand, ["systemctl restart memcached.service"]);
    assert!(run.failure.contains("exit 1: no"), "{}", run.failure);
    assert_eq!(world.read(CONF), before);
    world.broken.clear();
    let again = world.held().undo(&run.id, &mut world).unwrap();
    assert_eq!((again.state, again.by_hand.len()), (State::Undone, 0));
}

#[test]
fn a_service_that_stays_open_is_rolled_back() {
    let (folder, mut world) = world();
    let before = world.read(CONF);
    let (facts, mut plan) = world.plan(Method::Bind);
    // As if the service did not read what was written: nothing restarts it.
    plan.forward.truncate(1);
    let run = world.held().apply(plan, &facts, &Table::embedded(), &mut world).unwrap();
    assert_eq!(run.state, State::RolledBack);
    assert!(run.failure.contains("close.check-"), "{}", run.failure);
    assert_eq!(world.read(CONF), before);
    assert!(folder.path().join("ledger").join(&run.id).join("file-0").is_file());
}

#[test]
fn a_file_changed_between_preview_and_apply_is_not_touched() {
    let (_folder, mut world) = world();
    let (facts, plan) = world.plan(Method::Bind);
    let theirs = world.read(CONF) + "-m 128\n";
    fs::write(world.folder.join(CONF), &theirs).unwrap();
    let refused = world.held().apply(plan, &facts, &Table::embedded(), &mut world);
    assert!(matches!(refused, Err(CloseError::Changed { .. })), "{refused:?}");
    assert_eq!(world.read(CONF), theirs);
    assert!(world.ledger().runs().unwrap().is_empty());
}

#[test]
fn a_file_changed_while_it_works_is_not_overwritten() {
    let (_folder, mut world) = world();
    world.disturb_at = Some("step noted");
    let run = world.apply();
    assert!(run.failure.contains("changed meanwhile"), "{}", run.failure);
    assert!(world.read(CONF).ends_with("# somebody else\n"), "their change stays");
    assert!(world.read("running").contains("-l 0.0.0.0"));
}

#[test]
fn a_file_changed_before_undo_is_not_overwritten() {
    let (_folder, mut world) = world();
    let run = world.apply();
    let theirs = world.read(CONF) + "-m 128\n";
    fs::write(world.folder.join(CONF), &theirs).unwrap();
    let refused = world.held().undo(&run.id, &mut world);
    let Err(CloseError::ChangedSince { kept, .. }) = refused else { panic!("{refused:?}") };
    assert!(fs::metadata(kept).is_ok(), "the old file is where the message says");
    assert_eq!(world.read(CONF), theirs);
    assert_eq!(world.ledger().run(&run.id).unwrap().state, State::Applied);
}

#[test]
fn an_older_run_is_not_taken_back_under_a_newer_one() {
    let (_folder, mut world) = world();
    let first = world.apply();
    // Both touch the unit: its restart would undo half of the later one.
    let facts = world.look().unwrap();
    let mut plan = first.plan.clone();
    plan.files.clear();
    plan.forward.retain(|action| matches!(action, Action::Run(_)));
    plan.backward.clear();
    let second = world.held().apply(plan, &facts, &Table::embedded(), &mut world).unwrap();
    assert_eq!(second.state, State::Applied, "{second:?}");
    let refused = world.held().undo(&first.id, &mut world);
    let Err(CloseError::NotNewest { later, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(later, second.id);
    assert!(world.read("running").contains("-l 127.0.0.1"), "nothing was taken back");
    for id in [second.id, first.id] {
        assert_eq!(world.held().undo(&id, &mut world).unwrap().state, State::Undone);
    }
    assert!(world.read("running").contains("-l 0.0.0.0"));
}

#[test]
fn it_is_taken_back_when_somebody_asks_it_to_stop() {
    for stop_at in ["begun", "step done", "verified"] {
        let (_folder, mut world) = world();
        let before = world.read(CONF);
        world.stop_at = Some(stop_at);
        let run = world.apply();
        assert_eq!(run.state, State::RolledBack, "{stop_at}: {run:?}");
        assert!(run.failure.contains("asked to stop"), "{}", run.failure);
        assert_eq!((world.read(CONF), world.read("running")), (before.clone(), before));
    }
}

#[test]
fn a_second_one_at_the_same_time_is_refused() {
    let (_folder, world) = world();
    let held = world.held();
    assert!(matches!(world.ledger().hold(), Err(CloseError::Busy)));
    assert!(world.ledger().is_busy());
    drop(held);
    assert!(!world.ledger().is_busy());
}

#[test]
fn a_folder_that_others_may_write_is_refused() {
    let (_folder, mut world) = world();
    let (facts, plan) = world.plan(Method::Bind);
    let etc = world.folder.join("etc");
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = world.held().apply(plan, &facts, &Table::embedded(), &mut world);
    let Err(CloseError::NotWritable { error, .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("others than root"), "{error}");
}

#[test]
fn a_ledger_that_others_may_write_is_refused() {
    let (_folder, world) = world();
    drop(world.held());
    let ledger = world.folder.join("ledger");
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(world.ledger().hold(), Err(CloseError::Ledger { .. })));
}

/// What stands in place of the settings since the preview is refused with this word, and stays.
fn is_refused(word: &str, swap: impl FnOnce(&Path)) {
    let (_folder, mut world) = world();
    let (facts, plan) = world.plan(Method::Bind);
    let conf = world.folder.join(CONF);
    swap(&conf);
    let before = fs::symlink_metadata(&conf).unwrap();
    let refused = world.held().apply(plan, &facts, &Table::embedded(), &mut world);
    let Err(CloseError::NotWritable { error, .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains(word), "{error}");
    assert_eq!(fs::symlink_metadata(&conf).unwrap().ino(), before.ino());
    assert!(world.ledger().runs().unwrap().is_empty());
}

/// A FIFO was once waited for without end.
#[test]
fn a_fifo_in_place_of_the_settings_is_refused() {
    is_refused("no regular file", |conf| {
        fs::remove_file(conf).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, conf, kind, mode, 0).unwrap();
    });
}

#[test]
fn a_device_in_place_of_the_settings_is_refused() {
    is_refused("no regular file", |conf| {
        fs::remove_file(conf).unwrap();
        symlink("/dev/zero", conf).unwrap();
    });
}

#[test]
fn a_folder_in_place_of_the_settings_is_refused() {
    is_refused("no regular file", |conf| {
        fs::remove_file(conf).unwrap();
        fs::create_dir(conf).unwrap();
    });
}

#[test]
fn a_link_to_nowhere_is_refused() {
    is_refused("leads nowhere", |conf| {
        fs::remove_file(conf).unwrap();
        symlink("/no/such/place", conf).unwrap();
    });
}

#[test]
fn a_circle_of_links_is_refused() {
    is_refused("symbolic links", |conf| {
        fs::remove_file(conf).unwrap();
        symlink("memcached.conf", conf).unwrap();
    });
}

#[test]
fn a_file_with_two_names_is_refused() {
    is_refused("hard links", |conf| fs::hard_link(conf, conf.with_file_name("other")).unwrap());
}

#[test]
fn a_link_is_followed_to_the_file_that_is_read() {
    let (_folder, mut world) = world();
    let conf = world.folder.join(CONF);
    let real = world.folder.join("etc/real.conf");
    fs::rename(&conf, &real).unwrap();
    symlink("real.conf", &conf).unwrap();
    assert_eq!(world.apply().state, State::Applied);
    assert!(fs::symlink_metadata(&conf).unwrap().is_symlink(), "the link stays a link");
    assert!(fs::read_to_string(real).unwrap().contains("-l 127.0.0.1"));
}

#[test]
fn a_missing_program_is_named_before_anything_is_done() {
    let (_folder, mut world) = world();
    let (facts, plan) = world.plan(Method::Bind);
    world.broken = vec!["systemctl"];
    let refused = world.held().apply(plan, &facts, &Table::embedded(), &mut world);
    let Err(CloseError::NoProgram { program }) = refused else { panic!("{refused:?}") };
    assert_eq!(program, "systemctl");
}

#[test]
fn a_manifest_of_another_form_is_refused_and_a_folder_without_one_is_not_counted() {
    let (_folder, mut world) = world();
    let run = world.apply();
    let ledger = world.folder.join("ledger");
    fs::create_dir(ledger.join("20000101T000000Z-bind")).unwrap();
    assert_eq!(world.ledger().runs().unwrap().len(), 1);
    let path = ledger.join(&run.id).join("manifest.json");
    let text = fs::read_to_string(&path).unwrap().replace("kannuki.close/1", "kannuki.close/9");
    fs::write(&path, text).unwrap();
    let refused = world.ledger().runs().unwrap_err().to_string();
    assert!(refused.contains("kannuki.close/9"), "{refused}");
    fs::write(&path, "{").unwrap();
    assert!(world.ledger().runs().is_err());
    assert!(world.ledger().hold().is_ok());
}

#[test]
fn a_plan_has_a_mark_that_changes_with_it() {
    let (_folder, mut world) = world();
    let first = world.plan(Method::Bind).1.fingerprint();
    assert_eq!(first, world.plan(Method::Bind).1.fingerprint());
    fs::write(world.folder.join(CONF), world.read(CONF) + "-v\n").unwrap();
    assert_ne!(first, world.plan(Method::Bind).1.fingerprint());
    assert!(world.look().is_ok());
}
