//! What keeps a signed frame from being taken twice: time window, sequence, nonces.
//!
//! Owns one direction of one session. It must not read a clock: `now` is passed in.

use std::collections::{HashSet, VecDeque};

use aws_lc_rs::digest;

use crate::integer::Integer;
use crate::refusal::Reason;
use crate::timestamp::Timestamp;

/// Most seconds between a frame's `ts` and the receiver's clock.
pub const SKEW_SECONDS: i64 = 60;

/// How long a nonce is remembered, in seconds.
pub const NONCE_WINDOW_SECONDS: i64 = 180;

/// How many nonces are remembered.
pub const NONCE_CAPACITY: usize = 4_096;

/// A nonce as it is remembered: the first 16 bytes of its SHA-256, so that a peer's long nonces cost nothing.
type Fingerprint = [u8; 16];

/// The replay guard of one session and direction.
#[derive(Debug, Default)]
pub struct ReplayGuard {
    last_seq: Option<Integer>,
    order: VecDeque<(Timestamp, Fingerprint)>,
    seen: HashSet<Fingerprint>,
}

impl ReplayGuard {
    /// Takes a frame's three values if all rules hold, and otherwise leaves the state as it was.
    ///
    /// # Errors
    /// The first rule broken, in the order skew, sequence, nonce.
    pub fn accept(&mut self, seq: Integer, nonce: &str, ts: Timestamp, now: Timestamp) -> Result<(), Reason> {
        if ts.micros_since(now).unsigned_abs() > SKEW_SECONDS.unsigned_abs() * 1_000_000 {
            return Err(Reason::TsSkew);
        }
        if self.last_seq.as_ref().is_some_and(|last| seq <= *last) {
            return Err(Reason::SeqNotIncreasing);
        }
        self.forget_old(now);
        let fingerprint = fingerprint(nonce);
        if !self.seen.insert(fingerprint) {
            return Err(Reason::NonceReused);
        }
        if self.order.len() == NONCE_CAPACITY {
            self.forget_first();
        }
        self.order.push_back((now, fingerprint));
        self.last_seq = Some(seq);
        Ok(())
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((seen_at, _)) = self.order.front()
            && now.micros_since(*seen_at) > NONCE_WINDOW_SECONDS * 1_000_000
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, fingerprint)) = self.order.pop_front() {
            self.seen.remove(&fingerprint);
        }
    }
}

fn fingerprint(nonce: &str) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, nonce.as_bytes());
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&digest.as_ref()[..16]);
    fingerprint
}
