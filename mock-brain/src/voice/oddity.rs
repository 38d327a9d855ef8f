//! How a strict brain is odd: in everything that the protocol leaves free, and the real brain always does alike.
//!
//! Owns the list and what is rolled for a connection and a session. An agent that relies on an accident of
//! the real brain fails here; nothing that the protocol promises is touched. The same seed gives the same.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;
use z4j_protocol::{Timestamp, Value};

use crate::fault::table::Dice;
use crate::hub::Limits;

/// What is odd, and what agents must not take for granted.
pub const ODDITIES: &[(&str, &str)] = &[
    ("header-case", "Names of response headers are written in Title-Case or in lower case."),
    ("segments", "What is written comes in pieces: single bytes at first, later whole segments."),
    ("message-kind", "Frames come in text or in binary messages."),
    ("fragments", "A message comes in several WebSocket frames, perhaps with a ping in between."),
    ("pings", "A ping bears 0 to 125 bytes, and a pong comes that nobody asked for."),
    ("session-id", "session_id is a text of up to 64 characters and no UUID."),
    (
        "frame-ids",
        "Ids of hello_ack, acknowledgements and errors have no prefix, and are 1 to 64 characters long.",
    ),
    ("heartbeat-interval", "heartbeat_interval_seconds is 5 to 9, unless it was set."),
    ("frame-size", "max_frame_size_bytes lies between 512 KiB and 1 MiB, and is meant, unless it was set."),
    ("sequence", "seq leaves gaps."),
    ("timestamps", "ts has another zone than Z."),
    ("key-order", "Members of objects come in any order."),
    ("white-space", "There is white space between the tokens of a frame."),
    ("escapes", "Characters of texts are escaped although they need not be."),
    (
        "unknown-fields",
        "Frames and their payloads have members that are not known, and signatures cover them.",
    ),
];

/// A character of white space in JSON (RFC 8259, 2).
const WHITE: [&str; 5] = ["", " ", "\n", "\t", "\r\n "];
/// What the real brain tells, and what is odd in its place.
const HEARTBEAT_SECONDS: (u64, u64) = (5, 5);
const FRAME_BYTES: (u64, u64) = (512 << 10, 512 << 10);

/// The oddities of one brain.
pub(crate) struct Oddities {
    seed: u64,
    made: AtomicU64,
}

impl Oddities {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, made: AtomicU64::new(0) }
    }

    /// What is rolled for the next connection or session.
    pub(crate) fn roll(&self) -> Quirks {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice(self.seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        dice.roll();
        Quirks { dice }
    }
}

/// The oddities of one connection or session.
pub(crate) struct Quirks {
    dice: Dice,
}

impl Quirks {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.dice.roll() % bound.max(1)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A number of bytes: up to `most`.
    pub(crate) fn size(&mut self, most: usize) -> usize {
        usize::try_from(self.below(most as u64 + 1)).unwrap_or_default()
    }

    /// Others of the same kind.
    pub(crate) fn split(&mut self) -> Self {
        Self { dice: Dice(self.dice.roll()) }
    }

    /// A session's id. It is as hard to guess as a UUID, and none.
    pub(crate) fn session_id(&mut self) -> String {
        let id = Uuid::new_v4().simple().to_string();
        match self.below(3) {
            0 => format!("s:{id}"),
            1 => id.to_ascii_uppercase(),
            _ => format!("{id}{}", &id[..self.size(id.len())]),
        }
    }

    /// The limits that a session is told, and held to.
    pub(crate) fn limits(&mut self, limits: Limits) -> Limits {
        let default = Limits::default();
        let mut odd = |is: u64, usual: u64, (least, range): (u64, u64)| {
            if is == usual { least + self.below(range) } else { is }
        };
        Limits {
            heartbeat_seconds: odd(limits.heartbeat_seconds, default.heartbeat_seconds, HEARTBEAT_SECONDS),
            frame_bytes: odd(limits.frame_bytes, default.frame_bytes, FRAME_BYTES),
            ..limits
        }
    }

    /// A frame's id.
    pub(crate) fn frame_id(&mut self) -> String {
        const LETTERS: &[u8] = b"abcXYZ019-_.:/ ";
        let length = 1 + self.size(63);
        (0..length).map(|_| char::from(LETTERS[self.size(LETTERS.len() - 1)])).collect()
    }

    /// How many numbers of the sequence are left out.
    pub(crate) fn gap(&mut self) -> u64 {
        if self.one_in(2) { self.below(5) } else { 0 }
    }

    /// A time in another zone.
    pub(crate) fn time(&mut self, now: Timestamp) -> String {
        let hours = i64::try_from(self.below(25)).unwrap_or_default() - 12;
        let local = now.plus_seconds(hours * 3_600).to_string();
        let sign = if hours < 0 { '-' } else { '+' };
        format!("{}{sign}{:02}:00", local.trim_end_matches('Z'), hours.abs())
    }

