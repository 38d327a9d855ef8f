//! The query of a poll.
//!
//! Owns its parameters, their bounds, and the complaints in the form of the real brain's framework.

use serde_json::json;

/// A poll's parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Poll {
    pub(super) wait: u64,
    pub(super) max_frames: u64,
}

impl Poll {
    /// The request that only asks whether the session would do.
    pub(super) const fn is_probe(&self) -> bool {
        self.wait == 0 && self.max_frames == 0
    }
}

/// Whether the query of a poll makes it a probe.
pub(crate) fn is_probe(query: &str) -> bool {
    poll(query).is_ok_and(|poll| poll.is_probe())
}

/// Reads `wait` (0..=60, default 30) and `max_frames` (0..=500, default 50).
pub(super) fn poll(query: &str) -> Result<Poll, serde_json::Value> {
    let value = |name| {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value)).next_back()
    };
    let mut complaints = Vec::new();
    let mut number = |name: &'static str, default: u64, most: u64| {
        let Some(text) = value(name) else { return default };
        let text = text.as_str();
        match text.trim().parse::<i64>() {
            Ok(number) if number < 0 => complaints.push(complaint(name, "greater_than_equal", text, "ge", 0)),
            Ok(number) if number.unsigned_abs() > most => {
                complaints.push(complaint(name, "less_than_equal", text, "le", most));
            }
            Ok(number) => return number.unsigned_abs(),
            Err(_) => complaints.push(json!({
                "type": "int_parsing", "loc": ["query", name], "input": text,
                "msg": "Input should be a valid integer",
            })),
        }
        default
    };
    let poll = Poll { wait: number("wait", 30, 60), max_frames: number("max_frames", 50, 500) };
    if complaints.is_empty() { Ok(poll) } else { Err(complaints.into()) }
}

fn complaint(name: &str, kind: &str, input: &str, bound: &str, limit: u64) -> serde_json::Value {
    let words = if bound == "le" { "less" } else { "greater" };
    json!({
        "type": kind, "loc": ["query", name], "input": input, "ctx": { bound: limit },
        "msg": format!("Input should be {words} than or equal to {limit}"),
    })
}

/// A part of a query without its encoding (the `application/x-www-form-urlencoded` parser of the URL standard).
pub(crate) fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut index, mut out) = (text.as_bytes(), 0, Vec::with_capacity(text.len()));
    while let Some(&byte) = bytes.get(index) {
        let pair = (digit(bytes.get(index + 1)), digit(bytes.get(index + 2)));
        index += 1;
        out.push(match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                index += 2;
                u8::try_from(high << 4 | low).unwrap_or_default()
            }
            (b'+', _) => b' ',
            (byte, _) => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_parameters() {
        assert_eq!(poll(""), Ok(Poll { wait: 30, max_frames: 50 }));
        assert_eq!(poll("wait=0&max_frames=0&other=x"), Ok(Poll { wait: 0, max_frames: 0 }));
        assert_eq!(poll("wait=60&max_frames=500"), Ok(Poll { wait: 60, max_frames: 500 }));
        assert_eq!(poll("w%61it=%33%30&max_frames=+5"), Ok(Poll { wait: 30, max_frames: 5 }));
        assert_eq!(decoded("a%2Bb+%e4%f%"), "a+b \u{fffd}%f%");
        for bad in [
            "wait",
            "wait=%36%31",
            "wait=61",
            "wait=-1",
            "wait=x",
            "wait=",
            "max_frames=501",
            "wait=1&wait=99",
        ] {
            assert!(poll(bad).is_err(), "{bad}");
        }
        assert_eq!(poll("wait=61").unwrap_err()[0]["type"], "less_than_equal");
    }
}
