//! Every check that there is, in the order in which they are made: what is volatile comes first.
//!
//! The words stand in the catalogue of texts, under the id. An id is never given to something else.

use super::{
    Case, Checked, Found, Grade, SIGNS_MAX, accounts, files, logs, persistence, processes,
    surroundings, system,
};
use crate::findings::Confidence;

/// A check.
pub struct Check {
    /// `TR-03`; the number is its place in the method.
    pub id: &'static str,
    /// Techniques of MITRE ATT&CK that it looks for.
    pub attack: &'static [&'static str],
    /// Whether "nothing was found" may be said only if it could look.
    pub essential: bool,
    look: fn(&Case<'_>) -> Found,
}

const fn check(
    id: &'static str,
    essential: bool,
    attack: &'static [&'static str],
    look: fn(&Case<'_>) -> Found,
) -> Check {
    Check { id, attack, essential, look }
}

/// All.
pub static ALL: &[Check] = &[
    check("TR-01", true, &["T1070.006"], system::clock),
    check("TR-02", true, &["T1057"], processes::inventory),
    check("TR-03", true, &["T1070.004", "T1620"], processes::deleted),
    check("TR-04", true, &["T1036.005"], processes::odd_places),
    check("TR-05", true, &["T1036.004", "T1036.009"], processes::masks),
    check("TR-06", true, &["T1496"], processes::miners),
    check("TR-07", true, &["T1205", "T1040", "T1571"], processes::listeners),
    check("TR-08", true, &["T1071", "T1059.004"], processes::outgoing),
    check("TR-09", false, &["T1498.002"], system::traffic),
    check("TR-10", true, &["T1574.006"], persistence::preload),
    check("TR-11", true, &["T1014", "T1564"], system::hidden),
    check("TR-12", false, &["T1547.006", "T1014"], system::modules),
    check("TR-13", false, &["T1040"], system::promiscuous),
    check("TR-14", false, &["T1078"], logs::logged_in),
    check("TR-15", true, &["T1110", "T1021.004"], logs::logins),
    check("TR-16", false, &["T1110"], logs::failures),
    check("TR-17", true, &["T1070.002"], logs::holes),
    check("TR-18", false, &["T1070.003", "T1059.004"], persistence::histories),
    check("TR-19", true, &["T1136.001", "T1098"], accounts::accounts),
    check("TR-20", true, &["T1098.004"], accounts::keys),
    check("TR-21", false, &["T1556", "T1021.004"], accounts::sshd),
    check("TR-22", false, &["T1556.003"], persistence::pam),
    check("TR-23", true, &["T1053.003", "T1053.002"], persistence::cron),
    check("TR-24", true, &["T1543.002", "T1053.006"], persistence::units),
    check("TR-25", false, &["T1037", "T1546.004"], persistence::hooks),
    check("TR-26", false, &["T1548.001"], files::raising),
    check("TR-27", true, &["T1554", "T1036"], files::packages),
    check("TR-28", false, &["T1222.002"], persistence::immutable),
    check("TR-29", false, &["T1564.001"], files::hidden),
    check("TR-30", false, &["T1505.003"], persistence::web),
    check("TR-31", false, &["T1190"], surroundings::web_logs),
    check("TR-32", false, &["T1190", "T1133"], system::other_doors),
    check("TR-33", false, &["T1565.001"], persistence::names),
    check("TR-34", false, &["T1562.001", "T1562.004"], surroundings::protection),
    check("TR-35", false, &["T1496", "T1114"], surroundings::mail),
    check("TR-36", false, &["T1610", "T1611"], surroundings::containers),
    check("TR-37", false, &["T1070.006"], files::recent),
    check("TR-38", false, &[], system::origin),
    check("TR-39", false, &["T1190"], surroundings::support),
];

/// Checks of the method that this program does not make: none. Whoever reads a report of a version
/// that left some out is told.
pub static NOT_MADE: &[&str] = &[];

impl Check {
    /// Looks and grades.
    pub(super) fn run(&self, case: &Case<'_>) -> Checked {
        let mut found = (self.look)(case);
        found.signs.sort_by_key(|sign| std::cmp::Reverse(sign.grade));
        let more = found.signs.len().saturating_sub(SIGNS_MAX);
        found.signs.truncate(SIGNS_MAX);
        let worst = found.signs.first().map_or(Grade::Clean, |sign| sign.grade);
        let grade = match (found.blind, worst) {
            (true, Grade::Clean | Grade::Note) => Grade::NotRun,
            (_, worst) => worst,
        };
        let partly = !found.unseen.is_empty();
        Checked {
            id: self.id.to_owned(),
            grade,
            confidence: match (grade, partly) {
                (Grade::NotRun, _) => Confidence::Low,
                (Grade::Strong, _) => Confidence::High,
                (_, true) => Confidence::Low,
                (Grade::Clean, false) => Confidence::High,
                _ => Confidence::Medium,
            },
            attack: self.attack.iter().map(|id| (*id).to_owned()).collect(),
            looked_at: found.looked_at,
            signs: found.signs,
            more: more as u64,
            unseen: found.unseen,
            essential: self.essential,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, NOT_MADE};
    use crate::texts::{Lang, Texts};

    #[test]
    fn the_method_has_thirty_nine_checks_and_each_is_made_or_named() {
        let mut ids: Vec<&str> = ALL.iter().map(|check| check.id).collect();
        assert!(ids.is_sorted());
        ids.extend(NOT_MADE);
        ids.sort_unstable();
        let all: Vec<String> = (1..=39).map(|number| format!("TR-{number:02}")).collect();
        assert_eq!(ids, all);
    }

    #[test]
    fn every_check_has_its_words() {
        let texts = Texts::of(Lang::En);
        for id in ALL.iter().map(|check| check.id).chain(NOT_MADE.iter().copied()) {
            let parts: &[&str] = match NOT_MADE.contains(&id) {
                true => &["title"],
                false => &["title", "looked", "innocent", "next"],
            };
            for part in parts {
                let key = format!("{id}.{part}");
                assert_ne!(texts.get(&key), key);
            }
        }
    }
}
