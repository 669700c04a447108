//! Our three orders of package versions against what the package managers themselves say.

use std::cmp::Ordering;
use std::process::Command;

use kannuki_audit::versions::VersionOrder;

/// Lines of `a < b`.
fn pairs(table: &str) -> impl Iterator<Item = (&str, Ordering, &str)> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let order = match words[1] {
            "<" => Ordering::Less,
            "=" => Ordering::Equal,
            _ => Ordering::Greater,
        };
        (words[0], order, words[2])
    })
}

fn agree(order: VersionOrder, table: &str, at_least: usize) {
    let mut count = 0;
    for (a, expected, b) in pairs(table) {
        assert_eq!(order.compare(a, b), expected, "{a} {b}");
        assert_eq!(order.compare(b, a), expected.reverse(), "{b} {a}");
        count += 1;
    }
    assert!(count >= at_least, "{count} pairs");
}

const DPKG: &str = include_str!("versions/dpkg.txt");

#[test]
fn dpkg_says_the_same() {
    agree(VersionOrder::Dpkg, DPKG, 500);
}

#[test]
fn rpm_says_the_same() {
    agree(VersionOrder::Rpm, include_str!("versions/rpm.txt"), 500);
}

#[test]
fn apk_says_the_same() {
    agree(VersionOrder::Apk, include_str!("versions/apk.txt"), 25);
}

/// The table itself is true, where dpkg is there to be asked.
#[test]
fn the_table_is_what_dpkg_says_today() {
    if Command::new("dpkg").arg("--version").output().is_err() {
        eprintln!("no dpkg here: the table alone was checked");
        return;
    }
    for (a, expected, b) in pairs(DPKG) {
        let word = match expected {
            Ordering::Less => "lt",
            Ordering::Equal => "eq",
            Ordering::Greater => "gt",
        };
        let status = Command::new("dpkg").args(["--compare-versions", a, word, b]).status();
        assert!(status.unwrap().success(), "{a} {word} {b}");
    }
}
