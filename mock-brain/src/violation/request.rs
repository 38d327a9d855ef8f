//! What is wrong with a request, before any session: the rules of headers and sizes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::{HOST, SEC_WEBSOCKET_PROTOCOL};

use super::{Found, Key, Rule};
use crate::lock::lock;
use crate::longpoll::decoded;

/// Whether a query bears a token, by its name or because it is one.
pub(crate) fn has_token(query: &str, is_token: impl Fn(&str) -> bool) -> bool {
    let names_token = |name: &str| {
        ["token", "access_token", "authorization"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().any(|(name, value)| names_token(&decoded(name)) || is_token(&decoded(value)))
}

/// What is wrong with a request to an agent's path; `line` is what it is told as.
pub(crate) fn judge_request(line: &str, has_token: bool, headers: &HeaderMap) -> Vec<Found> {
    let mut found = Vec::new();
    if has_token {
        found.push((Rule::TokenInQuery, format!("{line} with a token in its query")));
    }
    if headers.get(HOST).is_none_or(http::HeaderValue::is_empty) {
        found.push((Rule::HostMissing, line.to_owned()));
    }
    if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        found.push((Rule::Subprotocol, line.to_owned()));
    }
    found
}

/// How long a refused size is remembered.
const SIZE_MEMORY: Duration = Duration::from_secs(60);
/// Longest wait that an agent is held to; agents bound what a brain may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A request may be so much too early: clocks and queues differ.
const WAIT_SLACK: Duration = Duration::from_millis(200);
/// Most sessions remembered.
const MAX_KEYS: usize = 4_096;

#[derive(Default)]
struct Told {
    too_large: Option<(Instant, u64)>,
    /// Until when polls, and posts, were told to wait.
    wait: [Option<Instant>; 2],
}

impl Told {
    fn is_over(&self, now: Instant) -> bool {
        self.too_large.is_none_or(|(at, _)| now.saturating_duration_since(at) >= SIZE_MEMORY)
            && self.wait.iter().flatten().all(|until| *until <= now)
    }
}

/// What long-poll sessions were told lately, and are held to: workers of one token are not to blame for each
/// other.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<Key, Told>>);

impl Refusals {
    /// A body of this length gets 413.
    pub(crate) fn too_large(&self, key: Key, length: u64, now: Instant) -> Option<Found> {
        let mut all = lock(&self.0);
        let told = entry(&mut all, key, now)?;
        let before = told.too_large.filter(|(at, _)| now.saturating_duration_since(*at) < SIZE_MEMORY);
        let least = before.map_or(length, |(_, least)| least.min(length));
        told.too_large = Some((now, least));
        let (_, refused) = before.filter(|(_, least)| length >= *least)?;
        Some((Rule::TooLargeAgain, format!("{length} bytes after {refused} were too many")))
    }

    /// An answer asks to wait; `post` tells which kind of request.
    pub(crate) fn wait(&self, key: Key, post: bool, time: Duration, now: Instant) {
        let mut all = lock(&self.0);
        if let Some(told) = entry(&mut all, key, now) {
            told.wait[usize::from(post)] = Some(now + time.min(LONGEST_WAIT));
        }
    }

    /// A request comes.
    pub(crate) fn arrived(&self, key: Key, post: bool, now: Instant) -> Option<Found> {
        let mut all = lock(&self.0);
        let until = all.get_mut(&key)?.wait[usize::from(post)].take()?;
        let early = until.saturating_duration_since(now);
        let what = if post { "a post" } else { "a poll" };
        let found = || (Rule::RetryAfter, format!("{what} came {} ms early", early.as_millis()));
        (early > WAIT_SLACK).then(found)
    }
}

fn entry(all: &mut HashMap<Key, Told>, key: Key, now: Instant) -> Option<&mut Told> {
    if all.len() >= MAX_KEYS && !all.contains_key(&key) {
        all.retain(|_, told| !told.is_over(now));
        if all.len() >= MAX_KEYS {
            return None;
        }
    }
    Some(all.entry(key).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_learned_from_one_refusal() {
        let (told, key, start) = (Refusals::default(), Key::of("a"), Instant::now());
        let rule = |length, seconds| {
            told.too_large(key, length, start + Duration::from_secs(seconds)).map(|(rule, _)| rule)
        };
        let again = Some(Rule::TooLargeAgain);
        assert_eq!([rule(100, 0), rule(100, 1), rule(50, 2), rule(60, 3)], [None, again, None, again]);
        assert_eq!(rule(200, 70), None);
    }

    #[test]
    fn a_wait_is_waited_for() {
        let (told, key, start) = (Refusals::default(), Key::of("a"), Instant::now());
        told.wait(key, true, Duration::from_secs(5), start);
        let rule = |post, millis| {
            told.arrived(key, post, start + Duration::from_millis(millis)).map(|(rule, _)| rule)
        };
        assert_eq!(rule(false, 10), None);
        assert_eq!(rule(true, 3_000), Some(Rule::RetryAfter));
        told.wait(key, true, Duration::from_secs(5), start);
        assert_eq!(rule(true, 4_900), None);
    }

    #[test]
    fn sessions_that_are_over_make_room() {
        let (told, start) = (Refusals::default(), Instant::now());
        let refuse = |name: &str, seconds| {
            let (key, now) = (Key::of(name), start + Duration::from_secs(seconds));
            [told.too_large(key, 100, now), told.too_large(key, 100, now)].into_iter().flatten().count()
        };
        for number in 0..MAX_KEYS {
            assert_eq!(refuse(&number.to_string(), 0), 1);
        }
        assert_eq!(refuse("one more", 59), 0);
        assert_eq!(refuse("one more", 60), 1);
        assert_eq!(lock(&told.0).len(), 1);
    }

    #[test]
    fn a_token_in_a_query_is_known_by_its_name_or_itself() {
        let has = |query| has_token(query, |value| value == "a+b");
        for query in ["token", "x=1&TOKEN=y", "%74oken=y", "access%5Ftoken=y", "key=a%2Bb", "wait=a%2bb"] {
            assert!(has(query), "{query}");
        }
        for query in ["", "wait=0&max_frames=0", "key=a", "tokens=1"] {
            assert!(!has(query), "{query}");
        }
    }
}
