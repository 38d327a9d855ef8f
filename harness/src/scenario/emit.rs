//! `emit`: which events a step hands to an agent.
//!
//! Owns their description and bounds. Must not make any.

use std::path::PathBuf;

use serde::Deserialize;

/// Events for an agent.
#[derive(Clone, Debug)]
pub(crate) struct Emit {
    pub(crate) count: u32,
    pub(crate) kind: String,
    pub(crate) engine: String,
    /// One task for all of them; a task each if absent.
    pub(crate) task_id: Option<String>,
    /// Bytes of each event's data.
    pub(crate) size: usize,
    /// Events a second; at once if absent.
    pub(crate) rate: Option<u32>,
    /// Lines to send instead, beside the scenario.
    pub(crate) file: Option<PathBuf>,
    pub(crate) expect: Verdict,
}

/// What the agent must say to events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It takes them all.
    #[default]
    Accepted,
    /// It takes none.
    Refused,
    /// It takes what it can.
    Any,
}

/// Most events of one step, and most bytes of one.
const MAX_EVENTS: u32 = 200_000;
const MAX_DATA_BYTES: usize = 1 << 20;

impl Emit {
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.count == 0 || self.count > MAX_EVENTS {
            return Some("`emit` takes 1 to 200000 events");
        }
        if self.size > MAX_DATA_BYTES || self.size.saturating_mul(self.count as usize) > 256 << 20 {
            return Some("`size` is at most 1048576, and the events of one step are at most 256M");
        }
        (self.rate == Some(0)).then_some("`rate` is at least 1")
    }
}

impl<'de> Deserialize<'de> for Emit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(default = "one")]
            count: u32,
            #[serde(default = "default_kind")]
            kind: String,
            #[serde(default = "default_engine")]
            engine: String,
            task_id: Option<String>,
            #[serde(default)]
            size: usize,
            rate: Option<u32>,
            file: Option<PathBuf>,
            #[serde(default)]
            expect: Verdict,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Count(u32),
            Table(Table),
        }
        let wrong = "expected a number of events or { count, kind, engine, task_id, size, rate, file, \
                     expect = \"accepted\" | \"refused\" | \"any\" }";
        let table = match Spelled::deserialize(deserializer) {
            Ok(Spelled::Table(table)) => table,
            Ok(Spelled::Count(count)) => Table {
                count,
                kind: default_kind(),
                engine: default_engine(),
                task_id: None,
                size: 0,
                rate: None,
                file: None,
                expect: Verdict::Accepted,
            },
            Err(_) => return Err(serde::de::Error::custom(wrong)),
        };
        let Table { count, kind, engine, task_id, size, rate, file, expect } = table;
        Ok(Self { count, kind, engine, task_id, size, rate, file, expect })
    }
}

const fn one() -> u32 {
    1
}

fn default_kind() -> String {
    "task.succeeded".to_owned()
}

fn default_engine() -> String {
    "celery".to_owned()
}
