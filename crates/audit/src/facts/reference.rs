//! Settings of local programs that name a cache.

use serde::{Deserialize, Serialize};

/// A line that names a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The file.
    pub path: String,
    /// Its line, from 1.
    pub line: u32,
    /// The line without blanks around it, cut to a bound. Passwords in it are replaced.
    pub text: String,
    /// What kind of program.
    pub kind: ReferenceKind,
    /// Whether the line makes a program use the cache (`session.save_handler = memcached`), or only
    /// makes it able to (`extension=memcached.so`).
    pub uses: bool,
    /// Whether sessions are kept there: stopping the cache then logs users out.
    pub sessions: bool,
}

/// What kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceKind {
    /// PHP's own settings.
    Php,
    /// WordPress.
    WordPress,
    /// Drupal, Moodle, Nextcloud, MediaWiki and other PHP applications.
    PhpApplication,
    /// A `.env` file.
    DotEnv,
    /// Django, Flask and other Python settings.
    Python,
    /// Ruby on Rails.
    Ruby,
    /// nginx.
    Nginx,
    /// Apache httpd.
    Apache,
    /// OpenStack.
    OpenStack,
    /// SOGo, dovecot and other groupware.
    Mail,
    /// Anything else.
    Other,
}
