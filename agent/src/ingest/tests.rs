//! The ingest socket, the pipe and `emit`'s side, in one process over a temporary directory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use z4j_protocol::Value;

use super::event::read_event;
use super::lines::MAX_LINE_BYTES;
use super::reply::Reply;
use super::stdin::{PipeCounts, read_pipe};
use super::*;
use crate::buffer::Limit;
use crate::buffer::tests::buffer_in;
use crate::orders::Commander;

const PATIENCE: Duration = Duration::from_secs(20);
const ID: &str = "0b8f5f8e-4c1e-4f7a-9a3e-0c6d3f1f2a11";

fn good(task: &str) -> String {
    format!(r#"{{"kind":"task.started","engine":"celery","task_id":"{task}","data":{{"n":1}}}}"#)
}

pub(crate) fn intake(dir: &Path) -> Intake {
    let buffer = buffer_in(dir);
    let redactor = Redactor::new(&[], &[], 8_192).unwrap();
    Intake::new(buffer, Arc::new(redactor), Clock::system())
}

async fn stored(intake: &Intake) -> Vec<Value> {
    let rows = intake.buffer.read(0, Limit { events: 1_000_000, bytes: usize::MAX }).await;
    rows.iter().map(|row| Value::parse(row.text.as_str().as_bytes()).unwrap()).collect()
}

fn task_ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event.get("task_id").and_then(Value::as_str).unwrap()).collect()
}

