//! Arguments and files, read and laid over each other:
//! default < kannuki.toml < memcached's file < command line.
//!
//! Invariants:
//! - Files are bounded; what cannot be read is an error that names the file and the reason.
//! - Reading twice with the same words gives what the files then say; nothing is kept between.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use kannuki_audit::memcached_options::{
    Action, OptionError, Reading, Settings, Source, Value, Word,
    conf_file::{self, ConfFile, FILE_BYTES_MAX},
    problem::{EXIT_SYSTEM, EXIT_USAGE},
    table::{access::ENABLE_SASL, process::USER},
};

use crate::{
    own_options::{self, CONFIG, LOG_FILE, MEMCACHED_CONF},
    situation::{CalledAs, Situation},
    tables::Tables,
    toml_file,
};

/// What the words and files said.
pub(crate) struct Loaded {
    /// The effective settings; their errors are still inside.
    pub(crate) settings: Settings,
    /// The tables of our own file.
    pub(crate) tables: Tables,
    /// Errors that only the program itself can find, after those of the settings.
    pub(crate) errors: Vec<OptionError>,
    /// The files that were read, with their text for messages.
    pub(crate) files: Vec<ReadFile>,
}

/// A file that was read.
pub(crate) struct ReadFile {
    pub(crate) path: Arc<PathBuf>,
    pub(crate) text: String,
}

/// Reads everything; `Err` is what the words ask for instead of a start.
pub(crate) fn load(words: &[Word], situation: &Situation) -> Result<Loaded, Action> {
    let grammar = own_options::grammar();
    let arguments = grammar.read(words);
    if let Some(action) = arguments.action {
        return Err(action);
    }
    let mut files = Vec::new();
    let (own, tables) = own_file(&arguments, situation, &mut files);
    let memcached = memcached_file(&arguments, situation, &mut files);
    let surroundings = surroundings(situation, [&own, &memcached, &arguments]);
    let mut settings = Settings::merge([surroundings, own, memcached, arguments]);
    let errors = choose_user(&mut settings, situation).into_iter().collect();
    Ok(Loaded { settings, tables, errors, files })
}

impl Loaded {
    /// Every error, the one to end with first.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &OptionError> {
        self.settings.errors().iter().chain(&self.errors)
    }
}

fn own_file(
    arguments: &Reading,
    situation: &Situation,
    files: &mut Vec<ReadFile>,
) -> (Reading, Tables) {
    let (mut reading, mut tables) = (Reading::default(), Tables::default());
    let Some((path, source)) = path_of(arguments, &CONFIG) else { return (reading, tables) };
    match read_bounded(&situation.directory.join(&path)) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => {
                let path = Arc::new(path);
                (reading, tables) = toml_file::read(&text, &path, &own_options::grammar());
                for (message, source) in tables.oversights() {
                    reading.warn(message, source);
                }
                files.push(ReadFile { path, text });
            }
            Err(_) => {
                let message = format!("{}: is not UTF-8 text", path.display());
                reading.fail(message, EXIT_USAGE, source);
            }
        },
        Err(error) => unreadable(&mut reading, &path, &error, source),
    }
    (reading, tables)
}

fn memcached_file(
    arguments: &Reading,
    situation: &Situation,
    files: &mut Vec<ReadFile>,
) -> Reading {
    let mut reading = Reading::default();
    let Some((path, source)) = path_of(arguments, &MEMCACHED_CONF) else { return reading };
    match read_bounded(&situation.directory.join(&path)) {
        Ok(bytes) => {
            let path = Arc::new(path);
            reading = from_conf_file(conf_file::read(&bytes, &path));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            files.push(ReadFile { path, text });
        }
        Err(error) => unreadable(&mut reading, &path, &error, source),
    }
    reading
}

/// The words of memcached's file mean what they mean on a command line.
fn from_conf_file(file: ConfFile) -> Reading {
    let mut reading = own_options::grammar().read(&file.words);
    reading.errors.extend(file.errors);
    reading.warnings.extend(file.warnings);
    if let Some(action) = reading.action.take() {
        let message = format!("{action:?} makes no sense in a file and is ignored").to_lowercase();
        reading.warn(message, file.words.first().map_or(Source::Default, |w| w.source.clone()));
    }
    if let Some((path, source)) = file.log_file {
        reading.push(&LOG_FILE, Value::Path(path), source);
    }
    reading
}

/// As root without -u memcached refuses; Kannuki finds a user.
fn choose_user(settings: &mut Settings, situation: &Situation) -> Option<OptionError> {
    if !situation.root || settings.given(&USER).is_some() {
        return None;
    }
    let refusal = match (situation.called_as, situation.unprivileged) {
        (CalledAs::Kannuki, Some(user)) => {
            settings.choose(&USER, Value::Text(user.to_owned()), "started as root without -u");
            return None;
        }
        (CalledAs::Kannuki, None) => {
            "there is no unprivileged user to become; name one with -u (or -u root to stay root)"
        }
        (CalledAs::Memcached, _) => "must add '-u root' to start as root",
    };
    Some(OptionError {
        message: refusal.to_owned(),
        exit_code: EXIT_USAGE,
        origin: Source::Situation("started as root without -u"),
    })
}

/// What the environment asks for and does not get.
fn surroundings(situation: &Situation, readings: [&Reading; 3]) -> Reading {
    let mut reading = Reading::default();
    let sasl = readings.into_iter().any(|reading| reading.last(&ENABLE_SASL).is_some());
    if situation.sasl_conf && sasl {
        let message = "SASL_CONF_PATH has no effect: users come from -Y or MEMCACHED_SASL_PWDB";
        reading.warn(message.to_owned(), Source::Situation("SASL_CONF_PATH is set"));
    }
    reading
}

fn path_of(
    arguments: &Reading,
    spec: &kannuki_audit::memcached_options::OptionSpec,
) -> Option<(PathBuf, Source)> {
    let given = arguments.last(spec)?;
    let Value::Path(path) = &given.value else { return None };
    Some((path.clone(), given.source.clone()))
}

fn unreadable(reading: &mut Reading, path: &Path, error: &io::Error, source: Source) {
    reading.fail(format!("cannot read {}: {error}", path.display()), EXIT_SYSTEM, source);
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("is longer than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
