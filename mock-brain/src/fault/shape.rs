//! What the values of parameters have to be.
//!
//! Owns the bounds, and the complaint about a value beyond them.

use super::catalog::Parameter;
use super::duration;

/// Longest latency, in milliseconds.
const MAX_MILLIS: u64 = 60_000;
/// Most seconds that a clock can be wrong: a year.
const MAX_OFFSET: u32 = 366 * 86_400;

/// What the value of a parameter has to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// An HTTP status.
    Status,
    /// A close code that may stand in a close frame.
    CloseCode,
    /// A text of up to so many bytes.
    Text(usize),
    /// A number from 1 up to this.
    Number(u64),
    /// A number of milliseconds.
    Millis,
    /// A time with its unit.
    Time,
    /// A time of a second or more.
    Seconds,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A number of 0..=255.
    Byte,
    /// A path of up to so many bytes, without a slash at the end.
    Path(usize),
    /// Seconds ahead or behind, up to a year.
    Offset,
}

/// What is wrong with the value of a parameter.
pub(super) fn unfit(parameter: &Parameter, value: &str) -> Option<String> {
    let number = value.parse::<u64>().ok();
    let (good, expected) = match parameter.shape {
        Shape::Status => {
            (number.is_some_and(|code| (200..600).contains(&code)), "a status is 200..=599".to_owned())
        }
        Shape::CloseCode => (
            value.parse().is_ok_and(is_sendable),
            "a close code is 1000..=4999, without 1004, 1005, 1006, 1015".to_owned(),
        ),
        Shape::Text(most) => {
            ((0..=most).contains(&value.len()), format!("{} has up to {most} bytes", parameter.name))
        }
        Shape::Number(most) => (
            number.is_some_and(|number| (1..=most).contains(&number)),
            format!("a number of 1..={most} is expected"),
        ),
        Shape::Millis => (
            number.is_some_and(|number| (1..=MAX_MILLIS).contains(&number)),
            format!("milliseconds are 1..={MAX_MILLIS}"),
        ),
        Shape::Time => {
            (duration::parse(value).is_some(), "a time is expected, such as 500ms or 10s".to_owned())
        }
        Shape::Seconds => (
            duration::parse(value).is_some_and(|time| time.as_secs() > 0),
            "a time of a second or more is expected, such as 20s".to_owned(),
        ),
        Shape::OneOf(words) => (words.contains(&value), format!("one of {} is expected", words.join(", "))),
        Shape::Byte => (value.parse::<u8>().is_ok(), "a number of 0..=255 is expected".to_owned()),
        Shape::Path(most) => (
            value.starts_with('/') && !value.ends_with('/') && value.len() <= most,
            format!("a path such as \"/z4j\", without a slash at the end, of up to {most} bytes"),
        ),
        Shape::Offset => (
            value.parse::<i32>().is_ok_and(|seconds| seconds != 0 && seconds.unsigned_abs() <= MAX_OFFSET),
            "seconds are expected, such as 120 or -120, up to a year".to_owned(),
        ),
        Shape::Flag => (matches!(value, "true" | "false"), "true or false is expected".to_owned()),
    };
    (!good).then_some(expected)
}

/// Close codes that may stand in a close frame (RFC 6455, 7.4).
const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=4999) && !matches!(code, 1004 | 1005 | 1006 | 1015)
}
