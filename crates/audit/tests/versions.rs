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

const RPM: &str = include_str!("versions/rpm.txt");

#[test]
fn rpm_says_the_same() {
    agree(VersionOrder::Rpm, RPM, 500);
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

/// And where rpm is: all pairs in one run of its own Lua.
#[test]
fn the_table_is_what_rpm_says_today() {
    if Command::new("rpm").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "no rpm here: `apt-get install rpm`");
        eprintln!("no rpm here: the table alone was checked");
        return;
    }
    let words: Vec<String> =
        pairs(RPM).flat_map(|(a, _, b)| [format!("\"{a}\""), format!("\"{b}\"")]).collect();
    let list = words.join(",");
    let lua = format!(
        "%{{lua: local t = {{{list}}} for i = 1, #t, 2 do \
         local a, b = rpm.ver(t[i]), rpm.ver(t[i + 1]) \
         print(a < b and \"<\" or (a == b and \"=\" or \">\")) end}}"
    );
    let output = Command::new("rpm").args(["--eval", &lua]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    let told: String = told.split_whitespace().collect();
    let expected: String = pairs(RPM)
        .map(|(_, order, _)| match order {
            Ordering::Less => '<',
            Ordering::Equal => '=',
            Ordering::Greater => '>',
        })
        .collect();
    assert_eq!(told, expected);
}
