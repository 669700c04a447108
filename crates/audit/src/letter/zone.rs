//! The provider's time zone.

use crate::formats::time::{Zone, text};

/// A zone with its name.
#[derive(Clone, Debug)]
pub struct LetterZone {
    name: String,
    zone: Option<Zone>,
}

impl LetterZone {
    /// The zone of this name, from its compiled file (`/usr/share/zoneinfo/NAME`); `None` where
    /// that is no zone.
    #[must_use]
    pub fn read(name: &str, file: &[u8]) -> Option<Self> {
        Some(Self { name: name.to_owned(), zone: Some(Zone::read(file)?) })
    }

    /// UTC alone.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: None }
    }

    /// Japan, which is nine hours east of UTC all the year.
    #[must_use]
    pub fn japan() -> Self {
        Self { name: "JST".to_owned(), zone: Some(Zone::fixed(9 * 3600)) }
    }

    /// A time in this zone and in UTC; in UTC alone where the zone does not tell.
    pub(super) fn show(&self, at: i64) -> String {
        let utc = text(at, 0).replace('T', " ");
        match self.zone.as_ref().and_then(|zone| zone.offset(at)) {
            Some(offset) => {
                let local = text(at, offset).replace('T', " ");
                format!("{local} {} ({utc} UTC)", self.name)
            }
            None => format!("{utc} UTC"),
        }
    }
}