    /// Adds a member that is not known.
    pub(crate) fn grow(&mut self, value: &mut Value) {
        if let Value::Object(members) = value
            && self.one_in(2)
        {
            let odd = [
                Value::Null,
                Value::from("grün/😀"),
                Value::from(self.below(1 << 40)),
                Value::Array(Vec::new()),
            ];
            let [null, text, number, list] = odd;
            let odd = match self.below(4) {
                0 => null,
                1 => text,
                2 => number,
                _ => list,
            };
            members.insert(&format!("odd_{}", self.below(1_000)), odd);
        }
    }

    /// The text of a frame, as no real brain would write it.
    pub(crate) fn scribble(&mut self, canonical: &str) -> String {
        let Ok(value) = Value::parse(canonical.as_bytes()) else { return canonical.to_owned() };
        let mut out = String::with_capacity(canonical.len() * 2);
        self.write(&mut out, &value);
        out
    }

    fn write(&mut self, out: &mut String, value: &Value) {
        self.space(out);
        match value {
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    comma(out, index);
                    self.write(out, item);
                }
                self.space(out);
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                let mut members: Vec<_> = members.iter().collect();
                // Fisher and Yates.
                for last in (1..members.len()).rev() {
                    members.swap(self.size(last), last);
                }
                for (index, (key, value)) in members.into_iter().enumerate() {
                    comma(out, index);
                    self.space(out);
                    self.text(out, key);
                    self.space(out);
                    out.push(':');
                    self.write(out, value);
                }
                self.space(out);
                out.push('}');
            }
            Value::String(text) => self.text(out, text),
            scalar => out.push_str(&scalar.to_canonical().unwrap_or_default()),
        }
        self.space(out);
    }

    fn space(&mut self, out: &mut String) {
        if self.one_in(4) {
            out.push_str(WHITE[self.size(WHITE.len() - 1)]);
        }
    }

    fn text(&mut self, out: &mut String, text: &str) {
        use std::fmt::Write;
        let escaping = self.one_in(3);
        out.push('"');
        for character in text.chars() {
            let must = character < ' ' || character == '"' || character == '\\';
            if character == '/' && escaping {
                out.push_str("\\/");
            } else if must || (escaping && (!character.is_ascii() || self.one_in(8))) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04X}");
                }
            } else {
                out.push(character);
            }
        }
        out.push('"');
    }
}

fn comma(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scribbled_reads_the_same() {
        let text = r#"{"a":[1,2.5e-7,"\"\\\n/grün 😀",null,{"b":true,"c":{}}],"hmac":"x","z":[]}"#;
        let value = Value::parse(text.as_bytes()).unwrap();
        let canonical = value.to_canonical().unwrap();
        let texts: std::collections::BTreeSet<_> = (0..200)
            .map(|seed| {
                let odd = Oddities::new(seed).roll().scribble(&canonical);
                assert_eq!(Value::parse(odd.as_bytes()).unwrap(), value, "{odd}");
                odd
            })
            .collect();
        assert!(texts.len() > 150);
        for sign in ["\\/", "\\u00FC", "\\uD83D\\uDE00", "\t", "\r\n"] {
            assert!(texts.iter().any(|text| text.contains(sign)), "{sign}");
        }
        assert!(
            texts.iter().any(|text| text.trim_start_matches(['{', ' ', '\n', '\t', '\r']).starts_with("\"z"))
        );
    }

    #[test]
    fn the_seed_decides_and_every_one_is_another() {
        let rolled = |seed| {
            let oddities = Oddities::new(seed);
            let mut one = |_| {
                let mut quirks = oddities.roll();
                (quirks.frame_id(), quirks.limits(Limits::default()).frame_bytes, quirks.gap())
            };
            [0, 1, 2].map(&mut one)
        };
        assert_eq!(rolled(7), rolled(7));
        assert_ne!(rolled(7), rolled(8));
        assert_ne!(rolled(7)[0], rolled(7)[1]);
    }

    #[test]
    fn what_is_rolled_is_what_the_protocol_allows() {
        let (oddities, now) = (Oddities::new(1), Timestamp::from_unix_micros(1_800_000_000_123_456));
        for _ in 0..500 {
            let mut quirks = oddities.roll();
            let limits = quirks.limits(Limits::default());
            assert!((5..10).contains(&limits.heartbeat_seconds));
            assert!((512 << 10..=1 << 20).contains(&limits.frame_bytes));
            assert!((1..=64).contains(&quirks.frame_id().chars().count()));
            let session = quirks.session_id();
            assert!((1..=64).contains(&session.chars().count()), "{session}");
            let time = quirks.time(now);
            assert_eq!(Timestamp::parse(&time), Ok(now), "{time}");
        }
        let set = Limits { heartbeat_seconds: 3, frame_bytes: 4_096, ..Limits::default() };
        let told = oddities.roll().limits(set);
        assert_eq!((told.heartbeat_seconds, told.frame_bytes), (3, 4_096), "what was set is told");
    }
}
