//! Nothing is asserted without evidence: with every part of it missing in turn.

use proptest::prelude::*;

use super::*;
use crate::facts::Facts;
use crate::rules;
use crate::texts::Lang;
use crate::triage;
use crate::vulnerabilities::Table;

const FACTS: &[u8] = include_bytes!("../../tests/fixtures/centos-7.json");
const CLOSE: &str = r#"{"schema": "kannuki.close/1", "id": "20180227T030000Z-stop",
    "host": "web1", "at": 1519700400, "state": "applied",
    "plan": {"method": "stop", "files": [{"path": "/etc/sysconfig/memcached"}]},
    "commands": [{"argv": ["systemctl", "stop", "memcached"], "ok": true}],
    "checks": [{"key": "close.check-sockets", "ok": true, "seen": "nothing listens"}]}"#;

fn full(lang: Lang) -> Evidence {
    let texts = Texts::of(lang);
    let facts = Facts::from_json(FACTS).unwrap();
    let table = Table::embedded();
    let report = rules::judge(&facts, &table, &texts);
    let mut close = CloseRun::from_json(CLOSE.as_bytes()).unwrap();
    close.host.clone_from(&report.host);
    let search = crate::collect::traces::Search {
        root: std::path::PathBuf::new(),
        by: "test".to_owned(),
        incident: Some(1_519_690_000),
        at: Some(1_519_700_000),
    };
    let empty = tempfile::tempdir().unwrap();
    let search = crate::collect::traces::Search { root: empty.path().to_owned(), ..search };
    let traces = crate::collect::traces::collect(&search, &mut |_| ()).unwrap();
    let mut triage = triage::judge(&traces, Some(&facts), search.incident, &table, &texts);
    triage.host.clone_from(&report.host);
    Evidence {
        before: Some((facts.clone(), report.clone())),
        after: Some((facts, report)),
        triage: Some(triage),
        close: Some(close),
        files: vec![("triage.json".to_owned(), "ab".repeat(32))],
    }
}

fn mark(lang: Lang) -> &'static str {
    match lang {
        Lang::En => "[FILL IN",
        Lang::Ja => "\u{3010}\u{8981}\u{8a18}\u{5165}",
    }
}

