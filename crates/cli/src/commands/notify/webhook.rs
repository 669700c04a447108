//! Telling by a webhook: one POST of JSON over TLS, no redirects. The address is a secret.

use std::{path::PathBuf, time::Duration};

use kannuki_audit::{findings::notice::Notice, texts::Texts};
use serde::Deserialize;

use crate::{https::Https, state};

/// How long a webhook may take.
const WEBHOOK_MAX: Duration = Duration::from_secs(30);
/// Longest address, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// Bytes of its answer that could be read; only its status counts.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Webhook {
    url: Option<String>,
    url_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

impl Webhook {
    /// Whether the settings themselves hold the address.
    pub(super) fn has_secret(&self) -> bool {
        self.url.is_some()
    }

    pub(super) fn send(&self, notice: &Notice<'_>, texts: &Texts) -> Result<(), String> {
        let url = self.url()?;
        let https = Https::new(self.ca.as_deref(), WEBHOOK_MAX, false);
        let sent = https.and_then(|https| https.post(&url, &notice.json(texts), ANSWER_BYTES_MAX));
        sent.map(drop).map_err(|error| error.to_string())
    }

    fn url(&self) -> Result<String, String> {
        match (&self.url, &self.url_file) {
            (Some(url), None) => Ok(url.clone()),
            (None, Some(file)) => {
                super::owners_only(file)?;
                let bytes = state::read(file, URL_BYTES_MAX)
                    .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
                Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
            }
            _ => Err("give one of `url` and `url-file`".to_owned()),
        }
    }
}
