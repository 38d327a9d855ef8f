//! From one session to the next: which transport, and how long to wait.
//!
//! Owns the fallback of `auto` and the wait after a failure. Must not know frames.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Link;
use super::ended::Ended;
use super::failure::Failure;
use super::heartbeat::Reporter;
use super::instructions::{Instructions, Order};
use super::longpoll;
use super::progress::{Progress, Shares};
use super::websocket::{self, Opened, Unopened, Verdict};
use crate::buffer::BufferStatus;
use crate::config::Transport;
use crate::orders::Orders;

/// How often a WebSocket must be cut before hello_ack, in a row, before long-poll is tried.
const CUTS: u32 = 3;
/// How long after a WebSocket was tried in vain it is tried again, while long-poll works.
pub(super) const WEBSOCKET_AGAIN: Duration = Duration::from_secs(600);
/// What a session may take beyond the time to stop, for its farewell.
const GRACE: Duration = Duration::from_secs(2);

/// Keeps the link up.
pub(super) struct Supervisor {
    link: Link,
    orders: watch::Receiver<Orders>,
    instructions: Instructions,
    stop_timeout: Duration,
    progress: Progress,
    reporter: Reporter,
    websocket: websocket::Memory,
    longpoll: longpoll::Memory,
    /// In `auto`: whether long-poll carries, and how often in a row a WebSocket was cut.
    fallen_back: bool,
    cuts: u32,
    websocket_at: Instant,
    told_fallback: bool,
    /// Why secrets could not be read anew, if that was told.
    told_unread: Option<String>,
}

impl Supervisor {
    pub(super) fn new(
        link: Link,
        orders: watch::Receiver<Orders>,
        stop_timeout: Duration,
        shares: Shares,
    ) -> Self {
        Self {
            instructions: Instructions::new(orders.clone(), stop_timeout),
            progress: Progress::new(link.status.clone(), link.clock(), shares, link.ids.clone()),
            reporter: Reporter::new(&link.hello, &link.config, link.environment.pid),
            websocket: websocket::Memory::default(),
            longpoll: longpoll::Memory::default(),
            fallen_back: false,
            cuts: 0,
            websocket_at: Instant::now(),
            told_fallback: false,
            told_unread: None,
            link,
            orders,
            stop_timeout,
        }
    }

    /// Runs until the order to stop has been followed.
    pub(super) async fn run(mut self) {
        let (mut orders, time) = (self.orders.clone(), self.stop_timeout.saturating_add(GRACE));
        tokio::select! {
            () = self.keep_up() => {}
            () = overdue(&mut orders, time) => tracing::warn!("the time to stop is up; what is left stays in the buffer"),
        }
        self.progress.offline();
        self.progress.stopping();
    }

    async fn keep_up(&mut self) {
        let mut switched: Option<Box<Opened>> = None;
        loop {
            let ended = match switched.take() {
                Some(opened) => self.websocket_session(*opened).await,
                None => self.attempt().await,
            };
            match ended {
                Ended::Stopped => return,
                Ended::Reconnect => {
                    tracing::info!("connecting anew, by order");
                    self.progress.ordered();
                    // Who asks for it may have mended what kept WebSockets from passing.
                    self.fallen_back = false;
                }
                Ended::Switched(opened) => switched = Some(opened),
                Ended::Failed(failure) => {
                    let wait = self.progress.failed(&failure, self.latest_attempt());
                    if !self.may_go_on(wait).await {
                        return;
                    }
                }
            }
        }
    }

    /// Waits before the next attempt. Whether there is to be one: an agent that stops makes more for as long as
    /// its time lasts, if something waits to be sent.
    async fn may_go_on(&mut self, wait: Option<Duration>) -> bool {
        let Some(wait) = wait else { return false };
        let is_stopping = self.instructions.stop_at().is_some();
        match self.instructions.unless(|| false, sleep(wait)).await {
            Ok(()) | Err(Order::Reconnect) => true,
            Err(Order::Stop) if is_stopping => false,
            Err(Order::Stop) => {
                self.progress.stopping();
                self.has_something_to_send()
            }
        }
    }

    /// Before when another attempt has to begin; none where that does not matter.
    fn latest_attempt(&self) -> Option<Instant> {
        let stop_at = self.instructions.stop_at()?;
        Some(if self.has_something_to_send() { stop_at } else { Instant::now() })
    }

    fn has_something_to_send(&self) -> bool {
        waits(&self.link.buffer.status())
    }

