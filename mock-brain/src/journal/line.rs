//! What is read from the journal: one JSON object a line.
//!
//! Owns the shape of a line and the filters. Each event of a batch is a line of its own behind the batch's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use z4j_protocol::{Timestamp, Value};

use super::entry::{EVENT, Entry};
use super::event::Sighted;
use crate::store::{self, StoredEvent};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Line {
    /// The entry's number; events have that of their batch.
    pub(crate) seq: u64,
    /// ISO 8601.
    pub(crate) at: String,
    /// `connection`, `frame-in`, `event`, …
    pub(crate) kind: String,
    /// Of which kind more closely: a frame's type, an event's kind, a fault's name, a rule.
    #[serde(rename = "type")]
    pub(crate) type_: String,
    /// The session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// The agent's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    /// The verdict, or what came of it. Of an event: `accepted` or `duplicate`.
    pub(crate) detail: String,
    /// How long a frame is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// A frame, or the first bytes of a long one, if they are text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) raw: Option<String>,
    /// The same if they are not, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) raw_base64: Option<String>,
    /// An event as `events` lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<StoredEvent>,
}

/// What is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Behind this number.
    pub(crate) after: u64,
    /// From how many entries at most.
    pub(crate) limit: usize,
    pub(crate) kind: Option<String>,
    pub(crate) type_: Option<String>,
    /// Its project and name.
    pub(crate) agent: Option<(Uuid, String)>,
}

impl Wanted {
    /// Whether a filter lets a line of this pass.
    fn takes(&self, kind: &str, type_: &str, who: Option<&Who>) -> bool {
        self.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && self.type_.as_deref().is_none_or(|wanted| wanted == type_)
            && self.is_of(who)
    }

    fn wants_events_of(&self, who: &Who) -> bool {
        self.kind.as_deref().is_none_or(|wanted| wanted == EVENT) && self.is_of(Some(who))
    }

    fn is_of(&self, who: Option<&Who>) -> bool {
        let Some((project, name)) = &self.agent else { return true };
        who.is_some_and(|who| who.project_id == *project && who.name == *name)
    }
}

/// A page of lines.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    pub(crate) items: Vec<Line>,
    /// The number to go on behind.
    pub(crate) next: u64,
    /// Whether there is more now.
    pub(crate) more: bool,
}

/// Most bytes of frames of a page.
const MAX_BYTES: usize = 4 << 20;

/// A page while it is read.
pub(super) struct Reading<'w> {
    wanted: &'w Wanted,
    page: Page,
    entries: usize,
    bytes: usize,
}

/// Whose an entry is.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) agent_id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) name: String,
}

/// An entry as it was stored.
pub(super) struct Read<'e> {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) kind: &'e str,
    pub(super) type_: &'e str,
    pub(super) session: Option<&'e str>,
    pub(super) who: Option<Who>,
    pub(super) detail: &'e str,
    pub(super) size: u64,
    pub(super) raw: &'e [u8],
}

impl<'e> Read<'e> {
    pub(super) fn of(seq: u64, entry: &'e Entry) -> Self {
        let who = entry.agent.as_ref().map(|agent| Who {
            agent_id: agent.id,
            project_id: agent.project.id,
            name: agent.name.clone(),
        });
        Self {
            seq,
            at: entry.at,
            kind: entry.kind.as_str(),
            type_: &entry.type_,
            session: entry.session.as_deref(),
            who,
            detail: &entry.detail,
            size: entry.size as u64,
            raw: &entry.raw,
        }
    }
}

impl<'w> Reading<'w> {
    pub(super) fn new(wanted: &'w Wanted) -> Self {
        let page = Page { next: wanted.after, ..Page::default() };
        Self { wanted, page, entries: 0, bytes: 0 }
    }

    /// Whether nothing more fits; an entry that there is goes onto the next page.
    pub(super) fn is_full(&mut self) -> bool {
        let full = self.entries >= self.wanted.limit || self.bytes >= MAX_BYTES;
        self.page.more |= full;
        full
    }

    /// Adds an entry, and its events.
    pub(super) fn add(&mut self, read: &Read<'_>, events: &[Sighted]) {
        self.entries += 1;
        self.bytes += read.raw.len();
        self.page.next = read.seq;
        if self.wanted.takes(read.kind, read.type_, read.who.as_ref()) {
            self.page.items.push(line(read));
        }
        let Some(who) = &read.who else { return };
        if events.is_empty() || !self.wanted.wants_events_of(who) {
            return;
        }
        for (sighted, event) in revived(read, who, events) {
            if self.wanted.takes(EVENT, &event.kind, Some(who)) {
                let detail = if sighted.original.is_some() { "duplicate" } else { "accepted" };
                let kind = event.kind.clone();
                let read = Read {
                    kind: EVENT,
                    type_: &kind,
                    detail,
                    raw: &[],
                    size: 0,
                    at: sighted.at,
                    who: read.who.clone(),
                    ..*read
                };
                self.page.items.push(Line { event: Some(event), ..line(&read) });
            }
        }
    }

    pub(super) fn done(self) -> Page {
        self.page
    }
}

/// The events of a batch, read from its frame as they were when it came.
pub(super) fn revived<'s>(
    read: &Read<'_>,
    who: &Who,
    events: &'s [Sighted],
) -> impl Iterator<Item = (&'s Sighted, StoredEvent)> {
    let frame = Value::parse(read.raw).unwrap_or(Value::Null);
    let (agent, project) = (who.agent_id, who.project_id);
    events.iter().filter_map(move |sighted| {
        let list = frame.get("payload").and_then(|payload| payload.get("events"))?.as_array()?;
        let event = list.get(usize::try_from(sighted.nth).ok()?)?;
        Some((sighted, store::revive(event, sighted, agent, project)?))
    })
}

fn line(read: &Read<'_>) -> Line {
    let has_bytes = !read.raw.is_empty();
    // A frame that was cut may end within a character.
    let text = match std::str::from_utf8(read.raw) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&read.raw[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    Line {
        seq: read.seq,
        at: read.at.to_string(),
        kind: read.kind.to_owned(),
        type_: read.type_.to_owned(),
        session: read.session.map(str::to_owned),
        agent: read.who.as_ref().map(|who| who.name.clone()),
        detail: read.detail.to_owned(),
        size: (read.size > 0).then_some(read.size),
        raw: text.filter(|_| has_bytes).map(str::to_owned),
        raw_base64: text.is_none().then(|| STANDARD.encode(read.raw)),
        event: None,
    }
}
