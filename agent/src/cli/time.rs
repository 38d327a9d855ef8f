//! Lengths of time as people write them.

use std::time::Duration;

/// Longest time that a flag takes.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// `5s`, `500ms`, or seconds without a unit.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| "it is no time such as 5s or 500ms".to_owned())?;
    let timeout = match unit {
        "" | "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(format!("{unit:?} is none of ms, s, m")),
    };
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        return Err("it must be above 0 and at most 10m".to_owned());
    }
    Ok(timeout)
}