    async fn attempt(&mut self) -> Ended {
        let unread = self.link.refresh().await.err();
        if let Some(sentence) = unread.as_ref().filter(|_| unread != self.told_unread) {
            tracing::warn!("the secrets cannot be read anew, and stay as they are: {sentence}");
        }
        self.told_unread = unread;
        match self.link.config.transport {
            Transport::Ws => self.over_websocket().await,
            Transport::Longpoll => self.over_longpoll().await,
            Transport::Auto if self.fallen_back => self.over_longpoll().await,
            Transport::Auto => self.over_either().await,
        }
    }

    async fn over_websocket(&mut self) -> Ended {
        match self.open_websocket().await {
            Ok(opened) => self.websocket_session(opened).await,
            Err(Ok(unopened)) => unopened.failure.into(),
            Err(Err(ended)) => ended,
        }
    }

    /// WebSocket first, and long-poll where that is what is left.
    async fn over_either(&mut self) -> Ended {
        let unopened = match self.open_websocket().await {
            Ok(opened) => return self.websocket_session(opened).await,
            Err(Err(ended)) => return ended,
            Err(Ok(unopened)) => unopened,
        };
        self.cuts = if unopened.verdict == Verdict::Cut { self.cuts + 1 } else { 0 };
        if unopened.verdict != Verdict::Stripped && self.cuts < CUTS {
            return unopened.failure.into();
        }
        self.progress.connecting("long-poll");
        let opened = longpoll::open(&self.link);
        match self.instructions.unless(|| true, opened).await {
            Ok(Ok(opened)) => {
                self.tell_fallback(&unopened.failure);
                self.fallen_back = true;
                self.longpoll_session(opened).await
            }
            // Neither carries: then it is not the WebSocket that is in the way.
            Ok(Err(_)) => unopened.failure.into(),
            Err(order) => order.into(),
        }
    }

    fn tell_fallback(&mut self, failure: &Failure) {
        if std::mem::replace(&mut self.told_fallback, true) {
            return;
        }
        let code = failure.diagnosis.code.map(|code| format!(" [{code}]")).unwrap_or_default();
        tracing::warn!(
            "no WebSocket: {}{code}; long-poll takes over, and a WebSocket is tried again every {} minutes",
            failure.diagnosis.sentence,
            WEBSOCKET_AGAIN.as_secs() / 60
        );
    }

    async fn open_websocket(&mut self) -> Result<Opened, Result<Unopened, Ended>> {
        self.progress.connecting("websocket");
        self.websocket_at = Instant::now();
        let status = self.link.buffer.status();
        match self.instructions.unless(|| waits(&status), websocket::open(&self.link)).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(unopened)) => Err(Ok(*unopened)),
            Err(order) => Err(Err(order.into())),
        }
    }

    async fn websocket_session(&mut self, opened: Opened) -> Ended {
        self.fallen_back = false;
        self.cuts = 0;
        self.told_fallback = false;
        let (progress, orders) = (&mut self.progress, &mut self.instructions);
        websocket::run(&self.link, &self.reporter, progress, orders, &mut self.websocket, opened).await
    }

    async fn over_longpoll(&mut self) -> Ended {
        self.progress.connecting("long-poll");
        let status = self.link.buffer.status();
        let opened = longpoll::open(&self.link);
        match self.instructions.unless(|| waits(&status), opened).await {
            Ok(Ok(opened)) => self.longpoll_session(opened).await,
            Ok(Err(failure)) => {
                // What carried does not any more: the next attempt looks at both again.
                self.fallen_back = false;
                failure.into()
            }
            Err(order) => order.into(),
        }
    }

    async fn longpoll_session(&mut self, opened: longpoll::Opened) -> Ended {
        let again = (self.link.config.transport == Transport::Auto).then_some(self.websocket_at);
        let (progress, orders) = (&mut self.progress, &mut self.instructions);
        let (ended, tried_at) =
            longpoll::run(&self.link, &self.reporter, progress, orders, &mut self.longpoll, opened, again)
                .await;
        self.websocket_at = tried_at.unwrap_or(self.websocket_at);
        ended
    }
}

impl From<Order> for Ended {
    fn from(order: Order) -> Self {
        match order {
            Order::Reconnect => Self::Reconnect,
            Order::Stop => Self::Stopped,
        }
    }
}

/// Whether a buffer has something for the brain.
fn waits(status: &watch::Receiver<BufferStatus>) -> bool {
    let status = status.borrow();
    status.events > 0 || status.unsettled_results > 0
}

/// Waits for the order to stop, and then for the time to be up.
async fn overdue(orders: &mut watch::Receiver<Orders>, time: Duration) {
    if orders.wait_for(|orders| orders.stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep_until(Instant::now() + time).await;
}
