//! The difference of two texts, in the form that `diff -u` and `patch` use.

use std::fmt::Write as _;

/// Lines shown around a change.
const AROUND: usize = 3;
/// Longest text that is compared line by line; the table has the product of both lengths. Settings
/// have some dozen lines; a longer text is shown as replaced whole.
const LINES_MAX: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// The difference; empty where there is none. An absent file is `/dev/null`.
#[must_use]
pub fn unified(path: &str, before: Option<&str>, after: Option<&str>) -> String {
    if before == after {
        return String::new();
    }
    let old: Vec<&str> = before.unwrap_or_default().split_inclusive('\n').collect();
    let new: Vec<&str> = after.unwrap_or_default().split_inclusive('\n').collect();
    let name = |text: Option<&str>, side| match text {
        Some(_) => format!("{side}{path}"),
        None => "/dev/null".to_owned(),
    };
    let mut out = format!("--- {}\n+++ {}\n", name(before, "a"), name(after, "b"));
    for hunk in hunks(&edits(&old, &new)) {
        write_hunk(hunk, &old, &new, &mut out);
    }
    out
}

/// A line's fate with the places reached before it in both texts.
type Placed = (Edit, usize, usize);

fn edits(old: &[&str], new: &[&str]) -> Vec<Placed> {
    let common =
        if old.len() > LINES_MAX || new.len() > LINES_MAX { Vec::new() } else { common(old, new) };
    let mut edits = Vec::new();
    let (mut a, mut b) = (0, 0);
    let end = std::iter::once((old.len(), new.len()));
    for (next_a, next_b) in common.into_iter().chain(end) {
        while a < next_a {
            edits.push((Edit::Remove, a, b));
            a += 1;
        }
        while b < next_b {
            edits.push((Edit::Add, a, b));
            b += 1;
        }
        if a < old.len() && b < new.len() {
            edits.push((Edit::Keep, a, b));
            a += 1;
            b += 1;
        }
    }
    edits
}

/// The longest common subsequence: pairs of places.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    let at = |lengths: &[u32], a: usize, b: usize| lengths.get(a * width + b).copied().unwrap_or(0);
    for (a, line) in old.iter().enumerate().rev() {
        for (b, other) in new.iter().enumerate().rev() {
            let length = if line == other {
                at(&lengths, a + 1, b + 1) + 1
            } else {
                at(&lengths, a + 1, b).max(at(&lengths, a, b + 1))
            };
            if let Some(slot) = lengths.get_mut(a * width + b) {
                *slot = length;
            }
        }
    }
    let mut pairs = Vec::new();
    let (mut a, mut b) = (0, 0);
    while let (Some(line), Some(other)) = (old.get(a), new.get(b)) {
        if line == other {
            pairs.push((a, b));
            a += 1;
            b += 1;
        } else if at(&lengths, a + 1, b) >= at(&lengths, a, b + 1) {
            a += 1;
        } else {
            b += 1;
        }
    }
    pairs
}

/// Changes with the lines around them; those that touch are one.
fn hunks(edits: &[Placed]) -> Vec<&[Placed]> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (at, (edit, ..)) in edits.iter().enumerate() {
        if *edit == Edit::Keep {
            continue;
        }
        let (start, end) = (at.saturating_sub(AROUND), (at + AROUND + 1).min(edits.len()));
        match spans.last_mut() {
            Some((_, last)) if start <= *last => *last = end,
            _ => spans.push((start, end)),
        }
    }
    spans.into_iter().filter_map(|(start, end)| edits.get(start..end)).collect()
}

fn write_hunk(hunk: &[Placed], old: &[&str], new: &[&str], out: &mut String) {
    let Some((_, a, b)) = hunk.first() else { return };
    let count = |without: Edit| hunk.iter().filter(|(edit, ..)| *edit != without).count();
    let (old_count, new_count) = (count(Edit::Add), count(Edit::Remove));
    // A range of no lines is named by the line before it.
    let first = |at: usize, count: usize| if count == 0 { at } else { at + 1 };
    let _ = writeln!(
        out,
        "@@ -{},{old_count} +{},{new_count} @@",
        first(*a, old_count),
        first(*b, new_count)
    );
    for (edit, a, b) in hunk {
        let (mark, line) = match edit {
            Edit::Keep => (' ', old.get(*a)),
            Edit::Remove => ('-', old.get(*a)),
            Edit::Add => ('+', new.get(*b)),
        };
        let line = line.copied().unwrap_or_default();
        out.push(mark);
        out.push_str(line);
        if !line.ends_with('\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_are_shown_with_what_is_around_them() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\nx\n6\n7\n8\n9\n";
        let shown = "--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n";
        assert_eq!(unified("/f", Some(before), Some(after)), shown);
        assert_eq!(unified("/f", Some(before), Some(before)), "");
        let made = "--- /dev/null\n+++ b/f\n@@ -0,0 +1,1 @@\n+x\n\\ No newline at end of file\n";
        assert_eq!(unified("/f", None, Some("x")), made);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// What is shown is what `patch` would do, where it is installed.
        #[test]
        fn patch_makes_the_new_text(old in "[ab\n]{0,40}", new in "[ab\n]{1,40}") {
            prop_assume!(!old.is_empty());
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("f");
            fs::write(&file, &old).unwrap();
            let shown = unified("/f", Some(&old), Some(&new));
            fs::write(folder.path().join("p"), &shown).unwrap();
            let patch = Command::new("patch")
                .args(["-s", "-i", "p", "f"])
                .current_dir(folder.path())
                .status();
            let Ok(status) = patch else { return Ok(()) };
            if !shown.is_empty() {
                prop_assert!(status.success(), "{shown}");
            }
            prop_assert_eq!(fs::read_to_string(&file).unwrap(), new);
        }
    }
}
