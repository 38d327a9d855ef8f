//! How often one address may come: a window of a minute that slides.
//!
//! Owns the count of each address. Bounded; who is refused is not counted.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// The window.
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses remembered. Beyond, new ones are not counted.
const MAX_ADDRESSES: usize = 4_096;

/// The connects of the last minute.
pub(super) struct Rate {
    /// Most connects of an address in a window; 0 for any number.
    most: u32,
    connects: Mutex<HashMap<IpAddr, VecDeque<Instant>>>,
}

impl Rate {
    pub(super) fn new(most: u32) -> Self {
        Self { most, connects: Mutex::default() }
    }

    /// Counts a connect, or tells in how many seconds there is room for one.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        if self.most == 0 {
            return Ok(());
        }
        let mut all = lock(&self.connects);
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&address) {
            all.retain(|_, times| times.back().is_some_and(|last| now.duration_since(*last) < WINDOW));
            if all.len() >= MAX_ADDRESSES {
                return Ok(());
            }
        }
        let times = all.entry(address).or_default();
        while times.front().is_some_and(|first| now.duration_since(*first) >= WINDOW) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= self.most as usize => {
                let left = WINDOW.saturating_sub(now.duration_since(*first));
                Err((left + Duration::from_millis(999)).as_secs().max(1))
            }
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let (start, ip) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        let rate = Rate::new(2);
        let take = |seconds: u64, ip| rate.take(ip, start + Duration::from_secs(seconds));
        assert_eq!([take(0, ip), take(10, ip), take(11, ip)], [Ok(()), Ok(()), Err(49)]);
        assert_eq!(take(11, IpAddr::from([192, 0, 2, 2])), Ok(()));
        // The one that was refused did not count.
        assert_eq!([take(60, ip), take(61, ip), take(70, ip)], [Ok(()), Err(9), Ok(())]);
        assert_eq!(Rate::new(0).take(ip, start), Ok(()));
    }

    #[test]
    fn many_addresses_take_no_more_room() {
        let (start, rate) = (Instant::now(), Rate::new(1));
        for number in 0..u32::try_from(MAX_ADDRESSES + 100).unwrap() {
            assert_eq!(rate.take(IpAddr::from(number.to_be_bytes()), start), Ok(()));
        }
        assert_eq!(lock(&rate.connects).len(), MAX_ADDRESSES);
        assert_eq!(rate.take(IpAddr::from([255; 4]), start + WINDOW), Ok(()));
        assert_eq!(lock(&rate.connects).len(), 1);
    }
}
