//! Query parameters, with complaints as the real brain words them.
//!
//! Owns the parameters that lists share: a limit and a cursor.

use http::Uri;
use serde_json::{Value, json};
use z4j_protocol::Timestamp;

use super::answer::Refused;
use crate::longpoll::decoded;

/// Most items of a page.
const MAX_LIMIT: usize = 5_000;
/// Items of a page where nothing is said.
const DEFAULT_LIMIT: usize = 50;

/// The largest number that is one of seconds since 1970.
const MAX_SECONDS: f64 = 2e10;

/// The parameters of a request; of equal names the last one counts.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "true" | "1" | "on" | "yes"))
    }

    /// How many items are asked for.
    pub(super) fn limit(&self) -> Result<usize, Refused> {
        let Some(text) = self.get("limit") else { return Ok(DEFAULT_LIMIT) };
        let place = json!(["query", "limit"]);
        let refused = |kind: &str, message: &str, context: Value| {
            let complaint =
                json!({ "type": kind, "loc": place, "msg": message, "input": text, "ctx": context });
            Err(Refused::invalid(vec![complaint]))
        };
        match text.trim().parse::<i64>().map(usize::try_from) {
            Ok(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            Ok(Ok(limit)) if limit > MAX_LIMIT => {
                let message = format!("Input should be less than or equal to {MAX_LIMIT}");
                refused("less_than_equal", &message, json!({ "le": MAX_LIMIT }))
            }
            Ok(_) => {
                let message = "Input should be greater than or equal to 1";
                refused("greater_than_equal", message, json!({ "ge": 1 }))
            }
            Err(_) => refused("int_parsing", "Input should be a valid integer", json!({})),
        }
    }

    /// Points in time that may be left out: ISO 8601, a day, or a number since 1970.
    pub(super) fn times<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Timestamp>; N], Refused> {
        let mut complaints = Vec::new();
        let times = names.map(|name| {
            let text = self.get(name)?;
            let time = time(text);
            if time.is_none() {
                let why = "it is no ISO 8601 time";
                complaints.push(json!({
                    "type": "datetime_from_date_parsing", "loc": ["query", name], "input": text,
                    "msg": format!("Input should be a valid datetime or date, {why}"), "ctx": { "error": why },
                }));
            }
            time
        });
        if complaints.is_empty() { Ok(times) } else { Err(Refused::invalid(complaints)) }
    }

    /// Where the page before ended. One that is none of ours starts at the beginning, as the real brain's does.
    pub(super) fn cursor(&self) -> Option<u64> {
        self.get("cursor")?.strip_prefix('n')?.parse().ok()
    }

    /// The parameters that must be there, in their order.
    pub(super) fn needed<const N: usize>(&self, names: [&str; N]) -> Result<[String; N], Refused> {
        let mut complaints = Vec::new();
        let values = names.map(|name| match self.get(name) {
            Some("") => {
                complaints.push(json!({
                    "type": "string_too_short", "loc": ["query", name], "input": "", "ctx": { "min_length": 1 },
                    "msg": "String should have at least 1 character",
                }));
                String::new()
            }
            Some(value) => value.to_owned(),
            None => {
                complaints.push(json!({
                    "type": "missing", "loc": ["query", name], "msg": "Field required", "input": null,
                }));
                String::new()
            }
        });
        if complaints.is_empty() { Ok(values) } else { Err(Refused::invalid(complaints)) }
    }
}

/// A number is of seconds, or, where those would be of centuries to come, of milliseconds.
fn time(text: &str) -> Option<Timestamp> {
    let Ok(number) = text.parse::<f64>() else { return Timestamp::parse_or_utc(text).ok() };
    let seconds = if number.abs() > MAX_SECONDS { number / 1e3 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    number.is_finite().then(|| Timestamp::from_unix_micros((seconds * 1e6) as i64))
}

/// The cursor of a page that ended with this.
pub(super) fn cursor(last: u64) -> String {
    format!("n{last}")
}
