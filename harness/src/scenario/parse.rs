//! Finding scenario files and reading them, with every refusal placed: file, line, column.
//!
//! Owns what needs more than one value (impossible combinations). Must not carry anything out.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Scenario, ScenarioId, Service, unit};

/// Largest scenario file.
const MAX_BYTES: u64 = 1 << 20;

/// How much of a line is shown in an error, in characters.
const SHOWN_CHARS: usize = 160;

/// A scenario with its place.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) id: ScenarioId,
    pub(crate) scenario: Scenario,
}

/// Why scenarios cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read {}: {reason}{}", .path.display(), way_out(.reason))]
    Read { path: PathBuf, reason: std::io::Error },
    #[error("no scenario is called `{name}`; `harness list` shows what there is")]
    Unknown { name: String },
    #[error("no scenario file (*.toml) below {}", .path.display())]
    Empty { path: PathBuf },
    #[error("{0}")]
    Invalid(String),
}

fn way_out(reason: &std::io::Error) -> &'static str {
    match reason.kind() {
        std::io::ErrorKind::NotFound => "; name a scenario file, or run where the folder `scenarios` lies",
        std::io::ErrorKind::InvalidData => "; a scenario is a TOML file",
        _ => "",
    }
}

/// Loads the scenarios that the selections name (files, folders, themes or names; none: all below `root`).
///
/// # Errors
/// A selection matches nothing, or a file cannot be read or is no scenario. Of several invalid files all are
/// named.
pub(crate) fn load(root: &Path, selections: &[String]) -> Result<Vec<Loaded>, LoadError> {
    let mut ids = Vec::new();
    if selections.is_empty() {
        ids = find(root, root)?;
    }
    for selection in selections {
        let path = Path::new(selection);
        let path = path.strip_prefix(".").unwrap_or(path);
        let selection = path.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or(selection);
        if path.is_dir() {
            ids.extend(find(path, if path.starts_with(root) { root } else { path })?);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            ids.push(id_of(root, path));
        } else {
            ids.extend(by_name(root, selection)?);
        }
    }
    ids.sort();
    ids.dedup();
    let (loaded, invalid): (Vec<_>, Vec<_>) = ids.into_iter().map(read).partition(Result::is_ok);
    let mut errors: Vec<_> = invalid.into_iter().filter_map(Result::err).collect();
    match errors.len() {
        0 => Ok(loaded.into_iter().flatten().collect()),
        1 => Err(errors.remove(0)),
        _ => {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Err(LoadError::Invalid(texts.join("\n")))
        }
    }
}

fn by_name(root: &Path, name: &str) -> Result<Vec<ScenarioId>, LoadError> {
    let mut ids = find(root, root)?;
    let theme = format!("{}/", name.trim_end_matches('/'));
    ids.retain(|id| {
        id.name == name || id.name.starts_with(&theme) || id.name.rsplit('/').next() == Some(name)
    });
    if ids.is_empty() { Err(LoadError::Unknown { name: name.to_owned() }) } else { Ok(ids) }
}

fn find(folder: &Path, root: &Path) -> Result<Vec<ScenarioId>, LoadError> {
    let mut ids = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |reason| LoadError::Read { path: folder.clone(), reason };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            // Neither links, which could lead in circles, nor what editors leave.
            if entry.file_name().as_encoded_bytes().starts_with(b".") || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                ids.push(id_of(root, &path));
            }
        }
    }
    if ids.is_empty() { Err(LoadError::Empty { path: folder.to_owned() }) } else { Ok(ids) }
}

fn id_of(root: &Path, file: &Path) -> ScenarioId {
    let below = file.strip_prefix(root).unwrap_or(file).with_extension("");
    ScenarioId { name: below.to_string_lossy().into_owned(), file: file.to_owned() }
}

fn read(id: ScenarioId) -> Result<Loaded, LoadError> {
    let failed = |reason| LoadError::Read { path: id.file.clone(), reason };
    let mut text = String::new();
    let file = std::fs::File::open(&id.file).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        let problem = format!("{}: larger than {MAX_BYTES} bytes", id.file.display());
        return Err(LoadError::Invalid(problem));
    }
    let mut scenario = parse(&id.file, &text)?;
    if let Some(unit) = scenario.service.unit.clone() {
        let service = with_unit(&id.file, &unit, &text);
        scenario.service = service.map_err(|problem| {
            LoadError::Invalid(format!("{}: unit {}: {problem}", id.file.display(), unit.display()))
        })?;
    }
    if let Some(problem) = impossible(&scenario) {
        return Err(LoadError::Invalid(format!("{}: {problem}", id.file.display())));
    }
    Ok(Loaded { id, scenario })
}

/// Reads the text of a scenario file. What its parts say together is not looked at.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Scenario, LoadError> {
    toml::from_str(text).map_err(|error| LoadError::Invalid(place(file, text, error.span(), error.message())))
}

