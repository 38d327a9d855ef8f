//! The tables `[engine.NAME]`: which adapter carries an engine's commands out, and how.
//!
//! What leaves here can be run: arguments are parsed templates, programs exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::ConfigError;
use super::file::Place;
use super::kind::{duration, is_word};
use crate::commands::Template;
use crate::words::errno_name;

/// Output that an action may have where the file does not say, in bytes.
const DEFAULT_OUTPUT_BYTES: u64 = 65_536;
/// Most output that an action may have, in bytes.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;
/// Longest time of an action.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Longest name of an action, in characters.
const MAX_ACTION_CHARS: usize = 100;

/// How an engine's commands are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineSettings {
    /// They are refused.
    Null,
    /// Each action is a program.
    Exec(BTreeMap<String, ActionSettings>),
}

/// The program of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActionSettings {
    /// The program: absolute, there, executable.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<Template>,
    /// How long it may take; none for the command's own deadline.
    pub(crate) timeout: Option<Duration>,
    /// How much of its output is read and kept, in bytes. What is sent of it has a bound of its own: 6,000 bytes
    /// of the whole result (`commands::bound`).
    pub(crate) output_bytes: usize,
    /// Variables that it gets beside PATH, HOME and LANG.
    pub(crate) env: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineTable {
    adapter: AdapterName,
    #[serde(default)]
    action: BTreeMap<Spanned<String>, ActionTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AdapterName {
    Exec,
    Null,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionTable {
    argv: Spanned<Vec<Spanned<String>>>,
    timeout: Option<Spanned<String>>,
    output_bytes: Option<Spanned<u64>>,
    #[serde(default)]
    env: BTreeMap<Spanned<String>, EnvValue>,
}

/// What a variable is given; other things than text are not told, since it may be a secret.
#[derive(Deserialize)]
#[serde(untagged)]
enum EnvValue {
    Text(String),
    Other(serde::de::IgnoredAny),
}

/// Reads the table `engine`.
pub(super) fn read(
    table: Spanned<DeValue<'_>>,
    place: &Place<'_>,
) -> Result<BTreeMap<String, EngineSettings>, ConfigError> {
    let tables = BTreeMap::<Spanned<String>, EngineTable>::deserialize(ValueDeserializer::from(table))
        .map_err(|error| place.toml(&error))?;
    let mut engines = BTreeMap::new();
    for (name, table) in tables {
        if !is_word(name.get_ref()) {
            let problem = format!("`{}` cannot name an engine", name.get_ref().escape_debug());
            return Err(place.refuse(name.span().start, &problem, "use up to 40 of a-z, 0-9, _ and -"));
        }
        let settings = match table.adapter {
            AdapterName::Exec => EngineSettings::Exec(actions(table.action, place)?),
            AdapterName::Null => match table.action.keys().next() {
                None => EngineSettings::Null,
                Some(action) => {
                    let problem = "the adapter `null` has no actions";
                    let fix = "write adapter = \"exec\", or remove the actions";
                    return Err(place.refuse(action.span().start, problem, fix));
                }
            },
        };
        engines.insert(name.into_inner(), settings);
    }
    Ok(engines)
}

fn actions(
    tables: BTreeMap<Spanned<String>, ActionTable>,
    place: &Place<'_>,
) -> Result<BTreeMap<String, ActionSettings>, ConfigError> {
    let mut actions = BTreeMap::new();
    for (name, table) in tables {
        if name.get_ref().is_empty() || name.get_ref().chars().count() > MAX_ACTION_CHARS {
            let fix = "name the action as the brain does, such as retry_task";
            return Err(place.refuse(name.span().start, "this cannot name an action", fix));
        }
        actions.insert(name.into_inner(), action(table, place)?);
    }
    Ok(actions)
}

fn action(table: ActionTable, place: &Place<'_>) -> Result<ActionSettings, ConfigError> {
    let at = table.argv.span().start;
    let mut words = table.argv.into_inner().into_iter();
    let Some(program) = words.next() else {
        let fix = "write argv = [\"/PATH/OF/PROGRAM\", \"ARGUMENT\", …]";
        return Err(place.refuse(at, "argv is empty", fix));
    };
    let arguments = words
        .map(|word| {
            Template::parse(word.get_ref()).map_err(|problem| {
                let fix = "a placeholder is {name}, {name?} or {name!}; a brace itself is written twice";
                place.refuse(word.span().start, &problem, fix)
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(ActionSettings {
        program: executable(&program, place)?,
        arguments,
        timeout: table.timeout.map(|timeout| action_timeout(&timeout, place)).transpose()?,
        output_bytes: output_bytes(table.output_bytes, place)?,
        env: variables(table.env, place)?,
    })
}

/// The program, which must be there: the operator should learn it at start, not with the first command.
fn executable(program: &Spanned<String>, place: &Place<'_>) -> Result<PathBuf, ConfigError> {
    let path = Path::new(program.get_ref());
    let fix = "give the absolute path of an executable file, with the interpreter first if it needs one";
    let refuse = |problem: &str| {
        let shown = path.display().to_string();
        place.refuse(program.span().start, &format!("{shown:?} {problem}"), fix)
    };
    if !path.is_absolute() {
        return Err(refuse("is no absolute path"));
    }
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(refuse("is no file")),
        Ok(_) => {}
        Err(error) => return Err(refuse(&format!("cannot be run: {}", crate::words::errno_text(&error)))),
    }
    access(path, AccessFlags::X_OK)
        .map_err(|errno| refuse(&format!("cannot be run by this user: {}", errno_name(errno as i32))))?;
    Ok(path.to_owned())
}

fn action_timeout(timeout: &Spanned<String>, place: &Place<'_>) -> Result<Duration, ConfigError> {
    let read = duration(timeout.get_ref()).filter(|timeout| !timeout.is_zero() && *timeout <= MAX_TIMEOUT);
    read.ok_or_else(|| {
        let problem = format!("{:?} is no time above 0 and up to 1h", timeout.get_ref());
        place.refuse(timeout.span().start, &problem, "write it as \"500ms\", \"30s\", \"5m\" or \"1h\"")
    })
}

fn output_bytes(bytes: Option<Spanned<u64>>, place: &Place<'_>) -> Result<usize, ConfigError> {
    let Some(bytes) = bytes else { return Ok(usize::try_from(DEFAULT_OUTPUT_BYTES).unwrap_or(usize::MAX)) };
    let within = Some(*bytes.get_ref()).filter(|bytes| (1..=MAX_OUTPUT_BYTES).contains(bytes));
    within.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
        let problem = format!("output_bytes = {} is out of bounds", bytes.get_ref());
        place.refuse(bytes.span().start, &problem, &format!("write a number from 1 to {MAX_OUTPUT_BYTES}"))
    })
}

fn variables(
    env: BTreeMap<Spanned<String>, EnvValue>,
    place: &Place<'_>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    for (name, value) in env {
        let text = name.get_ref();
        let refuse = |problem: &str| {
            let problem = format!("`{}` {problem}", text.escape_debug());
            place.refuse(name.span().start, &problem, "write env = { NAME = \"value\" }")
        };
        let EnvValue::Text(value) = value else { return Err(refuse("is given something that is no text")) };
        if text.is_empty() || text.contains(['=', '\0']) || value.contains('\0') {
            return Err(refuse("cannot be a variable"));
        }
        variables.insert(name.into_inner(), value);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::super::file::ConfigFile;
    use super::*;

    fn parse(text: &str) -> Result<BTreeMap<String, EngineSettings>, String> {
        let file = ConfigFile::parse(Path::new("/z.toml"), text);
        file.map(|file| file.engines).map_err(|error| format!("{error}; {}", error.fix()))
    }

    #[test]
    fn a_table_becomes_actions_that_can_be_run() {
        let text = "[engine.celery]\nadapter = 'exec'\n[engine.celery.action.retry_task]\n\
                    argv = ['/bin/echo', '--id={task_id}', '{queue?}']\ntimeout = '30s'\noutput_bytes = 100\n\
                    env = { LANG = 'C' }\n[engine.rq]\nadapter = 'null'\n";
        let engines = parse(text).unwrap();
        assert_eq!(engines["rq"], EngineSettings::Null);
        let EngineSettings::Exec(actions) = &engines["celery"] else { panic!("{engines:?}") };
        let action = &actions["retry_task"];
        assert_eq!((action.program.as_path(), action.arguments.len()), (Path::new("/bin/echo"), 2));
        assert_eq!((action.timeout, action.output_bytes), (Some(Duration::from_secs(30)), 100));
        assert_eq!(action.env["LANG"], "C");
    }

    #[test]
    fn what_cannot_be_run_is_refused_where_it_stands() {
        let action =
            |line: &str| format!("[engine.celery]\nadapter = 'exec'\n[engine.celery.action.x]\n{line}");
        for (text, wanted) in [
            ("[engine.celery]\nadapter = 'shell'".to_owned(), "/z.toml:2:11: unknown variant"),
            ("[engine.celery]\nadaptor = 'exec'".to_owned(), "unknown field `adaptor`, expected"),
            ("[engine.Celery]\nadapter = 'exec'".to_owned(), "/z.toml:1:9: `Celery` cannot name an engine"),
            ("[engine.rq]\nadapter = 'null'\naction.x.argv = ['/bin/true']".to_owned(), "has no actions"),
            (action("argv = []"), "argv is empty"),
            (action("argv = ['echo']"), "/z.toml:4:9: \"echo\" is no absolute path"),
            (action("argv = ['/bin']"), "is no file"),
            (action("argv = ['/etc/passwd']"), "cannot be run by this user: EACCES"),
            (action("argv = ['/nonexistent/x']"), "cannot be run: ENOENT"),
            (action("argv = ['/bin/echo', '{task id}']"), "/z.toml:4:22: "),
            (action("argv = ['/bin/echo']\ntimeout = '2h'"), "is no time above 0 and up to 1h"),
            (action("argv = ['/bin/echo']\noutput_bytes = 0"), "out of bounds"),
            (action("argv = ['/bin/echo']\nenv = { 'a=b' = 'x' }"), "`a=b` cannot be a variable"),
            (
                action("argv = ['/bin/echo']\nenv = { PIN = 123456 }"),
                "`PIN` is given something that is no text",
            ),
            (action("argv = ['/bin/echo']\nenv = { PIN = { a = [1.5] } }"), "`PIN` is given something"),
        ] {
            let refused = parse(&text).err().unwrap_or_default();
            assert!(refused.contains(wanted), "{text}: {refused}");
        }
    }
}
