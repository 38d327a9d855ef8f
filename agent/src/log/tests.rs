//! Events in, lines out.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use z4j_protocol::Timestamp;

use super::*;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn fixed() -> Timestamp {
    Timestamp::from_unix_micros(1_800_000_000_042_999)
}

fn logged(format: Format, ids: &Ids, work: impl FnOnce()) -> String {
    let kept = Kept::default();
    let sink = Sink::to(kept.clone());
    let layer = Lines { format, clock: Clock::of(fixed), pid: 7, ids: ids.clone(), sink: sink.clone() };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO));
    tracing::subscriber::with_default(subscriber, work);
    sink.flush();
    kept.text()
}

#[test]
fn text_is_one_line_an_event() {
    let ids = Ids::default();
    let text = logged(Format::Text, &ids, || {
        tracing::warn!(target: "z4j::link", code = "tcp.refused", wait_seconds = 3, "no brain\n\u{1b}[31m");
        tracing::info!(target: "z4j", token = "geheim", path = "/a b", "ready");
        tracing::debug!("below the level");
    });
    assert_eq!(
        text,
        "\
2027-01-15T08:00:00Z WARNING z4j::link no brain\\n\\u{1b}[31m code=tcp.refused wait_seconds=3
2027-01-15T08:00:00Z INFO    z4j ready token=*** path=\"/a b\"
"
    );
}

#[test]
fn the_journal_gets_a_priority_and_no_time() {
    let text = logged(Format::Journal, &Ids::default(), || {
        tracing::error!(target: "z4j", "a");
        tracing::warn!(target: "z4j", "b");
        tracing::info!(target: "z4j", "c");
    });
    assert_eq!(text, "<3>z4j a\n<4>z4j b\n<6>z4j c\n");
}

#[test]
fn json_has_the_reference_keys_and_the_bound_ids() -> serde_json::Result<()> {
    let ids = Ids::default();
    ids.set("session_id", Some("s1"));
    ids.set("agent_id", Some(&"a".repeat(99)));
    ids.set("worker_id", Some("evil\n"));
    ids.set("project_id", Some("p"));
    ids.set("project_id", None);
    let text = logged(Format::Json, &ids, || {
        tracing::warn!(target: "z4j::link", hmac_secret = "geheim", bytes = 3_u64, level = "x", "grün \u{1f600}\u{7f}");
    });
    assert!(text.is_ascii() && text.ends_with("}\n"), "{text}");
    let start = r#"{"ts":"2027-01-15T08:00:00.042Z","level":"warning","logger":"z4j::link","msg":"gr\u00fcn \ud83d\ude00\u007f","process":7,"#;
    assert!(text.starts_with(start), "{text}");
    let line: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!(line["msg"], "grün \u{1f600}\u{7f}");
    assert_eq!((&line["session_id"], &line["bytes"]), (&"s1".into(), &3.into()));
    assert_eq!((line["agent_id"].as_str().map(str::len), &line["hmac_secret"]), (Some(64), &"***".into()));
    assert!(line.get("worker_id").is_none() && line.get("project_id").is_none());
    Ok(())
}

/// Blocks until it is let go.
struct Stalled(Receiver<()>, Kept);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Also goes on once nobody holds it any more.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stalls_costs_lines_and_no_time() {
    let (go, wait): (Sender<()>, _) = channel();
    let kept = Kept::default();
    let sink = Sink::to(Stalled(wait, kept.clone()));
    for n in 0..3000 {
        sink.write(format!("{n}\n"));
    }
    drop(go);
    // The queue is full until the writer has begun; then there is room again.
    while !kept.text().contains("were dropped") {
        std::thread::yield_now();
    }
    sink.flush();
    assert!(kept.text().starts_with("0\nz4j: 19"), "the count comes with the first line that is written");
}

/// Says that it is closed.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_stderr_changes_nothing() {
    let sink = Sink::to(Closed);
    sink.write("a\n".to_owned());
    sink.flush();
    sink.write("b\n".to_owned());
    sink.flush();
}

#[test]
fn the_journal_is_known_by_its_stream() {
    let mut environment = Environment::capture();
    environment.variables.insert("JOURNAL_STREAM".into(), "1:1".into());
    assert!(!is_journal(&environment));
    let stderr = io::stderr();
    if let Ok(found) = nix::sys::stat::fstat(stderr.as_fd()) {
        let named = format!("{}:{}", found.st_dev, found.st_ino);
        environment.variables.insert("JOURNAL_STREAM".into(), named.into());
        assert!(is_journal(&environment));
    }
}
