//! `z4j run`: puts the parts of an agent together, and takes them apart in the right order.
//!
//! Owns start and end: the buffer first and last, the intake before the link, the flush after the intake has
//! ended. Must not do any part's work.

mod error;
mod hands;
mod signals;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::buffer::{self, Bounds, Buffer, BufferStatus};
use crate::commands::{self, Dispatcher, DispatcherParts, Signs, is_orchestrated};
use crate::config::{Config, Framework, Signing};
use crate::control;
use crate::engine::Abilities;
use crate::environment::Environment;
use crate::hello::{self, Worker};
use crate::ingest::{self, Intake};
use crate::log::Ids;
use crate::notify;
use crate::orders::{Commander, Orders};
use crate::redaction::{RedactionError, Redactor};
use crate::runtime::{self, Link, Reread};
use crate::status::{Identity, LinkStatus, Snapshot};

pub(crate) use error::RunError;
use hands::Hands;
use signals::Signals;

/// What is asked for beside the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// What the application is built on.
    pub(crate) framework: Framework,
    /// Take events from stdin too, and end with it.
    pub(crate) stdin: bool,
}

/// Runs an agent until it is told to stop.
///
/// # Errors
/// It does not start; what it had taken is given back.
pub(crate) async fn run(
    config: Config,
    environment: Environment,
    order: Order,
    reread: Reread,
    ids: Ids,
) -> Result<(), RunError> {
    // First: until it is handled, SIGHUP ends a process.
    let signals = Signals::new().map_err(RunError::Signals)?;
    let secret = secret(&config)?;
    let redactor = Arc::new(redactor(&config)?);
    let buffer = open_buffer(&config, &environment)?;
    let (commander, orders) = Commander::new();
    let started = Instant::now();
    let taken = Hands::take(&config, &environment, &buffer, &redactor, &orders).await;
    if taken.is_err() {
        buffer.close().await;
    }
    let mut hands = taken?;

    let worker = worker(&config, &environment, order.framework);
    name_in_log(&ids, &config, &worker);
    let dispatcher = dispatcher(&config, &environment, (&buffer, &commander, started), redactor);
    let abilities = Abilities::configured(&config);
    let hello = hello::build(&config, order.framework, &abilities, env!("CARGO_PKG_VERSION"), &worker);
    let (status, link_status) = watch::channel(LinkStatus::default());
    let source = snapshots(identity(&config, &environment, &worker, &hands), started, &hands, &link_status);
    let (uid, socket) = (environment.account.uid, hands.claim.instance().control_socket());
    let helpers = [
        tokio::spawn(control::serve(hands.control, socket, uid, source, commander.clone())),
        tokio::spawn(notify::watch(environment.clone(), link_status, buffer.status(), orders.clone())),
        tokio::spawn(signals.follow(commander.clone())),
    ];
    if order.stdin {
        tokio::spawn(take_stdin(hands.intake, orders.clone(), commander));
    }

    let mut cut_short = orders.clone();
    let link_orders = after_intake(orders, hands.serving, dispatcher.clone());
    let stop_timeout = config.stop_timeout;
    let (config, environment) = (Arc::new(config), Arc::new(environment));
    let waiting = buffer.clone();
    let link = Link { config, environment, secret, reread, hello, buffer: waiting, dispatcher, status, ids };
    tokio::select! {
        () = runtime::supervise(link, link_orders, stop_timeout) => {}
        never = hands.claim.keep(&hands.ingest) => match never {},
        () = told_at_once(&mut cut_short) => {
            tracing::warn!("told to stop a second time: nothing more is sent, and what is left stays in the buffer");
        }
    }

    buffer.close().await;
    // What was acknowledged last is taken out only now.
    if let Some(left) = what_stays(&buffer.status().borrow()) {
        tracing::warn!("{left}");
    }
    helpers.iter().for_each(JoinHandle::abort);
    drop(hands.claim);
    Ok(())
}

/// What a stopped agent leaves behind, if anything.
fn what_stays(buffer: &BufferStatus) -> Option<String> {
    let counted = |count: u64, one: &str, more: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {more}")),
    };
    let events = counted(buffer.events, "event", "events");
    let results = counted(buffer.unsettled_results, "result of a command", "results of commands");
    let what: Vec<String> = events.into_iter().chain(results).collect();
    let stays = if buffer.events + buffer.unsettled_results == 1 { "stays" } else { "stay" };
    (!what.is_empty()).then(|| {
        format!(
            "{} not sent {stays} in {} for the next agent of this user and signing secret",
            what.join(" and "),
            buffer.path.display()
        )
    })
}

fn dispatcher(
    config: &Config,
    environment: &Environment,
    (buffer, commander, started_at): (&Buffer, &Commander, Instant),
    redactor: Arc<Redactor>,
) -> Dispatcher {
    let redact: commands::Redact = Arc::new(move |value| redactor.redact_uncut(value));
    Dispatcher::new(DispatcherParts {
        buffer: buffer.clone(),
        adapters: commands::adapters(&config.engines, environment, &redact),
        clock: environment.clock,
        commander: commander.clone(),
        orchestrated: is_orchestrated(config.orchestrated, environment, &Signs::default()),
        started_at,
        redact,
    })
}

