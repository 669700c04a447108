//! Which of two package versions is newer, in the distribution's own order.
//!
//! A fix is carried by a package, not by a number of upstream's, so `1.6.18-1+deb12u1` and
//! `1.6.9-7.el9_8.1` must be ordered as their package managers order them. Each order is a few
//! lines, so none of the managers' libraries is needed.
//!
//! Invariants:
//! - Every pair of texts has an order; malformed versions are ordered too, and nothing panics.
//! - Each order agrees with its package manager on the pairs of `tests/versions/`.

mod apk;
mod dpkg;
mod rpm;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Whose order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionOrder {
    /// Debian, Ubuntu: `[epoch:]upstream[-revision]`, `~` sorts before the end.
    Dpkg,
    /// Red Hat, SUSE, Photon: `[epoch:]version[-release]`, `~` before and `^` after the end.
    Rpm,
    /// Alpine: `1.2.3a_rc1-r4`.
    Apk,
}

impl VersionOrder {
    /// How `a` stands to `b`: `Less` means older.
    #[must_use]
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Dpkg => dpkg::compare(a, b),
            Self::Rpm => rpm::compare(a, b),
            Self::Apk => apk::compare(a, b),
        }
    }

    /// Upstream's number inside a package version: `1.6.9` of `1:1.6.9+dfsg-1+deb11u1`. None where
    /// it does not begin with a digit.
    #[must_use]
    pub fn upstream(self, version: &str) -> Option<&str> {
        let version = version.split_once(':').map_or(version, |(_, rest)| rest);
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let number = version.get(..end)?.trim_end_matches('.');
        (!number.is_empty()).then_some(number)
    }
}

/// The order of upstream's own numbers, `1.4.9` before `1.4.10`; a suffix like `-rc1` of a
/// release candidate sorts before its release.
#[must_use]
pub fn compare_upstream(a: &str, b: &str) -> Ordering {
    let plain = |version: &str| version.replace(['-', '_'], "~");
    dpkg::compare(&plain(a), &plain(b))
}

/// Numbers of any length as text: leading zeros aside, longer is larger.
fn compare_digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Splits where the first character that does not satisfy `inside` stands.
fn take_while(text: &str, inside: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_upstream_is_found() {
        for (order, version, upstream) in [
            (VersionOrder::Dpkg, "1.6.9+dfsg-1+deb11u1", Some("1.6.9")),
            (VersionOrder::Dpkg, "1:1.4.25-2ubuntu1.5+esm1", Some("1.4.25")),
            (VersionOrder::Rpm, "1.6.9-7.el9_8.1", Some("1.6.9")),
            (VersionOrder::Apk, "1.6.22-r0", Some("1.6.22")),
            (VersionOrder::Apk, "", None),
            (VersionOrder::Rpm, "git", None),
        ] {
            assert_eq!(order.upstream(version), upstream, "{version}");
        }
    }

    #[test]
    fn upstream_numbers_are_not_words() {
        assert_eq!(compare_upstream("1.4.9", "1.4.10"), Ordering::Less);
        assert_eq!(compare_upstream("1.4.10-rc1", "1.4.10"), Ordering::Less);
        assert_eq!(compare_upstream("1.6.45", "1.6.45"), Ordering::Equal);
    }

    proptest::proptest! {
        #[test]
        fn every_order_is_antisymmetric(a in "\\PC{0,24}", b in "[0-9a-z.:~^+_-]{0,24}") {
            for order in [VersionOrder::Dpkg, VersionOrder::Rpm, VersionOrder::Apk] {
                proptest::prop_assert_eq!(order.compare(&a, &b), order.compare(&b, &a).reverse());
                proptest::prop_assert_eq!(order.compare(&b, &b), Ordering::Equal);
            }
        }
    }
}
