//! systemd units: settings, drop-ins, variables, and the command line that comes of them.
//!
//! Invariants, as systemd keeps them:
//! - Files are merged in the given order; a later setting wins; an empty one of a list resets it.
//! - A variable of an `EnvironmentFile=` wins over one of `Environment=`; of several files the
//!   later wins.
//! - `$NAME` as a whole word is split into words; `${NAME}` is one word, or part of one; `$$` is a
//!   dollar sign.

use super::variables::Variable;
use crate::facts::StartWord;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    section: String,
    key: String,
    pub(crate) value: String,
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: u32,
}

/// A unit with its drop-ins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    name: String,
    settings: Vec<Setting>,
}

/// A variable and the file that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) path: String,
    pub(crate) line: u32,
}

/// An `EnvironmentFile=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VariableFile {
    pub(crate) path: String,
    /// Whether it may be absent (`-` before the path).
    pub(crate) optional: bool,
}

/// Most words of a command line; Linux itself takes about two million bytes of them.
const WORDS_MAX: usize = 4096;

impl Unit {
    /// A unit without settings; the name decides what `%i` and `%n` are.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), settings: Vec::new() }
    }

    /// Merges a file; the unit's own first, then its drop-ins in order.
    pub(crate) fn merge(&mut self, path: &str, text: &str) {
        let mut section = String::new();
        let mut lines = super::lines(text);
        while let Some((number, line)) = lines.next() {
            let mut line = line.trim().to_owned();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            while line.ends_with('\\') {
                line.pop();
                line.push(' ');
                // A comment between the lines of one setting does not end it.
                let next = lines.by_ref().map(|(_, line)| line.trim());
                match { next }.find(|line| !line.starts_with(['#', ';'])) {
                    Some(next) => line.push_str(next),
                    None => break,
                }
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                self.settings.push(Setting {
                    section: section.clone(),
                    key: key.trim_end().to_owned(),
                    value: value.trim().to_owned(),
                    path: path.to_owned(),
                    line: number,
                });
            }
        }
    }

    /// The setting that counts, of one that has a single value.
    pub(crate) fn last(&self, section: &str, key: &str) -> Option<&Setting> {
        self.settings.iter().rev().find(|s| s.section == section && s.key == key)
    }

    /// The settings that count, of a list.
    pub(crate) fn list(&self, section: &str, key: &str) -> Vec<&Setting> {
        let mut list = Vec::new();
        for setting in self.settings.iter().filter(|s| s.section == section && s.key == key) {
            if setting.value.is_empty() {
                list.clear();
            } else {
                list.push(setting);
            }
        }
        list
    }

    /// The files of variables, in order.
    pub(crate) fn variable_files(&self) -> Vec<VariableFile> {
        let file = |setting: &&Setting| {
            let value = self.specified(&setting.value);
            let path = value.strip_prefix('-');
            let optional = path.is_some();
            VariableFile { path: path.unwrap_or(&value).to_owned(), optional }
        };
        self.list("Service", "EnvironmentFile").iter().map(file).collect()
    }

    /// The variables of `Environment=`.
    pub(crate) fn environment(&self) -> Vec<Assigned> {
        let mut found = Vec::new();
        for setting in self.list("Service", "Environment") {
            for word in split(&self.specified(&setting.value)) {
                if let Some((name, value)) = word.split_once('=') {
                    found.push(Assigned {
                        name: name.to_owned(),
                        value: value.to_owned(),
                        path: setting.path.clone(),
                        line: setting.line,
                    });
                }
            }
        }
        found
    }

    /// The command lines of `ExecStart=`. `files` are the variables of [`Self::variable_files`], in
    /// order.
    pub(crate) fn commands(&self, files: &[Assigned]) -> Vec<Vec<StartWord>> {
        let mut variables = self.environment();
        variables.extend_from_slice(files);
        let starts = self.list("Service", "ExecStart");
        starts.iter().flat_map(|start| self.command_lines(start, &variables)).collect()
    }

    fn command_lines(&self, start: &Setting, variables: &[Assigned]) -> Vec<Vec<StartWord>> {
        let words = split(&self.specified(&start.value));
        let mut commands = Vec::new();
        for words in words.split(|word| word == ";") {
            let Some((first, rest)) = words.split_first() else { continue };
            let program = first.trim_start_matches(['@', '-', ':', '+', '!', '|']);
            let prefixes = first.get(..first.len() - program.len()).unwrap_or_default();
            let rest =
                if prefixes.contains('@') { rest.get(1..).unwrap_or_default() } else { rest };
            let place = |text: &str| StartWord {
                text: text.to_owned(),
                path: start.path.clone(),
                line: start.line,
            };
            let mut command = vec![place(program)];
            for word in rest {
                if prefixes.contains(':') {
                    command.push(place(word));
                } else {
                    expand(word, variables, place, &mut command);
                }
            }
            command.truncate(WORDS_MAX);
            commands.push(command);
        }
        commands
    }

    /// Replaces the specifiers that concern the unit's name.
    fn specified(&self, text: &str) -> String {
        let full = self.name.as_str();
        let stem = full.rsplit_once('.').map_or(full, |(stem, _)| stem);
        let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let specifier = if c == '%' { chars.next() } else { None };
            match (c, specifier) {
                ('%', Some('i')) => out.push_str(instance),
                ('%', Some('I')) => out.push_str(&instance.replace('-', "/")),
                ('%', Some('n')) => out.push_str(full),
                ('%', Some('N')) => out.push_str(stem),
                ('%', Some('p')) => out.push_str(prefix),
                ('%', Some('t')) => out.push_str("/run"),
                ('%', Some('%')) => out.push('%'),
                ('%', Some(other)) => out.extend(['%', other]),
                (c, _) => out.push(c),
            }
        }
        out
    }
}

