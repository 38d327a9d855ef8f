//! Integers of any size, as JSON has them and Python keeps them.
//!
//! Owns the two representations and their order; must not do arithmetic.

use std::cmp::Ordering;
use std::fmt;

/// An integer: machine-sized where it fits, its decimal digits otherwise.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Integer {
    /// Fits 64 bits.
    Small(i64),
    /// Canonical decimal text (`-` and digits, no leading zero) of a number outside the `i64` range.
    Big(Box<str>),
}

impl Integer {
    /// Reads JSON's integer grammar, which the caller has already checked: `-`? then digits without a
    /// leading zero. `-0` is 0, as in Python.
    pub(crate) fn from_json_digits(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Big(text.into()), Self::Small)
    }

    /// The value, if it is not negative and fits 64 bits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Small(number) => u64::try_from(*number).ok(),
            Self::Big(text) => text.parse().ok(),
        }
    }

    /// The value, if it fits 64 bits with a sign.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Small(number) => Some(*number),
            Self::Big(_) => None,
        }
    }
}

impl From<i64> for Integer {
    fn from(number: i64) -> Self {
        Self::Small(number)
    }
}

impl From<u64> for Integer {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Big(number.to_string().into()), Self::Small)
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(number) => write!(f, "{number}"),
            Self::Big(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Integer {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Small(a), Self::Small(b)) => a.cmp(b),
            (Self::Small(_), Self::Big(b)) if b.starts_with('-') => Ordering::Greater,
            (Self::Small(_), Self::Big(_)) => Ordering::Less,
            (Self::Big(_), Self::Small(_)) => other.cmp(self).reverse(),
            (Self::Big(a), Self::Big(b)) => compare_digits(a, b),
        }
    }
}

impl PartialOrd for Integer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare_digits(a: &str, b: &str) -> Ordering {
    let by_magnitude = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, None) => by_magnitude(a, b),
        (Some(a), Some(b)) => by_magnitude(b, a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_numeric_across_both_representations() {
        let ascending = [
            "-99999999999999999999999",
            "-9999999999999999999",
            "-1",
            "0",
            "7",
            "9223372036854775807",
            "9223372036854775808",
            "123456789012345678901",
        ];
        for window in ascending.windows(2) {
            let [low, high] = [window[0], window[1]].map(Integer::from_json_digits);
            assert!(low < high, "{low} < {high}");
            assert_eq!(low.to_string(), window[0]);
        }
    }

    #[test]
    fn minus_zero_is_zero() {
        assert_eq!(Integer::from_json_digits("-0"), Integer::Small(0));
    }
}
