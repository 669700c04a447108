//! What the checks amount to.

use serde::{Deserialize, Serialize};

use super::{Case, Checked, Grade, Sign, system};
use crate::{facts::MORE_GAPS, findings::quoted};

/// Suspicious signs of two checks so close together support each other, in seconds.
const TOGETHER_S: i64 = 86_400;
/// Most reasons that are told.
const REASONS_MAX: usize = 40;

/// The end of a triage. None of them says that nobody was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An open cache explains the traffic, and no check saw a sign of an intruder.
    Reflector,
    /// Somebody was in, as far as signs can tell.
    Intrusion,
    /// It cannot be told.
    CannotTell,
}

impl Outcome {
    /// Its name, as in JSON and in the catalogue of texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Intrusion => "intrusion",
            Self::CannotTell => "cannot-tell",
        }
    }
}

/// Why an outcome is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The key of its sentence in the catalogue of texts.
    pub text: String,
    /// What the sentence is filled with.
    pub values: Vec<(String, String)>,
    /// The check that it comes from, if it comes from one.
    pub check: Option<String>,
}

impl Reason {
    fn new(text: &str, check: Option<&str>) -> Self {
        Self { text: text.to_owned(), values: Vec::new(), check: check.map(str::to_owned) }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.values.push((name.to_owned(), quoted(value)));
        self
    }
}

/// Where one check has a strong sign, what others noted in passing is suspicious too: an intruder
/// who left one door leaves more.
pub(super) fn support(checks: &mut [Checked]) {
    let strong = checks.iter().filter(|check| check.grade == Grade::Strong).count();
    if strong == 0 {
        return;
    }
    for check in checks.iter_mut().filter(|check| check.grade < Grade::Strong) {
        for sign in check.signs.iter_mut().filter(|sign| sign.grade == Grade::Note) {
            if sign.supports {
                sign.grade = Grade::Suspicious;
            }
        }
        check.signs.sort_by_key(|sign| std::cmp::Reverse(sign.grade));
        let worst = check.signs.first().map_or(check.grade, |sign| sign.grade);
        check.grade = check.grade.max(worst);
    }
}

pub(super) fn judge(case: &Case<'_>, checks: &[Checked]) -> (Outcome, Vec<Reason>) {
    let mut reasons = Vec::new();
    for (check, sign) in signs(checks).filter(|(_, sign)| sign.grade == Grade::Strong) {
        reasons.push(from_sign(check, sign));
    }
    let suspicious: Vec<(&Checked, &Sign)> =
        signs(checks).filter(|(_, sign)| sign.grade == Grade::Suspicious).collect();
    let supported = suspicious.iter().any(|(check, sign)| {
        suspicious.iter().any(|(other, twin)| check.id != other.id && are_together(sign, twin))
    });
    let intrusion = !reasons.is_empty() || supported;
    reasons.extend(suspicious.iter().map(|(check, sign)| from_sign(check, sign)));
    if intrusion {
        // Nine processes of one program are one reason.
        let mut told = Vec::new();
        reasons.retain(|reason| {
            let fresh = !told.contains(reason);
            told.push(reason.clone());
            fresh
        });
        reasons.truncate(REASONS_MAX);
        return (Outcome::Intrusion, reasons);
    }
    for check in checks.iter().filter(|check| check.essential && check.grade == Grade::NotRun) {
        let why = check.unseen.first().map_or("?", String::as_str);
        reasons.push(Reason::new("triage.reason-not-run", Some(&check.id)).with("why", why));
    }
    if let Some(gap) = case.traces.gaps.iter().find(|gap| gap.what == MORE_GAPS) {
        let why = &gap.unseen.detail;
        reasons.push(Reason::new("triage.reason-gaps", None).with("why", why));
    }
    let doors = system::open_udp(case);
    if doors.is_empty() {
        reasons.push(Reason::new("triage.reason-no-reflector", Some("TR-09")));
    }
    reasons.truncate(REASONS_MAX);
    if !reasons.is_empty() {
        return (Outcome::CannotTell, reasons);
    }
    for door in doors {
        reasons.push(Reason::new("triage.reason-reflector", Some("TR-09")).with("door", &door));
    }
    let made = checks.len().to_string();
    reasons.push(Reason::new("triage.reason-no-sign", None).with("count", &made));
    (Outcome::Reflector, reasons)
}

fn signs(checks: &[Checked]) -> impl Iterator<Item = (&Checked, &Sign)> {
    checks.iter().flat_map(|check| check.signs.iter().map(move |sign| (check, sign)))
}

fn from_sign(check: &Checked, sign: &Sign) -> Reason {
    let text = sign.text.clone();
    Reason { text, values: sign.values.clone(), check: Some(check.id.clone()) }
}

fn are_together(one: &Sign, other: &Sign) -> bool {
    matches!((one.at, other.at), (Some(one), Some(other)) if one.abs_diff(other)
        <= TOGETHER_S.unsigned_abs())
}
