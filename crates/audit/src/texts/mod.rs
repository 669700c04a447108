//! The words that people read, in Japanese and English: one file per language, the same keys.
//!
//! Invariants:
//! - Both files have the same keys and the same `{names}` in each (a test compares them), so a
//!   missing text is a build that never passed; should it happen, the key itself is shown.
//! - Values are put in once: a `{name}` inside a value stays as it is.

mod width;

use std::collections::BTreeMap;

pub use width::{pad, width, wrap};

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
}

impl Lang {
    /// All.
    pub const ALL: [Self; 2] = [Self::En, Self::Ja];

    /// `en` or `ja`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ja => "ja",
        }
    }

    /// The language of a locale's name (`ja_JP.UTF-8`, `C`): the first of them that says anything.
    #[must_use]
    pub fn of_locale<'l>(names: impl IntoIterator<Item = &'l str>) -> Self {
        let first = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        if first == "ja" || first.starts_with("ja_") || first.starts_with("ja.") {
            Self::Ja
        } else {
            Self::En
        }
    }

    fn sources(self) -> [&'static str; 3] {
        match self {
            Self::En => [
                include_str!("../../data/texts/en.toml"),
                include_str!("../../data/texts/triage-en.toml"),
                include_str!("../../data/texts/letter-en.toml"),
            ],
            Self::Ja => [
                include_str!("../../data/texts/ja.toml"),
                include_str!("../../data/texts/triage-ja.toml"),
                include_str!("../../data/texts/letter-ja.toml"),
            ],
        }
    }
}

/// The texts of one language.
#[derive(Debug, Clone)]
pub struct Texts {
    lang: Lang,
    texts: BTreeMap<String, String>,
}

impl Texts {
    /// The texts of `lang`.
    #[must_use]
    pub fn of(lang: Lang) -> Self {
        let mut texts = BTreeMap::new();
        for source in lang.sources() {
            let groups: BTreeMap<String, BTreeMap<String, String>> =
                toml::from_str(source).unwrap_or_default();
            for (group, members) in groups {
                for (name, text) in members {
                    texts.insert(format!("{group}.{name}"), text);
                }
            }
        }
        Self { lang, texts }
    }

    /// Which language it is.
    #[must_use]
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// The text with this key.
    #[must_use]
    pub fn get<'t>(&'t self, key: &'t str) -> &'t str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// The text with this key, its `{names}` replaced.
    #[must_use]
    pub fn fill(&self, key: &str, values: &[(&str, &str)]) -> String {
        let mut out = String::new();
        let mut rest = self.get(key);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                out.push('{');
                rest = after;
                continue;
            };
            // The last value of a name counts: what is more particular is added later.
            match values.iter().rev().find(|(known, _)| *known == name) {
                Some((_, value)) => out.push_str(value),
                None => {
                    out.push('{');
                    out.push_str(name);
                    out.push('}');
                }
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::findings::{Severity, Verdict, catalogue};

    fn names(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect()
    }

    #[test]
    fn both_languages_say_the_same_things() {
        let (en, ja) = (Texts::of(Lang::En), Texts::of(Lang::Ja));
        assert!(en.texts.len() > 150, "{}", en.texts.len());
        let keys = |texts: &Texts| texts.texts.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&en), keys(&ja));
        for (key, text) in &en.texts {
            assert_eq!(names(text), names(ja.get(key)), "{key}");
            assert!(!text.trim().is_empty() && !ja.get(key).trim().is_empty(), "{key}");
            assert!(text.is_ascii(), "{key} must be printable on any console");
        }
        // Where nothing but names is left there is nothing to translate.
        for (key, text) in &ja.texts {
            let bare = names(text).iter().fold(text.clone(), |text, name| text.replace(name, ""));
            let has_words = bare.chars().any(|c| c.is_ascii_alphabetic());
            assert!(!has_words || !text.is_ascii(), "{key} is not translated");
        }
    }

    #[test]
    fn every_finding_severity_and_verdict_has_its_words() {
        let texts = Texts::of(Lang::En);
        let has = |key: String| assert!(texts.texts.contains_key(&key), "{key}");
        for definition in catalogue::ALL {
            for part in ["title", "why", "fix"] {
                has(format!("{}.{part}", definition.id));
            }
        }
        let of_findings = texts.texts.keys().filter(|key| key.starts_with("MC-")).count();
        assert_eq!(of_findings, catalogue::ALL.len() * 3);
        Severity::ALL.iter().for_each(|severity| has(format!("severity.{}", severity.name())));
        for verdict in [
            Verdict::Open,
            Verdict::OpenIfMapped,
            Verdict::Filtered,
            Verdict::Local,
            Verdict::Unknown,
        ] {
            has(format!("verdict.{}", verdict.name()));
        }
    }

    /// A quoted key in the sources names a text that exists.
    #[test]
    fn every_key_in_the_sources_exists() {
        let texts = Texts::of(Lang::En);
        let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let source = std::fs::read_to_string(&path).unwrap();
                for quoted in source.split('"').skip(1).step_by(2) {
                    let groups =
                        ["close.", "label.", "news.", "text.", "sign.", "triage.", "letter."];
                    let is_file = quoted.ends_with(".json");
                    let is_key = !is_file && groups.iter().any(|g| quoted.starts_with(g));
                    let plain = |c: char| c.is_ascii_lowercase() || c == '.' || c == '-';
                    if is_key && quoted.len() > 6 && quoted.chars().all(plain) {
                        if quoted.ends_with(['.', '-']) {
                            continue; // The beginning of a key that is put together.
                        }
                        seen += 1;
                        assert!(texts.texts.contains_key(quoted), "{quoted} in {}", path.display());
                    }
                }
            }
        }
        assert!(seen > 20, "{seen} keys found");
    }

    #[test]
    fn values_are_put_in_once() {
        let texts = Texts::of(Lang::En);
        let filled = texts.fill("MC-NET-004.why", &[("reason", "{reason} {x}")]);
        assert_eq!(filled, "{reason} {x}");
        assert_eq!(texts.fill("no.such", &[]), "no.such");
    }

    #[test]
    fn the_locale_chooses() {
        assert_eq!(Lang::of_locale(["", "ja_JP.UTF-8"]), Lang::Ja);
        assert_eq!(Lang::of_locale(["C", "ja_JP.UTF-8"]), Lang::En);
        assert_eq!(Lang::of_locale([]), Lang::En);
    }
}
