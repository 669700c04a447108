//! Facts in a file (`--facts FILE`).

use thiserror::Error;

use super::{Facts, VERSION};

/// Longest file of facts that is read, in bytes. A busy host with a thousand sockets and all rules
/// of a large firewall makes two or three megabytes.
pub const FACTS_BYTES_MAX: usize = 32 << 20;

/// Why a text is no facts.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FactsError {
    /// Longer than [`FACTS_BYTES_MAX`].
    #[error("{len} bytes of facts are more than the {FACTS_BYTES_MAX} that are read")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Another version.
    #[error(
        "these facts have version {found}; this program reads version {VERSION}: collect them anew"
    )]
    OtherVersion {
        /// The version that it has.
        found: u64,
    },
    /// No JSON, or not of this shape.
    #[error("these are no facts of kannuki: {0}")]
    Shape(#[from] serde_json::Error),
}

impl Facts {
    /// The facts as JSON, one line a field.
    ///
    /// # Errors
    ///
    /// Never for facts that were collected or read; the type of a writer's error stays visible.
    pub fn to_json(&self) -> Result<String, FactsError> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads facts that [`Facts::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// When they are too long, of another version, or no facts.
    pub fn from_json(text: &[u8]) -> Result<Self, FactsError> {
        if text.len() > FACTS_BYTES_MAX {
            return Err(FactsError::TooLong { len: text.len() });
        }
        #[derive(serde::Deserialize)]
        struct Head {
            version: u64,
        }
        let head: Head = serde_json::from_slice(text)?;
        if head.version != u64::from(VERSION) {
            return Err(FactsError::OtherVersion { found: head.version });
        }
        Ok(serde_json::from_slice(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_facts_is_told_apart() {
        let error = Facts::from_json(b"{\"version\": 99}").unwrap_err();
        assert!(matches!(error, FactsError::OtherVersion { found: 99 }), "{error}");
        let error = Facts::from_json(b"{\"version\": 1}").unwrap_err();
        assert!(error.to_string().contains("collection"), "{error}");
        assert!(matches!(Facts::from_json(b"\x00"), Err(FactsError::Shape(_))));
        let long = vec![b' '; FACTS_BYTES_MAX + 1];
        assert!(matches!(Facts::from_json(&long), Err(FactsError::TooLong { .. })));
    }
}
