//! The log: one line an event on stderr, for people, for journald, or as JSON.
//!
//! Owns the form of a line and the hand-over to a writer that never holds the agent up. What is worth a line
//! is decided where it happens. Secrets are kept out there; a field that is named like one is masked here too.

mod fields;
mod line;
mod sink;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) use line::Format;

use crate::clock::Clock;
use crate::environment::Environment;
use fields::Fields;
use line::Line;
use sink::Sink;

/// Longest bound id, in characters.
const MAX_ID_CHARS: usize = 64;

/// What every line of JSON names from now on: `agent_id`, `session_id`, `worker_id`, `project_id`. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Ids {
    /// Binds an id, or takes it away. One that a peer made up (control characters) is left out, a long one cut.
    pub(crate) fn set(&self, name: &'static str, value: Option<&str>) {
        let value = value.filter(|value| !value.is_empty() && !value.chars().any(char::is_control));
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(value) => ids.insert(name, value.chars().take(MAX_ID_CHARS).collect()),
            None => ids.remove(name),
        };
    }

    /// What is bound.
    pub(crate) fn get(&self) -> BTreeMap<&'static str, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The running log. Dropping it waits a moment for what is not written yet.
#[derive(Debug)]
pub(crate) struct Log {
    /// What every line of JSON names.
    pub(crate) ids: Ids,
    sink: Sink,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sink.flush();
    }
}

/// Starts the log of this process, on stderr.
///
/// # Errors
/// There is one already.
pub(crate) fn init(format: Format, level: LevelFilter, environment: &Environment) -> Result<Log, String> {
    let format = if format == Format::Text && is_journal(environment) { Format::Journal } else { format };
    let (ids, sink) = (Ids::default(), Sink::stderr());
    let (clock, pid) = (environment.clock, environment.pid);
    let layer = Lines { format, clock, pid, ids: ids.clone(), sink: sink.clone() };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(level));
    subscriber.try_init().map_err(|error| format!("no log: {error}"))?;
    Ok(Log { ids, sink })
}

/// Whether stderr leads to the journal: `$JOURNAL_STREAM` names its device and inode (systemd.exec(5)); a
/// shell below a service inherits the variable and not the stream.
fn is_journal(environment: &Environment) -> bool {
    let Some(named) = environment.get("JOURNAL_STREAM").and_then(|text| text.to_str()) else { return false };
    let stderr = std::io::stderr();
    nix::sys::stat::fstat(stderr.as_fd())
        .is_ok_and(|found| named == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Turns events into lines.
struct Lines {
    format: Format,
    clock: Clock,
    pid: u32,
    ids: Ids,
    sink: Sink,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            at: self.clock.now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            pid: self.pid,
            ids: &self.ids.get(),
            fields: &fields,
        };
        self.sink.write(line.text(self.format));
    }
}

#[cfg(test)]
mod tests;
