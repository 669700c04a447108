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
    let mail =
        Mail { from: "me@example.org\r\nBcc: all".to_owned(), to: "abuse@example.net".into() };
    let page = render(&letter, Form::Eml, &mail);
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(page.is_ascii() && page.lines().all(|line| line.len() <= 78));
    assert!(!head.contains("Bcc"), "{head}");
    let words = head.split("=?utf-8?B?").skip(1).map(|word| word.split("?=").next().unwrap());
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