/// The variables of a file that was read for a unit.
pub(crate) fn assigned(path: &str, variables: Vec<Variable>) -> impl Iterator<Item = Assigned> {
    variables.into_iter().map(move |variable| Assigned {
        name: variable.name,
        value: variable.value,
        path: path.to_owned(),
        line: variable.line,
    })
}

fn lookup<'a>(variables: &'a [Assigned], name: &str) -> Option<&'a Assigned> {
    variables.iter().rev().find(|variable| variable.name == name)
}

/// Expands the variables of one word, which may become none or several.
fn expand(
    word: &str,
    variables: &[Assigned],
    place: impl Fn(&str) -> StartWord,
    command: &mut Vec<StartWord>,
) {
    if let Some(name) = word.strip_prefix('$').filter(|name| is_name(name)) {
        let Some(variable) = lookup(variables, name) else { return };
        command.extend(split(&variable.value).into_iter().map(|text| StartWord {
            text,
            path: variable.path.clone(),
            line: variable.line,
        }));
        return;
    }
    let mut place = place("");
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        place.text.push_str(before);
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            place.text.push('$');
            rest = after;
        } else if let Some((name, after)) =
            after.strip_prefix('{').and_then(|inside| inside.split_once('}'))
        {
            if let Some(variable) = lookup(variables, name) {
                place.text.push_str(&variable.value);
                place.path.clone_from(&variable.path);
                place.line = variable.line;
            }
            rest = after;
        } else {
            place.text.push('$');
        }
        // Variables cannot contain variables, so this grows by one value a step.
        if place.text.len() > EXPANDED_BYTES_MAX {
            break;
        }
    }
    place.text.push_str(rest);
    command.push(place);
}

