//! What the rules say of whole hosts: the findings that must be there, and no graver ones.

use std::path::Path;

use kannuki_audit::{
    facts::Facts,
    findings::{Report, Severity, Verdict},
    output::{Format, Page, render},
    rules,
    texts::{Lang, Texts},
    vulnerabilities::Table,
};

fn facts(name: &str) -> Facts {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let bytes = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
    Facts::from_json(&bytes).unwrap()
}

fn judge(facts: &Facts) -> Report {
    rules::judge(facts, &Table::embedded(), &Texts::of(Lang::En))
}

/// The ids of everything that is not only worth knowing, each once.
fn ids(report: &Report) -> Vec<&str> {
    let mut ids: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.severity > Severity::Info)
        .map(|finding| finding.id.as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Every fixture: its worst verdict, and exactly these findings.
const EXPECTED: [(&str, Option<Verdict>, &[&str]); 11] = [
    (
        "centos-6",
        Some(Verdict::Open),
        &[
            "MC-AMP-001",
            "MC-CVE-001",
            "MC-CVE-002",
            "MC-CVE-003",
            "MC-DATA-001",
            "MC-LOG-001",
            "MC-NET-001",
            "MC-USE-001",
        ],
    ),
    (
        "centos-7",
        Some(Verdict::Open),
        &[
            "MC-AMP-001",
            "MC-CVE-001",
            "MC-CVE-002",
            "MC-CVE-003",
            "MC-DATA-001",
            "MC-NET-001",
            "MC-USE-001",
        ],
    ),
    ("rocky-9-firewalld", Some(Verdict::Filtered), &["MC-CVE-003", "MC-USE-001"]),
    (
        "alpine",
        Some(Verdict::Local),
        &["MC-AMP-002", "MC-CVE-001", "MC-CVE-003", "MC-LOG-001", "MC-USE-001"],
    ),
    ("suse", Some(Verdict::Local), &["MC-CVE-001", "MC-CVE-003", "MC-USE-001"]),
    (
        "ubuntu",
        Some(Verdict::Open),
        &["MC-AMP-001", "MC-CVE-001", "MC-CVE-003", "MC-DATA-001", "MC-NET-001", "MC-USE-001"],
    ),
    (
        "ubuntu-ufw",
        Some(Verdict::Filtered),
        &["MC-AMP-002", "MC-CVE-001", "MC-CVE-003", "MC-USE-001"],
    ),
    ("ipv6-only", Some(Verdict::Open), &["MC-CVE-003", "MC-DATA-001", "MC-NET-001", "MC-USE-001"]),
    ("docker-published", Some(Verdict::Open), &["MC-DATA-001", "MC-NET-005", "MC-USE-001"]),
    ("clean", Some(Verdict::Local), &["MC-CVE-003"]),
    ("disk", None, &["MC-BOOT-001"]),
];

#[test]
fn every_host_gets_its_findings_and_no_others() {
    for (name, verdict, expected) in EXPECTED {
        let report = judge(&facts(name));
        assert_eq!(report.summary.verdict, verdict, "{name}");
        assert_eq!(ids(&report), expected, "{name}");
    }
}

#[test]
fn a_clean_host_has_nothing_to_mend_today() {
    let report = judge(&facts("clean"));
    assert!(report.findings.iter().all(|finding| finding.severity <= Severity::Low));
}

#[test]
fn back_ports_count_and_features_that_are_off_do_not() {
    let report = judge(&facts("ubuntu"));
    let flaws: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.id == "MC-CVE-001")
        .map(|finding| finding.subject.as_str())
        .collect();
    assert_eq!(flaws, ["CVE-2018-1000115"], "UDP alone is on");
}

/// Names on a hostile host: markup, quotes, escape codes, a fence of Markdown.
const HOSTILE: &str = "<script>alert('\u{1b}[31m')</script>\"&`|](x)\n# \u{202e}";

fn hostile() -> Facts {
    let mut facts = facts("centos-7");
    let seen = |text: &str| kannuki_audit::facts::Seen::Known(text.to_owned());
    facts.host.name = seen(HOSTILE);
    facts.panels.push(HOSTILE.to_owned());
    if let kannuki_audit::facts::Seen::Known(processes) = &mut facts.processes {
        for process in processes {
            let argv = vec!["memcached".to_owned(), HOSTILE.to_owned()];
            process.argv = kannuki_audit::facts::Seen::Known(argv);
        }
    }
    if let kannuki_audit::facts::Seen::Known(interfaces) = &mut facts.interfaces {
        for interface in interfaces {
            interface.name = HOSTILE.to_owned();
        }
    }
    facts
}

#[test]
fn hostile_names_stay_names_in_every_form() {
    for lang in Lang::ALL {
        let texts = Texts::of(lang);
        let report = rules::judge(&hostile(), &Table::embedded(), &texts);
        let page = Page { report: &report, changes: None, texts: &texts, columns: 80 };
        for (name, format) in Format::ALL {
            let out = render(format, &page);
            assert!(out.contains("script"), "{name}: the name is shown");
            assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}'), "{name}");
            let starts = |mark: &str| out.lines().any(|line| line.starts_with(mark));
            assert!(!starts("<script") && !starts("# \\u"), "{name}");
            if format == Format::Html {
                assert!(!out.contains("http:") || out.contains("xmlns"), "nothing is loaded");
                assert!(!out.contains("<script") && !out.contains("alert(&#39;\u{1b}"), "{name}");
                assert!(!out.contains("<img") && !out.contains("src="), "nothing is loaded");
            }
        }
    }
}

#[test]
fn texts_are_filled_in_every_form_and_language() {
    for lang in Lang::ALL {
        let texts = Texts::of(lang);
        for (name, ..) in EXPECTED {
            let report = rules::judge(&facts(name), &Table::embedded(), &texts);
            let page = Page { report: &report, changes: None, texts: &texts, columns: 80 };
            let out = render(Format::Text, &page);
            let left = out.split('{').nth(1).filter(|rest| rest.contains('}'));
            let is_command = out.contains("--format '{{json");
            assert!(left.is_none() || is_command, "{name}: {left:?}");
        }
    }
}

#[test]
fn no_report_calls_a_host_safe() {
    for (name, ..) in EXPECTED {
        let texts = Texts::of(Lang::En);
        let report = judge(&facts(name));
        let page = Page { report: &report, changes: None, texts: &texts, columns: 80 };
        let out = render(Format::Text, &page).to_lowercase();
        assert!(!out.split(|c: char| !c.is_alphanumeric()).any(|word| word == "safe"), "{name}");
    }
}

#[test]
fn a_baseline_tells_what_changed() {
    use kannuki_audit::findings::baseline;
    let texts = Texts::of(Lang::En);
    let (open, clean) = (judge(&facts("ubuntu")), judge(&facts("ubuntu-ufw")));
    let page = Page { report: &open, changes: None, texts: &texts, columns: 80 };
    let old = baseline::read(render(Format::Json, &page).as_bytes()).unwrap();
    assert!(baseline::compare(&old, &open).is_empty(), "nothing changed");
    let changes = baseline::compare(&old, &clean);
    assert!(changes.fixed.iter().any(|finding| finding.id == "MC-NET-001"));
    assert!(changes.new.iter().any(|print| print.starts_with("MC-NET-003")));
    let worse = baseline::compare(&clean, &open);
    assert!(worse.new.iter().any(|print| print.starts_with("MC-CVE-001")), "it became worse");
    assert!(baseline::read(b"{\"schema\":\"other\"}").is_err());
    assert!(baseline::read(b"[").is_err());
}
