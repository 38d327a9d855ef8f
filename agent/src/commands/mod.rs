//! Commands of the brain: begun once, carried out by an engine's adapter, their results kept until the brain
//! has them.
//!
//! Must not know frames or connections: a session hands commands in, sends the acks itself, and takes results
//! from the buffer.

mod adapter;
mod bound;
mod builtin;
mod exec;
mod fires;
mod orchestrator;
mod route;
mod run;
mod template;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use z4j_protocol::payload::Command;
use z4j_protocol::{CanonicalText, Value};

pub(crate) use bound::{Room, shortened};
pub(crate) use orchestrator::{Signs, is_orchestrated};
pub(crate) use route::Adapters;
pub(crate) use template::Template;

use adapter::{NullAdapter, Outcome};
use exec::ExecAdapter;
use fires::Fires;

use crate::buffer::{Buffer, Remembered, StoredResult};
use crate::clock::Clock;
use crate::config::EngineSettings;
use crate::environment::Environment;
use crate::orders::Commander;

/// How many commands are carried out at once.
const AT_ONCE: usize = 8;
/// How many may be under way in all, those that wait included.
const MOST_OPEN: usize = 256;
/// How long a stop waits for what it ended.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Takes what is secret out of a result.
pub(crate) type Redact = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// What a dispatcher works with.
pub(crate) struct DispatcherParts {
    /// Where results are kept.
    pub(crate) buffer: Buffer,
    /// Who carries commands out.
    pub(crate) adapters: Adapters,
    /// What time it is.
    pub(crate) clock: Clock,
    /// For a restart.
    pub(crate) commander: Commander,
    /// Whether something starts this process anew ([`is_orchestrated`]).
    pub(crate) orchestrated: bool,
    /// When the process began.
    pub(crate) started_at: Instant,
    /// What every result and error goes through.
    pub(crate) redact: Redact,
}

/// The adapters that the settings name.
pub(crate) fn adapters(
    engines: &BTreeMap<String, EngineSettings>,
    environment: &Environment,
    redact: &Redact,
) -> Adapters {
    let adapter = |settings: &EngineSettings| -> Arc<dyn adapter::Adapter> {
        match settings {
            EngineSettings::Null => Arc::new(NullAdapter),
            EngineSettings::Exec(actions) => {
                Arc::new(ExecAdapter::new(actions.clone(), environment, Arc::clone(redact)))
            }
        }
    };
    engines.iter().map(|(name, settings)| (name.clone(), adapter(settings))).collect()
}

/// Carries commands out. Clones share it.
#[derive(Clone)]
pub(crate) struct Dispatcher(Arc<Shared>);

struct Shared {
    parts: DispatcherParts,
    finished: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    slots: Semaphore,
    /// The commands under way in this process.
    open: watch::Sender<HashSet<String>>,
    fires: Mutex<Fires>,
}

/// A command that is under way while this lives.
struct Open {
    shared: Arc<Shared>,
    id: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.open.send_modify(|open| {
            open.remove(&self.id);
        });
    }
}

impl Dispatcher {
    /// A dispatcher with these parts.
    pub(crate) fn new(parts: DispatcherParts) -> Self {
        Self(Arc::new(Shared {
            parts,
            finished: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            slots: Semaphore::new(AT_ONCE),
            open: watch::Sender::new(HashSet::new()),
            fires: Mutex::default(),
        }))
    }

    /// Takes a command that the session has acknowledged, and returns at once; it runs on its own. What comes
    /// back is a result that is known already (a duplicate's, a refusal's): send it. It is not in the buffer's
    /// unsettled results.
    pub(crate) async fn take(&self, id: &str, command: Command) -> Option<StoredResult> {
        let claim = command.delivery_claim_token.as_deref();
        let refuse = |error: String| {
            Some(StoredResult {
                command_id: id.to_owned(),
                payload: bound::payload(Outcome::failed(error), claim),
            })
        };
        if *self.0.stopping.borrow() {
            return refuse("the agent is stopping; the command was not run".to_owned());
        }
        // Noted before the buffer is asked: whoever finds it begun there, and not here, knows that an earlier
        // process began it.
        let open = self.open(id)?;
        match self.0.parts.buffer.begin_command(id, claim).await {
            Ok(Remembered::Done(stored)) => Some(claimed(stored, claim)),
            Ok(Remembered::Begun) => {
                let error = "the agent ended while this command ran; whether it took effect is not known";
                let (shared, claim) = (Arc::clone(&self.0), command.delivery_claim_token);
                tokio::spawn(async move {
                    shared.conclude(open, Outcome::indeterminate(error), claim.as_deref()).await;
                });
                None
            }
            Ok(Remembered::New) => {
                tokio::spawn(run::carry_out(Arc::clone(&self.0), open, command));
                None
            }
            Err(refused) => {
                refuse(format!("the command was not run, because it cannot be remembered: {refused}"))
            }
        }
    }

    /// Notes a command as under way; none if it is already.
    fn open(&self, id: &str) -> Option<Open> {
        let is_new = self.0.open.send_if_modified(|open| open.insert(id.to_owned()));
        is_new.then(|| Open { shared: Arc::clone(&self.0), id: id.to_owned() })
    }

    /// Changes whenever another result lies in the buffer, unsettled.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.0.finished.subscribe()
    }

    /// Takes no more commands, ends those under way, and waits until their results are in the buffer, for a
    /// few seconds at most.
    pub(crate) async fn stop(&self) {
        self.0.stopping.send_replace(true);
        let mut open = self.0.open.subscribe();
        let _ = tokio::time::timeout(STOP_PATIENCE, open.wait_for(HashSet::is_empty)).await;
    }

    /// What adapters say of themselves, for the heartbeat: `ENGINE.NAME` to text.
    pub(crate) fn health(&self) -> BTreeMap<String, String> {
        let mut health = BTreeMap::new();
        for (engine, adapter) in &self.0.parts.adapters {
            health.insert(format!("{engine}.adapter"), adapter.kind().to_owned());
            for (name, text) in adapter.health() {
                health.insert(format!("{engine}.{name}"), text);
            }
        }
        health
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.0.open.borrow().len();
        f.debug_struct("Dispatcher").field("open", &open).finish_non_exhaustive()
    }
}

/// A stored result for this delivery: a claim token is that of the delivery, not of the command.
fn claimed(stored: StoredResult, claim: Option<&str>) -> StoredResult {
    let Ok(Value::Object(mut payload)) = Value::parse(stored.payload.as_str().as_bytes()) else {
        return stored;
    };
    match claim {
        Some(claim) => payload.insert("delivery_claim_token", claim.into()),
        None => payload.remove("delivery_claim_token"),
    };
    match CanonicalText::of(&Value::Object(payload)) {
        Ok(payload) => StoredResult { payload, ..stored },
        Err(_) => stored,
    }
}

#[cfg(test)]
mod tests;