/// Longest word that variables may grow to, in bytes. Linux takes no longer argument.
const EXPANDED_BYTES_MAX: usize = 128 * 1024;

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Splits at blanks, with quotes and backslashes as systemd reads them.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (_, '\\') => word.get_or_insert_default().push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('s') => ' ',
                Some(other) => other,
                None => '\\',
            }),
            (_, c) => word.get_or_insert_default().push(c),
        }
        if words.len() >= WORDS_MAX {
            break;
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::variables;

    fn texts(words: &[StartWord]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    const RHEL: &str = "[Service]\nEnvironmentFile=/etc/sysconfig/memcached\n\
        ExecStart=/usr/bin/memcached -p ${PORT} -u ${USER} -m ${CACHESIZE} -c ${MAXCONN} \
        $OPTIONS\n";

    fn sysconfig(options: &str) -> Vec<Assigned> {
        let text = format!(
            "PORT=\"11211\"\nUSER=\"memcached\"\nMAXCONN=\"1024\"\nCACHESIZE=\"64\"\n{options}\n"
        );
        assigned("/etc/sysconfig/memcached", variables::read(&text)).collect()
    }

    #[test]
    fn a_braced_variable_is_one_word_and_a_bare_one_is_split() {
        let mut unit = Unit::new("memcached.service");
        unit.merge("/usr/lib/systemd/system/memcached.service", RHEL);
        let commands = unit.commands(&sysconfig("OPTIONS=\"-l 127.0.0.1,::1 -U 0\""));
        assert_eq!(
            texts(&commands[0]),
            [
                "/usr/bin/memcached",
                "-p",
                "11211",
                "-u",
                "memcached",
                "-m",
                "64",
                "-c",
                "1024",
                "-l",
                "127.0.0.1,::1",
                "-U",
                "0"
            ]
        );
        assert_eq!(
            (commands[0][9].path.as_str(), commands[0][9].line),
            ("/etc/sysconfig/memcached", 5)
        );
        let commands = unit.commands(&sysconfig("OPTIONS=\"\""));
        assert_eq!(texts(&commands[0]).len(), 9, "an empty bare variable is no word");
    }

    #[test]
    fn p18_file_wins_over_environment_and_later_files_win() {
        let mut unit = Unit::new("memcached.service");
        unit.merge("u", RHEL);
        unit.merge("d", "[Service]\nEnvironment=OPTIONS=\"-l 127.0.0.1,::1\"\n");
        let commands = unit.commands(&sysconfig("OPTIONS=\"\""));
        assert!(!texts(&commands[0]).contains(&"-l"), "the recommended drop-in loses");
        let mut files = sysconfig("OPTIONS=\"\"");
        files.extend(assigned("/etc/kannuki/memcached.env", variables::read("OPTIONS=-l ::1\n")));
        assert!(texts(&unit.commands(&files)[0]).ends_with(&["-l", "::1"]));
    }

    #[test]
    fn p18_an_empty_setting_resets_a_list() {
        let mut unit = Unit::new("memcached.service");
        unit.merge("u", RHEL);
        unit.merge(
            "d",
            "[Service]\nExecStart=\nExecStart=-/usr/bin/memcached -l 10.0.0.1\n\
            EnvironmentFile=\nEnvironmentFile=-/etc/other\n",
        );
        let commands = unit.commands(&[]);
        assert_eq!(commands.len(), 1);
        assert_eq!(texts(&commands[0]), ["/usr/bin/memcached", "-l", "10.0.0.1"]);
        let files = unit.variable_files();
        assert_eq!(files, [VariableFile { path: "/etc/other".into(), optional: true }]);
    }

    #[test]
    fn instances_specifiers_prefixes_and_joined_lines() {
        let mut unit = Unit::new("memcached@11212.service");
        unit.merge(
            "u",
            "[Service]\nEnvironmentFile=-/etc/sysconfig/memcached.%i\n\
            ExecStart=@/usr/bin/memcached cache \\\n# comment\n  -p %i $$A ${NONE}x '$B c' %%\n",
        );
        assert_eq!(unit.variable_files()[0].path, "/etc/sysconfig/memcached.11212");
        let commands = unit.commands(&[]);
        assert_eq!(
            texts(&commands[0]),
            ["/usr/bin/memcached", "-p", "11212", "$A", "x", "$B c", "%"]
        );
    }

    #[test]
    fn hostile_units_end() {
        let mut unit = Unit::new("x@.service");
        unit.merge("u", "[Service]\nExecStart=\\");
        unit.merge("u", "[Service]\nEnvironment=\"A=b\nExecStart='\"\\\n[\n=\n%");
        assert!(unit.commands(&[]).len() <= 1);
        let value = "x ".repeat(WORDS_MAX + 10);
        assert_eq!(split(&value).len(), WORDS_MAX);
    }
}
