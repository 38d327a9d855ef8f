//! The doctor: what stands between this agent and its brain.
//!
//! It gathers (`buffer_path`, `network`, `websocket` fill in `evidence`), then judges (`judge`, a pure
//! function), and one report (`report`) is written as text or JSON. It changes nothing on the machine.

mod buffer_path;
pub(crate) mod diagnosis;
mod evidence;
mod judge;
mod network;
mod report;
mod websocket;

use std::time::{Duration, Instant};

pub(crate) use report::{ProbeName, Report, Status};

use evidence::{BufferOutcome, Evidence, Timed};
use judge::Case;
use websocket::Probe;

use crate::config::{Config, Framework};
use crate::engine::{self, Abilities};
use crate::environment::Environment;
use crate::hello::{self, Worker};
use crate::net::budget::Budget;
use crate::python::PythonEnvironment;

/// The JSON Schema of the report.
pub(crate) const JSON_SCHEMA: &str = include_str!("schema.json");

/// What is asked of the doctor.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// What the application is built on.
    pub(crate) framework: Framework,
    /// Which probes.
    pub(crate) probes: Vec<ProbeName>,
    /// How long each wait may be; the whole run may take twice that.
    pub(crate) timeout: Duration,
}

/// A report, and what should be said on stderr.
pub(crate) struct Examination {
    /// The report.
    pub(crate) report: Report,
    /// One sentence each.
    pub(crate) warnings: Vec<String>,
}

/// Examines.
pub(crate) async fn examine(config: &Config, environment: &Environment, order: &Order) -> Examination {
    let python = config.venv.as_deref().and_then(PythonEnvironment::read);
    let evidence = gather(config, environment, order, python.as_ref()).await;
    let case = Case {
        config,
        account: &environment.account,
        resolv_conf: environment.resolv_conf.clone(),
        framework: order.framework,
        engines: engine::detected(python.as_ref()),
        without_adapter: engine::without_adapter(order.framework, python.as_ref()),
        pip: python.as_ref().map(PythonEnvironment::pip),
        core_version: python.as_ref().and_then(|python| python.version("z4j-core")).map(str::to_owned),
        selected: order.probes.clone(),
        now: environment.clock.now(),
    };
    Examination { report: judge::judge(&case, &evidence), warnings: warnings(&evidence) }
}

/// The agent's own warning: a fallback is told once, with both paths.
fn warnings(evidence: &Evidence) -> Vec<String> {
    let Some(Timed { seen, .. }) = &evidence.buffer else { return Vec::new() };
    let BufferOutcome::Writable { dir } = &seen.outcome else { return Vec::new() };
    let dir = dir.display();
    match (&seen.home_refusal, &seen.home) {
        (Some(refusal), _) => {
            vec![format!("{} cannot be used ({refusal}); the buffer is in {dir}", refusal.wanted.display())]
        }
        (None, None) => {
            vec![format!("~/.z4j cannot be used (this user has no home directory); the buffer is in {dir}")]
        }
        (None, Some(_)) => Vec::new(),
    }
}

async fn gather(
    config: &Config,
    environment: &Environment,
    order: &Order,
    python: Option<&PythonEnvironment>,
) -> Evidence {
    let mut evidence = Evidence::default();
    let start = Instant::now();
    if order.probes.contains(&ProbeName::BufferPath) {
        let seen = network::timed(buffer_path::gather(config, environment, order.timeout)).await;
        evidence.buffer = Some(seen);
    }
    let left = order.timeout.saturating_mul(2).saturating_sub(start.elapsed());
    let budget = Budget::new(order.timeout, left);
    gather_network(config, environment, order, python, &budget, &mut evidence).await;
    evidence.out_of_time = budget.is_spent();
    evidence
}

/// The probes on the way to the brain: each goes as far as the one before it came.
async fn gather_network(
    config: &Config,
    environment: &Environment,
    order: &Order,
    python: Option<&PythonEnvironment>,
    budget: &Budget,
    evidence: &mut Evidence,
) -> Option<()> {
    let last = *order.probes.iter().filter(|probe| **probe != ProbeName::BufferPath).max()?;
    let (link, route) = network::walk(config, environment, last, budget, evidence).await?;
    if last < ProbeName::Websocket || budget.is_spent() {
        return None;
    }
    let (hello, doubt) = hello(config, environment, order.framework, python);
    let probe = Probe { config, route: &route, clock: environment.clock, hello, doubt };
    evidence.websocket = Some(network::timed(websocket::gather(&probe, link)).await);
    Some(())
}

/// The hello that this application's agent would send, in the doctor's own slot, and why it may be another.
fn hello(
    config: &Config,
    environment: &Environment,
    framework: Framework,
    python: Option<&PythonEnvironment>,
) -> (z4j_protocol::payload::Hello, Option<String>) {
    // Engines in the file of settings are this program's agent's, and there is nothing to guess.
    let ours = config.has_engine_tables;
    let abilities = if ours { Abilities::configured(config) } else { engine::abilities(framework, python) };
    let worker = Worker::doctor(&environment.host_name, environment.pid, environment.clock.now());
    // The brain keeps the version of the last hello: the application's own, where it has one.
    let core = python.filter(|_| !ours).and_then(|python| python.version("z4j-core"));
    let version = core.unwrap_or(env!("CARGO_PKG_VERSION"));
    (hello::build(config, framework, &abilities, version, &worker), abilities.doubt)
}
