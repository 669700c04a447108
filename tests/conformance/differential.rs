//! The differential runner: the same scripts against Debian's memcached and against Kannuki.
//!
//! `CONFORMANCE_ONLY=name` plays the scripts whose name holds that text, `CONFORMANCE_SHOW=1`
//! prints all they said; both are for people who write scripts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kannuki_tests::{Launch, Program};

use super::compare::{self, Findings};
use super::coverage::{Coverage, Required};
use super::differences::{self, Because, Difference, Version};
use super::play::{self, Transcript};
use super::reply;
use super::script::{self, Script};

/// Scripts played side by side: they mostly wait.
const PLAYED_AT_ONCE: usize = 8;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

fn scripts() -> Vec<Script> {
    let mut scripts =
        script::load_all(&directory().join("scripts")).unwrap_or_else(|why| panic!("{why}"));
    if let Ok(only) = std::env::var("CONFORMANCE_ONLY") {
        scripts.retain(|script| script.name.contains(&only));
    }
    scripts
}

fn known_differences(from: Version) -> Vec<Difference> {
    let path = directory().join("known_differences.toml");
    differences::load(&path, from).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn required() -> Required {
    let path = directory().join("required.txt");
    let text = std::fs::read_to_string(path).unwrap();
    Required::parse(&text).unwrap_or_else(|why| panic!("required.txt: {why}"))
}

/// Who plays, and with which words of its own after the script's.
#[derive(Clone, Copy)]
struct Player {
    program: Program,
    flags: &'static [&'static str],
}

fn play_one(player: Player, script: &Script) -> Result<Transcript, String> {
    let own = player.flags.iter().map(|flag| (*flag).to_owned());
    let launch = Launch::of(player.program).flags(script.server_flags.clone()).flags(own);
    let mut server = launch.start();
    let transcript = play::play(script, &server);
    if !server.is_running() {
        return Err(format!("{}: {:?} died: {}", script.name, player.program, server.stderr()));
    }
    transcript
}

struct Run {
    findings: Findings,
    coverage: Coverage,
}

/// Plays every script against both and compares.
fn run(scripts: &[Script], reference: Player, candidate: Player, known: &[Difference]) -> Run {
    let outcome = Mutex::new(Run { findings: Findings::default(), coverage: Coverage::default() });
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PLAYED_AT_ONCE.min(scripts.len()) {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_one(script, reference, candidate, known, &outcome);
                }
            });
        }
    });
    outcome.into_inner().unwrap()
}

fn run_one(
    script: &Script,
    reference: Player,
    candidate: Player,
    known: &[Difference],
    outcome: &Mutex<Run>,
) {
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| play_one(reference, script));
        let other = play_one(candidate, script);
        (one.join().unwrap(), other)
    });
    let mut outcome = outcome.lock().unwrap();
    match (one, other) {
        (Ok(one), Ok(other)) => {
            show(script, &one, &other);
            let found = compare::compare(script, &one, &other, known);
            outcome.findings.undeclared.extend(found.undeclared);
            outcome.findings.used.extend(found.used);
            outcome.coverage.add(script, &other);
        }
        (one, other) => {
            let failed = [one.err(), other.err()].into_iter().flatten();
            outcome.findings.undeclared.extend(failed.map(|why| format!("{why}\n")));
        }
    }
}

fn show(script: &Script, one: &Transcript, other: &Transcript) {
    if std::env::var_os("CONFORMANCE_SHOW").is_none() {
        return;
    }
    for (at, step) in script.steps.iter().enumerate() {
        println!("=== {}: {}", script.name, step.label);
        println!("  sent {}", kannuki_tests::wire::show(&one.replies[at].sent));
        print!("  reference:\n{}", reply::show(&one.replies[at].tokens));
        if !reply::agree(&one.replies[at].tokens, &other.replies[at].tokens, 0) {
            print!("  candidate:\n{}", reply::show(&other.replies[at].tokens));
        }
    }
    println!("=== {}: counters {:?}", script.name, one.counters);
}

fn unused(known: &[Difference], used: &BTreeSet<(usize, String)>) -> Vec<String> {
    let mut unused = Vec::new();
    for (index, entry) in known.iter().enumerate() {
        for place in &entry.at {
            if !used.contains(&(index, place.clone())) {
                unused.push(format!("{place}: {:?}", entry.facts));
            }
        }
    }
    unused
}

const REASONS: &[(Because, &str)] = &[
    (Because::Newer, "memcached changed after 1.6.18"),
    (Because::Safer, "Kannuki does not copy a bug or danger"),
    (Because::Engine, "the engine is another one"),
    (Because::Free, "the reference leaves it open"),
    (Because::Observed, "the real one does otherwise than its reference"),
];

