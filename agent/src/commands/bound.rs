//! A result within the bounds of the wire: cut, visibly, where it is too long.
//!
//! Owns what goes first. Must not know connections: a session says how much room it has.

use z4j_protocol::payload::{CommandResult, CommandStatus, MAX_ERROR_CHARS};
use z4j_protocol::{CanonicalText, Object, Value};

use super::adapter::Outcome;

/// What a result has at most when it is stored, in bytes: no brain takes a larger frame unless it is told to.
const STORED: Room = Room::Plain((1 << 20) - 1_024);
/// Strings up to so many characters stay whole: the mark in place of a shorter one would save nothing.
const KEPT_CHARS: usize = 64;
/// Most characters of an error where nothing else is left.
const BARE_ERROR_CHARS: usize = 500;

/// How many bytes a payload may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// As it stands in a frame.
    Plain(usize),
    /// As it stands in a string inside JSON, where quotes and backslashes take a byte more.
    Quoted(usize),
}

impl Room {
    const fn bytes(self) -> usize {
        let (Self::Plain(bytes) | Self::Quoted(bytes)) = self;
        bytes
    }

    fn holds(self, text: &CanonicalText) -> bool {
        match self {
            Self::Plain(bytes) => text.as_str().len() <= bytes,
            Self::Quoted(bytes) => text.quoted_len() <= bytes,
        }
    }

    /// The text, if it has room and can be signed.
    fn fitting(self, result: &CommandResult) -> Option<CanonicalText> {
        CanonicalText::from_serialize(result).ok().filter(|text| self.holds(text))
    }

    /// What the greatest number from `least` on gives that gives anything, found by halving.
    fn greatest<T>(self, least: usize, attempt: impl Fn(usize) -> Option<T>) -> Option<T> {
        let (mut best, mut fits, mut fails) = (attempt(least)?, least, self.bytes());
        while fails.saturating_sub(fits) > 1 {
            let most = fits + (fails - fits) / 2;
            match attempt(most) {
                Some(found) => (best, fits) = (found, most),
                None => fails = most,
            }
        }
        Some(best)
    }
}

/// The payload of a `command_result`, to be stored.
pub(super) fn payload(outcome: Outcome, claim: Option<&str>) -> CanonicalText {
    let (status, result, error) = match outcome {
        Outcome::Done(value) => (CommandStatus::Success, Some(value), None),
        Outcome::Failed { error, result } => (CommandStatus::Failed, result, Some(error)),
    };
    // The brain looks at objects only.
    let result = result.map(|value| match value {
        Value::Object(_) => value,
        value => Value::object([("value", value)]),
    });
    let whole = CommandResult { status, result, error, delivery_claim_token: claim.map(str::to_owned) };
    within(&cut_to(whole, MAX_ERROR_CHARS), STORED)
}

/// A stored payload, cut again where this way to the brain has less room.
pub(crate) fn shortened(payload: CanonicalText, room: Room) -> CanonicalText {
    if room.holds(&payload) {
        return payload;
    }
    let value = Value::parse(payload.as_str().as_bytes()).ok();
    match value.and_then(|value| value.deserialize().ok()) {
        Some(whole) => within(&whole, room),
        None => failure("the stored result cannot be read"),
    }
}

fn within(whole: &CommandResult, room: Room) -> CanonicalText {
    if let Some(text) = room.fitting(whole) {
        return text;
    }
    // The longest strings go first, then the last items and members.
    let strings = room.greatest(KEPT_CHARS, |most| room.fitting(&cut_down(whole, most, usize::MAX)));
    strings
        .or_else(|| room.greatest(0, |nodes| room.fitting(&cut_down(whole, KEPT_CHARS, nodes))))
        .unwrap_or_else(|| bare(whole, room))
}

