//! How often agents come: a back-off that is too short is seen after a few times only.
//!
//! Owns the least pauses (docs/agent.md, back-off classes). A doctor beside its agent and an operator's
//! restart come out of turn, which is why one quick connect is none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use z4j_protocol::close;

use super::{Found, Rule};
use crate::lock::lock;
use crate::verdict::Closing;

/// So many connects in a row are too fast.
const TOO_OFTEN: u32 = 4;
/// As many come once within the least pause: 64 workers, each with a poll and a post.
const MAX_UNNAMED: u32 = 128;
/// Most agents remembered.
const MAX_KEYS: usize = 4_096;

/// A token, or a text with one, as it is remembered: its SHA-256. It need not be one that is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(token: &str) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(key)
    }
}

/// A worker of a token, as it is remembered; hello names it.
type Worker = (Key, Key);

struct Seen {
    ended: Instant,
    /// The least pause after that end.
    pause: Duration,
    fast: u32,
}

/// The refusals before hello in a row of windows.
struct Window {
    began: Instant,
    count: u32,
}

/// The agents that were sent away lately.
#[derive(Default)]
pub(crate) struct Connects {
    workers: Mutex<HashMap<Worker, Seen>>,
    unnamed: Mutex<HashMap<(Key, IpAddr), Window>>,
}

impl Connects {
    /// A worker says hello.
    pub(crate) fn arrived(&self, key: Key, worker: &str, now: Instant) -> Option<Found> {
        let mut all = lock(&self.workers);
        let seen = all.get_mut(&(key, Key::of(worker)))?;
        let after = now.saturating_duration_since(seen.ended);
        if after >= seen.pause {
            seen.fast = 0;
            return None;
        }
        seen.fast += 1;
        // Once for each streak.
        (seen.fast == TOO_OFTEN).then(|| {
            let (after, pause) = (after.as_millis(), seen.pause.as_millis());
            (Rule::ConnectTooFast, format!("back {after} ms after a refusal, and {pause} ms are the least"))
        })
    }

    /// A worker's session ended; one that proved itself is no reason to wait.
    pub(crate) fn ended(
        &self,
        key: Key,
        worker: &str,
        closing: Option<&Closing>,
        proved: bool,
        now: Instant,
    ) {
        let key = (key, Key::of(worker));
        let mut all = lock(&self.workers);
        let Some(pause) = closing.filter(|_| !proved).map(|closing| pause(closing.code)) else {
            all.remove(&key);
            return;
        };
        if all.len() >= MAX_KEYS && !all.contains_key(&key) {
            all.retain(|_, seen| now.saturating_duration_since(seen.ended) < seen.pause);
            if all.len() >= MAX_KEYS {
                return;
            }
        }
        let fast = all.get(&key).map_or(0, |seen| seen.fast);
        all.insert(key, Seen { ended: now, pause, fast });
    }

    /// Somebody was refused before any hello: which worker it was nobody knows. In each window as long as the
    /// least pause, as many as one agent may have come once, over long-poll with a poll and a post.
    pub(crate) fn refused(&self, key: Key, from: IpAddr, code: u16, now: Instant) -> Option<Found> {
        let mut all = lock(&self.unnamed);
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= pause(code);
        if all.len() >= MAX_KEYS && !all.contains_key(&(key, from)) {
            all.retain(|_, window| !is_over(window));
            if all.len() >= MAX_KEYS {
                return None;
            }
        }
        let window = all.entry((key, from)).or_insert(Window { began: now, count: 0 });
        if is_over(window) {
            *window = Window { began: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        (window.count == MAX_UNNAMED + TOO_OFTEN).then(|| {
            let (count, pause) = (window.count, pause(code).as_millis());
            let detail =
                format!("{count} refusals of one token within {pause} ms, and each worker waits so long");
            (Rule::ConnectTooFast, detail)
        })
    }
}

/// Below the shortest wait of the class that a close code is of; a margin is left for slow machines.
const fn pause(code: u16) -> Duration {
    match code {
        close::TOKEN | close::FORBIDDEN | close::REVOKED => Duration::from_secs(5),
        close::PROTOCOL | close::VERSION => Duration::from_secs(60),
        _ => Duration::from_millis(250),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_streak_is_too_fast() {
        let connects = Connects::default();
        let (key, start) = (Key::of("a"), Instant::now());
        let refused = Closing::new(close::FORBIDDEN, "");
        let mut at = start;
        let mut found = Vec::new();
        let mut comes = |pause: u64| {
            at += Duration::from_secs(pause);
            let seen = connects.arrived(key, "w", at);
            connects.ended(key, "w", Some(&refused), false, at);
            found.push(seen.map(|(rule, _)| rule));
        };
        // The schedule of the agents, with a doctor's run in between.
        for pause in [0, 10, 20, 1, 40, 80] {
            comes(pause);
        }
        for _ in 0..5 {
            comes(1);
        }
        let streak = [None, None, None, Some(Rule::ConnectTooFast), None];
        assert_eq!(found[..6], [None; 6]);
        assert_eq!(found[6..], streak);
        connects.ended(key, "w", Some(&refused), true, at);
        assert_eq!(connects.arrived(key, "w", at), None);
    }

    #[test]
    fn each_worker_has_its_own_streak() {
        let connects = Connects::default();
        let (key, now) = (Key::of("a"), Instant::now());
        let refused = Closing::new(close::FORBIDDEN, "");
        for number in 0..64 {
            let worker = number.to_string();
            assert_eq!(connects.arrived(key, &worker, now), None);
            connects.ended(key, &worker, Some(&refused), false, now);
        }
    }

    #[test]
    fn workers_without_a_name_come_once_each() {
        let connects = Connects::default();
        let (key, start) = (Key::of("a"), Instant::now());
        let from = IpAddr::from([127, 0, 0, 1]);
        let refused = |seconds| {
            let now = start + Duration::from_secs(seconds);
            connects.refused(key, from, close::TOKEN, now).map(|(rule, _)| rule)
        };
        for round in 0..10 {
            assert!((0..MAX_UNNAMED).all(|_| refused(round * 5).is_none()), "{round}");
        }
        let found = (0..200).filter_map(|_| refused(49)).count();
        assert_eq!(found, 1);
        assert_eq!(refused(55), None);
    }
}
