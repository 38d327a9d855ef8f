//! Times as people write them: `250ms`, `10s`, `2m`, `1h`.

use std::time::Duration;

/// Longest time that can be written.
const MAX: Duration = Duration::from_secs(24 * 3_600);

/// Reads a time: a whole number with its unit, up to a day.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(millis)).filter(|time| *time <= MAX)
}

/// The shortest text of a time in whole milliseconds.
pub(crate) fn text(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units.into_iter().find(|(_, size)| millis > 0 && millis.is_multiple_of(*size));
    let (unit, size) = whole.unwrap_or(("ms", 1));
    format!("{}{unit}", millis / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        for text in ["250ms", "10s", "2m", "1h", "0s", "90s", "1500ms"] {
            let time = parse(text).unwrap();
            let written = super::text(time);
            assert_eq!(parse(&written), Some(time), "{text} {written}");
        }
        for bad in ["", "10", "s", "-1s", "1.5s", "10 s", "25h", "99999999999999999999s", "1d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
