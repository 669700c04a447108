//! `kannuki passwd FILE NAME`: makes, changes and deletes lines of a file of users.
//!
//! Invariants:
//! - The password comes from a terminal or from stdin, never from an argument: arguments are seen
//!   by everybody on the host.
//! - The file is replaced as a whole, after the new one was read back as the server would read it.
//!   A change that fails leaves the old file as it was.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use kannuki_server::auth::{Format, MakeError, Users, UsersError, argon2id_line, scram_line};
use zeroize::Zeroizing;

use crate::{exit, print, terminal};

/// Permission bits of a new file: its owner's alone.
const NEW_FILE_MODE: u32 = 0o600;
/// Permission bits that a replaced file keeps.
const KEPT_MODE: u32 = 0o777;

pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("passwd")
        .about("Make, change or delete the line of a user for -Y (auth-file) and -S")
        .override_usage(
            "kannuki passwd [--scram] [--stdin] FILE NAME\n       \
             kannuki passwd --print [--scram] [--stdin] NAME\n       \
             kannuki passwd --delete FILE NAME",
        )
        .arg(flag(
            "scram",
            "Keep SCRAM-SHA-256 keys, not an argon2id hash: SCRAM log-ins need them",
        ))
        .arg(flag("stdin", "Read the password from the first line of stdin"))
        .arg(flag("print", "Print the line instead of changing a file").short('n'))
        .arg(flag("delete", "Delete the user").short('D').conflicts_with_all(["print", "scram"]))
        .arg(Arg::new("WORDS").required(true).num_args(1..=2).value_name("FILE NAME"))
        .after_help(
            "Without --stdin the password is asked for twice, and not shown.\n\n\
             Examples:\n  kannuki passwd /etc/kannuki/users app     add app, or change its \
             password\n  kannuki passwd --delete /etc/kannuki/users app\n  \
             pwgen -s 32 1 | kannuki passwd --scram --stdin users app\n\n\
             The file is made with mode 0600 if there is none; the server's user has to be able \
             to read it.\nSend SIGHUP to the server after a change.",
        )
}

pub(super) fn run(args: &ArgMatches) -> u8 {
    let words: Vec<&String> = args.get_many("WORDS").into_iter().flatten().collect();
    let outcome = match (words.as_slice(), args.get_flag("print")) {
        ([name], true) => line(args, name).map(|line| print::stdout(&format!("{line}\n"))),
        ([file, name], false) => change(args, Path::new(file), name).map(|()| exit::FINE),
        ([_], false) => Err(Trouble::Usage("FILE and NAME are needed, or --print and NAME")),
        _ => Err(Trouble::Usage("--print takes NAME alone")),
    };
    outcome.unwrap_or_else(|trouble| {
        print::stderr(&format!("error: {trouble}\n"));
        trouble.exit_code()
    })
}

