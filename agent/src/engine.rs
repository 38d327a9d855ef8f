//! Task queue engines: which are installed, and what their adapters let a brain ask for.
//!
//! Owns the table of known adapter releases. A brain believes a hello's capabilities, so what the table does
//! not know is unknown, never guessed.

use std::collections::BTreeMap;

use crate::config::Framework;
use crate::python::PythonEnvironment;

/// Engines that z4j has an adapter for, by the name of engine and distribution alike.
const ENGINES: &[&str] = &["arq", "celery", "dramatiq", "huey", "rq", "taskiq"];

/// The marker that the agent adds for adapters that retry by reference (seen in the hello of z4j-bare 1.13.0).
const CELERY: &[&str] = &[
    "add_consumer",
    "bulk_retry",
    "cancel_consumer",
    "cancel_task",
    "pool_grow",
    "pool_shrink",
    "purge_queue",
    "rate_limit",
    "restart_worker",
    "retry_by_reference_v1",
    "retry_task",
    "submit_task",
];
const RQ: &[&str] = &[
    "bulk_retry",
    "cancel_task",
    "list_dead_letters",
    "purge_queue",
    "requeue_dead_letter",
    "retry_by_reference_v1",
    "retry_task",
    "submit_task",
];
const HUEY: &[&str] = &["cancel_task", "retry_by_reference_v1", "retry_task", "submit_task"];

/// What the adapter of an engine advertises, by release. z4j-dramatiq is not here: what it advertises depends
/// on the broker that the application configures.
const ADAPTERS: &[(&str, &str, &[&str])] = &[
    ("arq", "1.13.0", &["cancel_task", "submit_task"]),
    ("celery", "1.13.0", CELERY),
    ("huey", "1.13.0", HUEY),
    ("rq", "1.13.0", RQ),
    ("taskiq", "1.13.0", &["submit_task"]),
];

/// Scheduler adapters. What they advertise depends on the application's schedule sources.
const SCHEDULERS: &[&str] = &[
    "z4j-apscheduler",
    "z4j-arqcron",
    "z4j-celerybeat",
    "z4j-hueyperiodic",
    "z4j-rqscheduler",
    "z4j-taskiqscheduler",
];

/// What a hello says an agent can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Engine names, sorted.
    pub(crate) engines: Vec<String>,
    /// What each of them can be asked to do.
    pub(crate) capabilities: BTreeMap<String, Vec<String>>,
}

/// Engines whose packages are installed, sorted.
pub(crate) fn detected(python: Option<&PythonEnvironment>) -> Vec<String> {
    let Some(python) = python else { return Vec::new() };
    let found = ENGINES.iter().filter(|engine| python.version(engine).is_some());
    found.map(|engine| (*engine).to_owned()).collect()
}

/// Engines that this framework's agent would serve if their adapter were installed.
pub(crate) fn without_adapter(framework: Framework, python: Option<&PythonEnvironment>) -> Vec<String> {
    let Some(python) = python else { return Vec::new() };
    let mut engines = detected(Some(python));
    engines.retain(|engine| serves(framework, engine) && python.version(&format!("z4j-{engine}")).is_none());
    engines
}

/// The Django agent looks for Celery only.
fn serves(framework: Framework, engine: &str) -> bool {
    framework != Framework::Django || engine == "celery"
}

/// What the agent of this application says it can do.
///
/// # Errors
/// Why that cannot be known.
pub(crate) fn abilities(
    framework: Framework,
    python: Option<&PythonEnvironment>,
) -> Result<Abilities, String> {
    let Some(python) = python else {
        return match framework {
            Framework::Bare => Ok(Abilities::default()),
            _ => Err("no Python environment was found (VIRTUAL_ENV or --venv)".to_owned()),
        };
    };
    if let Some(scheduler) = SCHEDULERS.iter().find(|name| python.version(name).is_some()) {
        return Err(format!("what {scheduler} advertises depends on the application"));
    }
    let mut abilities = Abilities::default();
    for engine in detected(Some(python)).into_iter().filter(|engine| serves(framework, engine)) {
        let Some(version) = python.version(&format!("z4j-{engine}")) else { continue };
        let row = ADAPTERS.iter().find(|(name, release, _)| *name == engine && *release == version);
        let Some((_, _, words)) = row else {
            return Err(format!("what z4j-{engine} {version} advertises is not known here"));
        };
        abilities.capabilities.insert(engine.clone(), words.iter().map(|word| (*word).to_owned()).collect());
        abilities.engines.push(engine);
    }
    Ok(abilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(distributions: &[(&str, &str)]) -> PythonEnvironment {
        PythonEnvironment {
            root: "/venv".into(),
            distributions: distributions.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn an_adapter_of_a_known_release_is_advertised() {
        let venv = python(&[("celery", "5.4.0"), ("z4j-celery", "1.13.0"), ("rq", "2.0")]);
        let known = abilities(Framework::Flask, Some(&venv));
        assert_eq!(known.as_ref().map(|known| known.engines.clone()), Ok(vec!["celery".to_owned()]));
        assert_eq!(known.map(|known| known.capabilities["celery"].len()), Ok(12));
        assert_eq!(detected(Some(&venv)), ["celery", "rq"]);
        assert_eq!(without_adapter(Framework::Flask, Some(&venv)), ["rq"]);
        assert!(without_adapter(Framework::Django, Some(&venv)).is_empty());
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let newer = python(&[("celery", "5.4.0"), ("z4j-celery", "9.0.0")]);
        assert!(abilities(Framework::Django, Some(&newer)).is_err());
        let broker = python(&[("dramatiq", "1"), ("z4j-dramatiq", "1.13.0")]);
        assert!(abilities(Framework::Flask, Some(&broker)).is_err());
        let beat = python(&[("celery", "5"), ("z4j-celery", "1.13.0"), ("z4j-celerybeat", "1.13.0")]);
        assert!(abilities(Framework::Django, Some(&beat)).is_err());
        assert!(abilities(Framework::Django, None).is_err());
        assert_eq!(abilities(Framework::Bare, None), Ok(Abilities::default()));
        assert_eq!(abilities(Framework::Django, Some(&python(&[]))), Ok(Abilities::default()));
    }
}
