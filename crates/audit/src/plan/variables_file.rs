//! Files of variables (`/etc/sysconfig/memcached`, `/etc/conf.d/memcached`): edited in place.

use super::listening::{self, Loopback};
use crate::formats::variables;

/// The text with the variables that say where to listen set anew; none where nothing in the file
/// says so in a form that can be changed with safety.
pub(super) fn shut(text: &str, at: Loopback, by_script: bool) -> Option<String> {
    let read = variables::read(text);
    let has = |name: &str| variables::last(&read, name).is_some();
    if has("LISTENON") || has("UDPPORT") || has("MISC_OPTS") {
        return shut_open_rc(text, at);
    }
    for name in ["OPTIONS", "MEMCACHED_PARAMS"] {
        if has(name) {
            return with_options(text, name, at);
        }
    }
    // Red Hat's script reads OPTIONS whether or not the file sets it; a unit may not.
    let is_red_hat = by_script && (has("PORT") || has("CACHESIZE"));
    is_red_hat.then(|| with_options(text, "OPTIONS", at)).flatten()
}

fn shut_open_rc(text: &str, at: Loopback) -> Option<String> {
    let text = assigned(text, "LISTENON", at.list())?;
    let text = assigned(&text, "UDPPORT", "0")?;
    let read = variables::read(&text);
    let Some(more) = variables::last(&read, "MISC_OPTS") else { return Some(text) };
    let words: Vec<&str> = more.value.split_whitespace().collect();
    if !words.iter().any(|word| listening::is_about(word)) {
        return Some(text);
    }
    assigned(&text, "MISC_OPTS", &listening::without(&words).join(" "))
}

fn with_options(text: &str, name: &str, at: Loopback) -> Option<String> {
    let read = variables::read(text);
    let old = variables::last(&read, name).map(|variable| variable.value.as_str());
    let words: Vec<&str> = old.unwrap_or_default().split_whitespace().collect();
    let mut kept = listening::without(&words);
    kept.extend(["-l".to_owned(), at.list().to_owned(), "-U".to_owned(), "0".to_owned()]);
    assigned(text, name, &kept.join(" "))
}

/// Gives a variable a value, on the line that counts now, else at the end.
fn assigned(text: &str, name: &str, value: &str) -> Option<String> {
    // Quotes, variables, commands and comments inside the value mean other things to a shell than
    // to systemd.
    if value.contains(['"', '\'', '$', '`', '\\', '#', '\n']) {
        return None;
    }
    let read = variables::read(text);
    let last = variables::last(&read, name);
    if last.is_some_and(|variable| variable.value == value) {
        return Some(text.to_owned());
    }
    let assignment = format!("{name}=\"{value}\"");
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let at = last.and_then(|variable| usize::try_from(variable.line).ok()?.checked_sub(1));
    let line = at.and_then(|at| lines.get(at)).copied();
    let edited: String = match (line.and_then(|line| replaced(line, name, &assignment)), at) {
        (Some(line), Some(at)) => {
            let slot = lines.get_mut(at)?;
            *slot = &line;
            lines.concat()
        }
        // Nothing to replace, or a value over several lines: what comes later wins.
        _ => {
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            format!("{text}{gap}{assignment}\n")
        }
    };
    // The last word has the reader.
    let read = variables::read(&edited);
    variables::last(&read, name).is_some_and(|now| now.value == value).then_some(edited)
}

/// The line with another value, its indent kept; none if it is not the whole assignment.
fn replaced(line: &str, name: &str, assignment: &str) -> Option<String> {
    let start = line.find(name)?;
    let value = line.get(start + name.len()..)?.strip_prefix('=')?.trim_end();
    let length = match value.chars().next() {
        None => 0,
        Some(quote @ ('"' | '\'')) => {
            let inside = value.get(1..)?;
            if inside.contains('\\') {
                return None;
            }
            inside.find(quote)? + 2
        }
        Some(_) if value.contains(['"', '\'', '\\', ' ', '\t']) => return None,
        Some(_) => value.len(),
    };
    if length != value.len() {
        return None;
    }
    let indent = line.get(..start)?;
    let end = if line.ends_with('\n') { "\n" } else { "" };
    Some(format!("{indent}{assignment}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Loopback = Loopback { v6: false };
    const BOTH: Loopback = Loopback { v6: true };

    #[test]
    fn red_hats_options_keep_what_is_not_about_listening() {
        let before = "PORT=\"11211\"\n# why\nOPTIONS=\"-l 0.0.0.0 -v -U 11211\"\n";
        let after = "PORT=\"11211\"\n# why\nOPTIONS=\"-v -l 127.0.0.1,::1 -U 0\"\n";
        assert_eq!(shut(before, BOTH, false).unwrap(), after);
        assert_eq!(shut(after, BOTH, false).unwrap(), after);
        let empty = shut("CACHESIZE=64\nOPTIONS=\"\"", V4, false).unwrap();
        assert_eq!(empty, "CACHESIZE=64\nOPTIONS=\"-l 127.0.0.1 -U 0\"");
    }

    #[test]
    fn a_variable_that_is_not_set_is_added_for_a_script_only() {
        let text = "PORT=11211\nCACHESIZE=64\n";
        assert_eq!(shut(text, V4, false), None);
        let added = format!("{text}OPTIONS=\"-l 127.0.0.1 -U 0\"\n");
        assert_eq!(shut(text, V4, true).unwrap(), added);
    }

    #[test]
    fn suse_and_open_rc_have_their_own_names() {
        let suse = "MEMCACHED_PARAMS='-d'\n";
        let after = "MEMCACHED_PARAMS=\"-d -l 127.0.0.1 -U 0\"\n";
        assert_eq!(shut(suse, V4, false).unwrap(), after);
        let alpine = "LISTENON=\"\"\nPORT=\"11211\"\nUDPPORT=\"${PORT}\"\nMISC_OPTS=\"-l :: -v\"\n";
        let after = "LISTENON=\"127.0.0.1\"\nPORT=\"11211\"\nUDPPORT=\"0\"\nMISC_OPTS=\"-v\"\n";
        assert_eq!(shut(alpine, V4, true).unwrap(), after);
    }

    #[test]
    fn several_lines_and_several_assignments_are_overruled_at_the_end() {
        let text = "OPTIONS=\"-v \\\n -l 0.0.0.0\"\nPORT=1\n";
        let after = shut(text, V4, false).unwrap();
        assert!(after.starts_with(text) && after.ends_with("OPTIONS=\"-v -l 127.0.0.1 -U 0\"\n"));
        let twice = "OPTIONS=\"-v\"\nOPTIONS=\"-l 0.0.0.0\"\n";
        let after = "OPTIONS=\"-v\"\nOPTIONS=\"-l 127.0.0.1 -U 0\"\n";
        assert_eq!(shut(twice, V4, false).unwrap(), after);
    }

    #[test]
    fn what_a_shell_would_expand_is_left_alone() {
        assert_eq!(shut("OPTIONS=\"-v $MORE\"\n", V4, true), None);
        assert_eq!(shut("OPTIONS='-o a=`x`'\n", V4, true), None);
        // systemd takes the comment for a part of the value.
        assert_eq!(shut("OPTIONS='-v' # why\n", V4, false), None);
    }
}
