//! The base score of a CVSS 3 vector, as the standard's formula gives it.

/// The score of `CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H`; none where a metric is missing or
/// not one of the standard's.
pub(super) fn base_score(vector: &str) -> Option<f64> {
    let metrics = vector.strip_prefix("CVSS:3.1/").or_else(|| vector.strip_prefix("CVSS:3.0/"))?;
    let metric =
        |name: &str| metrics.split('/').find_map(|part| part.strip_prefix(name)?.strip_prefix(':'));
    let changed = match metric("S")? {
        "U" => false,
        "C" => true,
        _ => return None,
    };
    let weight = |name: &str, weights: &[(&str, f64)]| {
        let letter = metric(name)?;
        weights.iter().find(|(own, _)| *own == letter).map(|(_, weight)| *weight)
    };
    let attack = weight("AV", &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?;
    let complexity = weight("AC", &[("L", 0.77), ("H", 0.44)])?;
    let (low, high) = if changed { (0.68, 0.5) } else { (0.62, 0.27) };
    let privileges = weight("PR", &[("N", 0.85), ("L", low), ("H", high)])?;
    let interaction = weight("UI", &[("N", 0.85), ("R", 0.62)])?;
    let harm = [("H", 0.56), ("L", 0.22), ("N", 0.0)];
    let kept =
        (1.0 - weight("C", &harm)?) * (1.0 - weight("I", &harm)?) * (1.0 - weight("A", &harm)?);
    let base = 1.0 - kept;
    let impact =
        if changed { 7.52 * (base - 0.029) - 3.25 * (base - 0.02).powi(15) } else { 6.42 * base };
    if impact <= 0.0 {
        return Some(0.0);
    }
    let exploitability = 8.22 * attack * complexity * privileges * interaction;
    let sum = impact + exploitability;
    Some(round_up(if changed { (1.08 * sum).min(10.0) } else { sum.min(10.0) }))
}

/// Up to one decimal, without being fooled by the last bits of a float.
fn round_up(score: f64) -> f64 {
    let scaled = (score * 100_000.0).round();
    if scaled % 10_000.0 == 0.0 {
        scaled / 100_000.0
    } else {
        ((scaled / 10_000.0).floor() + 1.0) / 10.0
    }
}

/// The standard's word for a score.
pub(super) fn word(score: f64) -> &'static str {
    match score {
        score if score >= 9.0 => "critical",
        score if score >= 7.0 => "high",
        score if score >= 4.0 => "medium",
        score if score > 0.0 => "low",
        _ => "unrated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores that are published with their vectors.
    #[test]
    fn published_scores_come_out() {
        for (vector, score) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 7.5),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L", 5.3),
            ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H", 5.5),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ] {
            assert_eq!(base_score(vector), Some(score), "{vector}");
        }
        for bad in ["", "CVSS:3.1/AV:N", "CVSS:4.0/AV:N/AC:L", "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U"] {
            assert_eq!(base_score(bad), None, "{bad}");
        }
        assert_eq!(
            (word(9.8), word(7.0), word(5.3), word(0.1)),
            ("critical", "high", "medium", "low")
        );
    }
}