fn redactor(config: &Config) -> Result<Redactor, RedactionError> {
    let settings = &config.redaction;
    Redactor::new(&settings.key_patterns, &settings.value_patterns, settings.string_bytes)
}

/// What `z4j status` is answered with.
fn snapshots(
    identity: Identity,
    started: Instant,
    hands: &Hands,
    link: &watch::Receiver<LinkStatus>,
) -> impl Fn() -> Snapshot + Send + Sync + 'static {
    let (link, buffer) = (link.clone(), hands.intake.buffer.status());
    let counters = Arc::clone(&hands.intake.counters);
    move || Snapshot {
        identity: identity.clone(),
        uptime_seconds: started.elapsed().as_secs(),
        link: link.borrow().clone(),
        buffer: buffer.borrow().clone(),
        intake: counters.status(),
    }
}

/// The secret that a configuration signs with.
///
/// # Errors
/// There is none, or it is unusable.
pub(crate) fn secret(config: &Config) -> Result<z4j_protocol::HmacSecret, RunError> {
    match &config.signing {
        Signing::Ready(secret) => Ok(secret.clone()),
        Signing::Missing => Err(RunError::NoSecret),
        Signing::Invalid(error, setting) => Err(RunError::Secret(format!("{setting}: {error}"))),
    }
}

fn open_buffer(config: &Config, environment: &Environment) -> Result<Buffer, RunError> {
    let place = buffer::choose(environment, config)?;
    for warning in &place.warnings {
        tracing::warn!("{warning}");
    }
    let bounds = Bounds { events: config.buffer_max_events, bytes: config.buffer_max_bytes };
    Ok(buffer::open(place, bounds, environment.clock)?)
}

/// The orders as the link gets them: to stop only once intake and commands have ended, so that the flush has
/// everything.
fn after_intake(
    mut orders: watch::Receiver<Orders>,
    serving: JoinHandle<()>,
    dispatcher: Dispatcher,
) -> watch::Receiver<Orders> {
    let (sender, receiver) = watch::channel(*orders.borrow());
    tokio::spawn(async move {
        let mut serving = Some(serving);
        while orders.changed().await.is_ok() {
            let given = *orders.borrow_and_update();
            if given.stop
                && let Some(serving) = serving.take()
            {
                // It can only have ended, one way or the other.
                let _ = serving.await;
                dispatcher.stop().await;
            }
            sender.send_replace(given);
        }
    });
    receiver
}

async fn take_stdin(intake: Intake, orders: watch::Receiver<Orders>, commander: Commander) {
    match ingest::read_stdin(intake, orders).await {
        Ok(counts) => {
            tracing::info!("stdin has ended: {} accepted, {} refused", counts.accepted, counts.refused);
        }
        Err(error) => tracing::error!("stdin cannot be read: {error}"),
    }
    commander.stop();
}

/// Waits for the order that cuts the flush short.
async fn told_at_once(orders: &mut watch::Receiver<Orders>) {
    if orders.wait_for(|orders| orders.at_once).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// This process's slot at the brain: `{framework}-{pid}-{milliseconds}`, as the published agents name theirs
/// (reference-agent.md, 9.2).
fn worker(config: &Config, environment: &Environment, framework: Framework) -> Worker {
    let (pid, started_at) = (environment.pid, environment.clock.now());
    let millis = started_at.unix_micros() / 1_000;
    let id = format!("{}-{pid}-{millis}", framework.as_str());
    Worker { id, pid, started_at, role: config.worker_role.clone() }
}

/// What every line of the log names, as far as it is known; the brain's hello_ack says it better.
fn name_in_log(ids: &Ids, config: &Config, worker: &Worker) {
    ids.set("worker_id", Some(&worker.id));
    ids.set("project_id", Some(&config.project_id));
    ids.set("agent_id", config.agent_id.map(|id| id.to_string()).as_deref());
}

fn identity(config: &Config, environment: &Environment, worker: &Worker, hands: &Hands) -> Identity {
    Identity {
        pid: environment.pid,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: worker.started_at.to_string(),
        brain_url: config.brain_url.as_str().to_owned(),
        project_id: config.project_id.clone(),
        agent_name: config.agent_name.clone(),
        worker_id: worker.id.clone(),
        ingest: Some(hands.ingest.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_with_its_file() {
        let status = |events, unsettled_results| BufferStatus {
            path: "/home/x/.z4j/buffer.sqlite".into(),
            buffer_id: String::new(),
            events,
            bytes: 0,
            unsettled_results,
            oldest_at_micros: None,
            emptied_at_micros: None,
            last_id: 0,
            loss: buffer::Loss::default(),
            refused: None,
        };
        assert_eq!(what_stays(&status(0, 0)), None);
        for (events, results, wanted) in [
            (1, 0, "1 event not sent stays in /home/x/.z4j/buffer.sqlite for the next agent"),
            (5, 0, "5 events not sent stay in "),
            (2, 1, "2 events and 1 result of a command not sent stay in "),
        ] {
            let said = what_stays(&status(events, results)).unwrap_or_default();
            assert!(said.starts_with(wanted), "{said}");
        }
    }
}