const MEMCACHED: Player = Player { program: Program::Memcached, flags: &[] };
const RIVAL: Player = Player { program: Program::Rival, flags: &[] };
const KANNUKI: Player = Player { program: Program::Kannuki, flags: &[] };

/// True when the reference is there; says so if it is not.
fn reference_is_there() -> bool {
    match Program::Memcached.path() {
        Ok(_) => true,
        Err(why) => {
            kannuki_tests::missing("the comparison with memcached", &why);
            false
        }
    }
}

#[test]
fn kannuki_answers_as_memcached_does() {
    if !reference_is_there() {
        return;
    }
    answers_alike(MEMCACHED, Version::Debian12);
}

#[test]
fn kannuki_answers_as_the_newest_memcached_does() {
    if let Err(why) = Program::Rival.path() {
        // Debian has it for a while only: no failure, wherever this runs.
        eprintln!("\n*** SKIPPED: the comparison with memcached 1.6.45: {why} ***\n");
        return;
    }
    answers_alike(RIVAL, Version::Newest);
}

fn answers_alike(reference: Player, version: Version) {
    let (scripts, known, required) = (scripts(), known_differences(version), required());
    let run = run(&scripts, reference, KANNUKI, &known);
    report(format_args!("{}", run.coverage.table(&required)));
    let mut wrong = run.findings.undeclared.clone();
    let whole = std::env::var_os("CONFORMANCE_ONLY").is_none();
    if whole {
        let idle = unused(&known, &run.findings.used).into_iter();
        wrong.extend(idle.map(|entry| format!("known difference no longer used: {entry}\n")));
        let gaps = run.coverage.gaps(&required).into_iter();
        wrong.extend(gaps.map(|gap| format!("coverage: {gap}\n")));
    }
    let quotes = differences::misquotes(&known).into_iter();
    wrong.extend(quotes.map(|quote| format!("the reference does not say: {quote}\n")));
    for (because, why) in REASONS {
        let count = known.iter().filter(|entry| entry.because == *because).count();
        report(format_args!("{count:>4} known differences because {why}"));
    }
    report(format_args!(
        "{} scripts, {} steps, {} known differences seen, {} points required",
        scripts.len(),
        scripts.iter().map(|script| script.steps.len()).sum::<usize>(),
        run.findings.used.len(),
        required.points.len()
    ));
    assert!(wrong.is_empty(), "{} disagreements:\n\n{}", wrong.len(), wrong.join("\n"));
}

/// Prints past the test harness, which keeps what a passing test prints to itself.
fn report(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    // A report that cannot be written is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Debian's memcached answers this and closes with a byte unread, so that the reset may overtake
/// the answer: of two runs one may show it and the other not. (Kannuki's answer differs from both.)
const OVERTAKEN: &str = "binary-errors: stat with a value";

#[test]
fn memcached_answers_as_itself() {
    if !reference_is_there() {
        return;
    }
    let run = run(&scripts(), MEMCACHED, MEMCACHED, &[]);
    let undeclared = run.findings.undeclared.iter();
    let wrong: Vec<_> =
        undeclared.filter(|finding| !finding.starts_with(OVERTAKEN)).cloned().collect();
    assert!(wrong.is_empty(), "{} disagreements:\n\n{}", wrong.len(), wrong.join("\n"));
}

/// The runner must notice a server that differs: one without CAS, one that refuses `flush_all`.
#[test]
fn a_different_server_is_noticed() {
    if !reference_is_there() {
        return;
    }
    const WITHOUT_CAS: Player = Player { program: Program::Memcached, flags: &["-C"] };
    const WITHOUT_FLUSH: Player = Player { program: Program::Memcached, flags: &["-F"] };
    let text = "\
-- store\n> set a 0 0 1\n> x\n\
-- gets\n> gets a\n\
-- flush\n> flush_all\n\
-- get\n> get a\n";
    let script = [Script::parse("inline", text).unwrap()];
    let found = |candidate| {
        let run = run(&script, MEMCACHED, candidate, &[]);
        run.findings.undeclared.join("\n")
    };
    let without_cas = found(WITHOUT_CAS);
    assert!(without_cas.contains("inline: gets"), "{without_cas}");
    assert!(!without_cas.contains("inline: store\n"), "{without_cas}");
    let without_flush = found(WITHOUT_FLUSH);
    assert!(without_flush.contains("inline: flush"), "{without_flush}");
    assert!(without_flush.contains("get_misses"), "{without_flush}");
}
