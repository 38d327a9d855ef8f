//! The agent's end of the control socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{Answer, DEADLINE, MAX_REQUEST_BYTES, Request};
use crate::instance::{LOOK, is_private, listen};
use crate::orders::Commander;
use crate::status::Snapshot;

/// Most exchanges at once; who comes then waits in the kernel's queue.
const MAX_EXCHANGES: usize = 16;
/// How long to wait where no connection can be accepted (EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Answers on a control socket until it is dropped, and makes it again where its name is gone. `uid` is the
/// user who may ask, beside root.
pub(crate) async fn serve<S>(
    mut listener: UnixListener,
    path: PathBuf,
    uid: u32,
    source: S,
    commander: Commander,
) where
    S: Fn() -> Snapshot + Send + Sync + 'static,
{
    let source = Arc::new(source);
    let mut exchanges = JoinSet::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => listener = made_again(&path, uid).unwrap_or(listener),
            Some(_) = exchanges.join_next() => {}
            accepted = listener.accept(), if exchanges.len() < MAX_EXCHANGES => match accepted {
                Ok((stream, _)) => {
                    let (source, commander) = (Arc::clone(&source), commander.clone());
                    exchanges.spawn(async move {
                        // A peer that is slow, or gone, only harms itself.
                        let _ = tokio::time::timeout(DEADLINE, exchange(stream, uid, &*source, &commander)).await;
                    });
                }
                Err(error) => {
                    tracing::debug!("the control socket accepts nothing right now: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// A new socket if the name is gone and its directory is ours, or is ours again.
fn made_again(path: &Path, uid: u32) -> Option<UnixListener> {
    let gone = path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if !gone || !path.parent().is_some_and(|dir| is_private(dir, uid)) {
        return None;
    }
    listen(path).inspect_err(|error| tracing::debug!("the control socket is gone: {error}")).ok()
}

async fn exchange<S: Fn() -> Snapshot>(
    mut stream: UnixStream,
    uid: u32,
    source: &S,
    commander: &Commander,
) -> std::io::Result<()> {
    // The mode of the socket says the same; this holds even where somebody changed it.
    let peer = stream.peer_cred()?.uid();
    let answer = if peer == uid || peer == 0 {
        let mut line = Vec::new();
        let mut reader = BufReader::new(&mut stream).take(MAX_REQUEST_BYTES);
        reader.read_until(b'\n', &mut line).await?;
        answer(&line, source, commander)
    } else {
        Answer::Refused(format!("uid {peer} may not ask an agent of uid {uid}"))
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    stream.shutdown().await
}

fn answer<S: Fn() -> Snapshot>(line: &[u8], source: &S, commander: &Commander) -> Answer {
    if !line.ends_with(b"\n") && line.len() as u64 >= MAX_REQUEST_BYTES {
        return Answer::Refused(format!("a request is one line of at most {MAX_REQUEST_BYTES} bytes"));
    }
    match serde_json::from_slice(line) {
        Ok(Request::Status) => Answer::Status(Box::new(source())),
        Ok(Request::Restart) => {
            commander.reconnect();
            Answer::Restarting
        }
        Err(_) => {
            Answer::Refused("a request is {\"request\":\"status\"} or {\"request\":\"restart\"}".to_owned())
        }
    }
}
