//! Simulated agents against any brain: how many it takes, how fast, and how long its acknowledgements take.
//!
//! Owns the run: connect all, send for a time, wait for what is out, count. Every bound is here or in the plan,
//! so that a run that nobody looks at ends. Must not know this brain from inside: it meets it on the wire, as
//! any other.

mod agent;
mod events;
mod identity;
mod mint;
mod plot;
mod report;
mod rest;
mod session;
mod stats;
mod target;

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::CreationError;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

pub(crate) use identity::{Identity, Secret, read_tokens};
pub(crate) use mint::{Login, Minted, by_control, by_rest, identity, revoke};
pub(crate) use plot::draw;
pub(crate) use report::{Report, shown};
pub(crate) use stats::Now;
use stats::Stats;
pub(crate) use target::Target;

/// Worker slots that a brain gives to one token.
pub(crate) const SLOTS: usize = 64;
/// How long acknowledgements are waited for after the last batch.
const DRAIN: Duration = Duration::from_secs(5);
/// How long one connect may take, hello_ack included.
const CONNECT: Duration = Duration::from_secs(30);
/// How long all of them may take.
const CONNECT_ALL: Duration = Duration::from_secs(300);
/// Most slices of a run's curve.
const MAX_SLICES: u32 = 120;
/// Shortest slice.
const MIN_SLICE: Duration = Duration::from_millis(250);

/// How many events are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    /// So many a second, of all agents together; 0 for none.
    PerSecond(f64),
    /// As many as are acknowledged.
    Max,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) agents: usize,
    pub(crate) rate: Rate,
    /// How long events are sent once all are connected.
    pub(crate) duration: Duration,
    /// Events in a batch.
    pub(crate) batch: usize,
    /// Batches of one agent that may wait for their acknowledgement.
    pub(crate) window: usize,
    /// How often an agent says that it lives; none for never.
    pub(crate) heartbeat: Heartbeat,
    /// How many connect at a time.
    pub(crate) connecting: usize,
}

/// Least batches of a run, and of each agent in it, as far as there are events for them.
const LEAST_BATCHES: f64 = 10.0;
const LEAST_BATCHES_OF_AGENT: f64 = 2.0;

impl Plan {
    /// Events of a batch: fewer than were asked for where the rate does not earn that many often enough.
    pub(crate) fn paced_batch(&self) -> usize {
        let Rate::PerSecond(rate) = self.rate else { return self.batch };
        let events = rate * self.duration.as_secs_f64();
        let of_agent = events / self.agents.max(1) as f64;
        let most = (events / LEAST_BATCHES).min(of_agent / LEAST_BATCHES_OF_AGENT).max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 or more; it saturates"
        )]
        let most = most as usize;
        most.min(self.batch)
    }
}

/// How often an agent says that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// As the brain says in hello_ack.
    AsTold,
    Every(Duration),
    Never,
}

/// How far a run is, as every agent sees it.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    Sending(Instant),
    Ending,
}

/// What the agents of a run share.
struct Shared {
    plan: Plan,
    target: Target,
    identities: Vec<Identity>,
    stats: Stats,
    phase: watch::Sender<Phase>,
    connecting: Semaphore,
    /// What tells this run's tasks from those of others.
    run: String,
}

/// Runs a plan to its end. `tell` is called now and then with how it is.
///
/// There is at least one identity; agents beyond their number share them.
pub(crate) async fn run(
    plan: Plan,
    target: Target,
    identities: Vec<Identity>,
    mut tell: impl FnMut(&Now),
) -> Result<Report, CreationError> {
    let slice = (plan.duration / MAX_SLICES).max(MIN_SLICE);
    let shared = Arc::new(Shared {
        connecting: Semaphore::new(plan.connecting.max(1)),
        phase: watch::Sender::new(Phase::Connecting),
        stats: Stats::new(plan.agents)?,
        run: crate::random::hex::<4>(),
        plan,
        target,
        identities,
    });
    let mut agents = JoinSet::new();
    for index in 0..shared.plan.agents {
        agents.spawn(agent::run(Arc::clone(&shared), index));
    }
    let mut ticks = interval(MIN_SLICE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // All have tried once nobody is left who could still be let in.
    let connected = async {
        while !shared.stats.all_tried() {
            ticks.tick().await;
            tell(&shared.stats.now());
        }
    };
    // Those that are still at it join while the others send.
    let _ = timeout(CONNECT_ALL, connected).await;
    send(&shared, slice, &mut tell, &mut agents).await;
    shared.stats.end(Instant::now());
    shared.phase.send_replace(Phase::Ending);
    let _ = timeout(DRAIN + DRAIN, async { while agents.join_next().await.is_some() {} }).await;
    agents.abort_all();
    Ok(shared.stats.report(&shared.plan, shared.target.shown()))
}

/// Lets the agents send for the time of the plan, or until none is left.
async fn send(shared: &Arc<Shared>, slice: Duration, tell: &mut impl FnMut(&Now), agents: &mut JoinSet<()>) {
    let start = Instant::now();
    shared.stats.begin(start);
    shared.phase.send_replace(Phase::Sending(start));
    let end = start + shared.plan.duration;
    let mut next = start + slice;
    while Instant::now() < end && !agents.is_empty() {
        tokio::select! {
            () = tokio::time::sleep_until(next.min(end)) => {
                shared.stats.close_slice(Instant::now());
                tell(&shared.stats.now());
                next += slice;
            }
            _ = agents.join_next() => {}
        }
    }
}
