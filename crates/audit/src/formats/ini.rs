//! Sections with settings: supervisord's and many others.

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Without brackets; empty before the first.
    pub(crate) section: String,
    pub(crate) key: String,
    pub(crate) value: String,
    /// From 1.
    pub(crate) line: u32,
}

/// Reads the file. Indented lines go on with the value before; `#` and `;` begin comments.
pub(crate) fn read(text: &str) -> Vec<Setting> {
    let mut found: Vec<Setting> = Vec::new();
    let mut section = String::new();
    for (number, raw) in super::lines(text) {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            section = name.0.trim().to_owned();
        } else if let (true, Some(last)) = (raw.starts_with([' ', '\t']), found.last_mut()) {
            last.value.push(' ');
            last.value.push_str(line);
        } else if let Some((key, value)) = line.split_once(['=', ':']) {
            // supervisord: a `;` after a blank begins a comment.
            let value = value.split(" ;").next().unwrap_or_default().trim().to_owned();
            let key = key.trim().to_owned();
            found.push(Setting { section: section.clone(), key, value, line: number });
        }
    }
    found
}

/// The value of a key in a section.
pub(crate) fn value<'s>(settings: &'s [Setting], section: &str, key: &str) -> Option<&'s Setting> {
    settings.iter().rev().find(|s| s.section == section && s.key.eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_comments_and_joined_lines() {
        let text =
            "a=0\n[program:cache]\ncommand = memcached\n  -l 0.0.0.0 ; x\nautostart=false ; y\n";
        let all = read(text);
        assert_eq!(value(&all, "", "a").unwrap().value, "0");
        let command = value(&all, "program:cache", "command").unwrap();
        assert_eq!(command.value, "memcached -l 0.0.0.0 ; x");
        assert_eq!(command.line, 3);
        assert_eq!(value(&all, "program:cache", "autostart").unwrap().value, "false");
        assert!(value(&all, "other", "a").is_none());
    }
}
