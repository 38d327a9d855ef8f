//! Commands through a dispatcher and a buffer: once each, whatever happens, with a result.

use std::time::Duration;

use tokio::time::timeout;
use z4j_protocol::payload::{CommandResult, CommandStatus};

use super::adapter::{Adapter, Call, Running};
use super::*;
use crate::buffer::Limit;
use crate::buffer::tests::buffer_in;
use crate::orders::Orders;

const PATIENCE: Duration = Duration::from_secs(20);

/// Does what the action says.
struct Puppet;

impl Adapter for Puppet {
    fn kind(&self) -> &'static str {
        "puppet"
    }

    fn has(&self, action: &str) -> bool {
        action != "unmapped" && action != "restart_worker"
    }

    fn run(&self, call: Call) -> Running<'_> {
        let Call { id, command, mut stopping, .. } = call;
        Box::pin(async move {
            match command.action.as_str() {
                "panic" => panic!("on purpose"),
                "hang" => {
                    adapter::stopped(&mut stopping).await;
                    Outcome::indeterminate("stopped")
                }
                "secret" => Outcome::Done(Value::object([("password", "pw".into())])),
                _ => Outcome::Done(Value::object([("ran", id.as_str().into())])),
            }
        })
    }
}

struct World {
    dispatcher: Dispatcher,
    buffer: Buffer,
    orders: watch::Receiver<Orders>,
    _dir: tempfile::TempDir,
}

fn world_with(orchestrated: bool, age: Duration) -> World {
    let dir = tempfile::tempdir().unwrap();
    let buffer = buffer_in(dir.path());
    let (commander, orders) = Commander::new();
    let redact: Redact = Arc::new(|value| {
        if let Value::Object(object) = value {
            object.remove("password");
        }
    });
    let dispatcher = Dispatcher::new(DispatcherParts {
        buffer: buffer.clone(),
        adapters: Adapters::from([("celery".to_owned(), Arc::new(Puppet) as Arc<dyn Adapter>)]),
        clock: Clock::system(),
        commander,
        orchestrated,
        started_at: Instant::now().checked_sub(age).unwrap(),
        redact,
    });
    World { dispatcher, buffer, orders, _dir: dir }
}

fn world() -> World {
    world_with(false, Duration::ZERO)
}

fn command(action: &str, parameters: &str) -> Command {
    Command {
        action: action.to_owned(),
        target: Value::object([("id", "w-1".into())]),
        parameters: Value::parse(parameters.as_bytes()).unwrap(),
        timeout_seconds: 60,
        issued_by: None,
        delivery_claim_token: Some("claim".to_owned()),
    }
}

impl World {
    /// Hands a command in and waits for its result.
    async fn result(&self, id: &str, command: Command) -> CommandResult {
        let mut finished = self.dispatcher.finished();
        let stored = match self.dispatcher.take(id, command).await {
            Some(stored) => stored,
            None => loop {
                timeout(PATIENCE, finished.changed()).await.unwrap().unwrap();
                let mut stored = self.buffer.unsettled_results().await;
                stored.retain(|stored| stored.command_id == id);
                if let Some(stored) = stored.pop() {
                    break stored;
                }
            },
        };
        Value::parse(stored.payload.as_str().as_bytes()).unwrap().deserialize().unwrap()
    }
}

fn field(result: &CommandResult, name: &str) -> Option<String> {
    result.result.as_ref()?.get(name).map(|value| value.to_canonical().unwrap())
}

#[tokio::test]
async fn a_command_runs_once_and_its_result_answers_duplicates() {
    let world = world();
    let first = world.result("c-1", command("act", "{}")).await;
    assert_eq!((first.status, field(&first, "ran")), (CommandStatus::Success, Some("\"c-1\"".to_owned())));
    assert_eq!(first.delivery_claim_token.as_deref(), Some("claim"));
    let mut again = command("panic", "{}");
    again.delivery_claim_token = Some("another".to_owned());
    let stored = world.dispatcher.take("c-1", again).await.unwrap();
    assert!(stored.payload.as_str().contains("\"ran\":\"c-1\""));
    assert!(stored.payload.as_str().contains("\"delivery_claim_token\":\"another\""));
}

/// Whoever hears of a result can have it.
#[tokio::test]
async fn a_command_is_over_when_its_result_is_told_of() {
    let world = world();
    let mut finished = world.dispatcher.finished();
    for n in 0..50 {
        let id = format!("c-{n}");
        assert_eq!(world.dispatcher.take(&id, command("act", "{}")).await, None);
        timeout(PATIENCE, finished.changed()).await.unwrap().unwrap();
        assert!(world.dispatcher.take(&id, command("act", "{}")).await.is_some());
    }
}

