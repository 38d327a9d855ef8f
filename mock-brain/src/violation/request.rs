//! What is wrong with a request, before any session: the rules of headers and sizes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::header::{HOST, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Uri};

use super::{Found, Key, Rule};
use crate::lock::lock;

/// Whether a query bears a token by its name.
pub(crate) fn has_token(query: &str) -> bool {
    let is_token = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        ["token", "access_token", "authorization"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    query.split('&').any(is_token)
}

/// What is wrong with a request to an agent's path.
pub(crate) fn judge_request(uri: &Uri, headers: &HeaderMap) -> Vec<Found> {
    let mut found = Vec::new();
    let path = uri.path();
    if uri.query().is_some_and(has_token) {
        // The query itself is not told.
        found.push((Rule::TokenInQuery, format!("{path} with a token in its query")));
    }
    if headers.get(HOST).is_none_or(http::HeaderValue::is_empty) {
        found.push((Rule::HostMissing, path.to_owned()));
    }
    if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        found.push((Rule::Subprotocol, path.to_owned()));
    }
    found
}

/// How long a refused size is remembered.
const SIZE_MEMORY: Duration = Duration::from_secs(60);
/// Longest wait that an agent is held to; agents bound what a brain may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A request may be so much too early: clocks and queues differ.
const WAIT_SLACK: Duration = Duration::from_millis(200);
/// Most agents remembered.
const MAX_KEYS: usize = 4_096;

#[derive(Default)]
struct Told {
    too_large: Option<(Instant, u64)>,
    /// Until when polls, and posts, were told to wait.
    wait: [Option<Instant>; 2],
}

/// What long-poll agents were told lately, and are held to.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<Key, Told>>);

impl Refusals {
    /// A body of this length gets 413.
    pub(crate) fn too_large(&self, key: Key, length: u64, now: Instant) -> Option<Found> {
        let mut all = lock(&self.0);
        let told = entry(&mut all, key)?;
        let before = told.too_large.filter(|(at, _)| now.saturating_duration_since(*at) < SIZE_MEMORY);
        let least = before.map_or(length, |(_, least)| least.min(length));
        told.too_large = Some((now, least));
        let (_, refused) = before.filter(|(_, least)| length >= *least)?;
        Some((Rule::TooLargeAgain, format!("{length} bytes after {refused} were too many")))
    }

    /// An answer asks to wait; `post` tells which kind of request.
    pub(crate) fn wait(&self, key: Key, post: bool, time: Duration, now: Instant) {
        let mut all = lock(&self.0);
        if let Some(told) = entry(&mut all, key) {
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

fn entry(all: &mut HashMap<Key, Told>, key: Key) -> Option<&mut Told> {
    if all.len() >= MAX_KEYS && !all.contains_key(&key) {
        return None;
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
}
