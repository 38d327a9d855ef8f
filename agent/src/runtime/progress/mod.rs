//! How the link is: the status that others read, the streaks of failures, and the log lines about both.
//!
//! Owns the rule that a streak ends only with a session that proved itself, and that one line tells of a
//! streak. Must not connect or wait.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use z4j_protocol::{Binding, Timestamp};

use super::backoff::Backoff;
use super::failure::Failure;
use crate::clock::Clock;
use crate::log::Ids;
use crate::status::{FailureClass, LastFailure, LinkState, LinkStatus};
use crate::words::printable;

/// How long a session must live to have proved itself without an ack.
pub(super) const PROOF_AGE: Duration = Duration::from_secs(60);
/// Every so many failures of a streak one is told of.
const SUMMARY_EVERY: u64 = 10;
/// How long before the end of the time to stop the last attempt begins, at the latest.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);
/// The brain that this agent was tested with.
const KNOWN_BRAIN: &str = "1.13";

/// Numbers from 0 to 1, for [`Backoff::fail`].
pub(super) type Shares = Box<dyn FnMut() -> f64 + Send>;

/// The state of the link.
pub(super) struct Progress {
    backoff: Backoff,
    status: watch::Sender<LinkStatus>,
    clock: Clock,
    shares: Shares,
    ids: Ids,
    /// Since when there is a session, and whether it has proved itself.
    session: Option<(Instant, bool)>,
    /// Whether somebody has been told that the link is up, since the last streak began.
    told_online: bool,
    /// Whether the last line that somebody was told says so.
    last_told_online: bool,
    noted_brain: Option<String>,
    /// The codes that the lines of this streak have named.
    told_codes: Vec<&'static str>,
    /// Since the order to stop: waits that start small again, for the time to stop is short.
    stopping: Option<Backoff>,
}

impl Progress {
    /// The state at the start.
    pub(super) fn new(status: watch::Sender<LinkStatus>, clock: Clock, shares: Shares, ids: Ids) -> Self {
        let backoff = Backoff::default();
        Self {
            backoff,
            status,
            clock,
            shares,
            ids,
            session: None,
            told_online: false,
            last_told_online: false,
            noted_brain: None,
            told_codes: Vec::new(),
            stopping: None,
        }
    }

    /// The status as it is published.
    pub(super) fn status(&self) -> LinkStatus {
        self.status.borrow().clone()
    }

    /// An attempt begins.
    pub(super) fn connecting(&mut self, transport: &str) {
        self.status.send_modify(|status| {
            status.state = LinkState::Connecting;
            status.transport = Some(transport.to_owned());
            status.next_attempt_at = None;
        });
    }

    /// A session has begun. The log names it from now on.
    pub(super) fn online(&mut self, transport: &str, brain_version: Option<&str>, binding: &Binding) {
        let Binding { agent_id, project_id, session_id } = binding;
        for (name, id) in [("agent_id", agent_id), ("project_id", project_id), ("session_id", session_id)] {
            self.ids.set(name, Some(id));
        }
        self.session = Some((Instant::now(), false));
        let now = self.now_text();
        self.status.send_modify(|status| {
            status.state = LinkState::Online;
            status.transport = Some(transport.to_owned());
            status.brain_version = brain_version.map(|version| printable(version.as_bytes(), 40));
            status.session_id = Some(printable(session_id.as_bytes(), 64));
            status.online_since = Some(now.clone());
            status.last_connect_at = Some(now);
            status.next_attempt_at = None;
        });
        let failures = {
            let streaks = self.backoff.streaks();
            streaks.connection + streaks.protocol + streaks.auth + streaks.incompatible
        };
        // A brain that hangs up after every handshake does not make a line each time.
        if self.told_online {
            tracing::debug!("online over {transport}");
        } else {
            match failures {
                0 => tracing::info!("online over {transport}"),
                1 => tracing::info!("online over {transport}, after one failed attempt"),
                _ => tracing::info!("online over {transport}, after {failures} failed attempts"),
            }
            self.last_told_online = true;
        }
        self.told_online = true;
        self.note_brain(brain_version);
    }

    /// Another release of the brain may behave in another way: told once.
    fn note_brain(&mut self, version: Option<&str>) {
        let Some(version) = version.filter(|version| !version.is_empty()) else { return };
        let minor: Vec<&str> = version.splitn(3, '.').take(2).collect();
        if minor.join(".") == KNOWN_BRAIN || self.noted_brain.as_deref() == Some(version) {
            return;
        }
        let shown = printable(version.as_bytes(), 40);
        tracing::info!("the brain is of release {shown}; this agent was tested with {KNOWN_BRAIN}");
        self.noted_brain = Some(version.to_owned());
    }

    /// Since when there is a session.
    pub(super) fn online_at(&self) -> Instant {
        self.session.map_or_else(Instant::now, |(since, _)| since)
    }

    /// When the session will have proved itself by its age; none if it has.
    pub(super) fn proof_due(&self) -> Option<Instant> {
        let (since, proved) = self.session?;
        (!proved).then(|| since + PROOF_AGE)
    }

    /// Whether the session has proved itself.
    pub(super) fn is_proved(&self) -> bool {
        self.session.is_some_and(|(_, proved)| proved)
    }

    /// The session has proved itself: the streaks end.
    pub(super) fn proved(&mut self) {
        let Some((_, proved)) = &mut self.session else { return };
        if std::mem::replace(proved, true) {
            return;
        }
        let failures = self.backoff.reset();
        let streaks = self.backoff.streaks();
        self.told_online = true;
        tracing::debug!("the session has proved itself; {failures} failures are forgotten");
        self.status.send_modify(|status| status.streaks = streaks);
    }