#[test]
fn without_evidence_every_assertion_is_a_blank() {
    for lang in Lang::ALL {
        let texts = Texts::of(lang);
        let letter = write(&Evidence::default(), &LetterZone::japan(), None, &texts);
        assert_eq!(letter.sections.len(), 13);
        for sentence in letter.sentences() {
            assert!(!matches!(sentence.basis, Basis::Shown(_)), "{}", sentence.text);
            let blank = sentence.basis == Basis::FillIn;
            assert_eq!(sentence.text.contains(mark(lang)), blank, "{}", sentence.text);
            assert!(blank || !sentence.text.chars().any(|c| c.is_ascii_digit()));
        }
        assert_eq!(letter.blanks(), 13);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each sentence that asserts rests on evidence that is there, and each part of the evidence
    /// that is taken away takes its sentences with it.
    #[test]
    fn each_assertion_has_its_evidence(
        before in any::<bool>(), after in any::<bool>(), triage in any::<bool>(),
        close in any::<bool>(), files in any::<bool>(), state in 0usize..3, ja in any::<bool>(),
    ) {
        let lang = if ja { Lang::Ja } else { Lang::En };
        let mut evidence = full(lang);
        evidence.before = evidence.before.filter(|_| before);
        evidence.after = evidence.after.filter(|_| after);
        evidence.triage = evidence.triage.filter(|_| triage);
        evidence.close = evidence.close.filter(|_| close);
        evidence.files.retain(|_| files);
        let state = ["applied", "rolled-back", "undone"][state];
        if let Some(close) = &mut evidence.close {
            close.state = state.to_owned();
        }
        let texts = Texts::of(lang);
        let letter = write(&evidence, &LetterZone::japan(), None, &texts);
        for sentence in letter.sentences() {
            let Basis::Shown(places) = &sentence.basis else { continue };
            prop_assert!(!places.is_empty(), "{}", sentence.text);
            prop_assert!(!sentence.text.contains(mark(lang)), "{}", sentence.text);
            for place in places {
                let there = match place.split(':').next().unwrap() {
                    "before" => before,
                    "after" => after,
                    "triage" => triage,
                    "close" => close && state == "applied",
                    "files" => files,
                    other => panic!("{other}"),
                };
                prop_assert!(there, "{}: {place}", sentence.text);
            }
        }
    }
}

#[test]
fn the_full_letter_has_true_times_in_both_zones() {
    let texts = Texts::of(Lang::Ja);
    let letter = write(&full(Lang::Ja), &LetterZone::japan(), Some("1234"), &texts);
    let page = render(&letter, Form::Txt, &Mail::default());
    assert!(page.contains("2018-02-27 12:00:00 JST (2018-02-27 03:00:00 UTC)"), "{page}");
    assert!(page.contains("\u{65b9}\u{6cd5}2"), "{page}");
    assert!(page.contains("systemctl stop memcached"), "{page}");
}

#[test]
fn a_mail_survives_its_way() {
    let texts = Texts::of(Lang::Ja);
    let letter = write(&Evidence::default(), &LetterZone::japan(), None, &texts);
    let desk = "the-desk-for-reports-of-abuse-and-of-incidents@provider.example";
    let mail = Mail {
        from: Some(Mailbox::read("\u{95a2} <me@example.org>").unwrap()),
        to: Some(Mailbox::read(desk).unwrap()),
    };
    let page = render(&letter, Form::Eml, &mail);
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(page.is_ascii() && page.lines().all(|line| line.len() <= 78));
    // An address is never encoded, however long it is: no program could send to it.
    assert!(head.contains(&format!("\r\nTo: {desk}\r\n")), "{head}");
    assert!(head.contains("\r\nFrom: =?utf-8?B?6Zai?=\r\n <me@example.org>\r\n"), "{head}");
    let (_, subject) = head.split_once("Subject: ").unwrap();
    let words = subject.split("=?utf-8?B?").skip(1).map(|word| word.split("?=").next().unwrap());
    let words: Vec<u8> = words.flat_map(|w| crate::formats::base64::decode(w).unwrap()).collect();
    assert!(String::from_utf8(words).unwrap().ends_with(&letter.subject.text));
    let body: String = body.split("\r\n").collect();
    let body = String::from_utf8(crate::formats::base64::decode(&body).unwrap()).unwrap();
    assert_eq!(body.replace("\r\n", "\n"), super::forms::body(&letter));
}

#[test]
fn evidence_of_two_hosts_is_refused() {
    let mut evidence = full(Lang::En);
    evidence.is_one_host().unwrap();
    evidence.close.as_mut().unwrap().host = "other".to_owned();
    assert!(evidence.is_one_host().is_err());
    assert!(CloseRun::from_json(b"{}").is_err());
}

/// The letter as its reader sees it.
fn page(evidence: &Evidence, lang: Lang) -> String {
    let texts = Texts::of(lang);
    let letter = write(evidence, &LetterZone::japan(), Some("1234"), &texts);
    render(&letter, Form::Txt, &Mail::default())
}

/// Shut, verified, and looked at again by root: what the desk waits for.
fn done(lang: Lang) -> Evidence {
    let mut evidence = full(lang);
    let (mut facts, mut report) = evidence.before.clone().unwrap();
    facts.collection.uid = 0;
    facts.collection.live = true;
    report.caches.clear();
    evidence.after = Some((facts, report));
    if let Some(triage) = &mut evidence.triage {
        triage.outcome = triage::Outcome::Reflector;
    }
    evidence
}

type Spoiled = (&'static str, fn(&mut Evidence));

/// What is taken away or goes wrong, one thing at a time.
fn spoiled() -> Vec<Spoiled> {
    vec![
        ("nothing was shut", |e| e.close = None),
        ("it was undone", |e| e.close.as_mut().unwrap().state = "undone".into()),
        ("it was rolled back", |e| e.close.as_mut().unwrap().state = "rolled-back".into()),
        ("a check failed", |e| e.close.as_mut().unwrap().checks[0].ok = false),
        ("nothing was verified", |e| {
            e.close.as_mut().unwrap().checks.clear();
            e.after = None;
        }),
        ("it is still open", |e| e.after = e.before.clone()),
        ("a stranger comes in by TCP", |e| {
            let mut after = e.before.clone().unwrap();
            after.1.caches.iter_mut().for_each(|c| c.doors.retain(|d| d.transport == "tcp"));
            e.after = Some(after);
        }),
        ("root did not look", |e| e.after.as_mut().unwrap().0.collection.uid = 1000),
        ("a disk was looked at", |e| e.after.as_mut().unwrap().0.collection.live = false),
        ("no socket was seen", |e| {
            let unseen = crate::facts::Seen::unseen(crate::facts::Why::Failed, "x");
            e.after.as_mut().unwrap().0.sockets = unseen;
        }),
        ("somebody got in", |e| {
            e.triage.as_mut().unwrap().outcome = triage::Outcome::Intrusion;
        }),
    ]
}

#[test]
fn nobody_is_asked_to_lift_the_restriction_before_it_is_shown_to_be_shut() {
    for lang in Lang::ALL {
        let texts = Texts::of(lang);
        let (asks, done_subject) = (texts.get("letter.request"), "letter.subject-done");
        let subject = texts.fill(done_subject, &[("ip", "203.0.113.10"), ("case", "1234")]);
        let head = subject.split(['(', ':']).next().unwrap().to_owned();
        let whole = page(&done(lang), lang);
        assert!(whole.contains(asks) && whole.contains(&head), "{whole}");
        for (what, spoil) in spoiled() {
            let mut evidence = done(lang);
            spoil(&mut evidence);
            let page = page(&evidence, lang);
            assert!(!page.contains(asks) && !page.contains(&head), "{what}: {page}");
        }
    }
}

#[test]
fn what_could_not_be_seen_afterwards_is_not_shut() {
    let shut = "strangers could reach no memcached";
    assert!(page(&done(Lang::En), Lang::En).contains(shut));
    for (what, spoil) in spoiled().into_iter().filter(|(what, _)| {
        ["it is still open", "a stranger comes in by TCP", "root did not look"].contains(what)
            || ["a disk was looked at", "no socket was seen"].contains(what)
    }) {
        let mut evidence = done(Lang::En);
        spoil(&mut evidence);
        assert!(!page(&evidence, Lang::En).contains(shut), "{what}");
    }
}

#[test]
fn an_intruder_is_told_together_with_the_open_cache() {
    let mut evidence = done(Lang::En);
    evidence.triage.as_mut().unwrap().outcome = triage::Outcome::Intrusion;
    let page = page(&evidence, Lang::En);
    assert!(page.contains("signs that somebody got into the server"), "{page}");
    assert!(page.contains("over UDP") && page.contains("rebuilt from a clean image"), "{page}");
    assert!(page.contains("leave the restriction in place"), "{page}");
    assert!(!page.contains("None of these checks saw a sign"), "{page}");
}

#[test]
fn an_inconclusive_search_and_no_search_claim_nothing() {
    let mut evidence = done(Lang::En);
    evidence.triage.as_mut().unwrap().outcome = triage::Outcome::CannotTell;
    evidence.triage.as_mut().unwrap().as_root = false;
    evidence.triage.as_mut().unwrap().live = false;
    let unsure = page(&evidence, Lang::En);
    assert!(unsure.contains("it cannot be told whether anybody got in"), "{unsure}");
    assert!(unsure.contains("cannot be told with certainty"), "{unsure}");
    assert!(unsure.contains("without the rights of root") && unsure.contains("disk was searched"));
    evidence.triage = None;
    let none = page(&evidence, Lang::En);
    assert!(none.contains("[FILL IN: how the server was searched"), "{none}");
    assert!(!none.contains("checks were made") && !none.contains("saw a sign"), "{none}");
}

/// A saved file may have been touched since: its texts steer nothing.
#[test]
fn texts_of_saved_files_steer_neither_terminal_nor_mail() {
    let mut evidence = done(Lang::En);
    let evil = "x\u{1b}]0;t\u{7}\r\nBcc: all@example.org\r\n\r\n";
    evidence.before.as_mut().unwrap().1.host = evil.to_owned();
    let close = evidence.close.as_mut().unwrap();
    close.checks[0].seen = evil.to_owned();
    close.commands[0].argv = vec![evil.to_owned()];
    close.plan.files[0].path = evil.to_owned();
    evidence.files.push((evil.to_owned(), evil.to_owned()));
    let texts = Texts::of(Lang::En);
    let letter = write(&evidence, &LetterZone::utc(), Some(evil), &texts);
    for form in [Form::Txt, Form::Md, Form::Eml] {
        let page = render(&letter, form, &Mail::default()).replace("\r\n", "\n");
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
        assert!(!page.lines().any(|line| line.starts_with("Bcc")), "{page}");
    }
}

#[test]
fn what_verifies_is_not_older_than_what_it_verifies() {
    let mut evidence = done(Lang::En);
    let close = evidence.close.as_ref().unwrap().at;
    evidence.after.as_mut().unwrap().0.collection.at = close + 60;
    evidence.before.as_mut().unwrap().0.collection.at = close - 60;
    evidence.is_in_order().unwrap();
    evidence.after.as_mut().unwrap().0.collection.at = close - 1;
    assert!(matches!(evidence.is_in_order(), Err(EvidenceError::TooEarly { .. })));
}
