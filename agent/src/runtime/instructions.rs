//! The orders as the link follows them: each is told once.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::orders::Orders;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Drop the connection, or the wait for one, and connect at once.
    Reconnect,
    /// Flush, close, and be gone.
    Stop,
}

/// Where orders come from.
pub(super) struct Instructions {
    orders: watch::Receiver<Orders>,
    followed: u64,
    stop_timeout: Duration,
    stop_at: Option<Instant>,
}

impl Instructions {
    /// Orders from here on.
    pub(super) fn new(orders: watch::Receiver<Orders>, stop_timeout: Duration) -> Self {
        let followed = orders.borrow().reconnects;
        Self { orders, followed, stop_timeout, stop_at: None }
    }

    /// The next order. Stop comes once and is the last; the time to stop runs from then. Nothing is lost if
    /// this is given up.
    pub(super) async fn next(&mut self) -> Order {
        loop {
            let now = *self.orders.borrow_and_update();
            if now.stop && self.stop_at.is_none() {
                self.stop_at = Some(Instant::now() + self.stop_timeout);
                return Order::Stop;
            }
            let reconnects = now.reconnects > self.followed;
            self.followed = now.reconnects;
            if reconnects && self.stop_at.is_none() {
                return Order::Reconnect;
            }
            if self.orders.changed().await.is_err() {
                // Nobody is left to give any.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Until when to flush, once the order to stop was told.
    pub(super) const fn stop_at(&self) -> Option<Instant> {
        self.stop_at
    }

    /// Waits for a future unless an order comes first. If `despite_stop` holds when the order to stop comes, it
    /// may go on until the time to stop is up.
    ///
    /// # Errors
    /// The order.
    pub(super) async fn unless<T>(
        &mut self,
        despite_stop: impl Fn() -> bool,
        future: impl Future<Output = T>,
    ) -> Result<T, Order> {
        let mut future = pin!(future);
        loop {
            let stop_at = self.stop_at;
            let up = async {
                match stop_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                done = &mut future => return Ok(done),
                () = up => return Err(Order::Stop),
                order = self.next() => match order {
                    Order::Stop if despite_stop() => {}
                    order => return Err(order),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::Commander;

    #[tokio::test]
    async fn each_order_is_told_once_and_stop_is_the_last() {
        let (commander, receiver) = Commander::new();
        let mut instructions = Instructions::new(receiver, Duration::from_secs(5));
        commander.reconnect();
        commander.reconnect();
        assert_eq!(instructions.next().await, Order::Reconnect);
        commander.stop();
        commander.reconnect();
        assert_eq!(instructions.next().await, Order::Stop);
        assert!(instructions.stop_at().is_some());
        commander.reconnect();
        let more = tokio::time::timeout(Duration::from_millis(20), instructions.next()).await;
        assert!(more.is_err(), "{more:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_may_end_within_the_time_to_stop() {
        let (commander, receiver) = Commander::new();
        let mut instructions = Instructions::new(receiver, Duration::from_secs(5));
        commander.stop();
        let soon = tokio::time::sleep(Duration::from_secs(4));
        assert_eq!(instructions.unless(|| true, soon).await, Ok(()));
        let late = tokio::time::sleep(Duration::from_secs(4));
        assert_eq!(instructions.unless(|| true, late).await, Err(Order::Stop));
    }
}
