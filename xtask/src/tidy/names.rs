//! Names that say nothing: files, modules and types are called by what they do.

use super::Fault;
use super::source::Source;
use super::tree::File;

/// Drawers, not names.
const DRAWERS: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "misc", "manager", "service"];
/// Endings of type names that say only that something happens.
const ENDINGS: [&str; 8] =
    ["Manager", "Handler", "Helper", "Helpers", "Service", "Context", "Util", "Utils"];
/// The words after which a name is defined.
const DEFINERS: [&str; 6] = ["struct ", "enum ", "trait ", "union ", "type ", "mod "];

/// A file or folder whose name is a drawer.
pub(crate) fn check_path(file: &File, faults: &mut Vec<Fault>) {
    for part in file.path.split('/') {
        let stem = part.split('.').next().unwrap_or_default();
        if DRAWERS.contains(&stem) {
            let message = format!("`{stem}` is a drawer, not a name: say what it does");
            faults.push(Fault::new(&file.path, 0, message));
        }
    }
}

/// A type or module defined under such a name.
pub(crate) fn check_definitions(file: &File, source: &Source, faults: &mut Vec<Fault>) {
    for (at, line) in source.code.iter().enumerate() {
        let Some(name) = defined(line) else { continue };
        let is_drawer = DRAWERS.contains(&name);
        if is_drawer || ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            let message = format!("`{name}` names no duty: say what it does");
            faults.push(Fault::new(&file.path, at + 1, message));
        }
    }
}

/// The name that this line defines, visibility stripped.
fn defined(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(after) = rest.strip_prefix("pub") {
        let after = after.trim_start();
        rest = match after.strip_prefix('(') {
            Some(inside) => inside.split_once(')')?.1.trim_start(),
            None => after,
        };
    }
    let rest = DEFINERS.iter().find_map(|definer| rest.strip_prefix(definer))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    rest.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_found_behind_any_visibility() {
        assert_eq!(defined("pub(crate) struct Pool<T> {"), Some("Pool"));
        assert_eq!(defined("    pub enum Kind"), Some("Kind"));
        assert_eq!(defined("mod wire;"), Some("wire"));
        assert_eq!(defined("let mod_ = 1;"), None);
    }

    #[test]
    fn drawers_are_refused_as_paths() {
        let mut faults = Vec::new();
        check_path(&File::of("crates/store/src/util.rs", Vec::new()), &mut faults);
        check_path(&File::of("crates/store/src/class.rs", Vec::new()), &mut faults);
        assert_eq!(faults.len(), 1);
    }
}
