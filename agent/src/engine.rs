//! Task queue engines: which are installed, and what their adapters let a brain ask for.
//!
//! Owns the table of known adapter releases. A brain believes a hello's capabilities, so what the table does
//! not know is unknown, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, EngineSettings, Framework};
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

/// What a brain can ask an engine for, as hellos spell it.
const CAPABILITIES: &[&str] = &[
    "add_consumer",
    "bulk_retry",
    "cancel_consumer",
    "cancel_task",
    "list_dead_letters",
    "pool_grow",
    "pool_shrink",
    "purge_queue",
    "rate_limit",
    "requeue_dead_letter",
    "restart_worker",
    "retry_task",
    "submit_task",
];

/// A retry that names a task and leaves its arguments to the agent.
const RETRY_BY_REFERENCE: &str = "retry_by_reference_v1";

/// What a hello says for an engine that carries these actions out, sorted.
///
/// A program that retries gets the task's id and finds its arguments itself, so it retries by reference;
/// without that word a brain refuses every retry.
pub(crate) fn capabilities<'a>(actions: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut words = BTreeSet::new();
    for action in actions {
        let word = if action == "dlq.list" { "list_dead_letters" } else { action };
        if CAPABILITIES.contains(&word) {
            words.insert(word);
        }
        if matches!(word, "retry_task" | "bulk_retry") {
            words.insert(RETRY_BY_REFERENCE);
        }
    }
    words.into_iter().map(str::to_owned).collect()
}

/// What a hello says an agent can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Engine names, sorted.
    pub(crate) engines: Vec<String>,
    /// What each of them can be asked to do.
    pub(crate) capabilities: BTreeMap<String, Vec<String>>,
    /// Why the application's agent may say something else; none where this is known to be what it says.
    pub(crate) doubt: Option<String>,
}

impl Abilities {
    /// What this agent says it can do: nothing but what the settings name.
    pub(crate) fn configured(config: &Config) -> Self {
        let mut abilities = Self::default();
        for (name, settings) in &config.engines {
            let words = match settings {
                EngineSettings::Null => Vec::new(),
                EngineSettings::Exec(actions) => capabilities(actions.keys().map(String::as_str)),
            };
            abilities.engines.push(name.clone());
            abilities.capabilities.insert(name.clone(), words);
        }
        abilities
    }
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

/// What the agent of this application says it can do, as far as that can be known.
pub(crate) fn abilities(framework: Framework, python: Option<&PythonEnvironment>) -> Abilities {
    let mut abilities = Abilities::default();
    let Some(python) = python else {
        abilities.doubt = Some("no Python environment was found (VIRTUAL_ENV or --venv)".to_owned());
        return abilities;
    };
    abilities.doubt = foreign_environment(framework, python).or_else(|| {
        let scheduler = SCHEDULERS.iter().find(|name| python.version(name).is_some())?;
        Some(format!("what {scheduler} advertises depends on the application"))
    });
    for engine in detected(Some(python)).into_iter().filter(|engine| serves(framework, engine)) {
        let Some(version) = python.version(&format!("z4j-{engine}")) else { continue };
        let row = ADAPTERS.iter().find(|(name, release, _)| *name == engine && *release == version);
        let Some((_, _, words)) = row else {
            let unknown = format!("what z4j-{engine} {version} advertises is not known here");
            abilities.doubt.get_or_insert(unknown);
            continue;
        };
        abilities.capabilities.insert(engine.clone(), words.iter().map(|word| (*word).to_owned()).collect());
        abilities.engines.push(engine);
    }
    abilities
}

/// The distribution that is a framework's agent. Those of the others build on z4j-bare.
const fn agent_of(framework: Framework) -> &'static str {
    match framework {
        Framework::Bare => "z4j-bare",
        Framework::Django => "z4j-django",
        Framework::Flask => "z4j-flask",
        Framework::FastApi => "z4j-fastapi",
    }
}

