//! An agent's status for people.

use z4j_protocol::Timestamp;

use super::client::AskError;
use crate::buffer::{BufferStatus, Loss};
use crate::instance::Instance;
use crate::status::{FailureClass, LastFailure, LinkState, LinkStatus, Snapshot, Streaks};
use crate::words::visible;

/// One agent: a headline, and a line for each thing that is known.
pub(super) fn agent_text(
    instance: &Instance,
    answer: Result<&Snapshot, &AskError>,
    now: Timestamp,
) -> String {
    let (headline, lines) = match answer {
        Err(error) => {
            let word = if *error == AskError::Silent { "not answering" } else { "unknown" };
            let place = instance.dir.display().to_string();
            (word.to_owned(), vec![("problem", error.to_string()), ("directory", place)])
        }
        Ok(snapshot) => (headline(&snapshot.link, now), lines(snapshot, now)),
    };
    let mut out = format!("agent {}: {headline}\n", instance.pid);
    for (label, text) in lines {
        out.push_str(&format!("  {:<11} {}\n", format!("{label}:"), visible(&text)));
    }
    out
}

fn headline(link: &LinkStatus, now: Timestamp) -> String {
    match (link.state, &link.online_since, &link.next_attempt_at) {
        (LinkState::Online, Some(since), _) => format!("online since {}", with_age(since, now)),
        (LinkState::BackingOff, _, Some(at)) => format!("backing off, next attempt {at}"),
        (state, _, _) => state_word(state).to_owned(),
    }
}

/// The state in a word or two.
pub(super) fn state_word(state: LinkState) -> &'static str {
    match state {
        LinkState::Starting => "starting",
        LinkState::Connecting => "connecting",
        LinkState::Online => "online",
        LinkState::BackingOff => "backing off",
        LinkState::Stopping => "stopping",
    }
}

fn lines(snapshot: &Snapshot, now: Timestamp) -> Vec<(&'static str, String)> {
    let (identity, link, buffer) = (&snapshot.identity, &snapshot.link, &snapshot.buffer);
    let version = link.brain_version.as_deref().map(|version| format!(" ({version})")).unwrap_or_default();
    let name = identity.agent_name.as_deref().map(|name| format!(", agent {name}")).unwrap_or_default();
    let brain = format!("{}{version}, project {}{name}", identity.brain_url, identity.project_id);
    let mut lines = vec![("brain", brain)];
    lines.extend(link.transport.as_ref().map(|transport| ("transport", transport.clone())));
    lines.extend(link.session_id.as_ref().map(|session| ("session", session.clone())));
    lines.push(("buffer", buffer_text(buffer, now)));
    let last_ack = link.last_ack_at.as_ref();
    lines.push(("last ack", last_ack.map_or_else(|| "none yet".to_owned(), |at| with_age(at, now))));
    lines.extend(link.last_failure.as_ref().map(|last| ("failures", failures(&link.streaks, last))));
    lines.push(("lost", loss_text(&buffer.loss)));
    lines.extend(
        buffer.refused.as_ref().map(|refused| ("refusing", format!("{} [{}]", refused.text, refused.code))),
    );
    if buffer.unsettled_results > 0 {
        lines.push(("results", format!("{} of commands wait for the brain", buffer.unsettled_results)));
    }
    let up = span(i64::try_from(snapshot.uptime_seconds).unwrap_or(i64::MAX));
    lines.push(("uptime", format!("{up}, since {}; z4j {}", identity.started_at, identity.version)));
    lines.extend(identity.ingest.as_ref().map(|path| ("ingest", path.display().to_string())));
    lines
}

fn buffer_text(buffer: &BufferStatus, now: Timestamp) -> String {
    let oldest = buffer.oldest_age_seconds(now).map(|age| {
        #[expect(clippy::cast_possible_truncation, reason = "the fraction is what is cut")]
        let whole = age as i64;
        format!(", the oldest for {}", span(whole))
    });
    let events = if buffer.events == 1 { "event" } else { "events" };
    let size = bytes_text(buffer.bytes);
    format!("{} {events}, {size}{}; {}", buffer.events, oldest.unwrap_or_default(), buffer.path.display())
}

fn failures(streaks: &Streaks, last: &LastFailure) -> String {
    let in_a_row = match last.class {
        FailureClass::Connection => streaks.connection,
        FailureClass::Protocol => streaks.protocol,
        FailureClass::Auth => streaks.auth,
        FailureClass::Incompatible => streaks.incompatible,
    };
    let count = if in_a_row == 0 { "none since".to_owned() } else { format!("{in_a_row} in a row, last") };
    let code = last.code.as_deref().map(|code| format!(" [{code}]")).unwrap_or_default();
    format!("{count} {}: {}{code}", last.at, last.text)
}

/// What was lost.
fn loss_text(loss: &Loss) -> String {
    let counters = [
        (loss.events, "events"),
        (loss.command_results, "command results"),
        (loss.capacity_evicted, "for lack of room"),
        (loss.content_rejected, "refused or unreadable"),
    ];
    let told: Vec<String> = counters
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
}

fn with_age(at: &str, now: Timestamp) -> String {
    match Timestamp::parse(at) {
        Ok(then) => format!("{at} ({} ago)", span(now.micros_since(then) / 1_000_000)),
        Err(_) => at.to_owned(),
    }
}

/// `12 s`, `3 min 20 s`, `4 h 5 min`, `2 d 3 h`.
fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

/// `512 bytes`, `3.4 KiB`, `1.0 MiB`.
fn bytes_text(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", tenths(1024)),
        _ => format!("{} MiB", tenths(1_048_576)),
    }
}
