//! A snapshot for tests.

use crate::buffer::{BufferStatus, Loss};
use crate::status::{FailureClass, Identity, LastFailure, LinkState, LinkStatus, Snapshot, Streaks};

pub(super) fn snapshot() -> Snapshot {
    Snapshot {
        identity: Identity {
            pid: 7281,
            version: "0.1.0".into(),
            started_at: "2027-01-15T06:00:00Z".into(),
            brain_url: "https://tasks.example.com/".into(),
            project_id: "picker".into(),
            agent_name: Some("picker_django".into()),
            worker_id: "w".into(),
            ingest: Some("/run/z4j/agent-7281.sock".into()),
        },
        uptime_seconds: 7_205,
        link: LinkStatus {
            state: LinkState::Online,
            transport: Some("websocket".into()),
            brain_version: Some("1.13.0".into()),
            session_id: Some("f3".into()),
            online_since: Some("2027-01-15T07:00:00Z".into()),
            last_ack_at: Some("2027-01-15T07:59:57Z".into()),
            ..LinkStatus::default()
        },
        buffer: buffer(),
    }
}

pub(super) fn buffer() -> BufferStatus {
    BufferStatus {
        path: "/var/lib/z4j/buffer-7281.sqlite".into(),
        buffer_id: "b".into(),
        events: 12,
        bytes: 3_500,
        unsettled_results: 0,
        oldest_at_micros: Some(1_799_999_998_000_000),
        emptied_at_micros: None,
        last_id: 12,
        loss: Loss::default(),
        refused: None,
    }
}

/// A snapshot of an agent in trouble.
pub(super) fn troubled() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.link.state = LinkState::BackingOff;
    snapshot.link.session_id = None;
    snapshot.link.next_attempt_at = Some("2027-01-15T08:00:09Z".into());
    snapshot.link.streaks = Streaks { connection: 3, ..Streaks::default() };
    snapshot.link.last_failure = Some(LastFailure {
        class: FailureClass::Connection,
        code: Some("tcp.refused".into()),
        text: "198.51.100.42 refuses\u{1b}[31m".into(),
        at: "2027-01-15T07:59:59Z".into(),
    });
    snapshot.buffer.loss = Loss { capacity_evicted: 5, events: 5, ..Loss::default() };
    snapshot
}