/// Strings of at most so many characters, and the first so many items and members, counted at all depths.
fn cut_down(whole: &CommandResult, most: usize, mut nodes: usize) -> CommandResult {
    let mut short = cut_to(whole.clone(), most);
    short.result = short.result.map(|value| {
        let mut value = cut_value(value, most, &mut nodes);
        if let Value::Object(object) = &mut value {
            object.insert("truncated", Value::Bool(true));
        }
        value
    });
    short
}

fn cut_to(mut result: CommandResult, most: usize) -> CommandResult {
    result.error = result.error.map(|error| cut(&error, most));
    result
}

/// What is left where even that does not fit: a claim or a key that is too long, or text that cannot be signed.
fn bare(whole: &CommandResult, room: Room) -> CanonicalText {
    // A character takes up to twelve bytes.
    let most = BARE_ERROR_CHARS.min(room.bytes() / 24);
    let result = whole.result.as_ref().map(|_| Value::object([("truncated", Value::Bool(true))]));
    let error = whole.error.as_deref().map(|error| cut(error, most));
    let claim = whole.delivery_claim_token.clone();
    let bare = CommandResult { status: whole.status, result, error, delivery_claim_token: claim };
    CanonicalText::from_serialize(&bare).unwrap_or_else(|_| failure("the result cannot be written down"))
}

fn failure(error: &str) -> CanonicalText {
    let text = format!("{{\"error\":\"{error}\",\"result\":null,\"status\":\"failed\"}}");
    CanonicalText::kept(text)
}

/// Recursion is bounded by the parser's depth limit.
fn cut_value(value: Value, most: usize, nodes: &mut usize) -> Value {
    match value {
        Value::String(text) => Value::String(cut(&text, most)),
        Value::Array(items) => {
            let mut kept = Vec::new();
            for item in items {
                let Some(rest) = nodes.checked_sub(1) else { break };
                *nodes = rest;
                kept.push(cut_value(item, most, nodes));
            }
            Value::Array(kept)
        }
        Value::Object(object) => {
            let mut kept = Object::default();
            for (key, value) in object.iter() {
                let Some(rest) = nodes.checked_sub(1) else { break };
                *nodes = rest;
                kept.insert(key, cut_value(value.clone(), most, nodes));
            }
            Value::Object(kept)
        }
        other => other,
    }
}

