//! Both ends of the control socket, in one process.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use z4j_protocol::Timestamp;

use super::client::{AskError, ask, ask_within};
use super::fixtures::{snapshot, troubled};
use super::text::agent_text;
use super::verbs::{Printed, StatusArgs};
use super::*;
use crate::environment::Environment;
use crate::instance::{Claim, Instance, claim, listen};
use crate::orders::Commander;

struct Agent {
    _dir: tempfile::TempDir,
    claim: Claim,
    environment: Environment,
    orders: tokio::sync::watch::Receiver<crate::orders::Orders>,
}

/// An agent that answers; it needs a running event loop.
fn agent() -> io::Result<Agent> {
    let dir = tempfile::tempdir()?;
    let environment = Environment::capture();
    let claim = claim(dir.path(), &environment)?;
    let (commander, orders) = Commander::new();
    let listener = listen(&claim.instance().control_socket())?;
    tokio::spawn(serve(
        listener,
        claim.instance().control_socket(),
        environment.account.uid,
        snapshot,
        commander,
    ));
    Ok(Agent { _dir: dir, claim, environment, orders })
}

async fn raw(instance: &Instance, request: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(instance.control_socket()).await?;
    // The answer may come before everything is written.
    let _ = stream.write_all(request).await;
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn an_agent_tells_how_it_is_and_takes_orders() -> io::Result<()> {
    let agent = agent()?;
    let (instance, uid) = (agent.claim.instance(), agent.environment.account.uid);
    let told = ask(instance, uid, Request::Status).await;
    assert_eq!(told, Ok(Answer::Status(Box::new(snapshot()))));
    assert_eq!(ask(instance, uid, Request::Restart).await, Ok(Answer::Restarting));
    assert_eq!(agent.orders.borrow().reconnects, 1);
    let foreign = ask(instance, uid + 1, Request::Status).await;
    assert!(matches!(foreign, Err(AskError::Other(_))), "{foreign:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_socket_whose_name_is_gone_is_made_again() -> io::Result<()> {
    let agent = agent()?;
    let instance = agent.claim.instance();
    std::fs::remove_file(instance.control_socket())?;
    assert!(UnixStream::connect(instance.control_socket()).await.is_err());
    tokio::time::sleep(2 * crate::instance::LOOK).await;
    let told = ask(instance, agent.environment.account.uid, Request::Restart).await;
    assert_eq!(told, Ok(Answer::Restarting));
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_none_is_refused() -> io::Result<()> {
    let agent = agent()?;
    let long = vec![b'x'; 4096];
    for request in [b"hello\n".as_slice(), b"{\"request\":\"stop\"}\n", b"\xff\n", &long] {
        let answer = raw(agent.claim.instance(), request).await?;
        assert!(answer.starts_with("{\"refused\":") && answer.ends_with('\n'), "{answer}");
    }
    assert_eq!(agent.orders.borrow().reconnects, 0);
    Ok(())
}

#[tokio::test]
async fn one_that_holds_its_lock_and_says_nothing_is_told_from_one_without_a_socket() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let environment = Environment::capture();
    let claim = claim(dir.path(), &environment)?;
    let (instance, uid) = (claim.instance(), environment.account.uid);
    let missing = ask(instance, uid, Request::Status).await;
    assert!(matches!(missing, Err(AskError::NoSocket(_))), "{missing:?}");
    let _silent = listen(&instance.control_socket())?;
    let deadline = std::time::Duration::from_millis(20);
    assert_eq!(ask_within(instance, uid, Request::Status, deadline).await, Err(AskError::Silent));
    Ok(())
}

/// Runs a verb, which has an event loop of its own, beside the agent's.
async fn verb(work: impl FnOnce() -> Printed + Send + 'static) -> io::Result<Printed> {
    let (sender, printed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(work()));
    printed.await.map_err(io::Error::other)
}

#[derive(clap::Parser)]
struct StatusLine {
    #[command(flatten)]
    args: StatusArgs,
}

#[derive(clap::Parser)]
struct RestartLine {
    #[command(flatten)]
    args: RestartArgs,
}

fn status_args(arguments: &[&str]) -> io::Result<StatusArgs> {
    let line = [&["status"], arguments].concat();
    <StatusLine as clap::Parser>::try_parse_from(line).map(|line| line.args).map_err(io::Error::other)
}

#[tokio::test]
async fn the_verbs_find_the_agents_of_a_directory() -> io::Result<()> {
    let agent = agent()?;
    let dir = agent.claim.instance().dir.display().to_string();
    let environment = agent.environment.clone();
    let args = status_args(&["--json", "--dir", &dir])?;
    let printed = verb(move || status(&args, &environment)).await?;
    let document: serde_json::Value = serde_json::from_str(&printed.out)?;
    assert!(printed.ok && printed.complaints.is_empty(), "{printed:?}");
    assert_eq!(document["schema_version"], 1);
    let told = &document["agents"][0];
    assert_eq!((&told["pid"], &told["answering"]), (&7281.into(), &true.into()));
    assert_eq!(told["link"]["state"], "online");
    let line = <RestartLine as clap::Parser>::try_parse_from(["restart", "--dir", &dir]);
    let args = line.map_err(io::Error::other)?.args;
    let environment = agent.environment.clone();
    let printed = verb(move || restart(&args, &environment)).await?;
    assert!(printed.ok && printed.out.contains("connecting anew"), "{printed:?}");
    assert_eq!(agent.orders.borrow().reconnects, 1);
    Ok(())
}

#[test]
fn where_none_runs_it_is_said_where_was_looked() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let environment = Environment::capture();
    let shown = dir.path().display().to_string();
    for (arguments, words) in [
        (vec!["--dir", &shown], shown.as_str()),
        (vec!["--home", &shown, "--pid", "42"], "with pid 42"),
        (vec!["--dir", "/nonexistent/z4j"], "ENOENT"),
    ] {
        let printed = status(&status_args(&arguments)?, &environment);
        assert!(!printed.ok && printed.out.is_empty(), "{printed:?}");
        assert!(printed.complaints.iter().any(|text| text.contains(words)), "{printed:?}");
    }
    for refused in [["--pid", "0"], ["--pid", "-1"]] {
        assert!(status_args(&refused).is_err());
    }
    Ok(())
}

#[test]
fn a_status_is_made_for_people() {
    let instance = Instance { dir: "/run/z4j".into(), name: "agent-7281".into(), pid: 7281 };
    let now = Timestamp::from_unix_micros(1_800_000_000_000_000);
    let text = agent_text(&instance, Ok(&snapshot()), now);
    assert_eq!(
        text,
        "\
agent 7281: online since 2027-01-15T07:00:00Z (1 h 0 min ago)
  brain:      https://tasks.example.com/ (1.13.0), project picker, agent picker_django
  transport:  websocket
  session:    f3
  buffer:     12 events, 3.4 KiB, the oldest for 2 s; /var/lib/z4j/buffer-7281.sqlite
  last ack:   2027-01-15T07:59:57Z (3 s ago)
  lost:       nothing
  uptime:     2 h 0 min, since 2027-01-15T06:00:00Z; z4j 0.1.0
  ingest:     /run/z4j/agent-7281.sock
"
    );
    let text = agent_text(&instance, Ok(&troubled()), now);
    for line in [
        "agent 7281: backing off, next attempt 2027-01-15T08:00:09Z\n",
        "  failures:   3 in a row, last 2027-01-15T07:59:59Z: 198.51.100.42 refuses\\u{1b}[31m [tcp.refused]\n",
        "  lost:       5 events, 5 for lack of room\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let text = agent_text(&instance, Err(&AskError::Silent), now);
    assert!(text.starts_with("agent 7281: not answering\n"), "{text}");
}
