//! The whole way of a line: from an event to the bytes of the file.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use tracing::{debug, error, info, trace, warn};

use super::*;

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_795_363_200_123_456)
}

fn config(file: &Path) -> LogConfig {
    LogConfig { file: Some(file.to_path_buf()), verbosity: 1, ..LogConfig::default() }
}

/// Logs into a file and returns what is in it.
fn logged(config: &LogConfig, log: impl FnOnce(&LogControl)) -> String {
    let (control, subscriber) = assemble(config, noon, None).unwrap();
    tracing::subscriber::with_default(subscriber, || log(&control));
    control.flush().unwrap();
    fs::read_to_string(config.file.as_ref().unwrap()).unwrap()
}

#[test]
fn an_event_becomes_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let text = logged(&config(&directory.path().join("log")), |_| {
        let path = Path::new("/run/k");
        info!(port = 11211, name = "a b", empty = "", path = %path.display(), "listening");
        error!("cannot go on: {}", "reason");
        warn!(only = true);
    });
    assert_eq!(
        text,
        "2026-11-22T16:00:00.123456Z INFO listening port=11211 name=\"a b\" empty=\"\" \
         path=/run/k\n\
         2026-11-22T16:00:00.123456Z ERROR cannot go on: reason\n\
         2026-11-22T16:00:00.123456Z WARN only=true\n"
    );
}

#[test]
fn what_a_peer_sends_cannot_forge_a_line_or_a_field() {
    let directory = tempfile::tempdir().unwrap();
    let text = logged(&config(&directory.path().join("log")), |_| {
        let key = "k\r\n2026-11-22T16:00:00.000000Z ERROR forged\u{1b}[2J";
        warn!(key, quoted = "\" admin=\"true", backslash = "\\", "refused {key}");
        warn!(wide = ?"a\u{2028}b\u{202e}", "display {}", "x\0y");
    });
    assert_eq!(text.lines().count(), 2);
    assert!(!text.trim_end().contains(|char: char| char.is_control() && char != '\n'));
    let first = text.lines().next().unwrap();
    assert!(first.contains("refused k\\r\\n2026-11-22T16:00:00.000000Z ERROR forged\\u{1b}[2J"));
    assert!(first.contains(" quoted=\"\\\" admin=\\\"true\""));
    assert!(first.ends_with(" backslash=\"\\\\\""));
    assert!(text.lines().nth(1).unwrap().contains("display x\\u{0}y"));
}

#[test]
fn an_endless_value_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let text = logged(&config(&directory.path().join("log")), |_| {
        warn!(value = "x".repeat(1_000_000), "huge");
        warn!("{}", "\n".repeat(1_000_000));
        warn!("short");
    });
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
    assert!(lines[0].ends_with("[cut]\n") && lines[1].ends_with("[cut]\n"));
}

#[test]
fn verbosity_chooses_and_can_change() {
    let directory = tempfile::tempdir().unwrap();
    let all = || {
        error!("e");
        warn!("w");
        info!("i");
        debug!("d");
        trace!("t");
    };
    for (verbosity, expected) in [(0, "ew"), (1, "ewi"), (2, "ewid"), (3, "ewidt"), (9, "ewidt")] {
        let path = directory.path().join(format!("log{verbosity}"));
        let text = logged(&LogConfig { verbosity, ..config(&path) }, |_| all());
        let seen: String = text.lines().map(|line| line.chars().last().unwrap()).collect();
        assert_eq!(seen, expected);
    }
    let text =
        logged(&LogConfig { verbosity: 0, ..config(&directory.path().join("log")) }, |log| {
            info!("before");
            log.set_verbosity(1);
            info!("between");
            log.set_verbosity(0);
            info!("after");
        });
    assert!(text.ends_with("INFO between\n") && text.lines().count() == 1);
}

#[test]
fn a_reopen_after_a_rename_makes_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("log"), directory.path().join("moved"));
    let text = logged(&config(&path), |log| {
        info!("one");
        log.flush().unwrap();
        fs::rename(&path, &moved).unwrap();
        info!("two");
        log.reopen().unwrap();
        info!("three");
    });
    let seen: Vec<_> = text.lines().collect();
    assert!(seen.len() == 1 && seen[0].ends_with("three"));
    let moved = fs::read_to_string(&moved).unwrap();
    assert_eq!(moved.lines().count(), 2, "a line logged before the reopen goes to the old file");
}

#[test]
fn a_reopen_that_fails_keeps_the_old_file_and_names_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("log"), directory.path().join("moved"));
    let (control, subscriber) = assemble(&config(&path), noon, None).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        info!("one");
        control.flush().unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        let error = control.reopen().unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
        info!("two");
    });
    drop(control);
    assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 2);
}

#[test]
fn files_are_rotated_under_load_without_a_lost_or_cut_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let config = LogConfig { rotate_bytes: 2048, keep: 100, ..config(&path) };
    let (control, subscriber) = assemble(&config, noon, None).unwrap();
    let dispatch = tracing::Dispatch::new(subscriber);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (dispatch, control) = (dispatch.clone(), &control);
            scope.spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || {
                    for number in 0..200 {
                        info!(thread, number, "line");
                        if number % 50 == 0 {
                            control.flush().unwrap();
                        }
                    }
                });
            });
        }
    });
    drop(control);
    let mut lines = Vec::new();
    let files = fs::read_dir(directory.path()).unwrap();
    for file in files {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.len() <= 2048);
        lines.extend(text.lines().map(|line| line.split_once(" INFO line ").unwrap().1.to_owned()));
    }
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 800);
}

#[test]
fn a_full_disk_loses_lines_and_counts_them() {
    let (control, subscriber) = assemble(&config(Path::new("/dev/full")), noon, None).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..5 {
            info!("line");
        }
    });
    control.flush().unwrap();
    assert_eq!(control.dropped(), 5);
}

#[test]
fn a_full_queue_drops_and_the_file_tells_how_many() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    // No writer thread yet: nothing leaves the queue.
    let queue = Arc::new(Queue::new());
    let lines = LineLayer::new(Arc::clone(&queue), noon);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
        for _ in 0..QUEUE_LINES_MAX + 7 {
            info!("line");
        }
    });
    assert_eq!(queue.dropped(), 7);
    assert!(matches!(queue.ask(Request::Flush, Duration::from_millis(1)), Err(LogError::Busy)));
    let file = RotatingFile::open(&path, &config(&path), noon()).unwrap();
    Writer::spawn(Arc::clone(&queue), Sink::File(file), noon).unwrap();
    queue.ask(Request::Stop, ANSWER_WAIT).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), QUEUE_LINES_MAX + 1);
    assert!(text.lines().next().unwrap().ends_with("WARN log lines lost count=7"));
}

#[test]
fn a_bad_path_refuses_the_start() {
    let error = assemble(&config(Path::new("/nonexistent/log")), noon, None).err().unwrap();
    assert!(matches!(error, LogError::Open { .. }), "{error}");
}