/// Why an environment is not, or not only, that of this framework's agent: then its engines say nothing about
/// the agent that lives under this token.
fn foreign_environment(framework: Framework, python: &PythonEnvironment) -> Option<String> {
    let root = python.root.display();
    let own = agent_of(framework);
    let others = [Framework::Django, Framework::Flask, Framework::FastApi];
    let other =
        others.into_iter().find(|other| *other != framework && python.version(agent_of(*other)).is_some());
    let missing = ["z4j-core", own].into_iter().find(|name| python.version(name).is_none());
    match (other, missing) {
        (Some(other), _) if framework == Framework::Bare => {
            let (agent, other) = (agent_of(other), other.as_str());
            Some(format!("{agent} is installed in {root}: pass --framework {other}"))
        }
        (_, Some(missing)) => Some(format!("{missing} is not installed in {root}")),
        (Some(other), None) => {
            let agent = agent_of(other);
            Some(format!("{agent} is installed in {root} beside {own}: which of them runs cannot be known"))
        }
        (None, None) => None,
    }
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

    const FLASK: &[(&str, &str)] = &[("z4j-core", "1.13.0"), ("z4j-bare", "1.13.0"), ("z4j-flask", "1.13.0")];

    #[test]
    fn an_adapter_of_a_known_release_is_advertised() {
        let engines = [("celery", "5.4.0"), ("z4j-celery", "1.13.0"), ("rq", "2.0")];
        let venv = python(&[FLASK, &engines].concat());
        let known = abilities(Framework::Flask, Some(&venv));
        assert_eq!((known.engines, known.doubt), (vec!["celery".to_owned()], None));
        assert_eq!(known.capabilities["celery"].len(), 12);
        assert_eq!(detected(Some(&venv)), ["celery", "rq"]);
        assert_eq!(without_adapter(Framework::Flask, Some(&venv)), ["rq"]);
        assert!(without_adapter(Framework::Django, Some(&venv)).is_empty());
    }

    #[test]
    fn mapped_actions_are_advertised_if_a_brain_knows_the_word() {
        let words = |actions: &[&str]| capabilities(actions.iter().copied());
        assert_eq!(words(&["retry_task", "schedule.fire"]), ["retry_by_reference_v1", "retry_task"]);
        assert_eq!(words(&["dlq.list", "cancel_task"]), ["cancel_task", "list_dead_letters"]);
        assert!(words(&["reconcile_task"]).is_empty());
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let rows: [&[(&str, &str)]; 3] = [
            &[("celery", "5.4.0"), ("z4j-celery", "9.0.0")],
            &[("dramatiq", "1"), ("z4j-dramatiq", "1.13.0")],
            &[("celery", "5"), ("z4j-celery", "1.13.0"), ("z4j-celerybeat", "1.13.0")],
        ];
        for row in rows {
            let venv = python(&[FLASK, row].concat());
            assert!(abilities(Framework::Flask, Some(&venv)).doubt.is_some(), "{row:?}");
        }
        for framework in [Framework::Bare, Framework::Django] {
            assert!(abilities(framework, None).doubt.is_some_and(|doubt| doubt.contains("VIRTUAL_ENV")));
        }
    }

    #[test]
    fn an_environment_counts_only_if_it_is_that_of_the_agent() {
        let doubt = |framework, distributions: &[(&str, &str)]| {
            abilities(framework, Some(&python(distributions))).doubt.unwrap_or_default()
        };
        let (core, bare, django) = (("z4j-core", "1"), ("z4j-bare", "1"), ("z4j-django", "1"));
        assert_eq!(doubt(Framework::Bare, &[core, bare]), "");
        assert_eq!(doubt(Framework::Django, &[core, bare, django]), "");
        assert_eq!(doubt(Framework::Django, &[django]), "z4j-core is not installed in /venv");
        assert_eq!(doubt(Framework::Django, &[core, bare]), "z4j-django is not installed in /venv");
        assert_eq!(doubt(Framework::Bare, &[]), "z4j-core is not installed in /venv");
        let wrong = doubt(Framework::Bare, &[core, bare, django]);
        assert_eq!(wrong, "z4j-django is installed in /venv: pass --framework django");
        assert!(doubt(Framework::Flask, &[FLASK, &[django]].concat()).contains("beside z4j-flask"));
    }
}