/// The service of a unit file beside the scenario, with what the scenario says on top.
fn with_unit(scenario: &Path, unit: &Path, text: &str) -> Result<Service, String> {
    let file = scenario.with_file_name("").join(unit);
    let mut content = String::new();
    let read = std::fs::File::open(&file).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut content));
    read.map_err(|error| error.to_string())?;
    let expand = |value: &str| crate::sandbox::expand(value).map_err(|error| error.to_string());
    let mut table = unit::parse(&content, &expand)?;
    let own: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    if let Some(own) = own.get("service").and_then(toml::Value::as_table) {
        table.extend(own.clone());
    }
    Service::deserialize(table).map_err(|error| {
        // The list of all that there is would hide what is wrong.
        let message = error.message();
        message.split(", expected one of").next().unwrap_or(message).to_owned()
    })
}

/// `FILE:LINE:COLUMN: MESSAGE` with the line and a mark below it.
fn place(file: &Path, text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> String {
    let at = span.as_ref().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let shown: String = text.lines().nth(line).unwrap_or_default().chars().take(SHOWN_CHARS).collect();
    let column_shown = column.min(SHOWN_CHARS);
    let width = span.map_or(1, |span| span.len().clamp(1, shown.len().saturating_sub(column_shown).max(1)));
    let mut out = format!("{}:{}:{}: {message}\n", file.display(), line + 1, column + 1);
    let _ = write!(out, "  | {shown}\n  | {}{}", " ".repeat(column_shown), "^".repeat(width));
    out
}

/// A combination that no run could make sense of.
pub(crate) fn impossible(scenario: &Scenario) -> Option<String> {
    if scenario.title.trim().is_empty() || scenario.why.trim().is_empty() {
        return Some("`title` and `why` must say something: why does this scenario exist?".to_owned());
    }
    if scenario.steps.is_empty() {
        return Some("there is no [[step]]: nothing would be shown".to_owned());
    }
    if scenario.service.dynamic_user.0 && scenario.service.user.is_some() {
        return Some("[service] has both User= and DynamicUser=: leave one out".to_owned());
    }
    let mut uids: Vec<_> = scenario.host.users.iter().map(|user| user.uid.0).collect();
    uids.sort_unstable();
    if uids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Some("[host] users has a uid twice".to_owned());
    }
    let mut names = std::collections::BTreeSet::new();
    scenario.steps.iter().enumerate().find_map(|(index, step)| {
        let repeated = step.name.as_ref().is_some_and(|name| !names.insert(&name.0));
        let problem = step.problem().or(repeated.then_some("another step has that name"))?;
        Some(format!("step {}: {problem}", index + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        std::fs::write(&file, text).unwrap();
        let error = read(id_of(folder.path(), &file)).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn refusals_name_the_place_and_what_is_allowed() {
        let start = "title = \"t\"\nwhy = \"w\"\n";
        for (rest, place, says) in [
            ("[service]\nProtectHom = true", "x.toml:4:1: ", "unknown field `ProtectHom`"),
            ("[service]\nProtectHome = \"maybe\"", "x.toml:4:15: ", "read-only"),
            ("[brain]\nfaults = [\"tls.expird\"]", "x.toml:4:10: ", "did you mean tls.expired"),
            ("[host]\ndns = { \"a\" = \"gone\" }", "x.toml:4:15: ", "nxdomain"),
            ("[host]\ntmp = { tmpfs = \"8X\" }", "x.toml:4:", "K, M or G"),
            ("[[step]]\nexit = \"one\"", "x.toml:4:8: ", "expected u8"),
        ] {
            let text = refusal(&format!("{start}{rest}\n"));
            assert!(text.starts_with(place), "{text}");
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, says) in [
            ("title = \"t\"\nwhy = \" \"\n", "`why` must say"),
            ("title = \"t\"\nwhy = \"w\"\n", "no [[step]]"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\n", "step 1: it does nothing"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\ndoctor = {}\nrun = [\"id\"]\n", "more than one verb"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\nexpect = {}\nexit = 0\n", "go with doctor"),
            ("title = \"t\"\n", "missing field `why`"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\nemit = 0\n", "1 to 200000 events"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\nemit = \"x\"\n", "expected a number of events"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\nbrain = {}\n", "nothing changes at the brain"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\nbrain = \"gone\"\n", "unknown variant `gone`"),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\nstop = \"a\"\nagent = \"a\"\n", "`agent` goes with"),
            (
                "title = \"t\"\nwhy = \"w\"\n[[step]]\nwait = { log = { level = \"LOUD\" } }\n",
                "`LOUD` is none of",
            ),
            ("title = \"t\"\nwhy = \"w\"\n[[step]]\nkill = { signal = \"HUPP\" }\n", "a signal such as TERM"),
            (
                "title = \"t\"\nwhy = \"w\"\n[[step]]\nexpect = { events = { min = 2, max = 1 } }\n",
                "{ min, max }",
            ),
        ] {
            let error = refusal(text);
            assert!(error.contains(says), "{error}");
        }
    }
}
