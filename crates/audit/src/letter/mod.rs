//! The letter to the provider: what saved evidence shows, and blanks for everything else.
//!
//! ```text
//! facts of `check` (before, after) --+
//! `triage --format json` ------------+-> Letter { sections of sentences } --> txt, md, eml
//! `close`'s manifest ----------------+
//! ```
//!
//! Invariants:
//! - A sentence that asserts something about the host or about what was done carries the evidence
//!   that it was made from; what no evidence shows is a blank to be filled in by a person.
//! - Only addresses of the host itself and what the evidence names stand in it: no victims.
//! - Pure: no file or clock is read here.

mod address;
mod evidence;
mod forms;
mod sections;
mod state;
mod zone;

use crate::texts::Texts;
pub use address::{AddressError, Mailbox};
pub use evidence::{CloseRun, Evidence, EvidenceError};
pub use forms::{Form, Mail, render};
pub use zone::LetterZone;

/// What a sentence rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Nothing: it greets, asks or apologises.
    Courtesy,
    /// It is a blank.
    FillIn,
    /// The places in the evidence that it was made from.
    Shown(Vec<&'static str>),
}

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// In the letter's language.
    pub text: String,
    /// What it is filled with.
    pub values: Vec<String>,
    /// What it rests on.
    pub basis: Basis,
}

/// A heading and what stands below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// The sentences.
    pub sentences: Vec<Sentence>,
}

/// The letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject of the mail.
    pub subject: Sentence,
    /// What it begins with.
    pub opening: Sentence,
    /// The sections in their order.
    pub sections: Vec<Section>,
    /// What it ends with.
    pub closing: Sentence,
}

impl Letter {
    /// Every sentence, the subject too.
    pub fn sentences(&self) -> impl Iterator<Item = &Sentence> {
        let all = self.sections.iter().flat_map(|section| &section.sentences);
        [&self.subject, &self.opening].into_iter().chain(all).chain([&self.closing])
    }

    /// How many blanks are left.
    #[must_use]
    pub fn blanks(&self) -> usize {
        self.sentences().filter(|sentence| sentence.basis == Basis::FillIn).count()
    }
}

/// The digest by which an attachment is known.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the letter.
#[must_use]
pub fn write(evidence: &Evidence, zone: &LetterZone, case: Option<&str>, texts: &Texts) -> Letter {
    sections::Writer { evidence, zone, texts, case }.letter()
}

#[cfg(test)]
mod tests;