#[tokio::test]
async fn every_failure_is_a_result() {
    let world = world();
    for (id, action, words) in [
        ("c-1", "panic", "the adapter of the engine `celery` broke down"),
        ("c-2", "unmapped", "[engine.celery.action.unmapped]"),
        ("c-3", "restart_worker", "nothing is known to start this agent anew"),
    ] {
        let result = world.result(id, command(action, "{}")).await;
        assert_eq!(result.status, CommandStatus::Failed);
        assert!(result.error.as_deref().is_some_and(|error| error.contains(words)), "{result:?}");
    }
    let secret = world.result("c-4", command("secret", "{}")).await;
    assert_eq!((secret.status, field(&secret, "password")), (CommandStatus::Success, None));
}

#[tokio::test]
async fn a_command_that_an_earlier_process_began_is_not_run_again() {
    let world = world();
    assert_eq!(world.buffer.begin_command("c-1", None).await, Ok(Remembered::New));
    let result = world.result("c-1", command("act", "{}")).await;
    assert_eq!(
        (result.status, field(&result, "indeterminate")),
        (CommandStatus::Failed, Some("true".into()))
    );
}

#[tokio::test]
async fn what_cannot_be_remembered_is_not_run() {
    let world = world();
    world.buffer.close().await;
    let result = world.result("c-1", command("act", "{}")).await;
    assert!(result.error.is_some_and(|error| error.contains("cannot be remembered: the buffer is closed")));
}

#[tokio::test]
async fn a_stop_ends_what_runs_and_what_waits() {
    let world = world();
    let most = AT_ONCE + 3;
    for n in 0..most {
        assert_eq!(world.dispatcher.take(&format!("c-{n}"), command("hang", "{}")).await, None);
    }
    // The same again: it is under way, so only its ack is due.
    assert_eq!(world.dispatcher.take("c-0", command("hang", "{}")).await, None);
    timeout(PATIENCE, world.dispatcher.stop()).await.unwrap();
    let results = world.buffer.unsettled_results().await;
    let count = |words: &str| results.iter().filter(|stored| stored.payload.as_str().contains(words)).count();
    assert_eq!((results.len(), count("it was not run") + count("\"stopped\"")), (most, most));
    let late = world.result("late", command("act", "{}")).await;
    assert!(late.error.is_some_and(|error| error.contains("the agent is stopping")));
}

#[tokio::test]
async fn a_command_that_does_not_get_its_turn_says_so() {
    let world = world();
    for n in 0..AT_ONCE {
        world.dispatcher.take(&format!("c-{n}"), command("hang", "{}")).await;
    }
    let mut hurried = command("act", "{}");
    hurried.timeout_seconds = 0;
    let result = world.result("hurried", hurried).await;
    assert!(result.error.is_some_and(|error| error.contains("ran for 1 s before this one's turn")));
}

#[tokio::test]
async fn too_many_at_once_are_refused_by_a_result() {
    let world = world();
    for n in 0..MOST_OPEN {
        world.dispatcher.take(&format!("c-{n}"), command("hang", "{}")).await;
    }
    let result = world.result("beyond", command("act", "{}")).await;
    assert!(result.error.is_some_and(|error| error.contains("are under way already")));
}

#[tokio::test]
async fn a_fire_is_not_repeated_under_another_id() {
    let world = world();
    let fire = || command("schedule.fire", r#"{"fire_id":"f-1"}"#);
    assert!(field(&world.result("c-1", fire()).await, "ran").is_some());
    let again = world.result("c-2", fire()).await;
    assert_eq!(field(&again, "dedup_key").as_deref(), Some("\"fire:f-1\""));
}

#[tokio::test]
async fn the_agent_answers_what_needs_no_engine() {
    let world = world_with(true, Duration::from_secs(10));
    let resync = world.result("c-1", command("schedule.resync", "{}")).await;
    assert_eq!(field(&resync, "ran").as_deref(), Some("\"c-1\""), "the adapter goes first");
    let young = world.result("c-2", command("restart_worker", "{}")).await;
    assert!(young.error.is_some_and(|error| error.contains("began 10 s ago")));
}

#[tokio::test]
async fn a_restart_says_goodbye_and_stops() {
    let world = world_with(true, Duration::from_secs(61));
    let result = world.result("c-1", command("restart_worker", r#"{"worker_name":"w-7"}"#)).await;
    assert_eq!(field(&result, "restarted_via").as_deref(), Some("\"self_exit\""));
    assert_eq!(field(&result, "worker_name").as_deref(), Some("\"w-7\""));
    let mut orders = world.orders.clone();
    timeout(PATIENCE, orders.wait_for(|orders| orders.stop)).await.unwrap().unwrap();
    let rows = world.buffer.read(0, Limit { events: 10, bytes: 1 << 20 }).await;
    assert!(rows.len() == 1 && rows[0].text.as_str().contains("\"kind\":\"worker.offline\""), "{rows:?}");
}

#[test]
fn health_names_every_engine() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let health = runtime.block_on(async { world().dispatcher.health() });
    assert_eq!(health.get("celery.adapter").map(String::as_str), Some("puppet"));
}