/// At most so many characters and a mark that says how much is gone; text that fits stays as it is.
fn cut(text: &str, most: usize) -> String {
    let chars = text.chars().count();
    if chars <= most {
        return text.to_owned();
    }
    let mark = |gone: usize| format!("[...{gone} more characters truncated]");
    let kept = most.saturating_sub(mark(chars).len());
    let head: String = text.chars().take(kept).collect();
    head + &mark(chars - kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a long-poll request of the usual size has room for.
    const SMALL: Room = Room::Quoted(6_000);

    fn small(outcome: Outcome, claim: Option<&str>) -> CanonicalText {
        shortened(payload(outcome, claim), SMALL)
    }

    fn object(text: &str) -> Value {
        Value::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_fits_is_left_alone() {
        for (outcome, text) in [
            (
                Outcome::Done(object(r#"{"b":1,"a":"é"}"#)),
                r#"{"error":null,"result":{"a":"é","b":1},"status":"success"}"#,
            ),
            (Outcome::Done(object("[1]")), r#"{"error":null,"result":{"value":[1]},"status":"success"}"#),
            (Outcome::failed("why"), r#"{"error":"why","result":null,"status":"failed"}"#),
        ] {
            assert_eq!(payload(outcome, None).as_str(), text);
        }
        let claimed = payload(Outcome::failed("why"), Some("claim"));
        assert!(claimed.as_str().contains(r#""delivery_claim_token":"claim""#));
    }

    #[test]
    fn long_output_is_cut_visibly_and_short_fields_stay() {
        let long = "\"\\".repeat(40_000);
        let value = Value::object([("stdout", long.as_str().into()), ("task_id", "t-1".into())]);
        let text = small(Outcome::Done(value), None);
        let read: CommandResult = object(text.as_str()).deserialize().unwrap();
        let result = read.result.unwrap();
        assert_eq!(result.get("task_id").and_then(Value::as_str), Some("t-1"));
        assert_eq!(result.get("truncated").and_then(Value::as_bool), Some(true));
        let stdout = result.get("stdout").and_then(Value::as_str).unwrap();
        assert!(stdout.ends_with(" more characters truncated]"), "{stdout}");
        assert!(text.quoted_len() > SMALL.bytes() * 9 / 10, "as much as fits is kept");
        let error = small(Outcome::failed("x".repeat(100_000)), None);
        assert!(error.as_str().contains("more characters truncated"));
    }

    #[test]
    fn what_the_usual_frame_holds_is_stored_whole() {
        let most = STORED.bytes();
        let of = |bytes: usize| {
            let value = Value::object([("stdout", "x".repeat(bytes).as_str().into())]);
            payload(Outcome::Done(value), None)
        };
        let whole = of(most - 100);
        assert!(!whole.as_str().contains("truncated"));
        assert_eq!(shortened(whole.clone(), STORED), whole);
        let cut = of(most + 2_000);
        assert!(cut.as_str().contains(r#""truncated":true"#) && cut.as_str().len() <= most);
        assert_eq!(
            shortened(CanonicalText::kept("x".repeat(700)), Room::Plain(600)),
            failure("the stored result cannot be read")
        );
    }

    #[test]
    fn the_first_of_many_items_and_members_stay() {
        let numbers = Value::Array((0..5_000_u64).map(Value::from).collect());
        let members = (0..5_000_u64).map(|n| (format!("k{n:04}"), Value::from(n))).collect();
        let rows =
            (0..120).map(|n| Value::object([("id", format!("row {n:050}").as_str().into())])).collect();
        let row = |n: usize| format!(r#"{{"id":"row {n:050}"}}"#);
        let two_rows = format!(r#""result":{{"truncated":true,"value":[{},{},"#, row(0), row(1));
        for (value, first) in [
            (Value::object([("n", numbers)]), r#""result":{"n":[0,1,2,3,"#),
            (Value::Object(members), r#""result":{"k0000":0,"k0001":1,"#),
            (Value::Array(rows), &two_rows),
        ] {
            let text = small(Outcome::Done(value), Some("claim"));
            assert!(text.as_str().contains(first), "{}", text.as_str());
            assert!(text.as_str().contains(r#""truncated":true"#));
            assert!(text.quoted_len() > SMALL.bytes() * 9 / 10, "as much as fits is kept");
        }
        let key = Value::Object([("k".repeat(9_000), Value::Null)].into_iter().collect());
        assert!(small(Outcome::Done(key), None).as_str().contains(r#""result":{"truncated":true}"#));
    }

    proptest! {
        #[test]
        fn whatever_comes_out_fits_and_keeps_its_status(
            texts in prop::collection::vec("[\\PC\"\\\\\n\u{1}]{0,900}", 0..12),
            error in prop::option::of("\\PC{0,9000}"),
            room in prop_oneof![(600_usize..20_000).prop_map(Room::Plain), (600_usize..20_000).prop_map(Room::Quoted)],
        ) {
            let members: Vec<(String, Value)> =
                texts.iter().enumerate().map(|(n, text)| (format!("k{n}"), text.as_str().into())).collect();
            let value = Value::Object(members.into_iter().collect());
            let outcome = match error {
                None => Outcome::Done(value),
                Some(error) => Outcome::Failed { error, result: Some(value) },
            };
            let wanted = matches!(outcome, Outcome::Done(_));
            let stored = payload(outcome, None);
            prop_assert!(STORED.holds(&stored));
            let text = shortened(stored.clone(), room);
            prop_assert!(room.holds(&text), "{} in {room:?}", text.as_str().len());
            let read: CommandResult = Value::parse(text.as_str().as_bytes()).unwrap().deserialize().unwrap();
            prop_assert_eq!(read.status == CommandStatus::Success, wanted);
        }
    }
}
