//! The events of the buffer, from the oldest on, read one batch ahead.
//!
//! Owns the place up to which this session has read. Must not forget an event: only an ack does.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::buffer::{Buffer, BufferStatus, Limit, Row};

/// How long after a read that brought nothing the next one may be made. A buffer that cannot be read answers
/// at once, and must not be asked in a loop.
const PAUSE: Duration = Duration::from_secs(1);

/// A read.
type Reading = Pin<Box<dyn Future<Output = Vec<Row>> + Send>>;

/// Reads.
pub(super) struct Reader {
    buffer: Buffer,
    status: watch::Receiver<BufferStatus>,
    limit: Limit,
    /// The last place that was read.
    cursor: i64,
    /// Up to where there was nothing behind the cursor, and when that was.
    nothing_up_to: Option<(i64, Instant)>,
    /// A read that is under way, and the last place that was in use when it began.
    reading: Option<(i64, Reading)>,
    rows: Vec<Row>,
}

impl Reader {
    /// A reader from the oldest event on.
    pub(super) fn new(buffer: &Buffer, limit: Limit) -> Self {
        Self {
            buffer: buffer.clone(),
            status: buffer.status(),
            limit,
            cursor: 0,
            nothing_up_to: None,
            reading: None,
            rows: Vec::new(),
        }
    }

    /// How much the reads from now on bring.
    pub(super) fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
    }

    /// Waits until there are events, or a read has brought none: whoever flushes waits for that. Nothing is
    /// lost if this is given up.
    pub(super) async fn ready(&mut self) {
        while self.rows.is_empty() {
            if let Some((last, reading)) = &mut self.reading {
                let (last, rows) = (*last, reading.await);
                self.reading = None;
                self.nothing_up_to = rows.is_empty().then(|| (last, Instant::now()));
                self.cursor = rows.last().map_or(self.cursor, |row| row.id);
                self.rows = rows;
                return;
            }
            let last = self.status.borrow_and_update().last_id;
            if let Some((up_to, at)) = self.nothing_up_to
                && last <= up_to
            {
                self.wait(at).await;
                continue;
            }
            let (buffer, cursor, limit) = (self.buffer.clone(), self.cursor, self.limit);
            self.reading = Some((last, Box::pin(async move { buffer.read(cursor, limit).await })));
        }
    }

    /// Waits for a change, or for another attempt where events should be there.
    async fn wait(&mut self, since: Instant) {
        let missing = {
            let status = self.status.borrow();
            status.last_id > self.cursor && status.events > 0
        };
        let again = async {
            if missing {
                sleep_until(since + PAUSE).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            Ok(()) = self.status.changed() => {}
            () = again => self.nothing_up_to = None,
            // Both only if the buffer is gone: there will be nothing.
            else => std::future::pending().await,
        }
    }

    /// Whether events have been read that nobody took.
    pub(super) fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    /// How many events have been read that nobody took, and their bytes, commas included.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.iter().map(|row| row.text.as_str().len() + 1).sum())
    }

    /// The events that have been read.
    pub(super) fn take(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// Whether nothing waits behind what has been taken, as far as is known.
    pub(super) fn is_dry(&self) -> bool {
        let last = self.status.borrow().last_id;
        self.rows.is_empty() && self.reading.is_none() && self.nothing_up_to.is_some_and(|(at, _)| last <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::tests::intake;

    #[tokio::test]
    async fn a_read_that_brings_nothing_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let intake = intake(dir.path());
        let mut reader = Reader::new(&intake.buffer, Limit { events: 10, bytes: 1_000 });
        assert!(!reader.is_dry());
        tokio::time::timeout(Duration::from_secs(10), reader.ready()).await.unwrap();
        assert!(reader.is_dry() && !reader.has_rows());
        let again = tokio::time::timeout(Duration::from_millis(20), reader.ready()).await;
        assert!(again.is_err());
    }
}