    /// The brain settled events. Told without waking anybody: this happens hundreds of times a second.
    pub(super) fn settled(&mut self, events: u64) {
        let now = self.now_text();
        self.status.send_if_modified(|status| {
            status.last_ack_at = Some(now);
            status.settled_events += events;
            false
        });
    }

    /// So many batches wait for their ack.
    pub(super) fn unacked(&mut self, batches: usize) {
        self.status.send_if_modified(|status| {
            status.unacked_batches = batches as u64;
            false
        });
    }

    /// There is no session any more.
    pub(super) fn offline(&mut self) {
        self.session = None;
        self.ids.set("session_id", None);
        self.status.send_modify(|status| {
            status.state = LinkState::Connecting;
            status.session_id = None;
            status.online_since = None;
            status.unacked_batches = 0;
        });
    }

    /// The connection was dropped by order: whoever gave it wants to read how that went.
    pub(super) fn ordered(&mut self) {
        self.offline();
        self.told_online = false;
    }

    /// A failure: how long to wait before the next attempt; none if that would not begin before `latest`, the
    /// end of the time to stop.
    pub(super) fn failed(&mut self, failure: &Failure, latest: Option<Instant>) -> Option<Duration> {
        if latest.is_some() {
            self.stopping();
        }
        let share = (self.shares)();
        let (streak, wait) = self.backoff.fail(failure.class, share);
        let wait = self.stopping.as_mut().map_or(wait, |backoff| backoff.fail(failure.class, share).1);
        let wait = wait.max(failure.retry_after.unwrap_or_default());
        let wait = latest.map_or(Some(wait), |latest| before(latest, wait, failure));
        if streak == 1 {
            self.told_online = false;
            self.told_codes.clear();
        }
        let is_new = failure.diagnosis.code.is_some_and(|code| !self.told_codes.contains(&code));
        if is_new {
            self.told_codes.extend(failure.diagnosis.code);
        }
        // A log that ends with "online" must not lie.
        let again = std::mem::take(&mut self.last_told_online) && streak > 1;
        // The line still names the session that ended.
        tell(failure, (streak, is_new), wait, again);
        self.offline();
        let now = self.clock.now();
        let next = wait.map(|wait| {
            let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_unix_micros(now.unix_micros().saturating_add(micros)).to_string()
        });
        let streaks = self.backoff.streaks();
        let state = if self.stopping.is_some() { LinkState::Stopping } else { LinkState::BackingOff };
        self.status.send_modify(|status| {
            status.state = state;
            status.next_attempt_at = next;
            status.streaks = streaks;
            status.last_failure = Some(LastFailure {
                class: failure.class,
                code: failure.diagnosis.code.map(str::to_owned),
                text: failure.diagnosis.sentence.clone(),
                at: now.to_string(),
            });
        });
        wait
    }

    /// The order to stop has come.
    pub(super) fn stopping(&mut self) {
        self.stopping.get_or_insert_default();
        self.status.send_modify(|status| {
            status.state = LinkState::Stopping;
            status.next_attempt_at = None;
        });
    }

    fn now_text(&self) -> String {
        self.clock.now().to_string()
    }
}

/// A wait that ends before the time to stop is up. Where it would not, a brain that is away is still asked a
/// last time, unless it wants to be left alone; one that refuses this agent is not asked again.
fn before(latest: Instant, wait: Duration, failure: &Failure) -> Option<Duration> {
    let left = latest.saturating_duration_since(Instant::now());
    if matches!(failure.class, FailureClass::Auth | FailureClass::Incompatible) {
        return None;
    }
    let may_be_asked = failure.class == FailureClass::Connection && failure.retry_after.is_none();
    match left.checked_sub(LAST_ATTEMPT) {
        _ if wait < left => Some(wait),
        Some(rest) if may_be_asked && !rest.is_zero() => Some(rest),
        _ => None,
    }
}

/// One line a streak, at the level of its class; then at info every tenth, each other code in it, and the first
/// `again` after a session that did not prove itself.
fn tell(failure: &Failure, (streak, is_new): (u64, bool), wait: Option<Duration>, again: bool) {
    let diagnosis = &failure.diagnosis;
    let code = diagnosis.code.map(|code| format!(" [{code}]")).unwrap_or_default();
    let fix = diagnosis.fix.as_deref().map(|fix| fix.replace(":\n", ": ").replace('\n', "; "));
    let fix = fix.map(|fix| format!("; fix: {fix}")).unwrap_or_default();
    let next = match wait {
        Some(wait) => format!("the next attempt is in {:.1} s", wait.as_secs_f64()),
        None => "no other attempt is made before the stop".to_owned(),
    };
    let sentence = &diagnosis.sentence;
    match (streak, failure.class) {
        (1, FailureClass::Incompatible) => {
            tracing::error!("offline: {sentence}{code}{fix}; {next}");
        }
        (1, _) => tracing::warn!("offline: {sentence}{code}{fix}; {next}"),
        _ if is_new => tracing::info!("still offline, now otherwise: {sentence}{code}{fix}; {next}"),
        _ if again => {
            tracing::info!("offline again: {sentence}{code}; {next}, and longer each time");
        }
        (streak, _) if streak % SUMMARY_EVERY == 0 => {
            tracing::info!("still offline after {streak} attempts: {sentence}{code}");
        }
        _ => tracing::debug!("still offline: {sentence}{code}; {next}"),
    }
}
