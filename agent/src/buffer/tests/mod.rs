//! A world for buffers: a home, a temporary directory, and nothing of the machine's own roots.

mod adoption;
mod bounds;
mod crash;
mod damage;
mod measure;
mod places;
mod trouble;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use z4j_protocol::{CanonicalText, Timestamp};

use super::place::{Chooser, Place};
use super::{Bounds, Buffer, BufferStatus, Limit, NewEvent, Row, StoredResult, open};
use crate::clock::Clock;
use crate::environment::Environment;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const ROOMY: Bounds = Bounds { events: 1_000_000, bytes: 1 << 30 };
const ALL: Limit = Limit { events: usize::MAX, bytes: usize::MAX };
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    dir: TempDir,
}

/// The roots of a test lie where its variables say, and nowhere else.
fn roots_of_test(environment: &Environment, home: Option<&Path>) -> Vec<PathBuf> {
    let temporary =
        environment.path("TMPDIR").map(|base| base.join(format!("z4j-{}", environment.account.uid)));
    home.map(Path::to_owned).into_iter().chain(temporary).filter(|root| root.is_dir()).collect()
}

impl World {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("home"))?;
        std::fs::create_dir(dir.path().join("tmp"))?;
        Ok(Self { dir })
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home/.z4j")
    }

    fn temporary(&self) -> PathBuf {
        self.dir.path().join(format!("tmp/z4j-{}", nix::unistd::Uid::effective()))
    }

    /// A process with this id.
    fn chooser(&self, pid: u32) -> Chooser {
        chooser(self.dir.path(), pid)
    }

    fn explicit(&self, written: &str) -> Chooser {
        Chooser { written: Some(PathBuf::from(written)), ..self.chooser(1) }
    }

    fn open(&self, pid: u32, bounds: Bounds) -> Result<Buffer, Box<dyn std::error::Error>> {
        Ok(open(self.chooser(pid).choose()?, bounds, Clock::system())?)
    }
}

/// A buffer below a directory, for the tests of other modules.
pub(crate) fn buffer_in(dir: &Path) -> Buffer {
    std::fs::create_dir_all(dir.join("tmp")).unwrap();
    open(chooser(dir, 1).choose().unwrap(), ROOMY, Clock::system()).unwrap()
}

fn chooser(dir: &Path, pid: u32) -> Chooser {
    let mut environment = Environment::capture();
    environment.variables = [(OsString::from("TMPDIR"), dir.join("tmp").into_os_string())].into();
    environment.pid = pid;
    Chooser {
        environment,
        home: Some(dir.join("home/.z4j")),
        written: None,
        deployment: "a".repeat(16),
        every_root: roots_of_test,
    }
}

/// What a process leaves that dies: the files as they are, and a lock that can be taken.
fn crash(place: Place, events: &[&str]) -> TestResult {
    let mut store = super::store::Store::open(&place.path).map_err(|unusable| format!("{unusable:?}"))?;
    store.write(super::store::Durability::Full, |store| {
        events.iter().try_for_each(|event| store.insert(1, event))
    })?;
    store.abandon();
    drop(place);
    Ok(())
}

fn event(number: usize) -> NewEvent {
    NewEvent { text: CanonicalText::kept(format!("{{\"n\":{number}}}")) }
}

fn result(id: &str) -> StoredResult {
    StoredResult { command_id: id.to_owned(), payload: CanonicalText::kept(format!("{{\"of\":\"{id}\"}}")) }
}

