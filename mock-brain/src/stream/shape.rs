//! How bytes are held up: later by a time, so many a second, so many at once.
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

/// How the bytes of one direction are shaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// They come so much later, and by up to the second time more.
    pub(crate) latency: Option<(Duration, Duration)>,
    /// So many a second.
    pub(crate) rate: Option<u32>,
    /// So many at once, with a time between two.
    pub(crate) slice: Option<(u32, Duration)>,
    /// So many in all.
    pub(crate) limit: Option<u32>,
}

/// Random times for a latency that is not always the same (SplitMix64).
struct Jitter(u64);

impl Jitter {
    fn of(&mut self, (time, most): (Duration, Duration)) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = (z >> 40) as f64 / f64::from(1_u32 << 24);
        time + most.mul_f64(part)
    }
}

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
    times: (Duration, Duration),
    jitter: Jitter,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    ended: bool,
    timer: Timer,
}

impl Delay {
    pub(super) fn new(times: (Duration, Duration), seed: u64) -> Self {
        let waiting = VecDeque::new();
        Self { times, jitter: Jitter(seed), waiting, bytes: 0, ended: false, timer: Timer::default() }
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
            // A byte does not overtake those before it.
            let due = Instant::now() + self.jitter.of(self.times);
            let due = self.waiting.back().map_or(due, |(before, _)| due.max(*before));
            self.waiting.push_back((due, space));
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

/// What holds up bytes that are written.
pub(super) struct Gate {
    way: Way,
    jitter: Jitter,
    meter: Option<Meter>,
    /// When the write that waits may go on.
    due: Option<Instant>,
    /// When the next slice may.
    next: Option<Instant>,
    timer: Timer,
    left: u64,
}

impl Gate {
    pub(super) fn new(way: Way, seed: u64) -> Self {
        Self {
            way,
            jitter: Jitter(seed),
            meter: way.rate.map(Meter::new),
            due: None,
            next: None,
            timer: Timer::default(),
            left: way.limit.map_or(u64::MAX, u64::from),
        }
    }

    /// How many of so many bytes may be written, once some may.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        if let Some(times) = self.way.latency {
            let due = match self.due {
                Some(due) => due,
                None => *self.due.insert(Instant::now() + self.jitter.of(times)),
            };
            ready!(self.timer.poll_until(context, due));
        }
        if let Some(next) = self.next.filter(|next| *next > Instant::now()) {
            ready!(self.timer.poll_until(context, next));
        }
        let mut most = wanted.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if let Some(meter) = &mut self.meter {
            ready!(meter.poll_ready(context));
            most = most.min(meter.chunk());
        }
        if let Some((bytes, _)) = self.way.slice {
            most = most.min(bytes as usize);
        }
        Poll::Ready(most)
    }

    /// So many bytes were written. Tells whether more may be, ever.
    pub(super) fn passed(&mut self, count: usize) -> bool {
        self.due = None;
        if let Some(meter) = &mut self.meter {
            meter.passed(count);
        }
        if let Some((_, pause)) = self.way.slice {
            self.next = Some(Instant::now() + pause);
        }
        self.left = self.left.saturating_sub(count as u64);
        self.left > 0
    }
}
