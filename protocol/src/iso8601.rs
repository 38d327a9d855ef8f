//! The ISO 8601 forms that Python 3.11's `datetime.fromisoformat` reads: the reference checks `ts` with it.
//!
//! Owns the grammar and the calendar. It must not decide what a missing zone means.

const MICROS: i64 = 1_000_000;

/// Local microseconds since 1970 and, where the text says one, the offset from UTC in microseconds.
pub(crate) fn parse(text: &str) -> Option<(i64, Option<i64>)> {
    let bytes = text.as_bytes();
    let (date, date_length) = parse_date(bytes)?;
    let midnight = date.checked_mul(86_400 * MICROS)?;
    if bytes.len() == date_length {
        return Some((midnight, None));
    }
    // Any one character separates date and time.
    let separator = text.get(date_length..)?.chars().next()?;
    let time = &bytes[date_length + separator.len_utf8()..];
    let zone_at = time.iter().position(|byte| matches!(byte, b'+' | b'-' | b'Z')).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let local = midnight + parse_clock(clock)?;
    let offset = match zone.split_first() {
        None => None,
        Some((b'Z', rest)) => rest.is_empty().then_some(Some(0))?,
        Some((sign, rest)) => {
            let magnitude = parse_clock(rest)?;
            Some(if *sign == b'-' { -magnitude } else { magnitude })
        }
    };
    Some((local, offset))
}

/// `YYYY-MM-DD`, `YYYYMMDD`, or an ISO week date with or without a day: days since 1970, and the length.
fn parse_date(bytes: &[u8]) -> Option<(i64, usize)> {
    let year = digits(bytes, 0, 4)?;
    if year == 0 {
        return None;
    }
    let dashed = usize::from(bytes.get(4) == Some(&b'-'));
    let at = 4 + dashed;
    if bytes.get(at) == Some(&b'W') {
        return parse_week_date(bytes, year, at + 1, dashed == 1);
    }
    let month = digits(bytes, at, 2)?;
    let day_at = at + 2 + dashed;
    if dashed == 1 && bytes.get(at + 2) != Some(&b'-') {
        return None;
    }
    let day = digits(bytes, day_at, 2)?;
    let valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    valid.then(|| (days_from_civil(year, month, day), day_at + 2))
}

fn parse_week_date(bytes: &[u8], year: i64, at: usize, dashed: bool) -> Option<(i64, usize)> {
    let week = digits(bytes, at, 2)?;
    let after = at + 2;
    let day_at = after + usize::from(dashed);
    let has_day =
        bytes.get(day_at).is_some_and(u8::is_ascii_digit) && (!dashed || bytes.get(after) == Some(&b'-'));
    let (day, length) = if has_day { (digits(bytes, day_at, 1)?, day_at + 1) } else { (1, after) };
    let january_first = days_from_civil(year, 1, 1);
    // 1970-01-01 was a Thursday; ISO week 1 holds the first Thursday.
    let weekday = (january_first + 3).rem_euclid(7);
    let long_year = weekday == 3 || (weekday == 2 && days_in_month(year, 2) == 29);
    let weeks = if long_year { 53 } else { 52 };
    if !(1..=weeks).contains(&week) || !(1..=7).contains(&day) {
        return None;
    }
    let first_monday = january_first - weekday + if weekday > 3 { 7 } else { 0 };
    Some((first_monday + (week - 1) * 7 + day - 1, length))
}

/// `HH[:MM[:SS[.ffffff…]]]` with colons everywhere or nowhere, in microseconds; digits after the sixth are
/// dropped. The same grammar serves for offsets.
fn parse_clock(bytes: &[u8]) -> Option<i64> {
    let colon = bytes.get(2) == Some(&b':');
    let mut at = 0;
    let mut fields = [0_i64; 3];
    for (index, field) in fields.iter_mut().enumerate() {
        *field = digits(bytes, at, 2)?;
        at += 2;
        if at == bytes.len() {
            break;
        }
        match bytes[at] {
            b'.' | b',' if index == 2 => break,
            b':' if colon && index < 2 => at += 1,
            _ if !colon && index < 2 => {}
            _ => return None,
        }
    }
    let fraction = if at < bytes.len() { parse_fraction(&bytes[at + 1..])? } else { 0 };
    let [hour, minute, second] = fields;
    (hour < 24 && minute < 60 && second < 60)
        .then_some(((hour * 60 + minute) * 60 + second) * MICROS + fraction)
}

fn parse_fraction(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = bytes.iter().copied().chain(std::iter::repeat(b'0')).take(6);
    Some(digits.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
}

fn digits(bytes: &[u8], at: usize, count: usize) -> Option<i64> {
    let slice = bytes.get(at..at + count)?;
    slice
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date (year, month, day) that lies so many days after 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}
