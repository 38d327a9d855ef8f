//! How bytes are held up: later by a time, or so many a second.
//!
//! Owns the waiting. Must not touch the socket.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep_until};

/// Most bytes that wait.
const MAX_WAITING: usize = 256 << 10;
/// Most bytes of one read.
const READ: usize = 16 << 10;

/// A timer that is made when it is first needed.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn poll_until(&mut self, context: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(context)
    }
}

/// What was read, until it is due.
pub(super) struct Delay {
    time: Duration,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    ended: bool,
    timer: Timer,
}

impl Delay {
    pub(super) fn new(time: Duration) -> Self {
        Self { time, waiting: VecDeque::new(), bytes: 0, ended: false, timer: Timer::default() }
    }

    /// Reads what there is, and gives out what is due. The end of the stream is late too.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        mut inner: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        while !self.ended && self.bytes < MAX_WAITING {
            let mut space = vec![0; READ];
            let mut read = ReadBuf::new(&mut space);
            match inner(context, &mut read) {
                Poll::Pending => break,
                Poll::Ready(done) => done?,
            }
            let count = read.filled().len();
            space.truncate(count);
            self.ended = count == 0;
            self.bytes += count;
            self.waiting.push_back((Instant::now() + self.time, space));
        }
        let Some((due, bytes)) = self.waiting.front_mut() else {
            return if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        ready!(self.timer.poll_until(context, *due));
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..count]);
        bytes.drain(..count);
        self.bytes -= count;
        if bytes.is_empty() {
            self.waiting.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes a second.
pub(super) struct Meter {
    rate: u32,
    next: Option<Instant>,
    timer: Timer,
}

impl Meter {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, next: None, timer: Timer::default() }
    }

    /// How many bytes may pass at once: those of a twentieth of a second.
    pub(super) fn chunk(&self) -> usize {
        usize::try_from(self.rate / 20).unwrap_or(READ).clamp(1, READ)
    }

    /// Whether the next ones may pass.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.next {
            Some(next) if next > Instant::now() => self.timer.poll_until(context, next),
            _ => Poll::Ready(()),
        }
    }

    pub(super) fn passed(&mut self, count: usize) {
        let took = Duration::from_secs_f64(count as f64 / f64::from(self.rate.max(1)));
        let from = self.next.map_or_else(Instant::now, |next| next.max(Instant::now()));
        self.next = Some(from + took);
    }
}
