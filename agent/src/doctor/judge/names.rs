//! Words that several verdicts share: times, clocks, addresses.

use z4j_protocol::Timestamp;

/// A point in time, to the second.
pub(super) fn date(seconds: i64) -> String {
    Timestamp::from_unix_micros(seconds.saturating_mul(1_000_000)).to_string()
}

/// How far this clock is from another: `12 s ahead of`, `3 min 20 s behind`.
pub(super) fn offset(micros_ahead: i64) -> String {
    let seconds = micros_ahead.unsigned_abs() / 1_000_000;
    let span = match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    };
    format!("{span} {}", if micros_ahead < 0 { "behind" } else { "ahead of" })
}

/// Items with commas between them.
pub(super) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_told_in_units_that_fit() {
        assert_eq!(offset(61_000_000), "1 min 1 s ahead of");
        assert_eq!(offset(-7_500_000), "7 s behind");
        assert_eq!(offset(-90_000_000_000), "1 d 1 h behind");
    }
}
