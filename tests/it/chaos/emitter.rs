//! An application that emits: it sends again what it was not told is durable, under the same ids.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use z4j_protocol::Timestamp;

/// How long it may take until everything is durable.
const LIMIT: Duration = Duration::from_secs(60);
/// Tasks of a round; each has its events in order.
const TASKS: usize = 7;
/// Kinds, so that no two events of a task are one to the brain.
const KINDS: [&str; 3] = ["task.received", "task.started", "task.retried"];
/// Most lines on the way.
const AHEAD: usize = 40;

/// An event that was told to be durable.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) task: String,
    pub(super) number: usize,
    /// The agent process that took it.
    pub(super) agent: u32,
    /// Whether it was sent before, and nothing was told.
    pub(super) again: bool,
}

/// What emitter and director share.
#[derive(Default)]
pub(super) struct Progress {
    /// Events that are durable.
    pub(super) durable: AtomicUsize,
    /// Groups that were refused.
    pub(super) refused: AtomicUsize,
    /// The pid of the agent that runs; 0 while none does.
    pub(super) agent: Mutex<u32>,
}

pub(super) struct Emitter {
    /// Where an agent's socket may be: beside its buffer, which has gone elsewhere where a disk was full.
    pub(super) roots: Vec<PathBuf>,
    pub(super) round: u64,
    pub(super) events: usize,
    pub(super) start: Timestamp,
    pub(super) progress: Arc<Progress>,
}

impl Emitter {
    /// Emits until everything is durable.
    pub(super) fn run(&self) -> anyhow::Result<Vec<Told>> {
        let deadline = Instant::now() + LIMIT;
        let mut told = Vec::new();
        let mut sent_before = 0;
        while told.len() < self.events {
            ensure!(Instant::now() < deadline, "{} of {} events are durable", told.len(), self.events);
            let agent = *self.progress.agent.lock().unwrap_or_else(PoisonError::into_inner);
            let names = self.roots.iter().map(|root| root.join(format!("agent-{agent}.sock")));
            match names.filter_map(|name| UnixStream::connect(name).ok()).next() {
                // Whatever ends a connection, the next one begins behind what was told.
                Some(socket) => drop(self.converse(&socket, agent, &mut told, &mut sent_before)),
                None => std::thread::park_timeout(Duration::from_millis(2)),
            }
        }
        Ok(told)
    }

    /// One connection, until it ends or a group is refused.
    fn converse(
        &self,
        socket: &UnixStream,
        agent: u32,
        told: &mut Vec<Told>,
        sent_before: &mut usize,
    ) -> anyhow::Result<()> {
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut replies = BufReader::new(socket).lines();
        let (first, mut sent) = (told.len(), told.len());
        while told.len() < self.events {
            let mut text = String::new();
            while sent < self.events && sent < told.len() + AHEAD {
                text.push_str(&self.line(sent));
                sent += 1;
            }
            (&*socket).write_all(text.as_bytes())?;
            let before = *sent_before;
            *sent_before = before.max(sent);
            let reply: Value = serde_json::from_str(&replies.next().context("a reply")??)?;
            let through =
                reply["line"].as_u64().and_then(|line| usize::try_from(line).ok()).context("line")?;
            if !reply["error"].is_null() {
                self.progress.refused.fetch_add(1, Ordering::SeqCst);
                std::thread::park_timeout(Duration::from_millis(2));
                bail!("refused: {}", reply["error"]);
            }
            ensure!(reply["refused"].as_array().is_none_or(Vec::is_empty), "{reply}");
            while told.len() < first + through {
                let number = told.len();
                let (task, number) = (self.task(number), number / TASKS);
                told.push(Told { task, number, agent, again: told.len() < before });
            }
            self.progress.durable.store(told.len(), Ordering::SeqCst);
        }
        Ok(())
    }

    fn task(&self, number: usize) -> String {
        format!("r{}-t{}", self.round, number % TASKS)
    }

    fn line(&self, number: usize) -> String {
        let of_task = number / TASKS;
        let at = self.start.plus_seconds(i64::try_from(of_task).unwrap_or_default());
        let data = BTreeMap::from([("number", of_task)]);
        let event = serde_json::json!({
            "kind": KINDS[of_task % KINDS.len()], "engine": "celery", "task_id": self.task(number),
            "occurred_at": at.to_string(), "data": data,
        });
        format!("{event}\n")
    }
}
