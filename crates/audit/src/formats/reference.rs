//! Settings of programs that use a cache, line by line.

use crate::facts::{Reference, ReferenceKind};

/// Longest line that is quoted, in bytes.
const LINE_BYTES_MAX: usize = 300;
/// Most lines that are quoted of one file.
const LINES_MAX: usize = 20;

/// Words that name a cache, in lower case.
const WORDS: &[&str] = &["memcache", "11211", "kannuki", "pylibmc", "dalli"];

/// The lines of a file that name a cache.
pub(crate) fn read(text: &str, path: &str, kind: ReferenceKind) -> Vec<Reference> {
    let read = |(line, text): (u32, &str)| reference(text, path, line, kind);
    let mut found: Vec<Reference> = super::lines(text).filter_map(read).take(LINES_MAX).collect();
    if kind == ReferenceKind::DotEnv && chooses_another(text) {
        // The frameworks' own example names a server that nothing asks.
        found.iter_mut().for_each(|reference| reference.uses = false);
    }
    found
}

/// Whether an `.env` chooses where to cache and to keep sessions, and chooses no memcached.
fn chooses_another(text: &str) -> bool {
    let chosen = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let keys = ["CACHE_DRIVER", "CACHE_STORE", "SESSION_DRIVER", "SESSION_STORE"];
        keys.contains(&key.trim()).then(|| value.to_ascii_lowercase())
    };
    let mut chosen = super::lines(text).filter_map(|(_, line)| chosen(line)).peekable();
    chosen.peek().is_some() && !chosen.any(|value| value.contains("memcache"))
}

/// Settings of the extensions themselves (`memcached.serializer`, `memcache.hash_strategy`): they
/// say how to talk if somebody talks.
fn only_tunes(lower: &str, kind: ReferenceKind) -> bool {
    let key = lower.split('=').next().unwrap_or_default().trim();
    let value = lower.split_once('=').map_or("", |(_, value)| value);
    let names_server = value.contains("11211") || value.contains("://");
    kind == ReferenceKind::Php
        && (key.starts_with("memcached.") || key.starts_with("memcache."))
        && !names_server
}

fn reference(text: &str, path: &str, line: u32, kind: ReferenceKind) -> Option<Reference> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if is_comment(text, kind) || !WORDS.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let sessions = lower.contains("session");
    let only_loads = lower.starts_with("extension")
        || lower.starts_with("zend_extension")
        || lower.starts_with("loadmodule")
        || lower.starts_with("import ")
        || lower.starts_with("use ")
        || lower.starts_with("require ");
    Some(Reference {
        path: path.to_owned(),
        line,
        text: cut(&without_secrets(text), LINE_BYTES_MAX),
        kind,
        uses: !only_loads && !only_tunes(&lower, kind),
        sessions: sessions && !only_loads && !only_tunes(&lower, kind),
    })
}

fn is_comment(text: &str, kind: ReferenceKind) -> bool {
    match kind {
        ReferenceKind::Php => text.starts_with([';', '#']),
        _ => {
            text.starts_with('#')
                || text.starts_with("//")
                || text.starts_with('*')
                || text.starts_with("/*")
                || text.starts_with(';')
        }
    }
}

/// Keys behind which a secret stands, in lower case.
const SECRETS: &[&str] = &["password", "passwd", "secret", "token", "auth_key"];

/// The line with what stands behind such a key replaced.
fn without_secrets(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let place = SECRETS.iter().filter_map(|word| lower.find(word).map(|at| at + word.len())).min();
    let user = lower.find("://").and_then(|at| {
        let rest = lower.get(at + 3..)?;
        let end = rest.find('@')?;
        rest.get(..end)?.contains(':').then_some((at + 3, at + 3 + end))
    });
    match (place, user) {
        (Some(at), _) => format!("{}***", text.get(..at).unwrap_or_default()),
        (None, Some((from, to))) => {
            let (head, tail) = (text.get(..from), text.get(to..));
            format!("{}***{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
        (None, None) => text.to_owned(),
    }
}

/// The beginning of a text, at most `bytes_max` bytes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn using_and_being_able_to_are_told_apart() {
        let text = "; session.save_handler = memcached\nextension=memcached.so\n\
            session.save_handler = memcached\nsession.save_path = \"localhost:11211\"\nx=1\n";
        let all = read(text, "/etc/php.ini", ReferenceKind::Php);
        let seen: Vec<_> = all.iter().map(|r| (r.line, r.uses, r.sessions)).collect();
        assert_eq!(seen, [(2, false, false), (3, true, true), (4, true, true)]);
    }

    #[test]
    fn settings_of_an_extension_and_of_another_choice_use_nothing() {
        let uses = |text: &str, kind| {
            read(text, "x", kind).iter().map(|r| (r.uses, r.sessions)).collect::<Vec<_>>()
        };
        let ini = "memcached.serializer = php\nmemcached.sess_lock_retries = 5\n\
            memcache.session_save_path = tcp://127.0.0.1:11211\nsession.save_handler=memcached\n";
        let expected = [(false, false), (false, false), (true, true), (true, true)];
        assert_eq!(uses(ini, ReferenceKind::Php), expected);
        let env = "CACHE_DRIVER=file\nSESSION_DRIVER=file\nMEMCACHED_HOST=127.0.0.1\n";
        assert_eq!(uses(env, ReferenceKind::DotEnv), [(false, false)]);
        let env = "CACHE_DRIVER=memcached\nMEMCACHED_HOST=127.0.0.1\n";
        assert_eq!(uses(env, ReferenceKind::DotEnv), [(true, false), (true, false)]);
        let env = "MEMCACHED_HOST=127.0.0.1\n";
        assert_eq!(uses(env, ReferenceKind::DotEnv), [(true, false)], "nothing else is chosen");
    }

    #[test]
    fn secrets_are_not_quoted() {
        let line = |text: &str| read(text, "x", ReferenceKind::DotEnv)[0].text.clone();
        assert_eq!(line("MEMCACHED_PASSWORD=hunter2"), "MEMCACHED_PASSWORD***");
        assert_eq!(
            line("MEMCACHED_URL=memcached://a:b@h:11211"),
            "MEMCACHED_URL=memcached://***@h:11211"
        );
        assert_eq!(line("MEMCACHED_HOST=127.0.0.1"), "MEMCACHED_HOST=127.0.0.1");
    }

    #[test]
    fn long_lines_and_many_lines_are_cut() {
        let text = "\u{e9}memcache".repeat(100);
        let all = read(&text, "x", ReferenceKind::Other);
        assert!(all[0].text.len() <= LINE_BYTES_MAX);
        let text = "memcache\n".repeat(100);
        assert_eq!(read(&text, "x", ReferenceKind::Other).len(), LINES_MAX);
    }
}