fn texts(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.text.as_str()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until the buffer is as it should be.
async fn until(buffer: &Buffer, is_so: impl Fn(&BufferStatus) -> bool) -> Result<BufferStatus, String> {
    let mut status = buffer.status();
    let waited = tokio::time::timeout(PATIENCE, status.wait_for(|status| is_so(status))).await;
    match waited {
        Ok(Ok(status)) => Ok(status.clone()),
        Ok(Err(_)) => Err("the writer ended".to_owned()),
        Err(_) => Err(format!("it stays {:?}", buffer.status().borrow())),
    }
}

/// Waits until something that no status says has happened.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

fn long_ago() -> Timestamp {
    Timestamp::from_unix_micros(1)
}

#[tokio::test]
async fn what_is_appended_is_read_until_it_is_settled() -> TestResult {
    let world = World::new()?;
    let buffer = world.open(7, ROOMY)?;
    buffer.append((0..10).map(event).collect()).await?;
    let rows = buffer.read(0, Limit { events: 4, bytes: usize::MAX }).await;
    assert_eq!(texts(&rows), ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
    assert_eq!(buffer.read(rows[3].id, Limit { events: 100, bytes: 16 }).await.len(), 2);
    assert_eq!(buffer.read(rows[3].id, Limit { events: 100, bytes: 1 }).await.len(), 1);
    buffer.settle(rows[0].id, rows[3].id).await;
    buffer.reject(rows[3].id + 1).await;
    let status = until(&buffer, |status| status.events == 5).await?;
    assert_eq!((status.bytes, status.last_id), (35, 10));
    assert_eq!((status.loss.content_rejected, status.loss.events), (1, 1));
    buffer.settle(1, 10).await;
    let status = until(&buffer, |status| status.events == 0).await?;
    assert!(status.emptied_at_micros.is_some() && status.oldest_at_micros.is_none());
    buffer.append(vec![event(11)]).await?;
    assert_eq!(buffer.read(0, ALL).await[0].id, 11);
    Ok(())
}

#[tokio::test]
async fn a_clean_close_leaves_files_only_where_they_are_needed() -> TestResult {
    let world = World::new()?;
    let buffer = world.open(7, ROOMY)?;
    assert_eq!(names(&world.home()), ["buffer-7.sqlite", "buffer-7.sqlite-wal", "buffer-7.sqlite.lock"]);
    buffer.append(vec![event(1)]).await?;
    buffer.settle(1, 1).await;
    buffer.close().await;
    assert_eq!(names(&world.home()), Vec::<String>::new());
    assert_eq!(buffer.append(vec![event(1)]).await.map_err(|refused| refused.code), Err("closed".to_owned()));
    let buffer = world.open(7, ROOMY)?;
    buffer.append(vec![event(2)]).await?;
    buffer.close().await;
    assert_eq!(names(&world.home()), ["buffer-7.sqlite", "buffer-7.sqlite.lock"]);
    let buffer = world.open(7, ROOMY)?;
    assert_eq!(texts(&buffer.read(0, ALL).await), ["{\"n\":2}"]);
    Ok(())
}

#[tokio::test]
async fn commands_are_remembered() -> TestResult {
    use super::Remembered;
    let world = World::new()?;
    let buffer = world.open(7, ROOMY)?;
    assert_eq!(buffer.begin_command("a", None).await?, Remembered::New);
    assert_eq!(buffer.begin_command("a", None).await?, Remembered::Begun);
    buffer.finish_command(result("a")).await?;
    assert_eq!(buffer.begin_command("a", None).await?, Remembered::Done(result("a")));
    assert_eq!(buffer.unsettled_results().await, [result("a")]);
    assert_eq!(buffer.status().borrow().unsettled_results, 1);
    buffer.settle_results(vec![String::from("a")]).await;
    until(&buffer, |status| status.unsettled_results == 0).await?;
    assert_eq!(buffer.begin_command("a", None).await?, Remembered::Done(result("a")));
    assert_eq!(buffer.begin_command("b", Some("claim")).await?, Remembered::New);
    // The next process remembers them too, and says of what ran that nobody knows.
    buffer.close().await;
    let buffer = world.open(7, ROOMY)?;
    assert_eq!(buffer.begin_command("a", None).await?, Remembered::Done(result("a")));
    let left = buffer.unsettled_results().await;
    let [interrupted] = left.as_slice() else { return Err(format!("{left:?}").into()) };
    for part in ["\"indeterminate\":true", "\"failed\"", "\"claim\"", "unknown"] {
        assert!(interrupted.payload.as_str().contains(part), "{interrupted:?}");
    }
    Ok(())
}

#[tokio::test]
async fn old_commands_are_forgotten() -> TestResult {
    let world = World::new()?;
    let place = world.chooser(7).choose()?;
    let mut store = super::store::Store::open(&place.path).map_err(|unusable| format!("{unusable:?}"))?;
    let then = long_ago().unix_micros();
    store.write(super::store::Durability::Full, |store| {
        store.finish(&result("a"), then)?;
        store.finish(&result("b"), then)?;
        store.settle_result("a", then)
    })?;
    let limit = super::results::MEMORY_MICROS;
    for (now, left) in [(then + limit, 2), (then + limit + 1, 1)] {
        store.write(super::store::Durability::Full, |store| store.prune_commands(now))?;
        assert_eq!(store.commands()?.len(), left);
    }
    Ok(())
}