/// A server of its own.
struct World {
    dir: TempDir,
    intake: Intake,
    commander: Commander,
    server: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let intake = intake(dir.path());
        let (commander, orders) = Commander::new();
        let listener = bind(&dir.path().join("agent.sock")).await.unwrap();
        let server = tokio::spawn(serve(listener, intake.clone(), orders));
        Self { dir, intake, commander, server }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }

    /// Writes everything, says that this is all, and reads every reply.
    async fn tell(&self, text: &[u8]) -> Vec<Reply> {
        let (mut read, mut write) = self.connect().await.into_split();
        let text = text.to_vec();
        let writing = tokio::spawn(async move {
            write.write_all(&text).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut answer = Vec::new();
        timeout(PATIENCE, read.read_to_end(&mut answer)).await.unwrap().unwrap();
        writing.await.unwrap();
        replies(&answer)
    }

    async fn stop(self) {
        self.commander.stop();
        timeout(PATIENCE, self.server).await.unwrap().unwrap();
    }
}

fn replies(bytes: &[u8]) -> Vec<Reply> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn refusals(replies: &[Reply]) -> Vec<(u64, String)> {
    let all = replies.iter().flat_map(|reply| &reply.refused);
    all.map(|refusal| (refusal.line, refusal.code.to_string())).collect()
}

fn now() -> z4j_protocol::Timestamp {
    z4j_protocol::Timestamp::parse("2026-05-01T12:00:00Z").unwrap()
}

/// A line with these fields beside the required ones.
fn line(more: &str) -> String {
    format!(r#"{{"kind":"task.sent","engine":"rq","task_id":"t","id":"{ID}"{more}}}"#)
}

fn read(line: &str) -> Result<String, &'static str> {
    let redactor = Redactor::new(&[], &[], 8_192).unwrap();
    let read = read_event(line.as_bytes(), &redactor, now());
    read.map(|event| event.unwrap().text.into_string()).map_err(|fault| fault.code)
}

#[test]
fn events_are_completed() {
    let at_now = "2026-05-01T12:00:00Z";
    let cases = [
        ("", "{}", at_now),
        (r#","data":null,"occurred_at":null"#, "{}", at_now),
        (r#","data":{"b":1.50,"a":"x@y.zz"}"#, r#"{"a":"[REDACTED]","b":1.5}"#, at_now),
        (r#","data":{"token":[1]}"#, r#"{"token":["[REDACTED]"]}"#, at_now),
        (r#","occurred_at":"2026-05-01T14:00:00.5+02:00""#, "{}", "2026-05-01T12:00:00.500000Z"),
        (r#","occurred_at":"2026-04-30T12:00:00""#, "{}", "2026-04-30T12:00:00Z"),
        (r#","occurred_at":"2026-05-01T12:01:00Z""#, "{}", "2026-05-01T12:01:00Z"),
        (r#","occurred_at":"2026-05-01T12:01:00.000001Z""#, "{}", at_now),
        (r#","occurred_at":"2025-03-27T12:00:00Z""#, "{}", at_now),
        (r#","occurred_at":"2025-03-27T12:00:01Z""#, "{}", "2025-03-27T12:00:01Z"),
    ];
    for (more, data, time) in cases {
        let expected = format!(
            r#"{{"data":{data},"engine":"rq","id":"{ID}","kind":"task.sent","occurred_at":"{time}","task_id":"t"}}"#
        );
        assert_eq!(read(&line(more)), Ok(expected), "{more}");
    }
}

#[test]
fn events_are_refused_by_rule() {
    let deep = line(&format!(r#","data":{{"a":{}1{}}}"#, "[".repeat(2_000), "]".repeat(2_000)));
    let big = line(&format!(r#","data":{{"a":[{}1]}}"#, "1,".repeat(500_000)));
    let cases = [
        (line(r#","occurred_at":"yesterday""#), "bad-time"),
        (line(r#","occurred_at":1777636800"#), "bad-time"),
        (line(r#","data":[1]"#), "bad-data"),
        (line(r#","taskid":"x""#), "unknown-field"),
        (line(r#","data":{"a":NaN}"#), "not-finite"),
        (line(r#","data":{"a":1e999}"#), "not-finite"),
        (line(r#","data":{"a":"\ud800"}"#), "lone-surrogate"),
        (line(r#","data":{"\ud800":1}"#), "lone-surrogate"),
        (line(r#","\ud800":1"#), "lone-surrogate"),
        (deep, "not-json"),
        (big, "event-too-large"),
        (r#"{"kind":"task.sent","engine":"rq","task_id":"t","id":"7"}"#.to_owned(), "bad-id"),
        (r#"{"kind":"task.sent","engine":"rq"}"#.to_owned(), "no-task-id"),
        (r#"{"kind":"task.sent","engine":"rq","task_id":7}"#.to_owned(), "bad-task-id"),
        (r#"{"kind":"task.sent","engine":"","task_id":"t"}"#.to_owned(), "no-engine"),
        (r#"{"engine":"rq","task_id":"t"}"#.to_owned(), "no-kind"),
        (r#"{"kind":"task.done","engine":"rq","task_id":"t"}"#.to_owned(), "unknown-kind"),
        (r#"{"kind":"schedule.created","engine":"rq"}"#.to_owned(), "scheduler-upgrade-required"),
        ("[1]".to_owned(), "not-an-object"),
        ("{".to_owned(), "not-json"),
    ];
    for (line, code) in cases {
        assert_eq!(read(&line), Err(code), "{line:.200}");
    }
    let redactor = Redactor::new(&[], &[], 8_192).unwrap();
    assert_eq!(read_event(b"\xff", &redactor, now()).unwrap_err().code, "not-utf8");
    assert!(read_event(b" \r", &redactor, now()).unwrap().is_none());
}

#[test]
fn what_is_filled_in_is_fresh() {
    let redactor = Redactor::new(&[], &[], 8_192).unwrap();
    let line = br#"{"kind":"worker.online","engine":"rq"}"#;
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let event = read_event(line, &redactor, now()).unwrap().unwrap();
            assert!(!event.restamped);
            let value = Value::parse(event.text.as_str().as_bytes()).unwrap();
            assert_eq!(value.get("task_id"), Some(&Value::from("")));
            value.get("id").and_then(Value::as_str).unwrap().to_owned()
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(uuid::Uuid::parse_str(&ids[0]).unwrap().get_version_num(), 4);
}

#[tokio::test]
async fn refused_lines_leave_their_neighbours() {
    let world = World::new().await;
    let long = "x".repeat(MAX_LINE_BYTES + 1);
    let parts =
        [good("a"), "nonsense".into(), String::new(), long, good("b"), r#"{"kind":"x"}"#.into(), good("c")];
    let replies = world.tell(parts.join("\n").as_bytes()).await;
    let expected = [(2, "not-json"), (4, "line-too-long"), (6, "unknown-kind")];
    assert_eq!(refusals(&replies), expected.map(|(line, code)| (line, code.to_owned())));
    let last = replies.last().unwrap();
    assert_eq!((last.line, last.accepted, &last.error), (7, 3, &None));
    assert_eq!(task_ids(&stored(&world.intake).await), ["a", "b", "c"]);
    let status = world.intake.counters.status();
    assert_eq!((status.accepted, status.refused, status.restamped), (3, 3, 0));
    world.stop().await;
}

#[tokio::test]
async fn many_lines_are_pipelined_in_order() {
    let world = World::new().await;
    let ids: Vec<String> = (0..5_000).map(|number| format!("t{number}")).collect();
    let text: String = ids.iter().map(|id| good(id) + "\n").collect();
    let replies = world.tell(text.as_bytes()).await;
    assert!(replies.windows(2).all(|pair| pair[0].line < pair[1].line), "{replies:?}");
    assert!(replies.iter().all(|reply| reply.accepted == reply.line));
    assert_eq!(replies.last().unwrap().line, 5_000);
    assert_eq!(task_ids(&stored(&world.intake).await), ids);
    world.stop().await;
}

#[tokio::test]
async fn an_answer_comes_while_the_client_stays_and_others_are_not_held_up() {
    let world = World::new().await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut stream = world.connect().await;
        stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
        stuck.push(stream);
    }
    let mut stream = BufReader::new(world.connect().await);
    for number in 1..=3_u64 {
        stream.write_all((good("t") + "\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        timeout(PATIENCE, stream.read_line(&mut line)).await.unwrap().unwrap();
        assert_eq!(replies(line.as_bytes())[0].line, number);
    }
    drop(stuck);
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_vanishes_has_its_complete_lines_stored() {
    let world = World::new().await;
    let mut stream = world.connect().await;
    let text = format!("{}\n{}\n{{\"kind\":\"ta", good("a"), good("b"));
    stream.write_all(text.as_bytes()).await.unwrap();
    drop(stream);
    let mut status = world.intake.buffer.status();
    timeout(PATIENCE, status.wait_for(|status| status.events == 2)).await.unwrap().unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_stop_answers_what_was_read_and_takes_the_name_away() {
    let world = World::new().await;
    let mut stream = BufReader::new(world.connect().await);
    stream.write_all(format!("{}\n{}", good("a"), good("b")).as_bytes()).await.unwrap();
    let mut first = String::new();
    timeout(PATIENCE, stream.read_line(&mut first)).await.unwrap().unwrap();
    let (path, intake, dir) = (world.path(), world.intake.clone(), tempfile::tempdir().unwrap());
    world.commander.stop();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    let last = replies(&rest).pop().unwrap();
    assert_eq!((last.line, last.accepted, last.error.unwrap().code.as_str()), (1, 1, "stopping"));
    drop(stream);
    timeout(PATIENCE, world.server).await.unwrap().unwrap();
    assert!(!path.exists());
    assert_eq!(task_ids(&stored(&intake).await), ["a"]);
    drop(dir);
}

#[tokio::test]
async fn what_the_buffer_refuses_is_reported_as_not_stored() {
    let world = World::new().await;
    assert_eq!(world.tell((good("a") + "\n").as_bytes()).await[0].accepted, 1);
    world.intake.buffer.close().await;
    let replies = world.tell(format!("\n{}\n{}\n", good("b"), good("c")).as_bytes()).await;
    let last = replies.last().unwrap();
    assert!(last.line <= 1 && last.accepted == 0, "{last:?}");
    assert_eq!(last.error.as_ref().unwrap().code, "closed");
    world.stop().await;
}

/// As many as there are places for long lines, and each sends a part that is read at once and nothing more.
#[tokio::test(start_paused = true)]
async fn a_long_line_that_is_not_finished_gives_its_place_back() {
    let world = World::new().await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = world.connect().await;
        stream.write_all(&[b'x'; 20_000]).await.unwrap();
        held.push(stream);
    }
    for mut stream in held {
        let mut answer = Vec::new();
        // Paused time runs on only while everybody waits.
        timeout(Duration::from_secs(3_600), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(replies(&answer)[0].error.as_ref().unwrap().code, "stalled");
    }
    world.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told() {
    let world = World::new().await;
    let mut held = Vec::new();
    for _ in 0..256 {
        held.push(world.connect().await);
    }
    let mut one_more = world.connect().await;
    let mut answer = Vec::new();
    timeout(PATIENCE, one_more.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(replies(&answer)[0].error.as_ref().unwrap().code, "too-many-connections");
    drop(held);
    world.stop().await;
}

#[tokio::test]
async fn a_path_is_taken_only_where_nobody_else_is() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/agent.sock");
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("dead.sock")).unwrap());
    std::fs::write(dir.path().join("file"), "x").unwrap();

    let listener = bind(&path).await.unwrap();
    let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(matches!(bind(&path).await, Err(IngestError::Live { .. })));
    assert!(matches!(bind(&dir.path().join("file")).await, Err(IngestError::Foreign { .. })));
    assert!(matches!(bind(&dir.path().join("x".repeat(108))).await, Err(IngestError::TooLong { .. })));
    assert!(bind(&dir.path().join("dead.sock")).await.is_ok());
    // Somebody else's file of the same name stays when the listener goes.
    std::fs::remove_file(&path).unwrap();
    assert!(listener.is_unlinked());
    std::fs::write(&path, "x").unwrap();
    drop(listener);
    assert!(path.exists());
}

#[tokio::test]
async fn a_pipe_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let intake = intake(dir.path());
    let (_commander, orders) = Commander::new();
    let text = format!("{}\nnonsense\n{}", good("a"), good("b"));
    let counts = read_pipe(std::io::Cursor::new(text), intake.clone(), orders).await.unwrap();
    assert_eq!(counts, PipeCounts { lines: 3, accepted: 2, refused: 1 });
    assert_eq!(task_ids(&stored(&intake).await), ["a", "b"]);
}

#[tokio::test]
async fn a_pipe_waits_while_the_buffer_refuses_and_gives_up_at_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let intake = intake(dir.path());
    intake.buffer.close().await;
    let (commander, orders) = Commander::new();
    let reading = tokio::spawn(read_pipe(std::io::Cursor::new(good("a")), intake, orders));
    commander.stop();
    let counts = timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap();
    assert_eq!(counts, PipeCounts::default());
}

/// What `z4j emit` does, against a server of its own.
async fn emitted(world: &World, input: impl std::io::Read + Send + 'static) -> (Emission, Vec<LineRefusal>) {
    let path = world.path();
    let sending = move || {
        let mut refused = Vec::new();
        let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        let emission = send(stream, input, |refusal| refused.push(refusal), |_| {}).unwrap();
        (emission, refused)
    };
    timeout(PATIENCE, tokio::task::spawn_blocking(sending)).await.unwrap().unwrap()
}

#[tokio::test]
async fn emit_accounts_for_every_line() {
    let world = World::new().await;
    let mut text = Vec::new();
    for number in 0..3_000 {
        writeln!(text, "{}", if number == 1_234 { "{}".to_owned() } else { good("t") }).unwrap();
    }
    text.pop();
    let (emission, refused) = emitted(&world, std::io::Cursor::new(text)).await;
    assert_eq!(emission, Emission { line: 3_000, accepted: 2_999, restamped: 0, refused: 1, error: None });
    assert_eq!((refused[0].line, &*refused[0].code), (1_235, "no-kind"));
    assert_eq!(emitted(&world, std::io::empty()).await.0, Emission::default());
    world.stop().await;
}

#[tokio::test]
async fn emit_says_up_to_where_lines_are_durable_when_the_agent_stops() {
    let world = World::new().await;
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = world.path();
    let sending = tokio::task::spawn_blocking(move || {
        let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        send(stream, reader, |_| {}, |_| {}).unwrap()
    });
    writeln!(writer, "{}", good("a")).unwrap();
    let mut status = world.intake.buffer.status();
    timeout(PATIENCE, status.wait_for(|status| status.events == 1)).await.unwrap().unwrap();
    world.stop().await;
    let emission = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert_eq!((emission.line, emission.accepted), (1, 1));
    assert_eq!(emission.error.unwrap().code, "stopping");
    drop(writer);
}

#[tokio::test]
async fn refusals_wait_for_a_client_that_reads_none() {
    let world = World::new().await;
    let (mut read, mut write) = world.connect().await.into_split();
    let lines = 16_000;
    // One read of the agent's.
    write.write_all("x\n".repeat(lines).as_bytes()).await.unwrap();
    write.shutdown().await.unwrap();
    let settled = || world.intake.counters.status().refused;
    timeout(PATIENCE, async {
        while settled() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(settled() < 10_000, "{}", settled());
    let mut answer = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(refusals(&replies(&answer)).len(), lines);
    world.stop().await;
}
