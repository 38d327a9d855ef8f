//! A service manager inside the test.

use std::io;
use std::path::Path;

use crate::buffer::{Loss, Refused};
use crate::orders::Commander;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

struct World {
    manager: tokio::net::UnixDatagram,
    link: watch::Sender<LinkStatus>,
    buffer: Option<watch::Sender<BufferStatus>>,
    commander: Commander,
    _watching: tokio::task::JoinHandle<()>,
}

fn buffer() -> BufferStatus {
    BufferStatus {
        path: "/b".into(),
        buffer_id: "b".into(),
        events: 0,
        bytes: 0,
        unsettled_results: 0,
        oldest_at_micros: None,
        emptied_at_micros: None,
        last_id: 0,
        loss: Loss::default(),
        refused: None,
    }
}

impl World {
    fn new(manager: UnixDatagram, name: &OsStr, variables: &[(&str, String)]) -> io::Result<Self> {
        manager.set_nonblocking(true)?;
        let mut environment = Environment::capture();
        environment.variables.clear();
        environment.variables.insert("NOTIFY_SOCKET".into(), name.to_owned());
        environment.variables.extend(variables.iter().map(|(name, value)| ((*name).into(), value.into())));
        let (link, links) = watch::channel(LinkStatus::default());
        let (buffer, buffers) = watch::channel(buffer());
        let (commander, orders) = Commander::new();
        let watching = tokio::spawn(watch(environment, links, buffers, orders));
        let manager = tokio::net::UnixDatagram::from_std(manager)?;
        Ok(Self { manager, link, buffer: Some(buffer), commander, _watching: watching })
    }

    fn at(path: &Path, variables: &[(&str, String)]) -> io::Result<Self> {
        Self::new(UnixDatagram::bind(path)?, path.as_os_str(), variables)
    }

    async fn next(&self) -> io::Result<String> {
        let mut bytes = vec![0; 4096];
        let length = tokio::time::timeout(DEADLINE, self.manager.recv(&mut bytes)).await??;
        Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
    }

    fn set(&self, state: LinkState) {
        self.link.send_modify(|link| link.state = state);
    }
}

#[tokio::test]
async fn it_is_ready_when_the_first_attempt_failed_and_the_buffer_works() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let world = World::at(&dir.path().join("notify"), &[])?;
    assert_eq!(world.next().await?, "STATUS=starting");
    world.set(LinkState::Connecting);
    assert_eq!(world.next().await?, "STATUS=connecting");
    let refused = Refused { code: "ENOSPC".into(), text: "the disk is full".into() };
    if let Some(buffer) = &world.buffer {
        buffer.send_modify(|buffer| buffer.refused = Some(refused));
    }
    assert_eq!(world.next().await?, "STATUS=connecting; events are refused: the disk is full");
    world.set(LinkState::BackingOff);
    assert_eq!(
        world.next().await?,
        "STATUS=offline, events are buffered; events are refused: the disk is full"
    );
    if let Some(buffer) = &world.buffer {
        buffer.send_modify(|buffer| buffer.refused = None);
    }
    assert_eq!(world.next().await?, "STATUS=offline, events are buffered");
    assert_eq!(world.next().await?, "READY=1");
    Ok(())
}

#[tokio::test]
async fn an_abstract_socket_hears_of_reloads_and_of_the_end() -> io::Result<()> {
    let name = format!("z4j-test-{}", uuid::Uuid::new_v4());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let world = World::new(manager, OsStr::new(&format!("@{name}")), &[])?;
    world.link.send_modify(|link| {
        link.state = LinkState::Online;
        link.transport = Some("websocket".into());
        link.brain_version = Some("1.13.0\nX=1".into());
    });
    assert_eq!(world.next().await?, "STATUS=online over websocket, brain 1.13.0\\nX=1");
    assert_eq!(world.next().await?, "READY=1");
    world.commander.reconnect();
    assert!(world.next().await?.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(world.next().await?, "READY=1");
    world.commander.stop();
    assert_eq!(world.next().await?, "STOPPING=1");
    Ok(())
}

#[tokio::test]
async fn the_watchdog_is_fed_while_the_buffer_lives() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let usec = |usec: u64| ("WATCHDOG_USEC", usec.to_string());
    let mut world = World::at(&dir.path().join("a"), &[usec(20_000)])?;
    assert_eq!(world.next().await?, "STATUS=starting");
    assert_eq!(world.next().await?, "WATCHDOG=1");
    assert_eq!(world.next().await?, "WATCHDOG=1");
    world.buffer = None;
    // What was on its way is read; then there is silence.
    let silent =
        async { while tokio::time::timeout(Duration::from_millis(100), world.next()).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, silent).await?;
    let other = [usec(20_000), ("WATCHDOG_PID", "1".to_owned())];
    let mut environment = Environment::capture();
    environment.pid = 2;
    environment.variables.extend(other.map(|(name, value)| (name.into(), value.into())));
    assert!(watchdog(&environment).is_none());
    Ok(())
}