/// Why nothing was changed.
enum Trouble {
    Usage(&'static str),
    Input(io::Error),
    Differ,
    Make(MakeError),
    NoUser(String),
    File(PathBuf, io::Error),
    Locked(PathBuf),
    Broken(PathBuf, UsersError),
}

impl Trouble {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Differ | Self::Make(_) => exit::USAGE,
            Self::NoUser(_) | Self::Broken(..) => exit::FOUND,
            Self::Input(_) | Self::File(..) | Self::Locked(_) => exit::INCOMPLETE,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(what) => write!(f, "{what}; see `kannuki passwd --help`"),
            Self::Input(error) => write!(f, "no password: {error}"),
            Self::Differ => f.write_str("the two passwords differ"),
            Self::Make(error) => error.fmt(f),
            Self::NoUser(name) => write!(f, "there is no user \"{}\"", name.escape_debug()),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Locked(path) => write!(
                f,
                "{} is there: somebody else changes the file, or was interrupted; remove it then",
                path.display()
            ),
            Self::Broken(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// The new line of a user.
fn line(args: &ArgMatches, name: &str) -> Result<String, Trouble> {
    let password = password(args.get_flag("stdin"), name)?;
    let make = if args.get_flag("scram") { scram_line } else { argon2id_line };
    make(name, &password).map_err(Trouble::Make)
}

fn password(stdin: bool, name: &str) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    if stdin {
        return terminal::first_line().map_err(Trouble::Input);
    }
    let name = name.escape_debug();
    let once = terminal::ask(&format!("New password of {name}: ")).map_err(Trouble::Input)?;
    let again = terminal::ask("The same again: ").map_err(Trouble::Input)?;
    if once == again { Ok(once) } else { Err(Trouble::Differ) }
}

/// Changes the file, by way of a new one beside it that also keeps others out meanwhile.
fn change(args: &ArgMatches, path: &Path, name: &str) -> Result<(), Trouble> {
    let new_line = if args.get_flag("delete") { None } else { Some(line(args, name)?) };
    // Through a link it is the file behind it that changes.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let draft = draft_of(&path);
    let file = OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(&draft);
    let file = match file {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Trouble::Locked(draft));
        }
        file => file.map_err(|error| Trouble::File(draft.clone(), error))?,
    };
    let replaced = replace(&path, &draft, file, name, new_line.as_deref());
    if replaced.is_err() {
        // The error that led here says more than one of this.
        let _ = fs::remove_file(&draft);
    }
    replaced
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn replace(
    path: &Path,
    draft: &Path,
    mut file: File,
    name: &str,
    new_line: Option<&str>,
) -> Result<(), Trouble> {
    let failed = |error| Trouble::File(path.to_owned(), error);
    let old = read(path).map_err(failed)?;
    let (text, found) = with_line(old.as_ref().map_or(&[], |(bytes, _)| bytes), name, new_line);
    if new_line.is_none() && !found {
        return Err(Trouble::NoUser(name.to_owned()));
    }
    file.write_all(&text).map_err(failed)?;
    if let Some((_, metadata)) = &old {
        let mode = metadata.mode() & KEPT_MODE;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
        fchown(&file, Some(metadata.uid()), Some(metadata.gid())).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    let emptied = new_line.is_none() && text.is_empty();
    if let Err(error) = Users::read(draft, Format::AuthFile)
        && !emptied
    {
        return Err(Trouble::Broken(path.to_owned(), error));
    }
    fs::rename(draft, path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // The name may be lost with the power, the content may not.
    let _ =
        File::open(folder.unwrap_or_else(|| Path::new("."))).and_then(|folder| folder.sync_all());
    Ok(())
}

/// The old file, if there is one.
fn read(path: &Path) -> io::Result<Option<(Zeroizing<Vec<u8>>, fs::Metadata)>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.read_to_end(&mut bytes)?;
    Ok(Some((bytes, metadata)))
}

/// The text with another line for the name, or without one; and whether it had one.
fn with_line(old: &[u8], name: &str, new_line: Option<&str>) -> (Zeroizing<Vec<u8>>, bool) {
    let mut text = Zeroizing::new(Vec::with_capacity(old.len() + new_line.map_or(0, str::len) + 2));
    let mut new_line = new_line;
    let mut found = false;
    for line in old.split_inclusive(|&byte| byte == b'\n') {
        let is_it = line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b":"));
        if is_it {
            found = true;
            append(&mut text, new_line.take().map(str::as_bytes));
        } else {
            append(&mut text, Some(line.strip_suffix(b"\n").unwrap_or(line)));
        }
    }
    append(&mut text, new_line.map(str::as_bytes));
    (text, found)
}

fn append(text: &mut Vec<u8>, line: Option<&[u8]>) {
    if let Some(line) = line {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(old: &str, name: &str, new_line: Option<&str>) -> (String, bool) {
        let (text, found) = with_line(old.as_bytes(), name, new_line);
        (String::from_utf8(text.to_vec()).unwrap(), found)
    }

    #[test]
    fn one_line_changes_and_the_others_stay() {
        let old = "app:x\nbob:y\napple:z";
        let new = |text: &str, found| (text.to_owned(), found);
        assert_eq!(changed(old, "bob", Some("bob:w")), new("app:x\nbob:w\napple:z\n", true));
        assert_eq!(changed(old, "app", None), new("bob:y\napple:z\n", true));
        assert_eq!(changed(old, "ap", None), new("app:x\nbob:y\napple:z\n", false));
        assert_eq!(changed("", "app", Some("app:x")), new("app:x\n", false));
        assert_eq!(changed("app:x\napp:y\n", "app", Some("app:z")), new("app:z\n", true));
    }
}
