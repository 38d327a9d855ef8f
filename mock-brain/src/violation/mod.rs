//! What agents do that they must not, or that nobody may rely on.
//!
//! Owns the list. A violation changes no verdict: the real brain's answer is given all the same, and whoever
//! runs the brain judges the list at the end. What is kept of a peer's bytes is bounded and bears no secret.

mod beats;
mod conduct;
mod connects;
mod frame;
mod hidden;
mod request;
mod rule;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;
use crate::journal::{Entry, Journal, JournalError, Kind, Table};
use crate::lock::lock;
use crate::registry::Agent;
pub(crate) use beats::Beats;
pub(crate) use conduct::Conduct;
pub(crate) use connects::{Connects, Key};
pub(crate) use frame::hello as judge_hello;
use hidden::{hidden, scrubbed};
pub(crate) use hidden::{hidden_of_all, line_without_secrets};
pub(crate) use request::{Refusals, has_token, judge_request};
pub(crate) use rule::Rule;
pub use rule::{Layer, RULES, RuleInfo};

/// Most violations kept; later ones are dropped, the first ones tell most.
const MAX_VIOLATIONS: usize = 10_000;

/// Something that an agent should not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// The session's id; empty where there is none.
    pub session: String,
    /// The rule's name.
    pub rule: String,
    /// What was seen.
    pub detail: String,
    /// The agent's name, if it is known.
    #[serde(default)]
    pub agent: Option<String>,
    /// Its project's UUID.
    #[serde(default)]
    pub project_id: Option<String>,
    /// When, ISO 8601.
    #[serde(default)]
    pub at: String,
    /// The first bytes of what broke the rule, as text and without secrets.
    #[serde(default)]
    pub raw: Option<String>,
    /// How many bytes it had.
    #[serde(default)]
    pub size: usize,
}

/// A rule that was broken, and what was seen.
pub(crate) type Found = (Rule, String);

/// Who broke it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Culprit<'c> {
    pub(crate) session: Option<&'c Arc<str>>,
    pub(crate) agent: Option<&'c Arc<Agent>>,
}

/// The violations so far.
pub(crate) struct Violations {
    strict: bool,
    list: Mutex<VecDeque<Violation>>,
    journal: Arc<Journal>,
    /// How often agents come.
    pub(crate) connects: Connects,
    /// What long-poll agents were told.
    pub(crate) refusals: Refusals,
}

impl Violations {
    pub(crate) fn new(strict: bool, journal: &Arc<Journal>) -> Result<Self, JournalError> {
        let list = journal.kept(Table::Violations)?.into_iter().map(|(_, violation)| violation);
        Ok(Self {
            strict,
            list: Mutex::new(list.collect()),
            journal: Arc::clone(journal),
            connects: Connects::default(),
            refusals: Refusals::default(),
        })
    }

    /// Whether the rules are looked at that the real brain leaves free.
    pub(crate) const fn is_strict(&self) -> bool {
        self.strict
    }

    /// Forgets them.
    pub(crate) fn clear(&self) {
        let mut list = lock(&self.list);
        (0..list.len() as u64).for_each(|serial| self.journal.forget(Table::Violations, serial));
        list.clear();
    }

    /// Notes what was found in some bytes.
    pub(crate) fn note_all(
        &self,
        who: Culprit<'_>,
        found: impl IntoIterator<Item = Found>,
        raw: Option<&Bytes>,
    ) {
        for (rule, detail) in found {
            self.note(who, rule, &detail, raw);
        }
    }

    /// Notes a violation, unless the rule is one of `--strict` and this brain is not.
    pub(crate) fn note(&self, who: Culprit<'_>, rule: Rule, detail: &str, raw: Option<&Bytes>) {
        let info = rule.info();
        if info.strict_only && !self.strict {
            return;
        }
        let mut list = lock(&self.list);
        if list.len() >= MAX_VIOLATIONS {
            return;
        }
        let now = clock::now();
        let kept = raw.map(|raw| scrubbed(raw, who.agent));
        let violation = Violation {
            session: who.session.map(ToString::to_string).unwrap_or_default(),
            rule: info.name.to_owned(),
            detail: hidden(detail, who.agent),
            agent: who.agent.map(|agent| agent.name.clone()),
            project_id: who.agent.map(|agent| agent.project.id.to_string()),
            at: now.to_string(),
            raw: kept,
            size: raw.map(Bytes::len).unwrap_or_default(),
        };
        tracing::warn!(
            rule = info.name, session = %violation.session, detail = %violation.detail, "violation"
        );
        let entry = Entry::new(Kind::Violation, info.name, now).saying(violation.detail.as_str());
        let entry = who.session.into_iter().fold(entry.of_agent(who.agent), Entry::of_session);
        let raw = Bytes::from(violation.raw.clone().unwrap_or_default());
        self.journal.record(entry.with(&raw));
        self.journal.put(Table::Violations, list.len() as u64, &violation);
        list.push_back(violation);
    }

    /// The newest ones with their numbers, counted from 1, newest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<(usize, Violation)> {
        let list = lock(&self.list);
        list.iter().enumerate().rev().take(most).map(|(at, violation)| (at + 1, violation.clone())).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        lock(&self.list).len()
    }

    pub(crate) fn list(&self) -> Vec<Violation> {
        lock(&self.list).iter().cloned().collect()
    }
}
