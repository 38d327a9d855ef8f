//! Where lines go: a thread that writes them, so that a reader of stderr that stalls does not stall the agent.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

/// Most lines that wait; what comes then is dropped and counted.
const QUEUE: usize = 1024;
/// How long the end of the log may take.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// What the writer is handed.
enum Item {
    Line(String),
    Flush(SyncSender<()>),
}

/// A handle to the writer. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    items: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Item")
    }
}

impl Sink {
    /// Writes to stderr.
    pub(crate) fn stderr() -> Self {
        Self::to(io::stderr())
    }

    /// Writes to anything.
    pub(super) fn to(out: impl Write + Send + 'static) -> Self {
        let (items, queue) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let writer = std::thread::Builder::new().name("log".to_owned());
        // Without a thread there is no log; the agent works all the same.
        let _ = writer.spawn(move || write_all(&queue, out, &counter));
        Self { items, dropped }
    }

    /// Writes a line, soon.
    pub(super) fn write(&self, line: String) {
        if self.items.try_send(Item::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a moment until everything before this is written.
    pub(super) fn flush(&self) {
        let (done, flushed) = mpsc::sync_channel(1);
        if self.items.try_send(Item::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH_WAIT);
        }
    }
}

/// Writes what comes. An output that is closed is no reason to do anything else.
fn write_all(queue: &Receiver<Item>, mut out: impl Write, dropped: &AtomicU64) {
    while let Ok(item) = queue.recv() {
        match item {
            Item::Line(line) => {
                let _ = out.write_all(line.as_bytes());
            }
            Item::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "z4j: {lost} lines of the log were dropped: nobody read them in time");
        }
    }
}
